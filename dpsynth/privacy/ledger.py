"""The privacy budget of a population across releases: append-only, hash-chained, charged before data is read.

A charge outlives the process that made it. Only an explicit ``abandon`` gives it back, and only if data was never read.
Rows are never changed. Times come from the system clock and carry no weight in any decision.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from dpsynth.errors import ConfigError, LedgerError
from dpsynth.privacy.ledger_book import (
    FORMAT,
    OUTCOMES,
    Amount,
    Book,
    Cap,
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

__all__ = [
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

_APPLICATION_ID: Final = 0x44504C47  # "DPLG", so that another program's SQLite file is not taken for a ledger
_SCHEMA: Final = (
    "CREATE TABLE entries (seq INTEGER PRIMARY KEY, body TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL UNIQUE)",
    "CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    # Also stops INSERT OR REPLACE, whose implicit deletes fire no delete trigger.
    "CREATE TRIGGER entries_next BEFORE INSERT ON entries"
    " WHEN NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM entries)"
    " OR NEW.prev <> COALESCE((SELECT hash FROM entries ORDER BY seq DESC LIMIT 1), NEW.prev)"
    " BEGIN SELECT RAISE(ABORT, 'append-only'); END",
)


class BudgetExhausted(LedgerError):
    """The charge would exceed a cap. Nothing was charged and nothing may be read."""


class AttemptsExhausted(LedgerError):
    """This purpose was tried too often: repeating a release until its audits pass is selection on private data."""


class LedgerLocked(LedgerError):
    """Another process held the ledger for longer than the timeout."""


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
    """A ledger file. Holds no connection: every call opens, locks, replays the whole chain, writes and closes.

    >>> import tempfile
    >>> ledger = Ledger.open(Path(tempfile.mkdtemp()) / "releases.ledger")
    >>> ticket = ledger.reserve("patients", "person", "0.5", "1e-6", None, cap=("1", "1e-5"), purpose="teaching file")
    >>> ticket = ledger.mark_read(ticket)  # from here on the charge stays
    >>> ticket = ledger.commit(ticket, outcome="permitted")
    >>> ledger.spent("patients", "person").to_dict()["epsilon"]
    0.5
    """

    path: Path
    timeout: float = 30.0

    @classmethod
    def open(cls, path_or_url: str | os.PathLike[str], *, create: bool = True, timeout: float = 30.0) -> Ledger:
        """The ledger at ``path_or_url``, its chain checked; ``create`` makes one (mode 0600) if none is there."""
        if "://" in os.fspath(path_or_url):
            raise LedgerError("a ledger is a local SQLite file in this version; give a path, not a URL")
        ledger = cls(Path(path_or_url).absolute(), timeout)
        if not ledger.path.exists():
            if not create:
                raise LedgerError(f"there is no ledger at {ledger.path}; a release with --ledger makes one")
            ledger._create()
        mode = ledger.path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise LedgerError(f"ledger {ledger.path} is not a regular file")
        if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise LedgerError(f"ledger {ledger.path} can be written by others; run chmod 600 on it")
        ledger._book()
        return ledger

    @property
    def head(self) -> str:
        """The hash of the last row. Every certificate carries one, because a chain alone does not show a cut tail."""
        return self._book().head

    def set_cap(self, population: str, unit: str, epsilon: Amount, delta: Amount, *, reason: str = "", approved_by: str = "") -> Cap:
        """Set the cap of a population. Raising an existing one needs a ``reason`` and ``approved_by``, both kept."""
        key = _key(population, unit)
        cap = Cap(epsilon_amount(epsilon), delta_amount(delta))

        def rows(book: Book) -> Iterator[dict[str, Any]]:
            old = book.caps.get(key)
            if old is not None and cap.stricter(old) != cap and not (reason.strip() and approved_by.strip()):
                raise LedgerError(
                    f"the cap of population '{population}' is epsilon={plain(old.epsilon)}, delta={plain(old.delta)}; "
                    "raising it needs reason and approved_by"
                )
            yield _cap_row(key, cap, reason, approved_by)

        self._append(rows)
        return cap

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
        max_attempts: int = 3,
        idempotency_key: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Reservation:
        """Charge (``epsilon``, ``delta``) to ``population`` before any of its records is read, or refuse.

        Charges add up, which bounds adaptively chosen mechanisms and amounts (Rogers, Roth, Ullman and Vadhan 2016,
        "Privacy Odometers and Filters", basic composition). The first ``cap`` given becomes the population's cap; later
        the stricter of the stored and the given one holds. The caps of overlapping populations are held too.
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
                if (old.key, old.epsilon, old.delta, old.rho, old.purpose) != (key, eps, dlt, rho_, purpose):
                    raise LedgerError(f"idempotency_key belongs to reservation {old.id} of another request; use a new key")
                made.append(_reservation(book, old, book.caps.get(key)))
                return
            attempt = book.attempts(key, purpose) + 1
            if attempt > max_attempts:
                raise AttemptsExhausted(
                    f"'{purpose}' was tried {attempt - 1} times on population '{population}' without a permitted "
                    f"release; max_attempts={max_attempts}"
                )
            if given is not None and key not in book.caps:
                yield _cap_row(key, given, "first use", "")
            held = book.caps[key].stricter(given) if key in book.caps else None
            _hold(book, key, held, eps, dlt)
            for other in sorted(book.overlaps.get(key, ())):
                _hold(book, other, book.caps.get(other), eps, dlt)
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
        cap: Cap | tuple[Amount, Amount] | None = None,
    ) -> WhatIf:
        """Whether ``reserve`` would grant this charge now; writes nothing and promises nothing."""
        book, key = self._book(), _key(population, unit)
        eps, dlt = epsilon_amount(epsilon), delta_amount(delta)
        given, stored = _as_cap(cap), book.caps.get(key)
        held = given if stored is None else stored.stricter(given)
        before = book.spent(key)
        bounds = [(before, held), *((book.spent(other), book.caps.get(other)) for other in book.overlaps.get(key, ()))]
        left = [_fits(spent, bound, eps, dlt) for spent, bound in bounds if bound is not None]
        after = before.plus(eps, dlt)
        return WhatIf(not left or min(left) > 0, before, after[0], after[1], held, min(left) if left else None)

    def history(self) -> list[dict[str, Any]]:
        """Every row as a plain dict, oldest first, with its hash. Purposes and attempts are not for publication."""
        with self._connection() as connection:
            rows = _rows(connection)
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
            "composition": "epsilons and deltas add up (basic composition)",
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
        with self._connection() as connection:
            if connection.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
                raise LedgerCorrupt(f"ledger {self.path} fails SQLite's own check; restore it from a backup")
            installed = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
            if installed != set(_SCHEMA):
                raise LedgerCorrupt(f"ledger {self.path} lost or gained tables or triggers; restore it from a backup")
            book = Book.replay(_rows(connection))
        anchored = [_anchored(book, certificate) for certificate in against]
        return LedgerCheck(book.ledger, book.seq, book.head, sum(anchored), len(anchored) - sum(anchored))

    def _move(self, reservation: Reservation, state: str, allowed: tuple[str, ...], more: Mapping[str, Any]) -> Reservation:
        moved: list[Reservation] = []

        def rows(book: Book) -> Iterator[dict[str, Any]]:
            if reservation.head not in book.hashes:
                raise LedgerCorrupt(f"ledger {self.path} lost the row of reservation {reservation.id}; was it replaced?")
            _entry(book, reservation.id, allowed, state)
            yield {"kind": state, "id": reservation.id, **more}
            moved.append(replace(reservation, state=state, head=book.head))

        self._append(rows)
        return moved[0]

    def _append(self, rows: Callable[[Book], Iterator[dict[str, Any]]]) -> None:
        """Run ``rows`` on the current book under the write lock and append what it yields, all or nothing.

        The lock is taken before the book is read, so no two processes decide on the same balance.
        """
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            book = Book.replay(_rows(connection))
            for row in rows(book):
                _insert(connection, book, row)
            connection.execute("COMMIT")

    def _book(self) -> Book:
        with self._connection() as connection:
            return Book.replay(_rows(connection))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that cannot create the file; SQLite's errors leave it as ours. What is open rolls back."""
        connection = None
        try:
            # mode=rw: a ledger that vanished must be an error, not a fresh empty budget.
            uri = f"{self.path.as_uri()}?mode=rw"
            connection = sqlite3.connect(uri, uri=True, timeout=self.timeout, isolation_level=None)
            # EXTRA also syncs the folder when the journal goes, so a committed charge survives a power cut.
            connection.execute("PRAGMA synchronous = EXTRA")
            if connection.execute("PRAGMA application_id").fetchone() != (_APPLICATION_ID,):
                raise LedgerCorrupt(f"{self.path} is not a dpsynth ledger, or it is damaged; restore it from a backup")
            yield connection
        except sqlite3.Error as error:
            raise self._translated(error) from None
        finally:
            if connection is not None:
                connection.close()

    def _translated(self, error: sqlite3.Error) -> LedgerError:
        code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return LedgerLocked(f"ledger {self.path} was locked by another process for {self.timeout:g} s; try again")
        if code == sqlite3.SQLITE_READONLY:
            return LedgerError(f"ledger {self.path} cannot be written; nothing was charged")
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            return LedgerError(f"ledger {self.path} cannot be read or written ({error}); run ledger verify next")
        return LedgerCorrupt(f"ledger {self.path} is damaged ({error}); restore it from a backup")

    def _create(self) -> None:
        """Build the file under another name and link it into place: never half-made, and one winner of a race."""
        draft = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.new")
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            connection = sqlite3.connect(draft, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                _insert(connection, Book(), {"kind": "genesis", "format": FORMAT, "ledger": uuid.uuid4().hex})
                connection.execute("COMMIT")
            finally:
                connection.close()
            os.link(draft, self.path)
        except FileExistsError:
            return
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"no ledger can be made at {self.path}: {error}") from None
        finally:
            draft.unlink(missing_ok=True)


