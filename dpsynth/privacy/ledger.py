"""The privacy budget of a population across releases: append-only, hash-chained, charged before data is read.

A charge outlives the process that made it. Only an explicit ``abandon`` gives it back, and only if data was never read.
Rows are never changed. Times come from the system clock and carry no weight in any decision.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from dpsynth.errors import ConfigError, LedgerError
from dpsynth.privacy.budget import rho_of
from dpsynth.privacy.ledger_book import (
    BASIC,
    FORMAT,
    OUTCOMES,
    ZCDP,
    Amount,
    Book,
    Cap,
    Charges,
    Entry,
    Key,
    LedgerCorrupt,
    Spent,
    canonical,
    delta_amount,
    epsilon_amount,
    link,
    plain,
    rho_amount,
)
from dpsynth.privacy.ledger_postgres import SCHEMES, PostgresStore
from dpsynth.privacy.ledger_sqlite import SqliteStore
from dpsynth.privacy.ledger_store import LedgerLocked, Row, Store

__all__ = [
    "MAX_ATTEMPTS",
    "AttemptsExhausted",
    "BudgetExhausted",
    "Cap",
    "Ledger",
    "LedgerCheck",
    "LedgerCorrupt",
    "LedgerLocked",
    "Reservation",
    "Spent",
    "WhatIf",
]

MAX_ATTEMPTS = 3
"""How often one purpose may be tried without a permitted release, where no policy says."""


class BudgetExhausted(LedgerError):
    """The charge would exceed a cap. Nothing was charged and nothing may be read."""


class AttemptsExhausted(LedgerError):
    """This purpose was tried too often: repeating a release until its audits pass is selection on private data."""


@dataclass(frozen=True)
class Reservation:
    """A charge. ``state`` is reserved, read or committed; ``head`` is the ledger's head right after that was written.

    ``before`` and ``after`` are the population's totals around the reservation; ``cap`` is what it was held against
    (None: no cap was set).
    """

    id: str
    population: str
    unit: str
    epsilon: Decimal
    delta: Decimal
    rho: Decimal | None
    purpose: str
    attempt: int
    state: str
    head: str
    before: Spent
    after: Spent
    cap: Cap | None


@dataclass(frozen=True)
class WhatIf:
    """Whether a charge would be granted now. ``releases_left`` counts equal charges still possible (None: no cap)."""

    allowed: bool
    before: Spent
    epsilon_after: Decimal
    delta_after: Decimal
    cap: Cap | None
    releases_left: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: epsilon as a number, delta as a decimal string."""
        return {
            "allowed": self.allowed,
            "before": self.before.to_dict(),
            "after": {"epsilon": float(self.epsilon_after), "delta": plain(self.delta_after)},
            "cap": None if self.cap is None else self.cap.to_dict(),
            "releases_left": self.releases_left,
        }


