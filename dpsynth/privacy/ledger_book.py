"""What the rows of a ledger mean: replays them, in order, into budgets, reservations and caps.

Pure: no file, no clock, no noise. A row that breaks the chain, or a reservation's life, raises ``LedgerCorrupt``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from functools import cache
from typing import Any, Final

from dpsynth.errors import ConfigError, LedgerError
from dpsynth.privacy.budget import epsilon_of, log_delta, rho_of

FORMAT: Final = "dpsynth.ledger/1"
GENESIS_PREV: Final = "0" * 64
OUTCOMES: Final = ("permitted", "denied", "indeterminate", "ungated")
BASIC: Final = "basic"  # epsilons and deltas add up
ZCDP: Final = "zcdp"  # rhos add up, and the sum is converted at the delta of the cap

Amount = Decimal | str | int | float
Key = tuple[str, str]  # (population, privacy unit)

# 12 decimals (epsilon), 18 (rho) or 12 significant digits down to 1e-72 (delta): 120 digits add them exactly.
_EXACT = Context(prec=120)
_PLACES = Decimal("1e-12")
_RHO_PLACES = Decimal("1e-18")  # a small epsilon has a rho near its square, and a cap must hold a release of its own size
_SMALLEST_DELTA = Decimal("1e-60")


class LedgerCorrupt(LedgerError):
    """The ledger file is damaged, edited or truncated, or is not a ledger."""


def epsilon_amount(value: Amount, name: str = "epsilon") -> Decimal:
    """``value`` as a positive decimal, rounded up to 12 places."""
    amount = _decimal(value, name)
    if not 0 < amount <= 1_000_000:
        raise ConfigError(f"{name}={value} must be > 0 and <= 1000000")
    return amount.quantize(_PLACES, ROUND_CEILING, _EXACT)


def delta_amount(value: Amount, name: str = "delta") -> Decimal:
    """``value`` as a decimal in [0, 1), rounded up to 12 significant digits; zero stays zero."""
    amount = _decimal(value, name)
    if not 0 <= amount < 1:
        raise ConfigError(f"{name}={value} must be >= 0 and < 1")
    if amount == 0:
        return Decimal(0)
    return Context(prec=12, rounding=ROUND_CEILING).plus(max(amount, _SMALLEST_DELTA))


def rho_amount(value: Amount) -> Decimal:
    """``value`` as a decimal >= 0, rounded up to 18 places."""
    amount = _decimal(value, "rho")
    if not 0 <= amount <= 1_000_000:
        raise ConfigError(f"rho={value} must be >= 0 and <= 1000000")
    return amount.quantize(_RHO_PLACES, ROUND_CEILING, _EXACT)


def plain(amount: Decimal) -> str:
    """``amount`` without exponent or trailing zeros, e.g. ``0.000001``."""
    return format(amount.normalize(_EXACT), "f")


def _decimal(value: Amount, name: str) -> Decimal:
    """A float is read as the decimal it prints as: whoever writes 0.1 ten times under a cap of 1 means exactly that."""
    if isinstance(value, bool):
        raise ConfigError(f"{name}={value} must be a number")
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except (InvalidOperation, TypeError, ValueError):
        raise ConfigError(f"{name} must be a decimal number, e.g. '0.5'") from None
    if not amount.is_finite():
        raise ConfigError(f"{name}={value} must be finite")
    return amount


def add(left: Decimal, right: Decimal) -> Decimal:
    """The exact sum."""
    return _EXACT.add(left, right)


@cache
def _rho_allowed(epsilon: Decimal, delta: Decimal) -> Decimal:
    """The largest rho of 18 places that implies (``epsilon``, ``delta``).

    A release at exactly the cap has its rho rounded up at the 18th place, so that place is tried first, and taken only
    where the conversion itself allows it.
    """
    largest = Decimal(repr(rho_of(float(epsilon), float(delta))))
    above = largest.quantize(_RHO_PLACES, ROUND_CEILING, _EXACT)
    if log_delta(float(above), float(epsilon)) <= math.log(float(delta)):
        return above
    return largest.quantize(_RHO_PLACES, ROUND_FLOOR, _EXACT)


@dataclass(frozen=True)
class Cap:
    """The most that may ever be spent on one population and unit, and how its charges are added up.

    The rule of addition is part of the cap, because it must be chosen before the charges are: whoever picks the better
    of two valid sums after seeing results gets the guarantee of neither.
    """

    epsilon: Decimal
    delta: Decimal
    composition: str = BASIC

    def __post_init__(self) -> None:
        if self.composition not in (BASIC, ZCDP):
            raise ConfigError(f"composition={self.composition} must be {BASIC} or {ZCDP}")
        if self.composition == ZCDP and self.delta == 0:
            raise ConfigError(f"composition={ZCDP} needs delta > 0: rho is converted to epsilon at it")

    @property
    def rho(self) -> Decimal:
        """The largest sum of rhos under this cap (``zcdp`` only)."""
        return _rho_allowed(self.epsilon, self.delta)

    def stricter(self, other: Cap | None) -> Cap:
        """The smaller of both, bound by bound, added up as this one says."""
        if other is None:
            return self
        return Cap(min(self.epsilon, other.epsilon), min(self.delta, other.delta), self.composition)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: epsilon as a number, delta as a decimal string, as everywhere in evidence."""
        return {"epsilon": float(self.epsilon), "delta": plain(self.delta), "composition": self.composition}


