"""Brings the schema up to date: the numbered files in storage/migrations/, forward only."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from playhouse.migrations import Runner

from config.waiting import wait_until
from storage.database import Database, DatabaseUnavailable, open_database

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 4_207_411


class SchemaBehind(Exception):
    """Migrations are missing."""


def migrate(database: Database, target: str | None = None) -> list[str]:
    """Apply what is missing (up to `target`); the names applied. One process at a time."""
    with database.connection():
        if not database.postgres:
            return list(Runner(database.peewee, str(MIGRATIONS)).up(target))
        database.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        try:
            return list(Runner(database.peewee, str(MIGRATIONS)).up(target))
        finally:
            database.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def missing(database: Database) -> list[str]:
    """The names of migrations that are not applied; the hub does not start on an old schema."""
    with database.connection():
        return [m.name for m in Runner(database.peewee, str(MIGRATIONS)).status() if not m.applied]


def await_schema(database_url: str, name: str, stop: threading.Event, log: logging.Logger) -> None:
    """Wait for the database and its migrations: somebody else may be starting or applying them.

    name: of the connection meanwhile.
    """
    database = open_database(database_url, pool=1, name=name)
    absent = (DatabaseUnavailable, SchemaBehind)
    wait_until(lambda: _complete(database), there="database", absent=absent, stop=stop, log=log)
    database.close()


def _complete(database: Database) -> None:
    if names := missing(database):
        raise SchemaBehind(f"the schema lacks {', '.join(names)}: run fedyard-hub migrate")


def applied(database: Database) -> list[str]:
    """The names of the migrations that this database has, in their order."""
    with database.connection():
        return [m.name for m in Runner(database.peewee, str(MIGRATIONS)).status() if m.applied]
