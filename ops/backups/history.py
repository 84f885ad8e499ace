"""The history that a copy of the records belongs to, and the new one that begins when it is put back."""

from __future__ import annotations

from config.clock import Micros
from domain.ids import Id
from ops.backups.content import About, BackupError
from storage.database import Database

REASON = "a backup was restored"


def history_of(records: Database) -> Id:
    """Its id, as these records have it."""
    row = records.one("SELECT history_id FROM history")
    if row is None:
        raise BackupError("the records have no history: run fedyard-hub migrate")
    return Id(row[0])


def new_history(found: About, history_id: Id, now: Micros) -> str:
    """The statement that begins a new history. Where it lies is noted by the deciders, when they see it first.

    The same as domain/decisions/history.py decides, which a test compares; in SQL, since a backup may have an older
    schema than decisions know, and has to have its new history before any program of the hub sees it.
    """
    table = "public.history" if found.form == "postgresql" else "history"
    return (
        f"UPDATE {table} SET history_id = '{history_id}', since = {int(now)}, changes = changes + 1,"  # noqa: S608 - names of our own
        f" reason = '{REASON}', fingerprint = '';\n"
    )
