"""What a rule can ask of a value: one small generator per operator, and the table that names them.

Each yields one sentence per way in which ``value`` breaks ``limit`` and nothing when it holds. Sentences quote the
limit, which is public, and never the value, which may be measured on real records. A value an operator cannot judge
raises ``Unjudgeable``, which the evaluator reports as indeterminate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from policies.metrics import GRANULARITIES, Kind, to_number


class Unjudgeable(Exception):
    """The value and the limit cannot be compared."""


def at_most(limit: Any, value: Any) -> Iterator[str]:
    """Holds where ``value <= limit``, in exact decimals."""
    if not _number(value) <= _number(limit):
        yield f"must be <= {limit}"


def below(limit: Any, value: Any) -> Iterator[str]:
    """Holds where ``value < limit``, in exact decimals."""
    if not _number(value) < _number(limit):
        yield f"must be < {limit}"


def at_least(limit: Any, value: Any) -> Iterator[str]:
    """Holds where ``value >= limit``, in exact decimals."""
    if not _number(value) >= _number(limit):
        yield f"must be >= {limit}"


def above(limit: Any, value: Any) -> Iterator[str]:
    """Holds where ``value > limit``, in exact decimals."""
    if not _number(value) > _number(limit):
        yield f"must be > {limit}"


def equal(limit: Any, value: Any) -> Iterator[str]:
    """Holds where the two are `same`."""
    if not same(limit, value):
        yield f"must be {_show(limit)}"


def member(limit: Any, value: Any) -> Iterator[str]:
    """Holds where ``value`` is `same` as an item of ``limit``."""
    if not any(same(item, value) for item in limit):
        yield f"must be one of {_show(limit)}"


def subset_of(limit: Any, value: Any) -> Iterator[str]:
    """Holds where every item of the list ``value`` is in ``limit``; the sentence counts those that are not."""
    if not isinstance(value, list | tuple):
        raise Unjudgeable("it is not a list")
    extra = sum(not any(same(item, allowed) for allowed in limit) for item in value)
    if extra:
        yield f"must be among {_show(limit)}; {extra} of its entries are not"


def coarser_or_equal(limit: Any, value: Any) -> Iterator[str]:
    """Holds where ``value`` comes at or after ``limit`` in `GRANULARITIES`, finest first."""
    if value not in GRANULARITIES or limit not in GRANULARITIES:
        raise Unjudgeable("it is not a known granularity")
    if GRANULARITIES.index(value) < GRANULARITIES.index(limit):
        yield f"must be {limit} or coarser"


def report_only(limit: Any, value: Any) -> Iterator[str]:
    """Holds whatever the value is: the figure is shown, and only its absence can matter."""
    yield from ()


OPERATORS: dict[str, Callable[[Any, Any], Iterator[str]]] = {
    "<": below,
    "<=": at_most,
    "==": equal,
    ">": above,
    ">=": at_least,
    "coarser_or_equal": coarser_or_equal,
    "in": member,
    "report_only": report_only,
    "subset_of": subset_of,
}

# What each operator can be asked of. An audit is a number, except when the statistic is its verdict.
JUDGES: dict[str, frozenset[Kind]] = {
    "<": frozenset({Kind.NUMBER, Kind.AUDIT}),
    "<=": frozenset({Kind.NUMBER, Kind.AUDIT}),
    "==": frozenset({Kind.NUMBER, Kind.TEXT, Kind.FLAG, Kind.LIST}),
    ">": frozenset({Kind.NUMBER, Kind.AUDIT}),
    ">=": frozenset({Kind.NUMBER, Kind.AUDIT}),
    "coarser_or_equal": frozenset({Kind.GRANULARITY}),
    "in": frozenset({Kind.NUMBER, Kind.TEXT, Kind.FLAG, Kind.AUDIT}),
    "report_only": frozenset(Kind),
    "subset_of": frozenset({Kind.LIST}),
}


def same(a: Any, b: Any) -> bool:
    """Equality that keeps true apart from 1, and compares numbers by value and lists item by item."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, str) != isinstance(b, str):
        return False
    if isinstance(a, str):
        return bool(a == b)
    x, y = to_number(a), to_number(b)
    return x is not None and x == y


def _number(value: Any) -> Decimal:
    number = to_number(value)
    if number is None:
        raise Unjudgeable("it is not a finite number")
    return number


def _show(limit: Any) -> str:
    if isinstance(limit, list | tuple):
        return ", ".join(_show(item) for item in limit) if limit else "empty"
    return {True: "true", False: "false"}[limit] if isinstance(limit, bool) else str(limit)
