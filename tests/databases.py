"""Fresh databases for tests, with the schema in place: copied from one that was migrated once, which is quicker than
migrating each."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ops.servers.postgres import PrivatePostgres
from ops.servers.process import ServerError
from storage.database import open_database
from storage.migrate import migrate

_MIGRATED = "migrated"
_ready: set[str] = set()


@contextmanager
def lent_postgres(postgres: PrivatePostgres) -> Iterator[str]:
    """The URL of a new database, which is gone afterwards."""
    url = fresh_postgres(postgres)
    yield url
    with suppress(ServerError):  # the test may have killed the server
        postgres.sql("postgres", f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')


def fresh_postgres(postgres: PrivatePostgres) -> str:
    """The URL of a new database, which stays."""
    if str(postgres.folder) not in _ready:
        _migrate(postgres.database(_MIGRATED))
        _ready.add(str(postgres.folder))
    return postgres.database(template=_MIGRATED)


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
