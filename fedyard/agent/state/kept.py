"""Which of the folders that hooks have kept counts, by project and task."""

from __future__ import annotations

import sqlite3

import msgspec

from fedyard.agent.state.part import Part, Transaction


class Generation(msgspec.Struct, frozen=True):
    """What a hook has kept because of an entry. number, before: its folder, and that which counted until then; 0: none.

    In a run with an id: an entry's number may be another one's after the hub was restored.
    """

    project_id: str
    task: str
    number: int
    before: int
    entry_seq: int
    run_id: str


class Generations(Part):
    """Which of the folders that hooks have kept counts."""

    def get(self, project_id: str, task: str) -> Generation | None:
        with self._lock:
            row = self._db.execute(
                "SELECT * FROM kept WHERE project_id = ? AND task = ?", (project_id, task)
            ).fetchone()
        return None if row is None else Generation(*row)

    def keep(self, generation: Generation) -> None:
        """From now on this one counts."""
        with self._lock, Transaction(self._db):
            keep(self._db, generation)


def keep(db: sqlite3.Connection, generation: Generation) -> None:
    """Within the transaction that keeps a hook's result."""
    db.execute("INSERT OR REPLACE INTO kept VALUES (?,?,?,?,?,?)", msgspec.structs.astuple(generation))
