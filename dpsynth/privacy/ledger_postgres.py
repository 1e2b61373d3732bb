"""A ledger in a table of a Postgres database, for writers on several machines. Needs the extra ``sql``.

The server decides who may connect. Messages name host, port and database, never user or password.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dpsynth.errors import ConfigError, LedgerError
from dpsynth.privacy.ledger_book import LedgerCorrupt
from dpsynth.privacy.ledger_store import LedgerLocked, Row, Writing

if TYPE_CHECKING:
    from psycopg import Connection

SCHEMES: Final = ("postgresql://", "postgres://")
TABLE: Final = "dpsynth_ledger"
_LOCK: Final = 0x44504C47  # "DPLG"; the second half of the advisory lock's key is the table's own number
_GUARDS: Final = {
    "dpsynth_ledger_fixed": """
BEGIN
    RAISE EXCEPTION 'append-only';
END
""",
    "dpsynth_ledger_next": f"""
DECLARE
    last {TABLE}%ROWTYPE;
BEGIN
    SELECT * INTO last FROM {TABLE} ORDER BY seq DESC LIMIT 1;
    IF NEW.seq <> COALESCE(last.seq, 0) + 1 OR NEW.prev <> COALESCE(last.hash, NEW.prev) THEN
        RAISE EXCEPTION 'append-only';
    END IF;
    RETURN NEW;
