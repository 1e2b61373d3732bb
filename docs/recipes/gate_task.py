"""A gate for any scheduler that runs Python: returns for a permitted release, raises for every other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from dpsynth import policies


class ReleaseRefused(RuntimeError):
    """The policy does not permit the release. The message has verdicts and no measured value, so a log may show it."""


def gate(evidence: str, policy: str, waivers: str | None = None, results: str | None = None) -> str:
    """Decide on ``evidence`` under ``policy`` and return the digest of the permitted table; ``results`` takes JUnit."""
    decision = policies.evaluate(
        policies.load_evidence(evidence),
        policies.load(policy),
        waivers=policies.load_waivers(waivers) if waivers else (),
        now=datetime.now(UTC),
    )
    if results:
        Path(results).write_text(policies.render(decision, "junit"), encoding="utf-8")
    if not decision.permitted:
        raise ReleaseRefused(policies.render(decision, "text"))
    return str(decision.release["sha256"])
