"""What became of the updates that the hub has accepted."""

from __future__ import annotations

from fedyard.agent.state.part import Part, Transaction
from fedyard.agent.state.records import Receipt
from fedyard.wire.answers import Entry

NO_MODEL = "no_model"
"""Why an update is missing: no model of its round was shown."""
KEEP_RECEIPTS = 1000
"""How many missing receipts are kept for people to see."""


class Receipts(Part):
    """What became of the updates that the hub has accepted."""

    def await_receipt(self, entry: Entry) -> None:
        """The hub has accepted this site's update of a round."""
        row = (entry.run_id, entry.task_seq, entry.round, entry.project_id)
        self._write(
            "INSERT OR IGNORE INTO receipts (run_id, task_seq, round, project_id, outcome) VALUES (?,?,?,?,'awaited')",
            row,
        )

    def awaited_receipts(self, run_id: str, task_seq: int | None = None) -> list[Receipt]:
        """The updates of a run (or of one of its tasks) of which it is not known yet what became of them."""
        with self._lock:
            rows = self._db.execute(
                "SELECT * FROM receipts WHERE run_id = ? AND (? IS NULL OR task_seq = ?) AND outcome = 'awaited'",
                (run_id, task_seq, task_seq),
            ).fetchall()
        return [Receipt(*row) for row in rows]

    def without_model(self, run_id: str, task_seq: int, before: int) -> list[int]:
        """Rounds of a run with an update of this site, and no model that the hub showed, though it went on: rounds of
        this task before that one, and of others whose end it has told."""
        with self._lock:
            rows = self._db.execute(
                "SELECT round FROM receipts WHERE run_id = ? AND (outcome = 'missing' AND reason = ?"
                " OR outcome = 'awaited' AND task_seq = ? AND round < ?) ORDER BY task_seq, round",
                (run_id, NO_MODEL, task_seq, before),
            ).fetchall()
        return [int(row[0]) for row in rows]

    def settle_receipt(self, receipt: Receipt) -> None:
        """What became of an update that was awaited; once."""
        with self._lock, Transaction(self._db):
            self._db.execute(
                "UPDATE receipts SET outcome = ?, reason = ?, at = ?, key = ?"
                " WHERE run_id = ? AND task_seq = ? AND round = ? AND outcome = 'awaited'",
                (
                    receipt.outcome,
                    receipt.reason,
                    receipt.at,
                    receipt.key,
                    receipt.run_id,
                    receipt.task_seq,
                    receipt.round,
                ),
            )
            self._db.execute(
                "DELETE FROM receipts WHERE outcome = 'missing' AND rowid NOT IN"
                " (SELECT rowid FROM receipts WHERE outcome = 'missing' ORDER BY at DESC LIMIT ?)",
                (KEEP_RECEIPTS,),
            )

    def missing_receipts(self, *, untold: bool = False) -> list[Receipt]:
        """The updates that are missing in their models, oldest first; untold: those that the hub has not answered."""
        with self._lock:
            rows = self._db.execute(
                "SELECT * FROM receipts WHERE outcome = 'missing' AND (hub = '' OR NOT ?) ORDER BY at", (untold,)
            ).fetchall()
        return [Receipt(*row) for row in rows]

    def receipt_told(self, receipt: Receipt, hub: str) -> None:
        """The hub has answered to the report of a missing receipt: ok or refused."""
        self._write(
            "UPDATE receipts SET hub = ? WHERE run_id = ? AND task_seq = ? AND round = ?",
            (hub, receipt.run_id, receipt.task_seq, receipt.round),
        )
