"""Which of several processes of a kind acts: the one that holds an advisory lock of the database."""

from __future__ import annotations

from storage.database import Database


def lead(database: Database, lock: int) -> bool:
    """True if this thread may act. PostgreSQL: an advisory lock that dies with its connection, which it keeps."""
    database.hold()
    if not database.postgres:
        database.leads = True
        return True
    row = database.one(
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s "
        "AND pid = pg_backend_pid() AND granted) THEN true ELSE pg_try_advisory_lock(%s) END",
        lock,
        lock,
    )
    database.leads = bool(row and row[0])
    return database.leads


def step_down(database: Database) -> None:
    """Give up this thread's connection, and with it the leadership."""
    database.leads = False
    database.drop_connection()
