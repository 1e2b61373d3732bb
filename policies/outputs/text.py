"""The decision for a terminal: what keeps the release back first, what holds last, no colour."""

from __future__ import annotations

import json
from collections.abc import Iterator

from policies.decision import STATUSES, Decision, Finding

_WORDS = {"permitted": "PERMITTED", "denied": "DENIED", "indeterminate": "INDETERMINATE"}


def render_text(decision: Decision, disclosure: str) -> str:
    """One line per rule that does not simply hold, a count of those that do."""
    return "\n".join(_lines(decision, disclosure)) + "\n"


def _lines(decision: Decision, disclosure: str) -> Iterator[str]:
    policy, release = decision.policy, decision.release
    yield f"{_WORDS[decision.verdict]}  policy {policy['id']}@{policy['version']}  exit code {decision.exit_code}"
    yield f"release {printable(release['id'] or 'unnamed')}  table sha256 {printable(release['sha256'] or 'unknown')}"
    yield f"policy digest {policy['digest']}"
    if decision.verdict == "indeterminate" and any(f.blocking and f.status == "fail" for f in decision.findings):
        yield "rules are broken too; missing or unusable evidence outranks them in the exit code"
    shown = [f for f in decision.findings if f.status not in ("pass", "info") or disclosure == "reviewer"]
    for status in STATUSES:
        for finding in (f for f in shown if f.status == status):
            yield ""
            yield f"{status:<13}  {finding.severity:<8}  {finding.rule}  {finding.title}"
            yield f"    {finding.metric}: {printable(finding.message)}"
            if disclosure == "reviewer":
                yield f"    measured {printable(_measured(finding))}"
            if finding.hint:
                yield f"    to do: {finding.hint}"
            yield f"    source ({finding.source.kind}): {finding.source.text}"
    unapplied = [use for use in decision.waivers if not use.applied]
    if unapplied:
        yield ""
        yield from (f"waiver {printable(use.id)} for {use.rule} was not applied: {use.reason}" for use in unapplied)
    yield ""
    yield "  ".join(f"{count} {status}" for status, count in decision.counts.items())


def _measured(finding: Finding) -> str:
    out = json.dumps(finding.value)
    if finding.interval:
        out += f" in {json.dumps(finding.interval)}"
    return out + (f", n = {finding.n}" if finding.n is not None else "")


def printable(text: str) -> str:
    """Text without control characters: evidence may not move the cursor or start a line of its own."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
