"""Updates that left with noise, or may leave: what a project's privacy budget is counted over. No row ever goes.

A place is reserved before an update is made, so that tasks that compute at once cannot overdraw the budget together. It
is the same place when a hook that crashed is called again, since what it made then was never kept; it is given back
where nothing was made. What was kept stays counted, whether or not the hub ever took it.
"""

from __future__ import annotations

import sqlite3

import msgspec

from fedyard.agent.state.part import Part, Transaction
from fedyard.tasks.privacy import Privacy, Released, Spent
from fedyard.wire.answers import Entry
from fedyard.wire.types import Micros


class BudgetState(msgspec.Struct, frozen=True):
    """What has been spent of a project's budget. epsilon, delta: as counted when the newest update was made.

    updates: with noise. without: updates on record (`egress.py`) that left without any.
    """

    project_id: str
    updates: int
    without: int
    epsilon: float
    delta: float | None
    at: Micros


class Releases(Part):
    """Updates that left with noise, or may leave."""

    def reserve(self, entry: Entry, privacy: Privacy, now: Micros) -> list[Released]:
        """Make a place for the update of an entry; all others of its project, those that are being made among them."""
        where, project_id = (entry.seq, entry.run_id), entry.project_id or ""
        with self._lock, Transaction(self._db):
            self._db.execute("DELETE FROM releases WHERE entry_seq = ? AND run_id IS ? AND NOT kept", where)
            others = _released(self._db, project_id)
            self._db.execute(
                "INSERT INTO releases (project_id, run_id, task_seq, round, entry_seq, at, noise, clip)"
                " VALUES (?,?,?,?,?,?,?,?)",
                (
                    project_id,
                    entry.run_id,
                    entry.task_seq,
                    entry.round or 0,
                    entry.seq,
                    now,
                    privacy.noise,
                    privacy.clip,
                ),
            )
        return others

    def of(self, project_id: str) -> list[Released]:
        """All of a project."""
        with self._lock:
            return _released(self._db, project_id)

    def give_back(self, entry: Entry) -> None:
        """Nothing was made."""
        self._write("DELETE FROM releases WHERE entry_seq = ? AND run_id IS ? AND NOT kept", (entry.seq, entry.run_id))

    def spent(self) -> list[BudgetState]:
        """By project, what has been spent."""
        with self._lock:
            rows = self._db.execute(
                "SELECT project_id, count(*), epsilon, delta, at, max(id) FROM releases WHERE kept GROUP BY project_id"
                " ORDER BY project_id"  # what stands beside max(id) is of that row
            ).fetchall()
        return [
            BudgetState(project_id, count, self.without(project_id), epsilon, delta, at)
            for project_id, count, epsilon, delta, at, _ in rows
        ]

    def without(self, project_id: str) -> int:
        """Updates of a project on record that left without noise."""
        return self._value(
            "SELECT count(*) FROM egress WHERE kind = 'update' AND project_id = ? AND NOT EXISTS (SELECT 1 FROM"
            " releases WHERE kept AND releases.run_id = egress.run_id AND releases.task_seq = egress.task_seq AND"
            " releases.round = egress.round)",
            (project_id,),
        )


def keep(db: sqlite3.Connection, entry_seq: int, run_id: str, spent: Spent, now: Micros) -> None:
    """Within the transaction that keeps an update: its place is taken. Raises `LookupError` if none was reserved."""
    taken = db.execute(
        "UPDATE releases SET kept = 1, epsilon = ?, delta = ?, at = ? WHERE entry_seq = ? AND run_id = ? AND NOT kept",
        (spent.epsilon, spent.delta, now, entry_seq, run_id),
    )
    if taken.rowcount != 1:
        raise LookupError(f"no place in the budget for the update of entry {entry_seq} in run {run_id}")


def forget_run(db: sqlite3.Connection, run_id: str) -> None:
    """Within a transaction: nothing more is made in this run."""
    db.execute("DELETE FROM releases WHERE run_id = ? AND NOT kept", (run_id,))


def _released(db: sqlite3.Connection, project_id: str) -> list[Released]:
    rows = db.execute(
        "SELECT noise, count(*) FROM releases WHERE project_id = ? GROUP BY noise ORDER BY noise", (project_id,)
    ).fetchall()
    return [Released(noise, count) for noise, count in rows]
