"""Heads of the hub's chains of events, and what was wrong with some."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fedyard.agent.heads import Fault, Head
from fedyard.agent.state.part import Part, Transaction
from fedyard.wire.times import DAY

KEEP_HEADS = 1000
"""How many heads of one chain of events are kept: the newest one, and the last of each day before."""
KEEP_HEAD_FAULTS = 1000


class Heads(Part):
    """Heads of the hub's chains of events, and what was wrong with some."""

    def newest_head(self, stream_id: str, history_id: str, after: int) -> Head | None:
        """The newest one of a chain in a history, of those that were kept after that time."""
        return self._head(
            "stream_id = ? AND history_id = ? AND noted_at > ? ORDER BY seq DESC LIMIT 1",
            (stream_id, history_id, after),
        )

    def head_before(self, stream_id: str, at: int) -> Head | None:
        """The one of a chain that was kept last up to that time, in whatever history."""
        return self._head("stream_id = ? AND noted_at <= ? ORDER BY noted_at DESC, seq DESC LIMIT 1", (stream_id, at))

    def all(self) -> list[Head]:
        """All that are kept, by chain, oldest first."""
        with self._lock:
            rows = self._db.execute("SELECT head_json FROM heads ORDER BY stream_id, noted_at, seq").fetchall()
        return [msgspec.json.decode(row[0], type=Head) for row in rows]

    def keep_heads(self, heads: Sequence[Head], now: int) -> None:
        """These are the newest ones of their chains; of each day the last one stays."""
        if not heads:
            return
        day = now // DAY
        with self._lock, Transaction(self._db):
            for head in heads:
                self._db.execute(
                    "DELETE FROM heads WHERE stream_id = ? AND history_id = ? AND day = ? AND seq < ?",
                    (head.stream_id, head.history_id, day, head.seq),
                )
                self._db.execute(
                    "INSERT OR REPLACE INTO heads VALUES (?,?,?,?,?,?,?)",
                    (head.history_id, head.stream_id, head.seq, head.hash, day, now, msgspec.json.encode(head)),
                )
                self._db.execute(
                    "DELETE FROM heads WHERE stream_id = ? AND noted_at < (SELECT noted_at FROM heads"
                    " WHERE stream_id = ? ORDER BY noted_at DESC LIMIT 1 OFFSET ?)",
                    (head.stream_id, head.stream_id, KEEP_HEADS - 1),
                )

    def keep_head_fault(self, fault: Fault, now: int) -> bool:
        """Put it on record, once for its kind, chain and history; True if people have not been told for a day."""
        key = (fault.kind, fault.stream_id, fault.history_id)
        with self._lock, Transaction(self._db):
            known = self._db.execute(
                "SELECT told_at FROM head_faults WHERE kind = ? AND stream_id = ? AND history_id = ?", key
            ).fetchone()
            if known is None:
                self._db.execute(
                    "INSERT INTO head_faults VALUES (?,?,?,?,1,?)", (*key, now, msgspec.json.encode(fault))
                )
                self._db.execute(
                    "DELETE FROM head_faults WHERE rowid <= (SELECT max(rowid) FROM head_faults) - ?",
                    (KEEP_HEAD_FAULTS,),
                )
                return True
            tell = now - int(known[0]) >= DAY
            self._db.execute(
                "UPDATE head_faults SET count = count + 1, told_at = CASE WHEN ? THEN ? ELSE told_at END"
                " WHERE kind = ? AND stream_id = ? AND history_id = ?",
                (tell, now, *key),
            )
        return tell

    def head_faults(self) -> list[Fault]:
        """What was wrong with heads that the hub showed, as it was seen first; oldest first."""
        with self._lock:
            rows = self._db.execute("SELECT fault_json, count FROM head_faults ORDER BY rowid").fetchall()
        return [msgspec.structs.replace(msgspec.json.decode(row[0], type=Fault), count=row[1]) for row in rows]

    def _head(self, where: str, values: Sequence[object]) -> Head | None:
        with self._lock:
            row = self._db.execute(f"SELECT head_json FROM heads WHERE {where}", values).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Head)
