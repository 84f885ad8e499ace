"""SQLite that tells: every statement passes a hook, and every change of a row is noted beside it.

The notes are written by triggers, in the transaction of the change itself, so what a crash undoes was never noted.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee

from domain import records as r
from domain.records import Record
from storage.database import Database, open_database
from storage.migrate import migrate
from storage.tables import COLUMNS

Watch = Callable[[str, str], None]
"""Called with "before" or "after" and the statement; may raise, and then the statement's process is no more."""

WATCHED = r.RECORDS
BEATS = "site_beats"


class WatchedConnection(sqlite3.Connection):
    """A connection whose statements are seen, each row of `executemany` as a statement of its own."""

    watch: Watch | None = None

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or WatchedCursor)

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any) -> Any:
        return self.cursor().executemany(sql, parameters)


class WatchedCursor(sqlite3.Cursor):
    connection: WatchedConnection

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        watch = self.connection.watch
        if watch is None:
            return super().execute(sql, parameters)
        watch("before", sql)
        result = super().execute(sql, parameters)
        watch("after", sql)
        return result

    def executemany(self, sql: str, parameters: Any) -> Any:
        for row in parameters:
            self.execute(sql, row)
        return self


class WatchedSqlite(peewee.SqliteDatabase):
    """Who finds the file locked is told so at once: in one thread, waiting would be for ever."""

    def __init__(self, path: Path, watch: Watch) -> None:
        super().__init__(
            str(path),
            pragmas={"journal_mode": "wal", "synchronous": "off", "foreign_keys": 1},
            timeout=0,
            factory=WatchedConnection,
        )
        self._watch = watch

    def _connect(self) -> Any:
        connection = super()._connect()  # type: ignore[misc]
        connection.watch = self._watch
        return connection


def watched(path: Path, watch: Watch) -> Database:
    """A process's own database: one connection, held until the process dies."""
    return Database(WatchedSqlite(path, watch), postgres=False)


def cut_off(database: Database) -> None:
    """The process is gone, or its connection: what was not committed is undone."""
    if not database.peewee.is_closed():
        connection = database.peewee.connection()
        connection.watch = None
        connection.rollback()
        database.peewee.close()


@functools.cache
def place_of(sql: str) -> str:
    """A writing statement in two words, such as `INSERT inbox`; empty for one that only reads."""
    found = re.match(r"\s*(?:(INSERT) INTO (\w+)|(UPDATE) (\w+)|(DELETE) FROM (\w+)|(BEGIN|COMMIT|ROLLBACK))", sql)
    return " ".join(part for part in found.groups() if part) if found else ""


def _noted(kind: type[Record], row: str) -> str:
    """A row as a JSON list in the order of its record's fields; a body is left out."""
    columns = (f"{row}.{name}" if plain != "bytes" else "NULL" for name, (plain, _) in COLUMNS[kind].items())
    return f"json_array({', '.join(columns)})"


def prepare(path: Path) -> None:
    """A migrated, empty store that notes its changes."""
    database = open_database(f"sqlite:///{path}")
    migrate(database)
    with database.connection():
        database.execute("CREATE TABLE noted (n INTEGER PRIMARY KEY, kind TEXT, old TEXT, new TEXT)")
        for kind in WATCHED:
            for event, old, new in (
                ("INSERT", "NULL", _noted(kind, "new")),
                ("UPDATE", _noted(kind, "old"), _noted(kind, "new")),
                ("DELETE", _noted(kind, "old"), "NULL"),
            ):
                database.execute(
                    f"CREATE TRIGGER note_{kind.TABLE}_{event} AFTER {event} ON {kind.TABLE} BEGIN"
                    f" INSERT INTO noted (kind, old, new) VALUES ('{kind.TABLE}', {old}, {new}); END"
                )
        database.execute(
            f"CREATE TRIGGER note_first_beats AFTER INSERT ON {BEATS} BEGIN INSERT INTO noted (kind, old, new) VALUES"
            f" ('{BEATS}', json_array(new.site_id, 0, 0), json_array(new.site_id, new.seen_at, new.handed_out)); END"
        )
        database.execute(
            f"CREATE TRIGGER note_beats AFTER UPDATE ON {BEATS} BEGIN INSERT INTO noted (kind, old, new) VALUES"
            f" ('{BEATS}', json_array(old.site_id, old.seen_at, old.handed_out),"
            " json_array(new.site_id, new.seen_at, new.handed_out)); END"
        )
    database.close()
