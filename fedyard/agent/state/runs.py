"""What the hub is held to: tasks as they were first told, what was sealed for them, which runs are over."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fedyard.agent.state import egress, releases
from fedyard.agent.state.part import Part, Transaction
from fedyard.agent.state.records import Egress, RunTask, made_of
from fedyard.sealed.sealing import Digests
from fedyard.wire.answers import Entry

KEEP_ENDED_RUNS = 10_000
"""How many ends of runs are remembered that no model was sealed in; those with a model for ever."""
KEEP_OWN_TASKS = 1000
"""How many tasks that this site's people gave to a project are remembered."""


class Runs(Part):
    """What the hub is held to: tasks as they were first told, what was sealed for them, which runs are over."""

    def forget_run(self, run_id: str) -> None:
        """A finished run: what its entries, updates, models and reports held goes; the entries' numbers stay.

        So do the digests of its tasks, since a hub that says that it ended may show it anew with others, and what its
        models were made of. That it ended is remembered if this site had a part in it: the hub may
        invent runs and their ends, and no number of them takes the place of a run that this site sealed a model in.
        """
        with self._lock, Transaction(self._db):
            had_part = self._db.execute(
                "SELECT EXISTS (SELECT 1 FROM seats WHERE run_id = ?1) OR EXISTS (SELECT 1 FROM run_tasks WHERE"
                " run_id = ?1) OR EXISTS (SELECT 1 FROM sealed_out WHERE run_id = ?1) OR EXISTS (SELECT 1 FROM"
                " models_made WHERE run_id = ?1)",
                (run_id,),
            ).fetchone()[0]
            self._db.execute("DELETE FROM bodies WHERE run_id = ? AND kind IN ('update', 'model')", (run_id,))
            for table in ("reports", "results", "outgoing", "sealed_out"):
                self._db.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
            releases.forget_run(self._db, run_id)
            self._db.execute("DELETE FROM seats WHERE run_id = ?", (run_id,))
            self._db.execute("UPDATE entries SET done = 1 WHERE run_id = ?", (run_id,))
            self._db.execute("DELETE FROM receipts WHERE run_id = ? AND outcome != 'missing'", (run_id,))
            if had_part:
                self._db.execute("INSERT OR IGNORE INTO ended_runs VALUES (?)", (run_id,))
                self._db.execute(
                    "DELETE FROM ended_runs WHERE rowid <= (SELECT max(rowid) FROM ended_runs) - ?"
                    " AND run_id NOT IN (SELECT run_id FROM models_made)",
                    (KEEP_ENDED_RUNS,),
                )
            self._db.execute("UPDATE run_tasks SET task_json = x'', seats_json = '[]' WHERE run_id = ?", (run_id,))
            self._db.execute(
                "DELETE FROM run_tasks WHERE task_json = x'' AND run_id NOT IN (SELECT run_id FROM ended_runs)"
            )

    def run_task(self, run_id: str, task_seq: int) -> RunTask | None:
        """A task of a run as it was first shown."""
        with self._lock:
            row = self._db.execute(
                "SELECT * FROM run_tasks WHERE run_id = ? AND task_seq = ?", (run_id, task_seq)
            ).fetchone()
        if row is None:
            return None
        run_id, task_seq, digest, task, seats = row
        return RunTask(run_id, task_seq, digest, bytes(task), msgspec.json.decode(seats, type=tuple[str, ...]))

    def keep_run_task(self, task: RunTask) -> None:
        row = (task.run_id, task.task_seq, task.digest, task.task_json, msgspec.json.encode(task.seats))
        self._write("INSERT OR REPLACE INTO run_tasks VALUES (?,?,?,?,?)", row)

    def own_tasks(self, project_id: str) -> dict[str, str]:
        """Tasks that this site's people gave to a project, or accepted: digest -> name; empty if none is known."""
        with self._lock:
            rows = self._db.execute("SELECT digest, name FROM own_tasks WHERE project_id = ?", (project_id,)).fetchall()
        return dict(rows)

    def keep_own_tasks(self, project_id: str, tasks: Iterable[tuple[str, str]]) -> None:
        """Remember tasks, as (digest, name), beside those of before, which live runs may still have."""
        with self._lock, Transaction(self._db):
            self._db.executemany(
                "INSERT OR REPLACE INTO own_tasks VALUES (?,?,?)", [(project_id, *task) for task in tasks]
            )
            self._db.execute(
                "DELETE FROM own_tasks WHERE project_id = ? AND rowid NOT IN"
                " (SELECT rowid FROM own_tasks WHERE project_id = ? ORDER BY rowid DESC LIMIT ?)",
                (project_id, project_id, KEEP_OWN_TASKS),
            )

    def keep_sealed(
        self, entry: Entry, kind: str, digest: str, digests: Digests | None, leaving: Egress | None = None
    ) -> None:
        """What this site has sealed for a round, and is about to send; digest: of the seal, empty if it went unsealed.

        Of a model it is kept for ever what it was made of (`made_of`), as it was first.
        """
        row = (entry.run_id, entry.task_seq, entry.round, kind, digest, msgspec.json.encode(digests))
        with self._lock, Transaction(self._db):
            self._db.execute("INSERT OR IGNORE INTO sealed_out VALUES (?,?,?,?,?,?)", row)
            if kind == "model":
                self._db.execute("INSERT OR IGNORE INTO models_made VALUES (?,?,?,?)", (*row[:3], made_of(digests)))
            if leaving is not None:
                egress.keep(self._db, leaving)

    def made_of(self, run_id: str, task_seq: int, round: int) -> str | None:
        """What this site's model of a round was made of (`made_of`); None if it has sealed none."""
        with self._lock:
            row = self._db.execute(
                "SELECT made_of FROM models_made WHERE run_id = ? AND task_seq = ? AND round = ?",
                (run_id, task_seq, round),
            ).fetchone()
        return None if row is None else str(row[0])

    def sealed(self, run_id: str, task_seq: int, round: int, kind: str) -> dict[str, Digests | None]:
        """What this site has sealed for a round: seal digest -> what it was made of. Several if sealed anew."""
        with self._lock:
            rows = self._db.execute(
                "SELECT digest, digests_json FROM sealed_out"
                " WHERE run_id = ? AND task_seq = ? AND round = ? AND kind = ?",
                (run_id, task_seq, round, kind),
            ).fetchall()
        return {digest: msgspec.json.decode(digests, type=Digests | None) for digest, digests in rows}

    def newest_sealed(self, run_id: str, task_seq: int, below: int) -> int | None:
        """The last round before `below` that this site has sealed a model for; None if there is none."""
        with self._lock:
            row = self._db.execute(
                "SELECT max(round) FROM sealed_out WHERE run_id = ? AND task_seq = ? AND round < ? AND kind = 'model'",
                (run_id, task_seq, below),
            ).fetchone()
        return None if row[0] is None else int(row[0])

    def ended(self, run_id: str) -> bool:
        """True if this site was told that the run is over."""
        return self._value("SELECT count(*) FROM ended_runs WHERE run_id = ?", (run_id,)) > 0