END
""",
}
# tgtype of pg_trigger: 1 row, 2 before, 4 insert, 8 delete, 16 update, 32 truncate.
_TRIGGERS: Final = {
    "dpsynth_ledger_rows": ("BEFORE UPDATE OR DELETE", "ROW", "dpsynth_ledger_fixed", 1 | 2 | 8 | 16),
    "dpsynth_ledger_truncate": ("BEFORE TRUNCATE", "STATEMENT", "dpsynth_ledger_fixed", 2 | 32),
    "dpsynth_ledger_insert": ("BEFORE INSERT", "ROW", "dpsynth_ledger_next", 1 | 2 | 4),
}
# The primary key alone already stops two writers who decided on the same balance: they would insert the same number.
SCHEMA: Final = (
    f"CREATE TABLE {TABLE} (seq bigint PRIMARY KEY, body text NOT NULL, prev text NOT NULL, hash text NOT NULL UNIQUE)",
    *(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $guard${body}$guard$" for name, body in _GUARDS.items()),
    *(
        f"CREATE TRIGGER {name} {event} ON {TABLE} FOR EACH {each} EXECUTE FUNCTION {function}()"
        for name, (event, each, function, _) in _TRIGGERS.items()
    ),
)


@dataclass(frozen=True)
class PostgresStore:
    """The table ``dpsynth_ledger`` of the database at ``url``; ``timeout`` in seconds is how long to wait for server and lock."""

    url: str = field(repr=False)
    name: str
    timeout: float

    @classmethod
    def open(cls, url: str, *, first: Callable[[], Row], create: bool, timeout: float) -> PostgresStore:
        """The table, found; ``create`` makes one that holds the row ``first`` if none is there."""
        store = cls(url, _public_name(url), timeout)
        with store._transaction() as connection:
            if _table(connection) is not None:
                return store
            if not create:
                raise LedgerError(f"there is no ledger in {store.name}; a release with --ledger makes one")
            store._lock(connection, 0)
            if _table(connection) is None:  # nobody made it while we waited
                for statement in SCHEMA:
                    connection.execute(statement)  # type: ignore[call-overload, unused-ignore]
                _insert(connection, first())
        return store

    def rows(self) -> list[Row]:
        with self._transaction() as connection:
            self._found(connection)
            return _rows(connection)

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        with self._transaction() as connection:
            self._lock(connection, self._found(connection))
            # READ COMMITTED: this statement sees what every earlier holder of the lock has committed.
            yield Writing(_rows(connection), lambda row: _insert(connection, row))

    def check(self) -> None:
        with self._transaction() as connection:
            table = self._found(connection)
            triggers = connection.execute(
                "SELECT t.tgname::text, t.tgtype::int, t.tgenabled::text, t.tgqual IS NULL, p.proname::text, p.prosrc"
                " FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = %s AND NOT t.tgisinternal",
                (table,),
            ).fetchall()
            keys = connection.execute(
                "SELECT contype::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s AND contype IN ('p', 'u')", (table,)
            ).fetchall()
            # Row security can hide rows from a reader, and a rewrite rule can swallow an insert.
            plain = connection.execute("SELECT NOT relrowsecurity AND NOT relhasrules FROM pg_class WHERE oid = %s", (table,)).fetchone()
        wanted = {(name, kind, "O", True, function, _GUARDS[function]) for name, (_, _, function, kind) in _TRIGGERS.items()}
        if set(triggers) != wanted or set(keys) != {("p", "PRIMARY KEY (seq)"), ("u", "UNIQUE (hash)")} or plain != (True,):
            raise LedgerCorrupt(f"ledger {self.name} lost or gained triggers, keys, rules or row security; restore it from a backup")

    @contextmanager
    def _transaction(self) -> Iterator[Connection[Any]]:
        """One connection with one transaction: committed if the block ends well, else rolled back. Errors leave as ours."""
        psycopg = _psycopg()
        try:
            with psycopg.connect(self.url, connect_timeout=max(2, int(self.timeout)), application_name="dpsynth") as connection:
                connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
                connection.execute("SELECT set_config('lock_timeout', %s, true)", (str(max(1, int(self.timeout * 1000))),))
                # Where an administrator turned it off, a crash of the server would forget a charge that we were told is there.
                connection.execute(
                    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
                )
                if connection.execute("SELECT current_setting('fsync')").fetchone() != ("on",):
                    raise LedgerError(f"{self.name} runs with fsync off: a crash would forget charges; turn it on")
                yield connection
        except psycopg.Error as error:
            raise self._translated(error) from None

    def _found(self, connection: Connection[Any]) -> int:
        """The table's number. A ledger that vanished must be an error, not a fresh empty budget."""
        table = _table(connection)
        if table is None:
            raise LedgerCorrupt(f"{self.name} holds no ledger any more; restore it from a backup")
        return table

    def _lock(self, connection: Connection[Any], table: int) -> None:
        """Held until the transaction ends, also by the server after a dead client. A plain lock would need the right to delete."""
        connection.execute("SELECT pg_advisory_xact_lock(%s, (%s::bigint - 2147483648)::int)", (_LOCK, table))

    def _translated(self, error: Any) -> LedgerError:
        """Server texts may quote the statement's values or the user, so only the kind of error is told."""
        from psycopg import errors

        if isinstance(error, (errors.LockNotAvailable, errors.QueryCanceled)):
            return LedgerLocked(f"ledger {self.name} was locked by another process for {self.timeout:g} s; try again")
        if isinstance(error, (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction)):
            return LedgerError(f"ledger {self.name} cannot be read or written with these rights; nothing was charged")
        if isinstance(error, (errors.UniqueViolation, errors.RaiseException)):
            return LedgerLocked(f"ledger {self.name} was written by somebody else at the same moment; nothing was charged; try again")
        if isinstance(error, errors.OperationalError) and error.sqlstate is None:
            return LedgerError(f"{self.name} cannot be reached, or the connection broke; run ledger show before the next charge")
        if isinstance(error, errors.OperationalError):
            return LedgerError(f"{self.name} refused or gave up ({type(error).__name__}); run ledger show before the next charge")
        return LedgerCorrupt(f"ledger {self.name} is not as it was made ({type(error).__name__}); restore it from a backup")


def _public_name(url: str) -> str:
    psycopg = _psycopg()
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise ConfigError("the ledger's URL cannot be read; write postgresql://user@host/database") from None
    port = f":{parts['port']}" if "port" in parts else ""
    # A password with an @ that was not written as %40 ends up in front of the host.
    host = str(parts.get("host", "")).rpartition("@")[2]
    return f"postgresql://{host}{port}/{parts.get('dbname', '')}"


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        raise ConfigError("a ledger in Postgres needs the extra 'sql': pip install 'dpsynth-release[sql]'") from None
    return psycopg


def _table(connection: Connection[Any]) -> int | None:
    found = connection.execute("SELECT to_regclass(%s)::oid::bigint", (TABLE,)).fetchone()
    return None if found is None else found[0]


def _rows(connection: Connection[Any]) -> list[Row]:
    rows: list[Row] = connection.execute(f"SELECT seq, body, prev, hash FROM {TABLE} ORDER BY seq").fetchall()
    return rows


def _insert(connection: Connection[Any], row: Row) -> None:
    connection.execute(f"INSERT INTO {TABLE} (seq, body, prev, hash) VALUES (%s, %s, %s, %s)", row)