@dataclass(frozen=True)
class LedgerCheck:
    """What ``verify`` found sound. ``unanchored`` certificates carry no ledger head, so nothing could be compared."""

    ledger: str
    rows: int
    head: str
    certificates: int
    unanchored: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Ledger:
    """A ledger in a file or a database. Every call connects, locks, replays the whole chain, writes and closes.

    >>> import tempfile
    >>> ledger = Ledger.open(Path(tempfile.mkdtemp()) / "releases.ledger")
    >>> ticket = ledger.reserve("patients", "person", "0.5", "1e-6", None, cap=("1", "1e-5"), purpose="teaching file")
    >>> ticket = ledger.mark_read(ticket)  # from here on the charge stays
    >>> ticket = ledger.commit(ticket, outcome="permitted")
    >>> ledger.spent("patients", "person").to_dict()["epsilon"]
    0.5
    """

    store: Store

    @classmethod
    def open(cls, path_or_url: str | os.PathLike[str], *, create: bool = True, timeout: float = 30.0) -> Ledger:
        """The ledger at ``path_or_url``, its chain checked; ``create`` makes one if none is there.

        A path is a SQLite file (made with mode 0600), ``postgresql://user@host/database`` a table of that database.
        """
        ref = os.fspath(path_or_url)
        store: Store
        if ref.startswith(SCHEMES):
            store = PostgresStore.open(ref, first=_genesis, create=create, timeout=timeout)
        elif "://" in ref:
            raise LedgerError("a ledger is a SQLite file or a postgresql:// URL; this URL is of another kind")
        else:
            store = SqliteStore.open(Path(ref), first=_genesis, create=create, timeout=timeout)
        ledger = cls(store)
        ledger._book()
        return ledger

    @property
    def name(self) -> str:
        """What to call it in front of people: the path, or server and database without user and password."""
        return self.store.name

    @property
    def head(self) -> str:
        """The hash of the last row. Every certificate carries one, because a chain alone does not show a cut tail."""
        return self._book().head

    def set_cap(
        self,
        population: str,
        unit: str,
        epsilon: Amount,
        delta: Amount,
        *,
        composition: str | None = None,
        reason: str = "",
        approved_by: str = "",
    ) -> Cap:
        """Set the cap of a population and how its charges add up.

        ``composition`` is ``basic`` (epsilons and deltas add up) or ``zcdp`` (rhos add up and are converted at the cap's
        delta); None keeps what is set, else ``basic``. Raising an existing cap, or changing its composition, needs a
        ``reason`` and ``approved_by``, both kept.
        """
        key = _key(population, unit)
        eps, dlt = epsilon_amount(epsilon), delta_amount(delta)
        made: list[Cap] = []

        def rows(book: Book) -> Iterator[dict[str, Any]]:
            old = book.caps.get(key)
            cap = Cap(eps, dlt, composition or (old.composition if old else BASIC))
            raised = old is not None and (cap.composition != old.composition or cap.stricter(old) != cap)
            if old is not None and raised and not (reason.strip() and approved_by.strip()):
                raise LedgerError(
                    f"the cap of population '{population}' is epsilon={plain(old.epsilon)}, delta={plain(old.delta)}, "
                    f"composition={old.composition}; raising or recomposing it needs reason and approved_by"
                )
            if cap.composition == ZCDP:
                book.charges(key).summed_rho(f"population '{population}'")
            made.append(cap)
            yield _cap_row(key, cap, reason, approved_by)

        self._append(rows)
        return made[0]

    def new_epoch(self, population: str, unit: str, *, declaration: str, approved_by: str) -> None:
        """Count ``population`` anew, on the written ``declaration`` that none of its units was in it before."""
        key = _key(population, unit)
        if not (declaration.strip() and approved_by.strip()):
            raise LedgerError("a new epoch needs a declaration that the units are new, and approved_by")
        names = {"population": key[0], "unit": key[1]}
        self._append(lambda book: iter([{"kind": "epoch", **names, "declaration": declaration, "approved_by": approved_by}]))

    def declare_overlap(self, population: str, other: str, unit: str) -> None:
        """Declare that one unit may be in both populations: each pays for the other's releases, past and future."""
        key, second = _key(population, unit), _key(other, unit)
        if key == second:
            raise LedgerError(f"population '{population}' cannot overlap itself")
        row = {"kind": "overlap", "population": population, "other": other, "unit": unit}
        self._append(lambda book: iter([row]))

    def reserve(
        self,
        population: str,
        unit: str,
        epsilon: Amount,
        delta: Amount,
        rho: Amount | None,
        *,
        purpose: str,
        cap: Cap | tuple[Amount, Amount] | None = None,
        max_attempts: int = MAX_ATTEMPTS,
        idempotency_key: str | None = None,
        accounting: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Reservation:
        """Charge (``epsilon``, ``delta``) to ``population`` before any of its records is read, or refuse.

        Charges add up as the population's cap says. Both sums bound adaptively chosen mechanisms and amounts: of epsilon
        and delta by Rogers, Roth, Ullman and Vadhan 2016, "Privacy Odometers and Filters" (basic composition), of rho by
        Feldman and Zrnic 2021 and Whitehouse et al. 2023, Theorem 1. The first ``cap`` given becomes the population's cap;
        later the stricter of the stored and the given one holds. The caps of overlapping populations are held too.
        ``accounting`` names what ``rho`` is about, e.g. ``zCDP, add_remove``; only rhos of one name are ever added.
        ``idempotency_key`` returns the same reservation to a caller that retries before reading; once data was read the
        key is used up. ``meta`` is stored as it is.
        """
        key = _key(population, unit)
        eps, dlt = epsilon_amount(epsilon), delta_amount(delta)
        rho_ = None if rho is None else rho_amount(rho)
        given = _as_cap(cap)
        if max_attempts < 1:
            raise ConfigError(f"max_attempts={max_attempts} must be >= 1")
        stored_meta = _plain_json(meta)
        made: list[Reservation] = []

        def rows(book: Book) -> Iterator[dict[str, Any]]:
            if idempotency_key is not None and (old := book.by_idempotency_key(idempotency_key)) is not None:
                if old.state != "reserved":
                    raise LedgerError(f"idempotency_key belongs to reservation {old.id}, which is {old.state}; use a new key")
                if (old.key, old.epsilon, old.delta, old.rho, old.accounting, old.purpose) != (key, eps, dlt, rho_, accounting, purpose):
                    raise LedgerError(f"idempotency_key belongs to reservation {old.id} of another request; use a new key")
                made.append(_reservation(book, old, book.caps.get(key)))
                return
            attempt = book.attempts(key, purpose) + 1
            if attempt > max_attempts:
                raise AttemptsExhausted(
                    f"'{purpose}' was tried {attempt - 1} times on population '{population}' without a permitted "
                    f"release; max_attempts={max_attempts}, so nothing was charged or read. Repeating until it passes is a choice that "
                    "depends on the records"
                )
            if given is not None and key not in book.caps:
                yield _cap_row(key, given, "first use", "")
            held = book.caps[key].stricter(given) if key in book.caps else None
            _hold(book, key, held, eps, dlt, rho_, accounting)
            for other in sorted(book.overlaps.get(key, ())):
                _hold(book, other, book.caps.get(other), eps, dlt, rho_, accounting)
            id_ = uuid.uuid4().hex
            yield {
                "kind": "reserved",
                "id": id_,
                "population": population,
                "unit": unit,
                "epsilon": plain(eps),
                "delta": plain(dlt),
                "rho": None if rho_ is None else plain(rho_),
                "purpose": purpose,
                "attempt": attempt,
                "idempotency_key": idempotency_key,
                "accounting": accounting,
                "meta": stored_meta,
            }
            made.append(_reservation(book, book.entries[id_], held))

        self._append(rows)
        return made[0]

    def mark_read(self, reservation: Reservation) -> Reservation:
        """Say that data is about to be read: call it on the line above. The charge can no longer be given back.

        Only one caller ever gets past this line for one reservation.
        """
        return self._move(reservation, "read", ("reserved",), {})

    def commit(self, reservation: Reservation, *, outcome: str, meta: Mapping[str, Any] | None = None) -> Reservation:
        """Close a read reservation. ``outcome`` is permitted, denied, indeterminate or ungated (no policy)."""
        if outcome not in OUTCOMES:
            raise ConfigError(f"outcome={outcome} must be one of {', '.join(OUTCOMES)}")
        return self._move(reservation, "committed", ("read",), {"outcome": outcome, "meta": _plain_json(meta)})

    def abandon(self, reservation: Reservation | str, *, reason: str = "") -> bool:
        """Close a reservation (or its id) that came to nothing. True if the charge is given back: data was never read.

        The ledger cannot see whether a process is still alive. Abandoning a reservation that somebody is about to read
        makes their ``mark_read`` fail, so nothing is read for free.
        """
        id_ = reservation if isinstance(reservation, str) else reservation.id
        refunded: list[bool] = []

        def rows(book: Book) -> Iterator[dict[str, Any]]:
            entry = _entry(book, id_, ("reserved", "read"), "abandoned")
            refunded.append(not entry.was_read)
            yield {"kind": "abandoned", "id": id_, "reason": reason}

        self._append(rows)
        return refunded[0]

    def spent(self, population: str, unit: str) -> Spent:
        """Everything charged to ``population`` so far, unfinished reservations included."""
        return self._book().spent(_key(population, unit))

    def what_if(
        self,
        population: str,
        unit: str,
        epsilon: Amount,
        delta: Amount,
        *,
        rho: Amount | None = None,
        accounting: str | None = None,
        cap: Cap | tuple[Amount, Amount] | None = None,
    ) -> WhatIf:
        """Whether ``reserve`` would grant this charge now; writes nothing and promises nothing.

        Under a ``zcdp`` cap, a charge without ``rho`` is taken for the one a release at (``epsilon``, ``delta``) makes, of
        the same accounting as the charges that are there.
        """
        book, key = self._book(), _key(population, unit)
        eps, dlt = epsilon_amount(epsilon), delta_amount(delta)
        given, stored = _as_cap(cap), book.caps.get(key)
        held = given if stored is None else stored.stricter(given)
        pairs = [(key, held), *((other, book.caps.get(other)) for other in book.overlaps.get(key, ()))]
        rho_ = None if rho is None else rho_amount(rho)
        if rho_ is None and dlt > 0 and any(bound and bound.composition == ZCDP for _, bound in pairs):
            rho_ = rho_amount(rho_of(float(eps), float(dlt)))
            accounting = accounting or next((kind for k, _ in pairs for kind in sorted(filter(None, book.charges(k).kinds))), "any")
        left = [_fits(book.charges(k), bound, eps, dlt, rho_, accounting) for k, bound in pairs if bound is not None]
        allowed = not left or min(left) > 0
        after = book.charges(key).plus(eps, dlt, rho_, accounting).total(held)
        return WhatIf(allowed, book.spent(key), after[0], after[1], held, min(left) if left else None)

    def history(self) -> list[dict[str, Any]]:
        """Every row as a plain dict, oldest first, with its hash. Purposes and attempts are not for publication."""
        rows = self.store.rows()
        Book.replay(rows)
        return [{**json.loads(body), "hash": digest} for _, body, _, digest in rows]

    def show(self) -> dict[str, Any]:
        """Totals per population and unit, plain JSON: epsilon and rho as numbers, delta as a decimal string."""
        book = self._book()
        keys = sorted({e.key for e in book.entries.values()} | set(book.caps) | set(book.overlaps))
        return {
            "$schema": "dpsynth.ledger-summary/1",
            "ledger": book.ledger,
            "rows": book.seq,
            "head": book.head,
            "populations": [
                {
                    "population": key[0],
                    "unit": key[1],
                    "epoch": book.epochs.get(key, 0),
                    "overlaps": sorted(other[0] for other in book.overlaps.get(key, ())),
                    "cap": book.caps[key].to_dict() if key in book.caps else None,
                    "spent": book.spent(key).to_dict(),
                    "unfinished": [
                        {"id": e.id, "state": e.state, "epsilon": float(e.epsilon), "purpose": e.purpose}
                        for e in book.entries.values()
                        if e.key == key and e.state in ("reserved", "read")
                    ],
                }
                for key in keys
            ],
        }

    def verify(self, against: Iterable[Mapping[str, Any]] = ()) -> LedgerCheck:
        """Check file, chain and rules; then that each certificate of ``against`` is anchored here.

        ``against`` takes in-toto statements or their predicates (see ``dpsynth.certificate.read``). A head that the
        chain does not hold means that rows were cut off, or the file rewritten, after the certificate was issued.
        """
        self.store.check()
        book = self._book()
        anchored = [_anchored(book, certificate) for certificate in against]
        return LedgerCheck(book.ledger, book.seq, book.head, sum(anchored), len(anchored) - sum(anchored))

    def _move(self, reservation: Reservation, state: str, allowed: tuple[str, ...], more: Mapping[str, Any]) -> Reservation:
        moved: list[Reservation] = []

        def rows(book: Book) -> Iterator[dict[str, Any]]:
            if reservation.head not in book.hashes:
                raise LedgerCorrupt(f"ledger {self.name} lost the row of reservation {reservation.id}; was it replaced?")
            _entry(book, reservation.id, allowed, state)
            yield {"kind": state, "id": reservation.id, **more}
            moved.append(replace(reservation, state=state, head=book.head))

        self._append(rows)
        return moved[0]

    def _append(self, rows: Callable[[Book], Iterator[dict[str, Any]]]) -> None:
        """Run ``rows`` on the current book under the write lock and append what it yields, all or nothing.

        The lock is taken before the book is read, so no two processes decide on the same balance.
        """
        with self.store.writing() as transaction:
            book = Book.replay(transaction.rows)
            for row in rows(book):
                transaction.insert(_next(book, row))

    def _book(self) -> Book:
        return Book.replay(self.store.rows())


def _genesis() -> Row:
    return _next(Book(), {"kind": "genesis", "format": FORMAT, "ledger": uuid.uuid4().hex})


def _next(book: Book, row: Mapping[str, Any]) -> Row:
    """``row`` as the next one of ``book``, which takes it."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body, prev = canonical({**row, "seq": book.seq + 1, "time": now}), book.head
    book.apply(body)
    return book.seq, body, prev, link(prev, body)


def _hold(book: Book, key: Key, cap: Cap | None, epsilon: Decimal, delta: Decimal, rho: Decimal | None, accounting: str | None) -> None:
    """Refuse if one more charge on ``key`` would pass ``cap``."""
    if cap is None:
        return
    before = book.charges(key)
    after = before.plus(epsilon, delta, rho, accounting)
    if cap.composition == ZCDP:
        if not rho:
            raise LedgerError(f"population '{key[0]}' is composed by {ZCDP}; this charge has no rho > 0")
        total = after.summed_rho(f"population '{key[0]}'")
        if total > cap.rho:
            raise BudgetExhausted(
                f"rho={plain(rho)} on population '{key[0]}' would make {plain(total)}, but the cap, "
                f"epsilon={plain(cap.epsilon)} at delta={plain(cap.delta)}, allows {plain(cap.rho)}; nothing was charged or read"
            )
        return
    for name, amount, so_far, total, bound in (
        ("epsilon", epsilon, before.epsilon, after.epsilon, cap.epsilon),
        ("delta", delta, before.delta, after.delta, cap.delta),
    ):
        if total > bound:
            raise BudgetExhausted(
                f"{name}={plain(amount)} on population '{key[0]}' would make {plain(total)}, but the cap is "
                f"{plain(bound)} and {plain(so_far)} is spent; nothing was charged or read"
            )


def _fits(before: Charges, cap: Cap, epsilon: Decimal, delta: Decimal, rho: Decimal | None, accounting: str | None) -> int:
    """How many equal charges still fit under ``cap``."""
    if cap.composition == ZCDP:
        before.plus(epsilon, delta, rho, accounting).summed_rho("the population")
        return _times(cap.rho, before.rho or Decimal(0), rho or Decimal(0))
    by_epsilon = _times(cap.epsilon, before.epsilon, epsilon)
    return by_epsilon if delta == 0 and before.delta <= cap.delta else min(by_epsilon, _times(cap.delta, before.delta, delta))


def _times(bound: Decimal, spent: Decimal, amount: Decimal) -> int:
    """How often a positive ``amount`` still fits under ``bound``; none of a zero one, which only asks when all is overspent."""
    return 0 if spent > bound or amount == 0 else int((bound - spent) // amount)


def _entry(book: Book, id_: str, allowed: tuple[str, ...], wanted: str) -> Entry:
    entry = book.entries.get(id_)
    if entry is None:
        raise LedgerError(f"the ledger holds no reservation {id_}")
    if entry.state not in allowed:
        raise LedgerError(f"reservation {id_} is {entry.state}; it cannot become {wanted}")
    return entry


def _reservation(book: Book, entry: Entry, cap: Cap | None) -> Reservation:
    population, unit = entry.key
    return Reservation(
        id=entry.id,
        population=population,
        unit=unit,
        epsilon=entry.epsilon,
        delta=entry.delta,
        rho=entry.rho,
        purpose=entry.purpose,
        attempt=entry.attempt,
        state=entry.state,
        head=book.head,
        before=book.spent(entry.key, without=entry),
        after=book.spent(entry.key),
        cap=cap,
    )


def _cap_row(key: Key, cap: Cap, reason: str, approved_by: str) -> dict[str, Any]:
    return {
        "kind": "cap",
        "population": key[0],
        "unit": key[1],
        "epsilon": plain(cap.epsilon),
        "delta": plain(cap.delta),
        "composition": cap.composition,
        "reason": reason,
        "approved_by": approved_by,
    }


def _anchored(book: Book, certificate: Mapping[str, Any]) -> bool:
    """True if ``certificate`` names a head of this chain at or after its charge, False if it names none."""
    predicate = certificate.get("predicate", certificate)
    try:
        release, guarantee, head = predicate["release"]["id"], predicate["guarantee"], predicate["ledger"]["head"]
    except (KeyError, TypeError):
        raise LedgerError("a certificate to compare with has no release, guarantee or ledger") from None
    if head is None:
        return False
    if head not in book.hashes:
        raise LedgerCorrupt(f"the ledger row certified with release {release} is gone: rows were cut off or rewritten")
    entry = book.entries.get(release)
    if entry is None or entry.seq > book.hashes[head]:
        raise LedgerCorrupt(f"the ledger holds no charge for the certified release {release}")
    certified = (epsilon_amount(guarantee["epsilon"]), delta_amount(guarantee["delta"]))
    if not entry.charged or (entry.epsilon, entry.delta) != certified:
        raise LedgerCorrupt(f"the ledger charged another price for release {release} than its certificate says")
    return True


def _key(population: str, unit: str) -> Key:
    for name, value in (("population", population), ("unit", unit)):
        if not value.strip():
            raise ConfigError(f"{name} must not be empty")
    return population, unit


def _as_cap(cap: Cap | tuple[Amount, Amount] | None) -> Cap | None:
    return Cap(epsilon_amount(cap[0]), delta_amount(cap[1])) if isinstance(cap, tuple) else cap


def _plain_json(meta: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        return json.loads(canonical(meta or {}))  # type: ignore[no-any-return]
    except (TypeError, ValueError):
        raise ConfigError("meta must be plain JSON: strings, integers, finite numbers, lists, objects") from None