@dataclass(frozen=True)
class Charges:
    """The sums over a set of charges, from which every composition reads its total.

    ``rho`` is None as soon as one charge came without one. ``kinds`` are the distinct ``accounting`` words of the
    charges: rhos of different kinds (another neighbour relation, say) are not the same quantity and do not add up.
    """

    epsilon: Decimal = Decimal(0)
    delta: Decimal = Decimal(0)
    rho: Decimal | None = Decimal(0)
    kinds: frozenset[str | None] = frozenset()

    def plus(self, epsilon: Decimal, delta: Decimal, rho: Decimal | None, kind: str | None) -> Charges:
        """With one more charge."""
        return Charges(
            add(self.epsilon, epsilon),
            add(self.delta, delta),
            None if self.rho is None or rho is None else add(self.rho, rho),
            self.kinds | {kind},
        )

    def total(self, cap: Cap | None) -> tuple[Decimal, Decimal]:
        """(epsilon, delta) of all charges together, by the composition of ``cap``."""
        if cap is None or cap.composition == BASIC or not self.kinds:
            return self.epsilon, self.delta
        rho = self.summed_rho("the population")
        epsilon = Decimal(repr(epsilon_of(float(rho), float(cap.delta))))
        return epsilon.quantize(_PLACES, ROUND_CEILING, _EXACT), cap.delta

    def summed_rho(self, whose: str) -> Decimal:
        """The sum of rhos, or ``LedgerError`` where they do not form one."""
        if self.rho is None or None in self.kinds:
            raise LedgerError(f"{whose} is composed by {ZCDP}, but a charge has no rho or does not say its accounting")
        if len(self.kinds) > 1:
            raise LedgerError(f"{whose} is composed by {ZCDP}, but its charges differ in kind: {', '.join(sorted(map(str, self.kinds)))}")
        return self.rho


