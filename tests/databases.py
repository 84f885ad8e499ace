"""Fresh databases for tests, with the schema in place: copied from one that was migrated once, which is quicker than
migrating each."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def lent_postgres(postgres: PrivatePostgres) -> Iterator[str]:
    """The URL of a new database, which is gone afterwards."""
    url = fresh_postgres(postgres)
    yield url
    with suppress(psycopg2.Error):  # the test may have killed the server
        _administer(postgres, f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')


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
