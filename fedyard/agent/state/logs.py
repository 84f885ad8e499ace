"""Pieces of tasks' logs that the hub does not have yet."""

from __future__ import annotations

import msgspec

from fedyard.agent.state import egress
from fedyard.agent.state.part import Part, Transaction
from fedyard.agent.state.records import LogPiece


class Logs(Part):
    """Pieces of tasks' logs that the hub does not have yet."""

    def keep_piece(self, piece: LogPiece) -> None:
        """A new piece, under the next number of its task run; its own `seq` does not count."""
        with self._lock, Transaction(self._db):
            row = self._db.execute(
                "INSERT INTO log_counts VALUES (?,?,1) ON CONFLICT DO UPDATE SET seq = seq + 1 RETURNING seq",
                (piece.run_id, piece.task_seq),
            ).fetchone()
            numbered = msgspec.structs.replace(piece, seq=row[0])
            self._db.execute("INSERT INTO log_pieces VALUES (?,?,?,?,?,?,?)", msgspec.structs.astuple(numbered))
            egress.keep_piece(self._db, numbered)

    def next_piece(self) -> LogPiece | None:
        """The oldest piece that waits."""
        with self._lock:
            row = self._db.execute("SELECT * FROM log_pieces ORDER BY rowid LIMIT 1").fetchone()
        return None if row is None else LogPiece(*row)

    def forget_pieces(self, run_id: str, task_seq: int, through: int) -> None:
        """The hub has them, or does not want them."""
        self._write(
            "DELETE FROM log_pieces WHERE run_id = ? AND task_seq = ? AND seq <= ?", (run_id, task_seq, through)
        )
