"""What this site's people have to say of runs: tasks that wait for them, what they approved, how many runs began."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fedyard.agent.state.part import Part, Transaction
from fedyard.agent.state.records import Approval
from fedyard.wire.times import DAY

KEEP_APPROVALS = 10_000
KEEP_BEGUN = 100_000
_COLUMNS = ", ".join(Approval.__struct_fields__)


class Approvals(Part):
    """Tasks of runs as this site's people are asked about them, and the runs that were let begin."""

    def ask(self, wanted: Approval) -> Approval:
        """Put a task of a run to this site's people, in this state; as it is on record already, if it is."""
        marks = ",".join("?" * (len(Approval.__struct_fields__) - 1))
        row = msgspec.structs.astuple(wanted)[1:]
        with self._lock, Transaction(self._db):
            self._db.execute(f"INSERT OR IGNORE INTO approvals ({_COLUMNS.removeprefix('id, ')}) VALUES ({marks})", row)
            self._db.execute(
                "DELETE FROM approvals WHERE id <= (SELECT max(id) FROM approvals) - ? AND state != 'waiting'",
                (KEEP_APPROVALS,),
            )
            if wanted.state == "waiting":  # nobody was asked, or a run that was over goes on
                self._db.execute(
                    "UPDATE approvals SET state = 'waiting' WHERE run_id = ? AND task_seq = ? AND digest = ?"
                    " AND code = ? AND state IN ('told', 'over')",
                    (wanted.run_id, wanted.task_seq, wanted.digest, wanted.code),
                )
            found = self._db.execute(
                f"SELECT {_COLUMNS} FROM approvals WHERE run_id = ? AND task_seq = ? AND digest = ? AND code = ?",
                (wanted.run_id, wanted.task_seq, wanted.digest, wanted.code),
            ).fetchone()
        return _approval(found)

    def get(self, id: int) -> Approval | None:
        with self._lock:
            row = self._db.execute(f"SELECT {_COLUMNS} FROM approvals WHERE id = ?", (id,)).fetchone()
        return None if row is None else _approval(row)

    def answer(self, id: int, state: str, now: int) -> bool:
        """A person's word, or what ended the question; False if it does not wait any more. now: microseconds."""
        with self._lock, Transaction(self._db):
            done = self._db.execute(
                "UPDATE approvals SET state = ?, answered_at = ? WHERE id = ? AND state = 'waiting'", (state, now, id)
            )
        return done.rowcount == 1

    def over(self, run_id: str, task_seq: int | None, now: int) -> None:
        """The run, or a task of it, has ended: nobody is asked any more."""
        self._write(
            "UPDATE approvals SET state = 'over', answered_at = ?1 WHERE run_id = ?2 AND state = 'waiting'"
            " AND (?3 IS NULL OR task_seq = ?3)",
            (now, run_id, task_seq),
        )

    def approved(self, project_id: str, digest: str, code: str) -> bool:
        """True if people approved this task, with this code, in any run of the project."""
        return (
            self._value(
                "SELECT count(*) FROM approvals WHERE project_id = ? AND digest = ? AND code = ?"
                " AND state = 'approved'",
                (project_id, digest, code),
            )
            > 0
        )

    def before(self, project_id: str, name: str, id: int) -> Approval | None:
        """The project's task of this name as this site knew it last, before this one (by id)."""
        with self._lock:
            row = self._db.execute(
                f"SELECT {_COLUMNS} FROM approvals WHERE project_id = ? AND name = ? AND id < ? ORDER BY id DESC"
                " LIMIT 1",
                (project_id, name, id),
            ).fetchone()
        return None if row is None else _approval(row)

    def waiting(self) -> list[Approval]:
        """Whatever waits for a person, the oldest first."""
        with self._lock:
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM approvals WHERE state = 'waiting' ORDER BY id").fetchall()
        return [_approval(row) for row in rows]

    def latest(self, count: int, project_id: str | None = None) -> list[Approval]:
        """The newest ones of a project, or of all."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM approvals WHERE ?1 IS NULL OR project_id = ?1 ORDER BY id DESC LIMIT ?2",
                (project_id, count),
            ).fetchall()
        return [_approval(row) for row in rows]

    def begin(self, project_id: str, run_id: str, now: int, most: int | None) -> int:
        """Let a run of a project begin, once; 0 if it may (or has), else when the next one may, in microseconds.

        most: how many runs of the project may begin within 24 hours; None: any number. A run whose beginning lies in
        the future, because the clock was set back, counts.
        """
        with self._lock, Transaction(self._db):
            known = self._db.execute(
                "SELECT 1 FROM begun_runs WHERE project_id = ? AND run_id = ?", (project_id, run_id)
            ).fetchone()
            if known is not None:
                return 0
            begun = self._db.execute(
                "SELECT at FROM begun_runs WHERE project_id = ? AND at > ? ORDER BY at DESC", (project_id, now - DAY)
            ).fetchall()
            if most is not None and len(begun) >= most:
                return int(begun[most - 1][0]) + DAY if most else now + DAY
            self._db.execute("INSERT INTO begun_runs VALUES (?,?,?)", (project_id, run_id, now))
            self._db.execute(
                "DELETE FROM begun_runs WHERE rowid <= (SELECT max(rowid) FROM begun_runs) - ?", (KEEP_BEGUN,)
            )
        return 0

    def began(self, project_id: str, now: int) -> int:
        """How many runs of a project began within the last 24 hours."""
        return self._value("SELECT count(*) FROM begun_runs WHERE project_id = ? AND at > ?", (project_id, now - DAY))

    def refuse_run(self, run_id: str, reason: str) -> None:
        """From now on nothing is computed for the run, and why; the first reason stays."""
        self._write("INSERT OR IGNORE INTO refused_runs VALUES (?,?)", (run_id, reason))

    def refused_run(self, run_id: str) -> str | None:
        """Why nothing is computed for a run any more; None if it is."""
        with self._lock:
            row = self._db.execute("SELECT reason FROM refused_runs WHERE run_id = ?", (run_id,)).fetchone()
        return None if row is None else str(row[0])


def _approval(row: Sequence[Any]) -> Approval:
    return Approval(**dict(zip(Approval.__struct_fields__, row, strict=True)))
