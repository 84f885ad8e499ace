"""A database, PostgreSQL or SQLite, behind one small surface: constant SQL in, tuples out.

SQL is written with `%s` for a parameter and `{any}` after a column that shall equal one of many ids
(`WHERE id {any}`), whose parameter is made by `Database.many`.
"""

from __future__ import annotations

import functools
import json
import os
import select
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from weakref import WeakKeyDictionary, WeakSet

import peewee
import psycopg2.errors
import psycopg2.extensions
from playhouse.pool import MaxConnectionsExceeded, PooledPostgresqlDatabase

from config.settings import url_path

Row = tuple[Any, ...]

STATEMENT_TIMEOUT_MS = 15_000
IDLE_IN_TRANSACTION_MS = 5_000
"""A decider that is frozen inside its transaction loses it, so that a stand-by can go on. Nobody is idle that long by
himself: what a batch computes between two statements takes well below a second."""


_LOST = (peewee.OperationalError, peewee.InterfaceError)
"""What says that the database is away. A stand-by that is not promoted yet takes no writes: that is away, too."""


_ID = psycopg2.extensions.new_type((2950,), "ID", lambda value, _cursor: value)
_IDS = psycopg2.extensions.new_array_type((2951,), "IDS", _ID)
_BYTES = psycopg2.extensions.new_type(
    (17,), "BYTES", lambda value, cursor: None if value is None else bytes(psycopg2.BINARY(value, cursor))
)


class _TextIds(PooledPostgresqlDatabase):
    """Ids stay canonical text, and bytes are bytes, as in SQLite: records hold what their fields say."""

    def _connect(self) -> Any:
        connection = super()._connect()
        psycopg2.extensions.register_type(_ID, connection)
        psycopg2.extensions.register_type(_IDS, connection)
        psycopg2.extensions.register_type(_BYTES, connection)
        return connection

    def _is_closed(self, conn: Any) -> bool:
        """A silent socket is a healthy one. Only where the server has said something unasked (a farewell, as a rule)
        is it asked: that is a round trip, and under the pool's lock."""
        if conn.closed:
            return True
        heard = select.poll()
        heard.register(conn.fileno(), select.POLLIN)
        return bool(heard.poll(0)) and super()._is_closed(conn)


class _KeptSqlite(peewee.SqliteDatabase):
    """Of the connections that threads leave as many stay open as shall be kept: a new one reads the schema first, which
    takes longer than most queries."""

    _lock: threading.Lock  # peewee's own, of which its types say nothing
    _state: Any

    def __init__(self, path: str, *, kept: int, **options: Any) -> None:
        super().__init__(path, check_same_thread=False, **options)  # one thread after another has it, never two
        self._kept = kept
        self._idle: list[sqlite3.Connection] = []

    def _connect(self) -> Any:
        return self._idle.pop() if self._idle else super()._connect()  # type: ignore[misc]

    def _close(self, conn: sqlite3.Connection) -> None:
        if len(self._idle) < self._kept and not conn.in_transaction:
            self._idle.append(conn)
        else:
            super()._close(conn)  # type: ignore[misc]

    def close_all(self) -> None:
        """Close every idle connection, and keep none from now on."""
        with self._lock:
            self._kept = 0
            while self._idle:
                self._idle.pop().close()

    def manual_close(self) -> None:
        """Close this thread's connection, and do not keep it."""
        with self._lock:
            connection = self._state.conn
            self._state.reset()
            connection.close()


_Pooled = (PooledPostgresqlDatabase, _KeptSqlite)


class DatabaseUnavailable(Exception):
    """The database cannot be reached, or went away; trying again later helps."""


