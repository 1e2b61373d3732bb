"""Queries: SQLite through its own DB-API, and, where they are installed, SQLAlchemy, DuckDB and an ADBC-like cursor."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dpsynth.encode import Encoder
from dpsynth.errors import InputError
from dpsynth.schema import Field, Schema, Unit
from dpsynth.sources import SqlQuery, header, open_source, sql_query
from tests.dpsynth.privacy.postgres_server import running

ROWS = 250
FIELDS = (
    Field("text", "string", categories=("p", "q", "0"), nullable=True),
    Field("number", "number", ordered=True, minimum=0.0, maximum=9.0, bins=4, nullable=True),
    Field("whole", "integer", ordered=True, minimum=0, maximum=99, bins=4),
    Field("day", "date", ordered=True, minimum=date(2020, 1, 1), maximum=date(2020, 12, 31), bins=4),
)
ENCODER = Encoder(Schema("t", "people", Unit("row"), FIELDS))
NAMES = [declared.name for declared in FIELDS]


def _table() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "text": [[None, "p", "q", "0", "?"][i] for i in rng.integers(0, 5, ROWS)],
            "number": [None if i == 0 else i / 7 for i in rng.integers(0, 80, ROWS).tolist()],
            "whole": rng.integers(0, 120, ROWS),
            "day": [f"2020-{i:02d}-11" for i in rng.integers(1, 13, ROWS)],
        }
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    path = tmp_path / "d.sqlite"
    connection = sqlite3.connect(path)
    connection.execute('CREATE TABLE "visits" (text TEXT, number REAL, whole INTEGER, day TEXT, extra TEXT)')
    rows = [(*row.values(), "CANARY") for row in _table().to_pylist()]
    connection.executemany("INSERT INTO visits VALUES (?, ?, ?, ?, ?)", rows)
    connection.commit()
    yield path, connection
    connection.close()


def _codes(source: Any) -> dict[str, list[int]]:
    return {name: codes.tolist() for name, codes in ENCODER.encode(open_source(source, NAMES)).codes.items()}


EXPECTED = _codes(_table())


@pytest.mark.parametrize("query", ["visits", "main.visits", "SELECT day, whole, number, text FROM visits", '"visits"'])
def test_a_connection_gives_the_rows_of_a_table_or_a_query(
    database: tuple[Path, sqlite3.Connection], query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_query, "BATCH_ROWS", 100)
    source = SqlQuery(database[1], query)
    assert set(header(source)) >= set(NAMES)
    assert _codes(source) == EXPECTED
    database[1].execute("SELECT 1")  # It is still open.


def test_cells_of_any_python_type_read_as_their_text_does() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (text, number, whole, day)")
    batch = sql_query._text_batch(NAMES, [(True, Decimal("4.5"), 7, date(2020, 5, 1)), (b"q", None, "8.0", "2020-05-01T10:00")])
    expected = pa.table({"text": ["true", "q"], "number": ["4.5", None], "whole": ["7", "8"], "day": ["2020-05-01"] * 2})
    assert {n: c.tolist() for n, c in ENCODER.encode([batch]).codes.items()} == _codes(expected)
    assert _codes(SqlQuery(connection, "t")) == {name: [] for name in NAMES}
    connection.close()


def test_a_url_needs_no_code(database: tuple[Path, sqlite3.Connection]) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="the sql extra is not installed")
    path, _ = database
    assert _codes(f"sqlite:///{path}#visits") == EXPECTED
    assert _codes(SqlQuery(f"sqlite:///{path}", "SELECT * FROM visits WHERE 1 = 1")) == EXPECTED
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    assert _codes(SqlQuery(engine, "visits")) == EXPECTED
    engine.dispose()


def test_duckdb_relations_and_connections_are_read(database: tuple[Path, sqlite3.Connection]) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    table = _table()
    with duckdb.connect() as connection:
        connection.register("made", table)
        connection.execute("CREATE TABLE visits AS SELECT * FROM made")
        assert _codes(connection.sql("SELECT * FROM visits")) == EXPECTED
        assert _codes(SqlQuery(connection, "SELECT * FROM visits")) == EXPECTED


def test_postgres_is_read_through_a_cursor_on_the_server() -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="the sql extra is not installed")
    with running() as server:
        url = server.url()
        engine = sqlalchemy.create_engine(sql_query._with_driver(url))
        named: list[str] = []
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE visits (text TEXT, number DOUBLE PRECISION, whole BIGINT, day DATE, extra TEXT)")
            inserted = sqlalchemy.text("INSERT INTO visits VALUES (:text, :number, :whole, CAST(:day AS DATE), 'CANARY')")
            connection.execute(inserted, _table().to_pylist())

        @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
        def _(_connection: Any, cursor: Any, *_: Any) -> None:
            named.append(getattr(cursor, "name", ""))

        assert _codes(f"{url}#visits") == EXPECTED
        odd = "SELECT *, ':x %s %' AS note FROM visits WHERE extra LIKE 'CAN%' AND day::text > '1'"
        assert _codes(SqlQuery(engine, odd)) == EXPECTED
        assert len(named) == 2
        assert all(named)
        engine.dispose()


class _ArrowCursor:
    """What ADBC drivers add to a DB-API cursor."""

    def execute(self, statement: str) -> None:
        assert statement == 'SELECT * FROM "visits"'

    def fetch_record_batch(self) -> pa.RecordBatchReader:
        return _table().to_reader(max_chunksize=70)

    def close(self) -> None: ...


class _ArrowConnection:
    def cursor(self) -> _ArrowCursor:
        return _ArrowCursor()


def test_an_adbc_cursor_gives_arrow_batches_as_they_are() -> None:
    assert _codes(SqlQuery(_ArrowConnection(), "visits")) == EXPECTED


def test_missing_columns_are_told_before_a_row_is_read(database: tuple[Path, sqlite3.Connection]) -> None:
    with pytest.raises(InputError, match="column 'day' is in the schema but not in the query"):
        open_source(SqlQuery(database[1], "SELECT text, number, whole FROM visits"), NAMES)


@pytest.mark.parametrize("query", ["nowhere", "SELECT CANARY FROM visits", "SELEKT"])
def test_errors_of_the_database_quote_nothing(database: tuple[Path, sqlite3.Connection], query: str) -> None:
    with pytest.raises(InputError, match=r"the query failed \(OperationalError\)") as caught:
        open_source(SqlQuery(database[1], query), NAMES)
    assert "CANARY" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_password_is_in_no_repr_and_no_error() -> None:
    source = SqlQuery("postgresql://me:hunter2@nowhere/db", "t")
    assert "hunter2" not in repr(source)
    with pytest.raises(InputError) as caught:
        open_source("nosuchdialect://me:hunter2@nowhere/db#t", NAMES)
    assert "hunter2" not in str(caught.value)


def test_a_url_without_a_table_is_refused_and_not_shown() -> None:
    with pytest.raises(InputError, match="needs a #") as told:
        open_source("postgresql://me:hunter2@nowhere/db", NAMES)
    assert "hunter2" not in str(told.value)


def test_a_driver_that_is_not_there_is_named() -> None:
    pytest.importorskip("sqlalchemy", reason="the sql extra is not installed")
    with pytest.raises(InputError, match="the driver of this database is not installed"):
        open_source("mysql+mysqlconnector://me:hunter2@nowhere/db#t", NAMES)


def test_what_is_no_connection_or_returns_nothing_is_refused(database: tuple[Path, sqlite3.Connection]) -> None:
    with pytest.raises(InputError, match="a int is not a connection"):
        open_source(SqlQuery(7, "t"), NAMES)
    with pytest.raises(InputError, match="returns no rows"):
        open_source(SqlQuery(database[1], "WITH x AS (SELECT 1 AS whole) INSERT INTO visits (whole) SELECT whole FROM x"), NAMES)


@pytest.mark.parametrize(
    "query", ["DROP TABLE visits", " delete from visits", "/* select */ UPDATE visits SET age = 1", "-- select\nDROP TABLE visits"]
)
def test_a_query_that_is_none_changes_nothing(database: tuple[Path, sqlite3.Connection], query: str) -> None:
    pytest.importorskip("sqlalchemy", reason="the sql extra is not installed")
    path, connection = database
    before = list(connection.execute("SELECT * FROM visits"))

    for ref in (f"sqlite:///{path}#{query}", SqlQuery(connection, query)):
        with pytest.raises(InputError, match="must begin with SELECT"):
            header(ref)
    assert list(connection.execute("SELECT * FROM visits")) == before


@pytest.mark.parametrize("query", ["-- all\nSELECT * FROM visits", "with v as (select * from visits) select * from v"])
def test_a_query_may_begin_with_a_comment_or_a_name(database: tuple[Path, sqlite3.Connection], query: str) -> None:
    pytest.importorskip("sqlalchemy", reason="the sql extra is not installed")
    path, _ = database
    assert header(f"sqlite:///{path}#{query}") == header(f"sqlite:///{path}#visits")
