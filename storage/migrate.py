"""Brings the schema up to date: the numbered files in storage/migrations/, forward only."""

from __future__ import annotations

from pathlib import Path

from playhouse.migrations import Runner

from storage.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 4_207_411


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


def applied(database: Database) -> list[str]:
    """The names of the migrations that this database has, in their order."""
    with database.connection():
        return [m.name for m in Runner(database.peewee, str(MIGRATIONS)).status() if m.applied]