class Database:
    """One database. Connections belong to threads; `connection()` gives this thread one."""

    def __init__(self, inner: peewee.Database, *, postgres: bool) -> None:
        self.peewee = inner
        self.postgres = postgres
        self.leads: bool | None = None
        """Whether who uses it led when it looked last (storage/leadership.py); None: it does nothing that one leads."""
        self._prepared: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
        self._seen: WeakSet[Any] = WeakSet()

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Hold this thread's connection for the block; nests. Raises `DatabaseUnavailable`."""
        if not self.peewee.is_closed():
            yield
            return
        self.hold()
        try:
            yield
        except DatabaseUnavailable:
            self.drop_connection()
            raise
        finally:
            self.peewee.close()

    def hold(self) -> None:
        """Open this thread's connection, to be kept (for the deciding thread). Raises `DatabaseUnavailable`."""
        try:
            self.peewee.connect(reuse_if_open=True)
        except (*_LOST, MaxConnectionsExceeded) as error:
            raise DatabaseUnavailable(_first_line(error)) from error

    def drop_connection(self) -> None:
        """Close this thread's connection for good; a broken one must not go back into a pool."""
        if self.peewee.is_closed():
            return
        if isinstance(self.peewee, _Pooled):
            self.peewee.manual_close()
        else:
            self.peewee.close()

    def all(self, sql: str, *params: object) -> list[Row]:
        """The rows of a query."""
        cursor = self.execute(sql, params)
        return [tuple(row) for row in cursor.fetchall()]

    def one(self, sql: str, *params: object) -> Row | None:
        """The first row of a query, or None."""
        row = self.execute(sql, params).fetchone()
        return None if row is None else tuple(row)

    def execute(self, sql: str, params: Sequence[object] = ()) -> Any:
        """One statement on this thread's connection; the cursor. Raises `DatabaseUnavailable` or what peewee does."""
        try:
            return self.peewee.execute_sql(_dialect(sql, self.postgres), params)
        except _LOST as error:
            raise DatabaseUnavailable(_first_line(error)) from error
        except peewee.InternalError as error:
            if isinstance(getattr(error, "orig", None), psycopg2.errors.ReadOnlySqlTransaction):
                raise DatabaseUnavailable(_first_line(error)) from error
            raise

    def execute_each(self, sql: str, rows: Iterable[Row]) -> None:
        """One statement for each row (SQLite; `?` for a parameter). Raises as `execute` does."""
        try:
            self.peewee.connection().executemany(sql, rows)
        except (sqlite3.OperationalError, sqlite3.InterfaceError) as error:
            raise DatabaseUnavailable(_first_line(error)) from error

    def prepared(self, name: str, sql: str, types: Sequence[str]) -> str:
        """How to run a statement of PostgreSQL (`$1`, ...) that this thread's connection parses and plans only once."""
        known = self._prepared.setdefault(self.peewee.connection(), set())
        if name not in known:
            self.execute(f"PREPARE {name} ({', '.join(types)}) AS {sql}")
            known.add(name)
        return f"EXECUTE {name} ({', '.join(f'%s::{each}' for each in types)})"

    @contextmanager
    def first_seen(self) -> Iterator[bool]:
        """True for a connection of PostgreSQL, this thread's, for which no such block has ended well.

        It may lead to another server than the ones before.
        """
        connection = self.peewee.connection() if self.postgres else None
        yield connection is not None and connection not in self._seen
        if connection is not None:
            self._seen.add(connection)

    def many(self, ids: Iterable[object]) -> object:
        """The parameter for `{any}`: sorted, without repeats."""
        wanted = sorted(set(ids))  # type: ignore[type-var]
        return wanted if self.postgres else json.dumps(wanted)

    def close(self) -> None:
        """Close every idle connection of the pool, and this thread's."""
        self.drop_connection()
        if isinstance(self.peewee, _Pooled):
            self.peewee.close_all()


@functools.cache
def _dialect(sql: str, postgres: bool) -> str:
    if postgres:
        return sql.replace("{any}", "= ANY(%s)").replace("{any:uuid}", "= ANY(%s::uuid[])")
    listed = "IN (SELECT value FROM json_each(?))"
    return sql.replace("%s", "?").replace("{any}", listed).replace("{any:uuid}", listed)


def _first_line(error: BaseException) -> str:
    """What the driver said, without the statement and its parameters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def open_database(url: str, *, pool: int = 4, name: str = "fedyard", kept: int = 0) -> Database:
    """The database that FEDYARD_DATABASE_URL names. Connects lazily.

    kept: how many idle connections of SQLite stay open until `Database.close`, for who lives long.
    """
    if urlsplit(url).scheme == "sqlite":
        return _open_sqlite(Path(url_path(url)), kept)
    inner = _TextIds(
        url,
        max_connections=pool,
        timeout=5,
        stale_timeout=300,
        connect_timeout=3,
        application_name=name,
        keepalives=1,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS} "
        f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS} -c timezone=UTC "
        "-c jit=off",  # where a scan is ruled out and needed all the same, its price would have all of it compiled: 2 s
    )
    return Database(inner, postgres=True)


def _open_sqlite(path: Path, kept: int) -> Database:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # It holds payloads; its -wal and -shm take its mode. What is there is never opened beside SQLite: closing it
        # would drop this process's POSIX locks, and another process could reset the log under our connections.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise DatabaseUnavailable(f"{path} cannot be opened ({error.strerror})") from None
    pragmas = {"journal_mode": "wal", "synchronous": "full", "busy_timeout": 10_000, "foreign_keys": 1}
    if not kept:
        return Database(peewee.SqliteDatabase(str(path), pragmas=pragmas, timeout=10), postgres=False)
    return Database(_KeptSqlite(str(path), kept=kept, pragmas=pragmas, timeout=10), postgres=False)


def open_copy(path: Path) -> Database:
    """An SQLite file that nobody writes, to be read only: nothing is made beside it."""
    place = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
    return Database(peewee.SqliteDatabase(place, uri=True), postgres=False)
