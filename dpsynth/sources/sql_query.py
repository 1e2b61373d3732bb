"""Databases: a query over an SQLAlchemy URL, or over an open DB-API or ADBC connection, read through a cursor in batches.

Cells become text one by one, except over ADBC, which speaks Arrow: no type is inferred from private cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from dpsynth.errors import InputError
from dpsynth.sources.columns import BATCH_ROWS, require_columns, sliced
from dpsynth.sources.pandas_frame import text_array

_URL = re.compile(r"^[a-z][a-z0-9]*(\+[a-z0-9_]+)?://[^#]*#.+", re.IGNORECASE | re.DOTALL)
_NAME = "the query"
# After brackets and comments. A WITH may still hold a DELETE; its transaction is never committed.
_READS = re.compile(r"(?:[\s(]|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table|from)\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class SqlQuery:
    """``query``: a SELECT statement, or the name of a table. ``connection``: an SQLAlchemy URL or engine, or a DB-API or ADBC connection.

    With a URL or an engine rows come through a server-side cursor. A DB-API connection of yours uses its own kind of cursor, and
    stays open.
    """

    connection: Any = field(repr=False)
    query: str


def recognises(ref: Any) -> bool:
    """Whether ``ref`` is an `SqlQuery`, or text like ``postgresql://host/db#table`` (an SQLAlchemy URL, then a table or a query)."""
    return isinstance(ref, SqlQuery) or (isinstance(ref, str) and _URL.match(ref) is not None)


def header(ref: str | SqlQuery) -> list[str]:
    """The names of the columns that the query returns."""
    with _names_and_batches(_query(ref)) as (names, _):
        return names


def open_sql(ref: str | SqlQuery, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns, in batches. The query runs once for its header and once for its rows."""
    query = _query(ref)
    require_columns(header(query), columns, _NAME)
    return _batches(query, columns)


def _batches(query: SqlQuery, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with _names_and_batches(query) as (_, batches):
        for batch in batches:
            yield from sliced(batch, columns)


def _query(ref: str | SqlQuery) -> SqlQuery:
    if isinstance(ref, SqlQuery):
        return ref
    url, _, query = ref.partition("#")
    return SqlQuery(url, query)


def _statement(query: str) -> str:
    """A bare name, perhaps with a schema, is a table. What begins as no query is refused: a slip of the pen must not change a database."""
    if re.fullmatch(r"\s*\S+\s*", query):
        return "SELECT * FROM " + ".".join(_quoted(part) for part in query.strip().split("."))
    if not _READS.match(query):
        raise InputError(f"{_NAME} must begin with SELECT, WITH, VALUES, TABLE or FROM, or be the name of a table")
    return query


def _quoted(name: str) -> str:
    bare = name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name
    return '"' + bare.replace('"', '""') + '"'


@contextmanager
def _names_and_batches(query: SqlQuery) -> Iterator[tuple[list[str], Iterator[pa.RecordBatch]]]:
    """Column names, and record batches of them, while the cursor is open. Errors of drivers may quote cells and passwords."""
    try:
        if isinstance(query.connection, str) or hasattr(query.connection, "begin_nested") or hasattr(query.connection, "dialect"):
            with _sqlalchemy(query) as found:
                yield found
        else:
            with _dbapi(query) as found:
                yield found
    except InputError:
        raise
    except Exception as error:
        if not _of_a_database(error):
            raise
        raise InputError(f"{_NAME} failed ({type(error).__name__}); run it with the database's own client to see why") from None


def _of_a_database(error: Exception) -> bool:
    """Whether a driver raised it: every DB-API driver has an ``Error`` of its own, which PEP 249 puts above all others."""
    return any(kind.__name__ in ("Error", "SQLAlchemyError", "StatementError") for kind in type(error).__mro__)


@contextmanager
def _sqlalchemy(query: SqlQuery) -> Iterator[tuple[list[str], Iterator[pa.RecordBatch]]]:
    try:
        import sqlalchemy
    except ImportError:
        raise InputError('reading a database by URL needs SQLAlchemy; pip install "dpsynth-release[sql]"') from None
    try:
        engine = sqlalchemy.create_engine(_with_driver(query.connection)) if isinstance(query.connection, str) else query.connection
    except ImportError as error:
        raise InputError(f"the driver of this database is not installed: {error.name}") from None
    try:
        # A colon or a percent sign in the query is no parameter.
        options = {"stream_results": True, "max_row_buffer": BATCH_ROWS, "no_parameters": True}
        with engine.connect().execution_options(**options) as connection:
            result = connection.exec_driver_sql(_statement(query.query))
            names = list(result.keys())
            yield names, (_text_batch(names, rows) for rows in result.partitions(BATCH_ROWS))
            result.close()
    finally:
        if engine is not query.connection:
            engine.dispose()


def _with_driver(url: str) -> str:
    """For Postgres the driver of the ``sql`` extra, where the URL names none; as in the URL of a ledger."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


@contextmanager
def _dbapi(query: SqlQuery) -> Iterator[tuple[list[str], Iterator[pa.RecordBatch]]]:
    if not hasattr(query.connection, "cursor"):
        raise InputError(
            f"a {type(query.connection).__name__} is not a connection; give an SQLAlchemy URL or engine, or a DB-API connection"
        )
    cursor = query.connection.cursor()
    try:
        cursor.execute(_statement(query.query))
        if hasattr(cursor, "fetch_record_batch"):
            reader = cursor.fetch_record_batch()
            yield list(reader.schema.names), iter(reader)
        elif cursor.description is None:
            raise InputError(f"{_NAME} returns no rows; give a SELECT statement or the name of a table")
        else:
            names = [str(entry[0]) for entry in cursor.description]
            yield names, (_text_batch(names, rows) for rows in iter(lambda: cursor.fetchmany(BATCH_ROWS), []))
    finally:
        cursor.close()


def _text_batch(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return pa.RecordBatch.from_arrays([text_array(list(column)) for column in columns], list(names))