def _rows(connection: sqlite3.Connection) -> list[tuple[int, str, str, str]]:
    return connection.execute("SELECT seq, body, prev, hash FROM entries ORDER BY seq").fetchall()


def _insert(connection: sqlite3.Connection, book: Book, row: Mapping[str, Any]) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body, prev = canonical({**row, "seq": book.seq + 1, "time": now}), book.head
    book.apply(body)
    values = (book.seq, body, prev, link(prev, body))
    connection.execute("INSERT INTO entries (seq, body, prev, hash) VALUES (?, ?, ?, ?)", values)


def _hold(book: Book, key: Key, cap: Cap | None, epsilon: Decimal, delta: Decimal) -> None:
    """Refuse if one more charge on ``key`` would pass ``cap``."""
    if cap is None:
        return
    spent = book.spent(key)
    after = spent.plus(epsilon, delta)
    for name, amount, total, bound, so_far in (
        ("epsilon", epsilon, after[0], cap.epsilon, spent.epsilon),
        ("delta", delta, after[1], cap.delta, spent.delta),
    ):
        if total > bound:
            raise BudgetExhausted(
                f"{name}={plain(amount)} on population '{key[0]}' would make {plain(total)}, but the cap is "
                f"{plain(bound)} and {plain(so_far)} is spent; nothing was charged or read"
            )


def _fits(spent: Spent, cap: Cap, epsilon: Decimal, delta: Decimal) -> int:
    """How many equal charges still fit under ``cap``."""
    if not spent.within(cap):
        return 0
    by_epsilon = int((cap.epsilon - spent.epsilon) // epsilon)
    return by_epsilon if delta == 0 else min(by_epsilon, int((cap.delta - spent.delta) // delta))


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
    if not entry.charged or entry.epsilon < certified[0] or entry.delta < certified[1]:
        raise LedgerCorrupt(f"the ledger charged less for release {release} than its certificate says")
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
