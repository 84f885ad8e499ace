"""Models that this site's people gave for runs to begin with, until their coordinator's agent has sent them."""

from __future__ import annotations

from dataclasses import dataclass

from fedyard.agent.state.part import Part, Transaction
from fedyard.wire.times import MINUTE

UNCLAIMED_FOR = 10 * MINUTE
"""Microseconds for which one that is no run's yet may become one's: so long its run may take to be started."""
KEEP = 20
"""For restarts; the oldest go first."""


@dataclass(frozen=True)
class FirstModel:
    """Packed in `file`. run_id: empty until its run is known. norm: `arrays.norm_of`. at: microseconds."""

    id: str
    project_id: str
    task: str
    run_id: str
    at: int
    file: str
    norm: float | None


class FirstModels(Part):
    """Models that this site's people gave for runs to begin with."""

    def keep(self, model: FirstModel) -> list[str]:
        """Keep one; the files of the oldest, which are forgotten."""
        row = (model.id, model.project_id, model.task, model.run_id, model.at, model.file, model.norm)
        with self._lock, Transaction(self._db):
            self._db.execute("INSERT INTO first_models VALUES (?,?,?,?,?,?,?)", row)
            old = self._db.execute(
                "DELETE FROM first_models WHERE id NOT IN (SELECT id FROM first_models ORDER BY at DESC LIMIT ?)"
                " RETURNING file",
                (KEEP,),
            ).fetchall()
        return [one[0] for one in old]

    def forget(self, id: str) -> None:
        """Its run was not started."""
        self._write("DELETE FROM first_models WHERE id = ? AND run_id = ''", (id,))

    def belongs(self, id: str, run_id: str) -> bool:
        """It was given for this run; False if the agent took it for another one meanwhile."""
        with self._lock, Transaction(self._db):
            self._db.execute("UPDATE first_models SET run_id = ? WHERE id = ? AND run_id = ''", (run_id, id))
            row = self._db.execute("SELECT run_id FROM first_models WHERE id = ?", (id,)).fetchone()
        return row is not None and row[0] == run_id

    def claim(self, project_id: str, task: str, run_id: str, before: str | None, now: int) -> FirstModel | None:
        """The one that was given for the run, or for the attempt before it, or that waits for its run to be known."""
        with self._lock, Transaction(self._db):
            row = self._db.execute(
                "SELECT * FROM first_models WHERE project_id = ? AND task = ? AND (run_id IN (?, ?)"
                " OR (run_id = '' AND at > ?)) ORDER BY run_id = ? DESC, run_id = ? DESC, at LIMIT 1",
                (project_id, task, run_id, before or run_id, now - UNCLAIMED_FOR, run_id, before or run_id),
            ).fetchone()
            if row is not None:
                self._db.execute("UPDATE first_models SET run_id = ? WHERE id = ?", (run_id, row[0]))
        return None if row is None else FirstModel(*row)
