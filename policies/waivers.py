"""Exceptions with a name, a reason, a second person and an end.

A waiver is bound to one table by its digest. It fails closed: a date that cannot be read counts as expired, the day
it expires on still counts, whoever asks cannot approve, and some rules take no waiver at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from policies import documents
from policies.errors import PolicyError
from policies.metrics import to_number
from policies.operators import OPERATORS, Unjudgeable
from policies.policy import Policy, Rule

_SOON = 14  # days before the end from which a waiver says so
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class Waiver:
    """Permission to release ``subject_sha256`` although ``rule`` does not hold, until ``expires`` (that day included,
    UTC).

    ``max_value`` is the worst value still covered: the most for a rule with an upper limit, the least for one with a
    lower limit.
    """

    id: str
    rule: str
    subject_sha256: str
    reason: str
    requested_by: str
    approved_by: tuple[str, ...]
    created: str
    expires: str
    max_value: float | str | None = None
    ticket: str | None = None

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Waiver:
        """One entry of a waiver file that was already checked."""
        return cls(**{**document, "approved_by": tuple(document["approved_by"])})

    @property
    def terms(self) -> dict[str, Any]:
        """Why it was given, by whom and up to what."""
        return {
            "reason": self.reason,
            "requested_by": self.requested_by,
            "approved_by": list(self.approved_by),
            "created": self.created,
            "max_value": self.max_value,
            "ticket": self.ticket,
        }

    def refusal(self, policy: Policy, rule: Rule, *, subject: Any, value: Any, judged: bool, today: date) -> str | None:
        """Why this waiver does not cover this failure of ``rule``; None when it does.

        ``judged`` is False when there was no usable evidence; then a waiver with ``max_value`` has nothing to hold
        against it.
        """
        created, expires = _day(self.created), _day(self.expires)
        people = {_person(name) for name in self.approved_by}
        if rule.id in policy.non_waivable:
            return f"rule {rule.id} takes no waiver"
        if self.subject_sha256 != subject:
            return "it is for another table"
        if expires is None:
            return "its expiry date cannot be read, which counts as expired"
        if created is None:
            return "its creation date cannot be read"
        if today > expires:
            return f"it expired on {expires}"
        if today < created:
            return f"it starts on {created}"
        if (expires - created).days > policy.max_waiver_days:
            return f"it runs for more than the {policy.max_waiver_days} days the policy allows"
        if _person(self.requested_by) in people:
            return "whoever requested it also approved it"
        if len(people) < policy.min_approvers:
            return f"it has {len(people)} of the {policy.min_approvers} approvers the policy asks for"
        if self.max_value is None:
            return None
        if not judged or rule.op not in ("<", "<=", ">", ">=") or to_number(value) is None:
            return "it has a max_value but there is no figure to hold against it"
        bound = "<=" if rule.op.startswith("<") else ">="
        try:
            return "the value is beyond its max_value" if list(OPERATORS[bound](self.max_value, value)) else None
        except Unjudgeable:
            return "its max_value cannot be compared with the value"

    def remark(self, today: date) -> str:
        """What the finding says of an applied waiver."""
        expires = _day(self.expires)
        left = (expires - today).days if expires else 0
        soon = f", in {left} days" if left <= _SOON else ""
        return f"waived by {self.id}, which expires on {self.expires}{soon}"


def load_waivers(path: str | os.PathLike[str]) -> tuple[Waiver, ...]:
    """The waivers of a file, in order. Whether each applies is decided when a release is evaluated."""
    return read_waivers(documents.read(Path(path), what="waiver file"), what=f"waiver file '{os.fspath(path)}'")


def read_waivers(document: Any, *, what: str = "waiver file") -> tuple[Waiver, ...]:
    """The waivers of an already parsed document."""
    documents.validate(document, "waivers-1", what=what)
    out = tuple(Waiver.from_dict(item) for item in document["waivers"])
    check_unique(out, what)
    return out


def check_unique(waivers: Iterable[Waiver], what: str = "waivers") -> None:
    """Two waivers with one id cannot be told apart afterwards."""
    seen: set[str] = set()
    for waiver in waivers:
        if waiver.id in seen:
            raise PolicyError(f"{what}: waiver '{waiver.id}' stands twice")
        seen.add(waiver.id)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _ISO_DATE.fullmatch(text) else None
    except ValueError:
        return None


def _person(name: str) -> str:
    return " ".join(name.split()).casefold()
