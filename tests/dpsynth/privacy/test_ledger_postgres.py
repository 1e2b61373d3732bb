"""The ledger in Postgres, on a real server: locks, rights, crashes of the server, and errors that tell no secret."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from dpsynth.errors import ConfigError, LedgerError
from dpsynth.privacy.ledger import Ledger, LedgerCorrupt, LedgerLocked
from tests.dpsynth.privacy.postgres_server import Server
from tests.dpsynth.privacy.test_ledger import finish, reserve

psycopg = pytest.importorskip("psycopg", reason="a ledger in Postgres needs the extra 'sql'")


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.url()


def _sql(url: str, *statements: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)


def test_the_name_and_repr_hold_neither_user_nor_password(url: str, postgres: Server) -> None:
    ledger = Ledger.open(url)
    assert ledger.name == f"postgresql://{postgres.socket}/postgres"
    assert "swordfish" not in repr(ledger)
    assert "owner" not in repr(ledger)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql://me:swordfish@localhost:1/db", LedgerError),  # nobody listens
        ("postgresql://me:sword@fish@localhost:1/db", LedgerError),  # an @ that was not escaped
        ("postgresql://me:swordfish@localhost/db?sslmod=require", ConfigError),
        ("postgresql://me:swordfish%zz@localhost/db", ConfigError),
    ],
)
def test_no_error_tells_the_user_or_the_password(url: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        Ledger.open(url, timeout=2)
    assert not re.search("swordfish|sword|fish|me:", str(caught.value)), caught.value
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'dpsynth-release\[sql\]'"):
        Ledger.open("postgresql://localhost/db")


def test_two_creators_at_once_share_one_ledger(url: str) -> None:
    """The second one sees no table, waits for the first, and then finds its table."""
    from dpsynth.privacy.ledger_postgres import PostgresStore

    made: list[str] = []

    class Slow(PostgresStore):
        def _lock(self, connection: object, table: int) -> None:
            if not made:
                made.append("")
                made[0] = Ledger.open(url).head
            super()._lock(connection, table)  # type: ignore[arg-type]

    from dpsynth.privacy.ledger import _genesis

    store = Slow.open(url, first=_genesis, create=True, timeout=5)
    assert [row[3] for row in store.rows()] == made


def test_a_busy_ledger_is_said_to_be_locked_and_can_still_be_read(url: str) -> None:
    Ledger.open(url)
    impatient = Ledger.open(url, timeout=0.05)
    with impatient.store.writing(), pytest.raises(LedgerLocked, match="locked by another process"):
        reserve(impatient)
    assert impatient.spent("patients", "person").attempts == 0
    reserve(impatient)


def test_a_row_that_slips_in_past_the_lock_stops_the_charge(url: str) -> None:
    """Somebody who inserts without asking for the lock cannot make two writers decide on the same balance."""
    ledger = Ledger.open(url)
    with pytest.raises(LedgerLocked, match="at the same moment"), ledger.store.writing() as transaction:
        seq, body, prev, digest = transaction.rows[-1]
        _sql(url, f"INSERT INTO dpsynth_ledger VALUES ({seq + 1}, 'x', '{digest}', 'y')")
        transaction.insert((seq + 1, body, prev, "z"))


def test_a_writer_needs_no_right_to_change_or_delete(url: str, postgres: Server) -> None:
    ledger = Ledger.open(url)
    schema = url.rpartition("%3D")[2]
    _sql(
        url,
        f"CREATE ROLE writer_{schema} LOGIN",
        f"GRANT USAGE ON SCHEMA {schema} TO writer_{schema}",
        f"GRANT SELECT, INSERT ON dpsynth_ledger TO writer_{schema}",
        f"CREATE ROLE reader_{schema} LOGIN",
        f"GRANT USAGE ON SCHEMA {schema} TO reader_{schema}",
        f"GRANT SELECT ON dpsynth_ledger TO reader_{schema}",
    )
    writer = Ledger.open(postgres.url(schema, f"writer_{schema}"), create=False)
    finish(writer, reserve(writer))
    assert writer.verify().rows == 4
    reader = Ledger.open(postgres.url(schema, f"reader_{schema}"), create=False)
    assert reader.spent("patients", "person").releases == 1
    with pytest.raises(LedgerError, match="with these rights; nothing was charged"):
        reserve(reader)
    assert ledger.verify().rows == 4


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER dpsynth_ledger_truncate ON dpsynth_ledger",
        "ALTER TABLE dpsynth_ledger DISABLE TRIGGER dpsynth_ledger_insert",
        "CREATE OR REPLACE FUNCTION dpsynth_ledger_fixed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "CREATE TRIGGER more BEFORE INSERT ON dpsynth_ledger FOR EACH ROW EXECUTE FUNCTION dpsynth_ledger_next()",
        "ALTER TABLE dpsynth_ledger DROP CONSTRAINT dpsynth_ledger_pkey",
        "ALTER TABLE dpsynth_ledger ENABLE ROW LEVEL SECURITY",
        "CREATE RULE quiet AS ON INSERT TO dpsynth_ledger DO INSTEAD NOTHING",
    ],
)
def test_a_weakened_table_is_found(url: str, statement: str) -> None:
    ledger = Ledger.open(url)
    assert ledger.verify().rows == 1
    _sql(url, statement)
    with pytest.raises(LedgerCorrupt, match="lost or gained triggers, keys, rules or row security"):
        ledger.verify()


def test_truncating_the_table_is_refused(url: str) -> None:
    ledger = Ledger.open(url)
    with pytest.raises(psycopg.Error, match="append-only"):
        _sql(url, "TRUNCATE dpsynth_ledger")
    assert ledger.verify().rows == 1


def test_a_ledger_that_vanishes_is_an_error_and_not_a_fresh_budget(url: str) -> None:
    ledger = Ledger.open(url)
    ticket = reserve(ledger)
    _sql(url, "DROP TABLE dpsynth_ledger")
    for action in (lambda: ledger.mark_read(ticket), lambda: reserve(ledger), ledger.verify):
        with pytest.raises(LedgerCorrupt, match="holds no ledger any more"):
            action()


def test_a_table_of_another_make_is_refused(url: str) -> None:
    _sql(url, "CREATE TABLE dpsynth_ledger (name text)")
    with pytest.raises(LedgerCorrupt, match="not as it was made"):
        Ledger.open(url)


def test_a_charge_that_was_confirmed_survives_a_crash_of_the_server(postgres: Server) -> None:
    url = postgres.url()
    ledger = Ledger.open(url)
    ticket = ledger.mark_read(reserve(ledger))
    postgres.crash()
    with pytest.raises(LedgerError, match="cannot be reached"):
        ledger.commit(ticket, outcome="permitted")
    postgres.start()
    spent = ledger.spent("patients", "person")
    assert (spent.epsilon, spent.unfinished) == (1, 1)
    ledger.commit(ticket, outcome="permitted")
    assert ledger.verify().rows == 4


def test_commits_are_made_durable_where_the_server_would_not(url: str) -> None:
    ledger = Ledger.open(url + "%20-csynchronous_commit%3Doff")
    with ledger.store._transaction() as connection:  # type: ignore[attr-defined]
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    kept = Ledger.open(url + "%20-csynchronous_commit%3Dremote_apply", create=False)
    with kept.store._transaction() as connection:  # type: ignore[attr-defined]
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("remote_apply",)


def test_a_server_without_fsync_is_refused(tmp_path: Path) -> None:
    from tests.dpsynth.privacy.postgres_server import running

    with running() as server:
        (server.folder / "data" / "postgresql.auto.conf").write_text("fsync = off\n")
        server.crash()
        server.start()
        with pytest.raises(LedgerError, match="fsync off"):
            Ledger.open(server.url())


def test_the_command_line_takes_the_url_and_shows_no_password(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from dpsynth.cli import main
    from tests.cli.conftest import schema_document, table_text

    def run(*arguments: object) -> tuple[int, str]:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "swordfish" not in printed.out + printed.err
        return code, printed.out + printed.err

    (tmp_path / "t.csv").write_text(table_text(300, 0), encoding="utf-8")
    (tmp_path / "s.json").write_text(json.dumps(schema_document()), encoding="utf-8")
    key = ("--ledger", url, "--population", "clinic-patients", "--unit", "person")
    price = ("--epsilon", "1", "--delta", "1e-6")
    assert run("ledger", "set-cap", *key, "--epsilon", "1", "--delta", "1e-5")[0] == 0
    synth = ("synth", tmp_path / "t.csv", "--schema", tmp_path / "s.json", *price, "--synthesizer", "independent", "--ledger", url)
    assert run(*synth, "--out", tmp_path / "a.csv")[0] == 0
    code, text = run(*synth, "--out", tmp_path / "b.csv")
    assert (code, "the cap is 1" in text) == (4, True)
    assert not (tmp_path / "b.csv").exists()
    for command in (("show", "--ledger", url), ("show", "--ledger", url, "--history"), ("verify", "--ledger", url)):
        assert run("ledger", *command)[0] == 0
    assert run("ledger", "what-if", *key, *price)[0] == 4
