"""Two policies side by side: which rules tighten or loosen, and what that would have done to past releases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from policies.evaluator import evaluate
from policies.overlays import loosened
from policies.policy import Policy

_NOT_MEANING = ("origin", "title", "source", "hint")


@dataclass(frozen=True)
class RuleChange:
    """How one rule differs. ``direction`` is added, removed, tightened, loosened, mixed or reworded."""

    rule: str
    direction: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Replay:
    """One past release under both policies."""

    release: str
    before: str
    after: str
    rules: tuple[str, ...]  # what keeps it back under the second policy and did not under the first


@dataclass(frozen=True)
class Difference:
    """All that differs between two policies, and past releases decided by both."""

    before: str
    after: str
    changes: tuple[RuleChange, ...]
    terms: tuple[str, ...]
    replays: tuple[Replay, ...]

    @property
    def sentence(self) -> str:
        """The effect on past releases in one sentence."""
        if not self.replays:
            return f"{self.after} has {len(self.changes)} rule(s) unlike {self.before}; no past evidence was given"
        refused = sum(replay.before == "permitted" != replay.after for replay in self.replays)
        allowed = sum(replay.after == "permitted" != replay.before for replay in self.replays)
        return (
            f"of {len(self.replays)} past releases {self.after} would have refused {refused} "
            f"that {self.before} permitted and permitted {allowed} that it refused"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; verdicts and rule ids only."""
        return {
            "before": self.before,
            "after": self.after,
            "sentence": self.sentence,
            "changes": [{"rule": c.rule, "direction": c.direction, "parts": list(c.parts)} for c in self.changes],
            "terms": list(self.terms),
            "replays": [{"release": r.release, "before": r.before, "after": r.after, "rules": list(r.rules)} for r in self.replays],
        }


def diff(before: Policy, after: Policy, evidence: Iterable[Mapping[str, Any]] = (), *, now: datetime) -> Difference:
    """Compare two policies rule by rule and decide each piece of past ``evidence`` by both, without waivers."""
    old = {rule["id"]: rule for rule in before.document["rules"]}
    new = {rule["id"]: rule for rule in after.document["rules"]}
    compared = (_change(key, old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new]))
    changes = [change for change in compared if change]
    terms = [
        f"{section}.{key}: {_at(before, section, key)} -> {_at(after, section, key)}"
        for section in ("context", "defaults", "budget", "waivers")
        for key in dict.fromkeys([*before.document[section], *after.document[section]])
        if _at(before, section, key) != _at(after, section, key)
    ]
    replays = [_replay(item, before, after, now) for item in evidence]
    return Difference(before.id, after.id, tuple(changes), tuple(terms), tuple(replays))


def _change(rule_id: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> RuleChange | None:
    if old is None or new is None:
        return RuleChange(rule_id, "added" if old is None else "removed", ())
    parts = [key for key in dict.fromkeys([*old, *new]) if key != "origin" and old.get(key) != new.get(key)]
    if not parts:
        return None
    if all(part in _NOT_MEANING for part in parts):
        return RuleChange(rule_id, "reworded", tuple(parts))
    looser, tighter = bool(loosened(new, old)), bool(loosened(old, new))
    direction = "mixed" if looser and tighter else "loosened" if looser else "tightened"
    return RuleChange(rule_id, direction, tuple(parts))


def _replay(evidence: Mapping[str, Any], before: Policy, after: Policy, now: datetime) -> Replay:
    first, second = evaluate(evidence, before, now=now), evaluate(evidence, after, now=now)
    held = {finding.rule for finding in first.findings if finding.blocking}
    rules = tuple(f.rule for f in second.findings if f.blocking and f.rule not in held)
    return Replay(str(second.release["id"] or "unnamed"), first.verdict, second.verdict, rules)


def _at(policy: Policy, section: str, key: str) -> Any:
    return policy.document[section].get(key)
