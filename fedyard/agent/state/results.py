"""What hooks have made, until the hub has it."""

from __future__ import annotations

import sqlite3
import threading

import msgspec

from fedyard.agent.state import kept, releases
from fedyard.agent.state.kept import Generation
from fedyard.agent.state.part import Part, Transaction
from fedyard.agent.state.records import LeftOut, Made, Outgoing
from fedyard.agent.state.release_record import Record
from fedyard.clock import micros_now
from fedyard.sealed.sealing import Digests
from fedyard.tasks.privacy import Spent


class Results(Part):
    """What hooks have made, until the hub has it."""

    def __init__(self, db: sqlite3.Connection, lock: threading.Lock, record: Record) -> None:
        super().__init__(db, lock)
        self._record = record

    def made(self, entry_seq: int, run_id: str | None) -> Made | None:
        """What was made because of an entry. run_id: the entry's; what a hub that gives a number again shows under it
        gets nothing that was made for another run.
        """
        with self._lock:
            row = self._db.execute(
                "SELECT * FROM results WHERE entry_seq = ? AND run_id IS ?", (entry_seq, run_id)
            ).fetchone()
        if row is None:
            return None
        seq, run_id, packed, file, metrics, left_out, digests, norm, code = row
        return Made(
            seq,
            run_id,
            bytes(packed),
            file,
            msgspec.json.decode(metrics, type=dict[str, float]),
            msgspec.json.decode(left_out, type=tuple[LeftOut, ...]),
            msgspec.json.decode(digests, type=Digests | None),
            norm,
            code,
        )

    def keep_made(self, made: Made, spent: Spent | None = None, generation: Generation | None = None) -> None:
        """spent: what an update has cost that left with noise; it is on record as soon as the update is, and so is
        what its hook keeps (generation).
        """
        numbers, left_out = msgspec.json.encode(made.metrics), msgspec.json.encode(made.left_out)
        digests = msgspec.json.encode(made.digests)
        row = (made.entry_seq, made.run_id, made.packed, made.file, numbers, left_out, digests, made.norm, made.code)
        with self._lock, Transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO results VALUES (?,?,?,?,?,?,?,?,?)", row)
            if generation is not None:
                kept.keep(self._db, generation)
            if spent is not None:
                releases.keep(self._db, self._record, made.entry_seq, made.run_id, spent, micros_now())

    def outgoing(self, entry_seq: int, run_id: str | None) -> Outgoing | None:
        """A large payload on its way because of an entry; run_id as for `made`."""
        with self._lock:
            row = self._db.execute(
                "SELECT * FROM outgoing WHERE entry_seq = ? AND run_id IS ?", (entry_seq, run_id)
            ).fetchone()
        return None if row is None else Outgoing(*row)

    def keep_outgoing(self, outgoing: Outgoing) -> None:
        self._write("INSERT OR REPLACE INTO outgoing VALUES (?,?,?,?,?)", msgspec.structs.astuple(outgoing))

    def forget_made(self, entry_seq: int) -> None:
        """The hub has it."""
        with self._lock, Transaction(self._db):
            self._db.execute("DELETE FROM results WHERE entry_seq = ?", (entry_seq,))
            self._db.execute("DELETE FROM outgoing WHERE entry_seq = ?", (entry_seq,))
