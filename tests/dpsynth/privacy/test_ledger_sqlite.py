"""The ledger as a file: made whole or not at all, private, and refused when it is not ours."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from dpsynth.errors import LedgerError
from dpsynth.privacy.ledger import Ledger, LedgerCorrupt, LedgerLocked
from dpsynth.privacy.ledger_sqlite import SqliteStore
from tests.dpsynth.privacy.test_ledger import reserve


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "releases.ledger", timeout=5)


def path(ledger: Ledger) -> Path:
    assert isinstance(ledger.store, SqliteStore)
    return ledger.store.path


def test_a_new_ledger_is_0600_alone_in_its_folder_and_survives_reopening(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l")
    assert stat.S_IMODE(path(ledger).stat().st_mode) == 0o600
    reserve(ledger)
    assert [p.name for p in tmp_path.iterdir()] == ["l"]
    assert Ledger.open(tmp_path / "l", create=False).spent("patients", "person").epsilon == 1


def test_two_creators_at_once_share_one_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, made = os.link, []

    def slow_link(source: Any, target: Any) -> None:
        if not made:
            made.append(True)
            made.append(Ledger.open(target).head)  # somebody else gets there first
        link(source, target)

    monkeypatch.setattr(os, "link", slow_link)
    assert Ledger.open(tmp_path / "l").head == made[1]
    assert [p.name for p in tmp_path.iterdir()] == ["l"]


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 some other file" * 200, b"SQLite format 3\x00"],  # cut to nothing, another kind, cut short
)
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "l"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(LedgerCorrupt, match=r"not a dpsynth ledger|damaged"):
        Ledger.open(path)
    assert path.read_bytes() == content


def test_missing_url_shared_and_folder_ledgers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger"):
        Ledger.open(tmp_path / "none", create=False)
    with pytest.raises(LedgerError, match="of another kind"):
        Ledger.open("mysql://host/db")
    with pytest.raises(LedgerError, match="no ledger can be made"):
        Ledger.open(tmp_path / "no" / "such" / "folder")
    with pytest.raises(LedgerError, match="not a regular file"):
        Ledger.open(tmp_path)
    ledger = Ledger.open(tmp_path / "l")
    path(ledger).chmod(0o620)
    with pytest.raises(LedgerError, match="chmod 600"):
        Ledger.open(tmp_path / "l")


def test_a_ledger_that_vanishes_is_an_error_and_not_a_fresh_budget(ledger: Ledger) -> None:
    ticket = reserve(ledger)
    path(ledger).unlink()
    with pytest.raises(LedgerError):
        ledger.mark_read(ticket)
    assert not path(ledger).exists()


def test_a_busy_ledger_is_said_to_be_locked(ledger: Ledger) -> None:
    impatient = Ledger.open(path(ledger), timeout=0.05)
    holder = sqlite3.connect(path(ledger), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerLocked, match="locked by another process"):
        reserve(impatient)
    assert impatient.spent("patients", "person").attempts == 0  # reading goes on
    holder.close()
    reserve(impatient)


def test_a_read_only_ledger_can_be_shown_but_not_charged(ledger: Ledger) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes through permission bits")
    path(ledger).chmod(0o400)
    assert ledger.show()["rows"] == 1
    with pytest.raises(LedgerError, match="cannot be written"):
        reserve(ledger)


@pytest.mark.parametrize("statement", ["INSERT OR REPLACE INTO entries VALUES (2, '{}', 'x', 'y')"])
def test_replacing_a_row_is_no_way_round_the_triggers(ledger: Ledger, statement: str) -> None:
    reserve(ledger)
    connection = sqlite3.connect(path(ledger), isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert ledger.verify().rows == 2


def test_any_flipped_byte_of_the_rows_is_found(ledger: Ledger) -> None:
    reserve(ledger)
    content = bytearray(path(ledger).read_bytes())
    at = content.index(b'"epsilon":"1"') + len(b'"epsilon":"')
    content[at] ^= 1
    path(ledger).write_bytes(content)
    with pytest.raises(LedgerCorrupt, match="row 2 was edited"):
        ledger.verify()
