"""The end of a release on the terminal: the verdict, its reasons, and where everything is.

Reasons name rules, limits and sources. Measured values are functions of real records: the internal report has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dpsynth.cli.console import emit, panel, table_of
from dpsynth.cli.options import Disclosure

if TYPE_CHECKING:
    from dpsynth.pipeline import ReleaseOutcome

_STYLE = {"permitted": "green", "denied": "red", "indeterminate": "yellow"}
_TITLE = {
    "permitted": "RELEASE PERMITTED",
    "denied": "RELEASE DENIED",
    "indeterminate": "RELEASE NOT PERMITTED: EVIDENCE IS INCOMPLETE",
}
_MARK = {"fail": "✗ fails", "indeterminate": "? unknown", "warn": "! warns", "waived": "~ waived"}


def show(outcome: ReleaseOutcome, *, as_json: bool, disclosure: Disclosure, hints: Sequence[tuple[str, str]] = ()) -> int:
    """Print ``outcome`` and return its exit code. ``hints`` are further rows, e.g. the command to run next."""
    if as_json:
        emit({**outcome.to_dict(), "decision": outcome.decision.to_dict(disclosure.value)})
        return outcome.exit_code
    from dpsynth.dossier import WITHHELD

    bundle = outcome.bundle
    rows = [
        (
            "guarantee",
            f"epsilon {outcome.epsilon:g}, delta {outcome.delta:g} per {outcome.unit}; {outcome.synthesizer}",
        ),
        ("policy", policy_line(outcome.decision)),
    ]
    if bundle.public is not None:
        rows += [
            ("rows", f"{outcome.n_rows} synthetic records"),
            ("to hand out", f"{bundle.public}"),
            ("public report", f"{bundle.public / 'report.html'}"),
        ]
    else:
        rows.append(("to hand out", "nothing: no public bundle was made"))
        if (bundle.internal / WITHHELD).is_file():
            rows += [
                ("table", f"sha256 {outcome.decision.release['sha256']}, kept in internal/"),
                ("with a waiver", f"dpsynth publish {bundle.root} --waivers FILE --ledger LEDGER"),
            ]
    rows += [("full report", f"{bundle.internal / 'report.html'}  (internal: holds figures of real records)"), *hints]
    title, style = banner(outcome.decision)
    panel(title, rows, style=style, body=reasons(outcome.decision))
    return outcome.exit_code


def to_sign(outcome: ReleaseOutcome) -> list[tuple[str, str]]:
    """One row per signature that a permitted release still waits for."""
    if not outcome.decision.permitted:
        return []
    return [("sign first", f"dpsynth sign {outcome.bundle.root} --role {role} --key FILE") for role in outcome.sign_off]


def banner(decision: Any) -> tuple[str, str]:
    """Title and colour. A broken rule is said even where missing evidence makes the verdict indeterminate."""
    broken = any(finding.blocking and finding.status == "fail" for finding in decision.findings)
    if decision.verdict == "indeterminate" and broken:
        return "RELEASE NOT PERMITTED: RULES ARE BROKEN, AND EVIDENCE IS INCOMPLETE", "red"
    return _TITLE[decision.verdict], _STYLE[decision.verdict]


def policy_line(decision: Any) -> str:
    """``base@1.0.0: 31 rules pass, 2 fail``."""
    counts = decision.counts
    words = [("pass", "pass"), ("fail", "fail"), ("indeterminate", "unknown"), ("warn", "warn"), ("waived", "waived")]
    told = ", ".join(f"{counts[status]} {word}" for status, word in words if counts[status])
    return f"{decision.policy['id']} {decision.policy['version']}: {told}"


def reasons(decision: Any) -> list[Any]:
    """What kept the release back, then what it was warned about; an empty list when there is neither."""
    blocking = [f for f in decision.findings if f.status in ("fail", "indeterminate")]
    others = [f for f in decision.findings if f.status in ("warn", "waived")]
    rows = [(f.rule, _MARK[f.status], f"{f.title}: {f.message}", f.source.kind) for f in [*blocking, *others]]
    if not rows:
        return []
    return ["", table_of(("rule", "", "why", "source"), rows)]