@dataclass(frozen=True)
class Spent:
    """What a population has been charged: (``epsilon``, ``delta``) by the ``composition`` of its cap.

    ``rho`` adds up too (zCDP composes by addition) and is None as soon as one charge came without one.
    ``releases`` left the building, ``attempts`` were charged, ``unfinished`` of them neither committed nor abandoned.
    """

    epsilon: Decimal = Decimal(0)
    delta: Decimal = Decimal(0)
    rho: Decimal | None = Decimal(0)
    releases: int = 0
    attempts: int = 0
    unfinished: int = 0
    composition: str = BASIC

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: epsilon and rho as numbers, delta as a decimal string."""
        return {
            "epsilon": float(self.epsilon),
            "delta": plain(self.delta),
            "rho": None if self.rho is None else float(self.rho),
            "composition": self.composition,
            "releases": self.releases,
            "attempts": self.attempts,
            "unfinished": self.unfinished,
        }


@dataclass
class Entry:
    """The life of one reservation as the rows tell it."""

    id: str
    key: Key
    epsilon: Decimal
    delta: Decimal
    rho: Decimal | None
    purpose: str
    attempt: int
    idempotency_key: str | None
    accounting: str | None
    epoch: int
    seq: int
    state: str = "reserved"
    was_read: bool = False
    outcome: str | None = None

    @property
    def charged(self) -> bool:
        """False only if it was abandoned before any record was read."""
        return self.state != "abandoned" or self.was_read


@dataclass
class Book:
    """The state after a prefix of the rows. ``apply`` takes the next row; everything else answers questions."""

    ledger: str = ""
    head: str = GENESIS_PREV
    seq: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)
    caps: dict[Key, Cap] = field(default_factory=dict)
    epochs: dict[Key, int] = field(default_factory=dict)
    overlaps: dict[Key, set[Key]] = field(default_factory=dict)
    hashes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def replay(cls, rows: Iterable[tuple[int, str, str, str]]) -> Book:
        """The book after all ``rows`` of (seq, body, prev, hash); each link of the chain is recomputed."""
        book = cls()
        for seq, body, prev, digest in rows:
            if seq != book.seq + 1:
                raise LedgerCorrupt(f"ledger row {book.seq + 1} is missing; restore the file from a backup")
            if prev != book.head or digest != link(prev, body):
                raise LedgerCorrupt(f"ledger row {seq} was edited: the hash chain breaks there; restore a backup")
            book.apply(body)
        if not book.seq:
            raise LedgerCorrupt("the ledger has no rows; restore the file from a backup")
        return book

    def apply(self, body: str) -> None:
        """Take the row ``body`` (canonical JSON) as the next one."""
        seq = self.seq + 1
        try:
            row = json.loads(body)
            if row["seq"] != seq:
                raise LedgerCorrupt(f"ledger row {seq} is numbered {row['seq']}")
            _APPLY[row["kind"]](self, row)
        except (KeyError, TypeError, ValueError, InvalidOperation):
            raise LedgerCorrupt(f"ledger row {seq} is malformed; restore the file from a backup") from None
        self.head = link(self.head, body)
        self.hashes[self.head] = seq
        self.seq = seq

    def charged(self, key: Key, without: Entry | None = None) -> list[Entry]:
        """All charges to ``key`` since its last epoch, and every charge ever made to what overlaps it.

        A person of both pays for both. An epoch says nothing about the other population's past: it cuts nothing there.
        """
        epoch = self.epochs.get(key, 0)
        neighbours = self.overlaps.get(key, set())
        return [
            e
            for e in self.entries.values()
            if e.charged and e is not without and ((e.key == key and e.epoch == epoch) or e.key in neighbours)
        ]

    def charges(self, key: Key, without: Entry | None = None) -> Charges:
        """The sums over ``charged``."""
        sums = Charges()
        for entry in self.charged(key, without):
            sums = sums.plus(entry.epsilon, entry.delta, entry.rho, entry.accounting)
        return sums

    def spent(self, key: Key, without: Entry | None = None) -> Spent:
        """The totals of ``key``, by the composition of its cap."""
        entries, sums, cap = self.charged(key, without), self.charges(key, without), self.caps.get(key)
        epsilon, delta = sums.total(cap)
        return Spent(
            epsilon,
            delta,
            sums.rho,
            releases=sum(e.outcome in ("permitted", "ungated") for e in entries),
            attempts=len(entries),
            unfinished=sum(e.state in ("reserved", "read") for e in entries),
            composition=BASIC if cap is None else cap.composition,
        )

    def attempts(self, key: Key, purpose: str) -> int:
        """How often ``purpose`` was tried on ``key`` since it last succeeded; ungated runs learn no verdict."""
        count, epoch = 0, self.epochs.get(key, 0)
        for entry in self.entries.values():
            if (entry.key, entry.purpose, entry.epoch) != (key, purpose, epoch):
                continue
            if entry.charged and entry.outcome != "ungated":
                count = 0 if entry.outcome == "permitted" else count + 1
        return count

    def by_idempotency_key(self, idempotency_key: str) -> Entry | None:
        """The reservation made under this key, if any."""
        return next((e for e in self.entries.values() if e.idempotency_key == idempotency_key), None)

    def _genesis(self, row: Mapping[str, Any]) -> None:
        if self.seq or row["format"] != FORMAT:
            raise LedgerCorrupt(f"ledger format {row['format']} is not {FORMAT}")
        self.ledger = row["ledger"]

    def _cap(self, row: Mapping[str, Any]) -> None:
        epsilon, delta = _stored(row["epsilon"], epsilon_amount), _stored(row["delta"], delta_amount)
        self.caps[_key(row)] = Cap(epsilon, delta, row.get("composition", BASIC))

    def _epoch(self, row: Mapping[str, Any]) -> None:
        key = _key(row)
        self.epochs[key] = self.epochs.get(key, 0) + 1

    def _overlap(self, row: Mapping[str, Any]) -> None:
        key, other = _key(row), (row["other"], row["unit"])
        self.overlaps.setdefault(key, set()).add(other)
        self.overlaps.setdefault(other, set()).add(key)

    def _reserved(self, row: Mapping[str, Any]) -> None:
        if row["id"] in self.entries:
            raise LedgerCorrupt(f"ledger row {row['seq']} reserves {row['id']} a second time")
        key = _key(row)
        self.entries[row["id"]] = Entry(
            id=row["id"],
            key=key,
            epsilon=_stored(row["epsilon"], epsilon_amount),
            delta=_stored(row["delta"], delta_amount),
            rho=None if row["rho"] is None else _stored(row["rho"], rho_amount),
            purpose=row["purpose"],
            attempt=row["attempt"],
            idempotency_key=row["idempotency_key"],
            accounting=row.get("accounting"),
            epoch=self.epochs.get(key, 0),
            seq=row["seq"],
        )

    def _read(self, row: Mapping[str, Any]) -> None:
        entry = self._live(row, "reserved")
        entry.state, entry.was_read = "read", True

    def _committed(self, row: Mapping[str, Any]) -> None:
        entry = self._live(row, "read")
        if row["outcome"] not in OUTCOMES:
            raise LedgerCorrupt(f"ledger row {row['seq']} has an unknown outcome")
        entry.state, entry.outcome = "committed", row["outcome"]

    def _abandoned(self, row: Mapping[str, Any]) -> None:
        self._live(row, "reserved", "read").state = "abandoned"

    def _live(self, row: Mapping[str, Any], *states: str) -> Entry:
        entry = self.entries.get(row["id"])
        if entry is None or entry.state not in states:
            raise LedgerCorrupt(f"ledger row {row['seq']} ({row['kind']}) breaks the life of reservation {row['id']}")
        return entry


_APPLY: Final = {
    "genesis": Book._genesis,
    "cap": Book._cap,
    "epoch": Book._epoch,
    "overlap": Book._overlap,
    "reserved": Book._reserved,
    "read": Book._read,
    "committed": Book._committed,
    "abandoned": Book._abandoned,
}


def link(prev: str, body: str) -> str:
    """The hash of a row: SHA-256 over the previous hash and the row's text."""
    return hashlib.sha256(f"{prev}\n{body}".encode()).hexdigest()


def canonical(row: Mapping[str, Any]) -> str:
    """The one text of a row: sorted keys, no spaces, no NaN."""
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _stored(text: str, parse: Callable[[str], Decimal]) -> Decimal:
    amount = parse(text)
    if plain(amount) != text:
        raise ValueError(text)
    return amount


def _key(row: Mapping[str, Any]) -> Key:
    return row["population"], row["unit"]
