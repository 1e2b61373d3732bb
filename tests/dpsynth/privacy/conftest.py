"""Ledgers in both kinds of store, so that one set of tests holds for both."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dpsynth.privacy.ledger import Ledger
from tests.dpsynth.privacy.postgres_server import Server, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with running() as server:
        yield server


@dataclass(frozen=True)
class Place:
    """Where ledgers are kept, and ways to go behind their back."""

    kind: str
    new: Callable[[], str]  # a path or URL where no ledger is yet
    execute: Callable[[str, str], None]  # SQL as anybody with write access would send it
    unguard: Callable[[str], None]  # take the triggers off, as the owner could
    guard: Callable[[str], None]  # and put them back


def _sqlite_place(folder: Path) -> Place:
    from dpsynth.privacy.ledger_sqlite import SCHEMA

    def execute(path: str, statement: str) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute(statement)
        finally:
            connection.close()

    def unguard(path: str) -> None:
        for trigger in ("entries_no_update", "entries_no_delete", "entries_next"):
            execute(path, f"DROP TRIGGER {trigger}")

    def guard(path: str) -> None:
        for statement in SCHEMA[1:]:
            execute(path, statement)

    numbers = iter(range(1000))
    return Place("sqlite", lambda: str(folder / f"releases-{next(numbers)}.ledger"), execute, unguard, guard)


def _postgres_place(server: Server) -> Place:
    import psycopg

    from dpsynth.privacy.ledger_postgres import TABLE

    def execute(url: str, statement: str) -> None:
        statement = statement.replace("entries", TABLE).replace("hex(randomblob(32))", "md5('x') || md5('y')")
        with psycopg.connect(url) as connection:
            connection.execute(statement)

    def unguard(url: str) -> None:
        execute(url, f"ALTER TABLE {TABLE} DISABLE TRIGGER ALL")

    def guard(url: str) -> None:
        execute(url, f"ALTER TABLE {TABLE} ENABLE TRIGGER ALL")

    return Place("postgres", server.url, execute, unguard, guard)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return _sqlite_place(tmp_path)
    return _postgres_place(request.getfixturevalue("postgres"))


@pytest.fixture
def where(place: Place) -> str:
    """The path or URL of the test's ledger."""
    return place.new()


@pytest.fixture
def ledger(where: str) -> Ledger:
    return Ledger.open(where, timeout=5)
