"""Fresh databases for tests, with the schema in place: copied from one that was migrated once, which is quicker than
migrating each; and emptied rather than made again."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import pbkdf2_hmac, sha256
from hmac import digest
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg2

from config.clock import draw_id
from devservers.postgres import PrivatePostgres
from storage.database import open_database
from storage.migrate import migrate

_MIGRATED = "migrated"
_ready: dict[str, str] = {}
"""The URL of the migrated database, by the server's folder."""
_connections: dict[str, Any] = {}
"""To the servers' own database, by the server's folder: hundreds of tests take a database each."""
_COPY = " STRATEGY FILE_COPY"
"""As all servers before version 15 do; at this size it takes a third of writing each page into the log."""
_COPY_FROM_VERSION = 150_000
_idle: defaultdict[str, list[str]] = defaultdict(list)
"""The URLs of databases that were lent and are as new again, by the server's folder."""


@contextmanager
def lent_postgres(postgres: PrivatePostgres) -> Iterator[str]:
    """The URL of a database that is as new. Afterwards it is emptied for the next test, which takes a tenth of making
    another; who is connected by then is cut off."""
    idle = _idle[str(postgres.folder)]
    url = idle.pop() if idle else fresh_postgres(postgres)
    yield url
    with suppress(psycopg2.Error):  # the test may have killed the server
        if _emptied(url, _new(postgres)):
            idle.append(url)
            return
    leave(url)
    with suppress(psycopg2.Error):
        _administer(postgres, f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')


@dataclass(frozen=True)
class _New:
    """What a fresh database has in it: tables, by name the rows of those that have any, and something of all else."""

    tables: list[str]
    rows: dict[str, str]
    rest: object


def _new(postgres: PrivatePostgres) -> _New:
    folder = str(postgres.folder)
    if folder not in _news:
        with closing(psycopg2.connect(fresh_postgres(postgres))) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
            tables = [f'"{name}"' for (name,) in cursor.fetchall()]
            texts = {name: StringIO() for name in tables}
            for name, text in texts.items():
                cursor.copy_expert(f"COPY {name} TO STDOUT", text)
            cursor.execute(_REST)
            rows = {name: text.getvalue() for name, text in texts.items() if text.getvalue()}
            _news[folder] = _New(tables, rows, cursor.fetchone())
    return _news[folder]


_news: dict[str, _New] = {}


_inside: dict[str, Any] = {}
"""Connections to lent databases, by URL: a new one would first read about each table, which is most of emptying it."""


def _emptied(url: str, new: _New) -> bool:
    """Put the rows back that a fresh one has. False: more than rows has changed."""
    if url not in _inside:
        _inside[url] = psycopg2.connect(url)
    with _inside[url] as connection, connection.cursor() as cursor:
        cursor.execute(_CUT_OFF)
        cursor.execute(f"LOCK TABLE {', '.join(new.tables)}")
        cursor.execute(_REST)
        if cursor.fetchone() != new.rest:
            return False
        cursor.execute(_USED)  # deleted rows would leave places, and so another order of those that come
        used = [f'"{name}"' for (name,) in cursor.fetchall()]
        cursor.execute(f"TRUNCATE {', '.join(used)}")
        for name, rows in new.rows.items():
            cursor.copy_expert(f"COPY {name} FROM STDIN", StringIO(rows))
    return True


def leave(url: str) -> None:
    """Have no connection to a lent database, as who copies it must."""
    if url in _inside:
        _inside.pop(url).close()


_CUT_OFF = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_USED = """SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND pg_relation_size(oid) > 0"""
_REST = """SELECT (SELECT row(count(*), max(oid::bigint), sum(relnatts), sum(relchecks))::text FROM pg_class),
    (SELECT row(count(*), max(oid::bigint))::text FROM pg_proc), (SELECT count(*) FROM pg_trigger),
    (SELECT count(*) FROM pg_db_role_setting)"""
"""What a test would change that altered more than rows."""


def fresh_postgres(postgres: PrivatePostgres) -> str:
    """The URL of a new database, which stays."""
    folder = str(postgres.folder)
    if folder not in _ready:
        _ready[folder] = postgres.database(_MIGRATED)
        _migrate(_ready[folder])
    name = f"d_{draw_id().replace('-', '')[:16]}"
    _administer(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{_MIGRATED}"{_COPY}')
    return f"{_ready[folder].rpartition('/')[0]}/{name}"


def _administer(postgres: PrivatePostgres, statement: str) -> None:
    """Outside any transaction. A connection that the server's end has cut is made anew."""
    folder = str(postgres.folder)
    try:
        if folder in _connections:
            _execute(_connections[folder], statement)
            return
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        _connections.pop(folder).close()
    connection = psycopg2.connect(f"{_ready[folder].rpartition('/')[0]}/postgres")
    connection.autocommit = True
    _connections[folder] = connection
    _execute(connection, statement)


def _execute(connection: Any, statement: str) -> None:
    if connection.server_version < _COPY_FROM_VERSION:
        statement = statement.removesuffix(_COPY)
    with connection.cursor() as cursor:
        cursor.execute(statement)


def quick_to_log_in(postgres: PrivatePostgres) -> None:
    """Have the server keep its password so that a login, which takes longer than most tests' statements, goes without
    the thousands of hashes that make it dear to guess."""
    salt, rounds = os.urandom(16), 1
    salted = pbkdf2_hmac("sha256", postgres.password.encode(), salt, rounds)
    stored = sha256(digest(salted, b"Client Key", "sha256")).digest()
    parts = [b64encode(part).decode() for part in (salt, stored, digest(salted, b"Server Key", "sha256"))]
    secret = "SCRAM-SHA-256${}:{}${}:{}".format(rounds, *parts)
    postgres.sql("postgres", f"ALTER USER {postgres.user} PASSWORD '{secret}'")


def fresh_sqlite(path: Path) -> str:
    """The URL of a new database in this file."""
    shutil.copyfile(Path(_template().name, "store.sqlite"), path)
    return f"sqlite:///{path}"


@functools.cache
def _template() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="fedyard-template-")
    _migrate(f"sqlite:///{folder.name}/store.sqlite")
    return folder


def _migrate(url: str) -> None:
    database = open_database(url)
    migrate(database)
    database.close()
