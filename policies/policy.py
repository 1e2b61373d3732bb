"""A loaded policy: every threshold explicit, every part of it traceable to the document it came from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from policies.documents import digest
from policies.errors import PolicyError

SEVERITIES = ("info", "minor", "major", "critical", "blocker")  # from lightest
FAIL_ON = ("warn", *SEVERITIES)  # from strictest: "warn" lets no warning through


@dataclass(frozen=True)
class Source:
    """Where a threshold comes from. ``kind`` is law, guidance, practice or house: no house number dresses up as law."""

    kind: str
    text: str
    url: str | None = None

    def to_dict(self) -> dict[str, str]:
        """Plain JSON, without a url where there is none."""
        return {"kind": self.kind, "text": self.text} | ({"url": self.url} if self.url else {})


@dataclass(frozen=True)
class Rule:
    """One rule with its defaults filled in; ``origin`` names, per part, the policy that set it."""

    id: str
    title: str
    metric: str
    op: str
    severity: str
    source: Source
    on_missing: str
    on_indeterminate: str
    on_false: str
    value: Any = None
    ref: str | None = None
    warn: Any = None
    statistic: str | None = None
    min_attacks: int = 0
    confidence: float = 0.95
    hint: str | None = None
    origin: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Rule:
        """The rule of an effective document, where every default stands."""
        return cls(**{**document, "source": Source(**document["source"])})


@dataclass(frozen=True)
class Policy:
    """A policy after ``extends``: rules in order, terms for waivers, caps on the lifetime budget.

    ``document`` is the effective policy as plain JSON. It is a policy file itself: saved and loaded again it has the
    same ``digest``. ``chain`` lists what it was made of, roots first. ``files`` says where each part that is not
    shipped was read.
    """

    document: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.document["policy"])

    @property
    def version(self) -> str:
        return str(self.document["version"])

    @property
    def title(self) -> str:
        return str(self.document["title"])

    @property
    def id(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @cached_property
    def digest(self) -> str:
        """``sha256:...`` of the effective document; what a pin in ``extends`` and a certificate quote."""
        return digest(self.document)

    @property
    def chain(self) -> tuple[str, ...]:
        return tuple(self.document["chain"])

    @property
    def context(self) -> Mapping[str, Any]:
        """``release``, ``sector``, ``sensitivity``, ``export``: those that the policy sets."""
        return dict(self.document["context"])

    @property
    def budget(self) -> Mapping[str, Any]:
        """``lifetime_epsilon``, ``lifetime_delta`` (decimal string), ``max_attempts``: those that the policy sets."""
        return dict(self.document["budget"])

    @property
    def sources(self) -> Mapping[str, Source]:
        """On whose word the terms stand, by their path: ``budget.lifetime_epsilon``, ``waivers.max_days``."""
        return {key: Source(**source) for key, source in self.document["sources"].items()}

    @property
    def fail_on(self) -> str:
        """Failures of this severity and above deny; lighter ones are warnings."""
        return str(self.document["defaults"]["fail_on"])

    @property
    def max_waiver_days(self) -> int:
        """Most days between the start of a waiver and its end."""
        return int(self.document["waivers"]["max_days"])

    @property
    def min_approvers(self) -> int:
        """How many people must approve a waiver, who asks for it not counted."""
        return int(self.document["waivers"]["min_approvers"])

    @property
    def non_waivable(self) -> frozenset[str]:
        """Ids of the rules that no waiver lifts."""
        return frozenset(self.document["waivers"]["non_waivable"])

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(Rule.from_dict(rule) for rule in self.document["rules"])

    def rule(self, rule_id: str) -> Rule:
        """The rule with this id, whatever the case of the letters."""
        for rule in self.rules:
            if rule.id == rule_id.upper():
                return rule
        raise PolicyError(f"policy {self.id} has no rule '{rule_id}'; it has {', '.join(rule.id for rule in self.rules)}")

    def to_dict(self) -> dict[str, Any]:
        """A copy of the effective document."""
        return copy.deepcopy(dict(self.document))
