"""A ledger in one SQLite file of mode 0600: the default, needs nothing but Python."""

from __future__ import annotations

import os
import sqlite3
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dpsynth.errors import LedgerError
from dpsynth.privacy.ledger_book import LedgerCorrupt
from dpsynth.privacy.ledger_store import LedgerLocked, Row, Writing

_APPLICATION_ID: Final = 0x44504C47  # "DPLG", so that another program's SQLite file is not taken for a ledger
SCHEMA: Final = (
    "CREATE TABLE entries (seq INTEGER PRIMARY KEY, body TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL UNIQUE)",
    "CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    # Also stops INSERT OR REPLACE, whose implicit deletes fire no delete trigger.
    "CREATE TRIGGER entries_next BEFORE INSERT ON entries"
    " WHEN NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM entries)"
    " OR NEW.prev <> COALESCE((SELECT hash FROM entries ORDER BY seq DESC LIMIT 1), NEW.prev)"
    " BEGIN SELECT RAISE(ABORT, 'append-only'); END",
)


@dataclass(frozen=True)
class SqliteStore:
    """The file at ``path``; ``timeout`` in seconds is how long to wait for another process's lock."""

    path: Path
    timeout: float

    @classmethod
    def open(cls, path: Path, *, first: Callable[[], Row], create: bool, timeout: float) -> SqliteStore:
        """The file, checked to be ours alone; ``create`` makes one that holds the row ``first`` if none is there."""
        store = cls(path.absolute(), timeout)
        if not store.path.exists():
            if not create:
                raise LedgerError(f"there is no ledger at {store.path}; a release with --ledger makes one")
            store._create(first())
        mode = store.path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise LedgerError(f"ledger {store.path} is not a regular file")
        if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise LedgerError(f"ledger {store.path} can be written by others; run chmod 600 on it")
        return store

    @property
    def name(self) -> str:
        return str(self.path)

    def rows(self) -> list[Row]:
        with self._connection() as connection:
            return _rows(connection)

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield Writing(_rows(connection), lambda row: _insert(connection, row))
            connection.execute("COMMIT")

    def check(self) -> None:
        with self._connection() as connection:
            if connection.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
                raise LedgerCorrupt(f"ledger {self.path} fails SQLite's own check; restore it from a backup")
            installed = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
        if installed != set(SCHEMA):
            raise LedgerCorrupt(f"ledger {self.path} lost or gained tables or triggers; restore it from a backup")

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

    def _create(self, first: Row) -> None:
        """Build the file under another name and link it into place: never half-made, and one winner of a race."""
        draft = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.new")
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            connection = sqlite3.connect(draft, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute("BEGIN IMMEDIATE")
                for statement in SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                _insert(connection, first)
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


def _rows(connection: sqlite3.Connection) -> list[Row]:
    return connection.execute("SELECT seq, body, prev, hash FROM entries ORDER BY seq").fetchall()


def _insert(connection: sqlite3.Connection, row: Row) -> None:
    connection.execute("INSERT INTO entries (seq, body, prev, hash) VALUES (?, ?, ?, ?)", row)
