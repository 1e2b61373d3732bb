"""What a policy decided: one finding per rule, in the policy's order, and what follows from them together.

A refused release is a ``Decision``, never an exception. Messages quote limits and never measured values; ``value``,
``interval`` and ``n`` are functions of real records and leave ``to_dict`` only for ``disclosure="reviewer"``.
"""

from __future__ import annotations

import math
import numbers
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.errors import PolicyError
from policies.policy import Source

DISCLOSURES = ("verdicts", "reviewer")
STATUSES = ("fail", "indeterminate", "waived", "warn", "info", "pass")  # in the order a reader wants them


@dataclass(frozen=True)
class Finding:
    """What one rule said.

    ``status`` is pass, warn, fail, indeterminate, waived or info. Exactly ``fail`` and ``indeterminate`` keep a
    release from leaving; what a policy chooses to tolerate is a ``warn``. ``threshold`` is None where the rule
    compares with other evidence (``ref``).
    """

    rule: str
    title: str
    severity: str
    status: str
    metric: str
    op: str
    threshold: Any
    value: Any
    message: str
    source: Source
    statistic: str | None = None
    ref: str | None = None
    warn: Any = None
    interval: list[Any] | None = None
    n: int | None = None
    hint: str | None = None
    origin: str = ""
    waiver: str | None = None

    @property
    def blocking(self) -> bool:
        """Whether it stands against a release: what could not be judged does so as what failed."""
        return self.status in ("fail", "indeterminate")

    def to_dict(self, disclosure: str = "reviewer") -> dict[str, Any]:
        """Plain JSON; with ``disclosure="verdicts"`` nothing in it was measured on real records."""
        out = {
            "rule": self.rule,
            "title": self.title,
            "severity": self.severity,
            "status": self.status,
            "blocking": self.blocking,
            "metric": self.metric,
            "statistic": self.statistic,
            "op": self.op,
            "threshold": self.threshold,
            "ref": self.ref,
            "warn": self.warn,
            "message": self.message,
            "hint": self.hint,
            "source": self.source.to_dict(),
            "origin": self.origin,
            "waiver": self.waiver,
        }
        if check_disclosure(disclosure) == "reviewer":
            out |= {"value": self.value, "interval": self.interval, "n": self.n}
        return out


@dataclass(frozen=True)
class WaiverUse:
    """Whether a waiver that was handed in counted, and if not, why. ``terms`` is what it says: why it was given, by whom, up to what."""

    id: str
    rule: str
    applied: bool
    reason: str
    expires: str
    terms: Mapping[str, Any]

    def to_dict(self, disclosure: str = "reviewer") -> dict[str, Any]:
        """Plain JSON; people and reasons are for reviewers."""
        out = {"id": self.id, "rule": self.rule, "applied": self.applied, "reason": self.reason, "expires": self.expires}
        return {**out, "terms": dict(self.terms)} if check_disclosure(disclosure) == "reviewer" else out


@dataclass(frozen=True)
class Decision:
    """The answer of one policy about one release.

    ``exit_code`` is 0 permitted, 1 denied, 3 indeterminate; as 3 outranks 1, a release with failures *and* missing
    evidence is indeterminate.
    """

    permitted: bool
    verdict: str
    exit_code: int
    findings: tuple[Finding, ...]
    policy: Mapping[str, Any]
    release: Mapping[str, Any]
    fail_on: str
    evaluated: str
    waivers: tuple[WaiverUse, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Findings per status, every status named."""
        found = Counter(finding.status for finding in self.findings)
        return {status: found[status] for status in STATUSES}

    def finding(self, rule_id: str) -> Finding:
        """The finding of one rule."""
        for finding in self.findings:
            if finding.rule == rule_id:
                return finding
        raise PolicyError(f"the decision has no finding for rule '{rule_id}'")

    def to_dict(self, disclosure: str = "reviewer") -> dict[str, Any]:
        """Plain JSON after ``policies/schemas/decision-1.schema.json``."""
        return {
            "$schema": "dpsynth.decision/1",
            "disclosure": check_disclosure(disclosure),
            "permitted": self.permitted,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "policy": dict(self.policy),
            "release": dict(self.release),
            "fail_on": self.fail_on,
            "evaluated": self.evaluated,
            "counts": self.counts,
            "findings": [finding.to_dict(disclosure) for finding in self.findings],
            "waivers": [use.to_dict(disclosure) for use in self.waivers],
        }


def plain(value: Any) -> Any:
    """A piece of evidence as JSON can write it: what is not finite, or not JSON at all, becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) and math.isfinite(value) else None


def check_disclosure(disclosure: str) -> str:
    """``verdicts`` or ``reviewer``; anything else is refused, so that a typing error never shows more."""
    if disclosure not in DISCLOSURES:
        raise PolicyError(f"disclosure='{disclosure}' must be one of {', '.join(DISCLOSURES)}")
    return disclosure
