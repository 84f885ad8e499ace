"""The agent's memory: one SQLite file, so that a kill at any moment loses nothing.

An inbox entry is acknowledged to the hub once it is in here; from then on this file owes its effect. An entry is
done once everything that follows from it has been reported. A report is in here, to the byte, before it is first
sent, under a key of its own: after a crash the very same request is repeated and the hub sees one.

What comes in lies here sealed until it is first opened, and then opened, since the key that opens it will be gone one
day; large content lies in files beside. What a hook has made lies here until the hub has it.

One module a subject: its tables are those that its methods write. Three write those of others too, since what follows
has to be there in the same transaction: `Inbox.take`, `History.recovered` with `owe`, and `Runs.forget_run`. And who
keeps what is about to leave this house puts it on record in the same one (`egress.py`).
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

from fedyard.agent.state.approvals import Approvals
from fedyard.agent.state.bodies import Bodies
from fedyard.agent.state.egress import KEEP_EGRESS, EgressLog
from fedyard.agent.state.first_models import FirstModels
from fedyard.agent.state.heads import Heads
from fedyard.agent.state.history import MAX_HELD, History
from fedyard.agent.state.inbox import KEEP_ENTRIES, Inbox
from fedyard.agent.state.kept import Generation, Generations
from fedyard.agent.state.logs import Logs
from fedyard.agent.state.receipts import Receipts
from fedyard.agent.state.records import (
    Approval,
    Body,
    Egress,
    LeftOut,
    LogPiece,
    Made,
    Outgoing,
    Position,
    Receipt,
    Report,
    RunTask,
    Seat,
    made_of,
)
from fedyard.agent.state.release_record import Record
from fedyard.agent.state.releases import BudgetState, Releases
from fedyard.agent.state.results import Results
from fedyard.agent.state.runs import KEEP_ENDED_RUNS, Runs
from fedyard.agent.state.schema import PRIVATE, opened
from fedyard.agent.state.seats import Seats

__all__ = [
    "KEEP_EGRESS",
    "KEEP_ENDED_RUNS",
    "KEEP_ENTRIES",
    "MAX_HELD",
    "Approval",
    "Body",
    "BudgetState",
    "Egress",
    "Generation",
    "LeftOut",
    "LogPiece",
    "Made",
    "Outgoing",
    "Position",
    "Receipt",
    "Report",
    "RunTask",
    "Seat",
    "State",
    "made_of",
]


class State:
    """The file, by subject. Safe to use from many threads: every method is one transaction under one lock."""

    def __init__(self, path: Path) -> None:
        self._lock, self._db = threading.Lock(), opened(path)
        self.history = History(self._db, self._lock)
        self.inbox = Inbox(self._db, self._lock)
        self.bodies = Bodies(self._db, self._lock)
        self.seats = Seats(self._db, self._lock)
        record = Record(path.parent)
        self.results = Results(self._db, self._lock, record)
        self.releases = Releases(self._db, self._lock, record)
        self.kept = Generations(self._db, self._lock)
        self.logs = Logs(self._db, self._lock)
        self.runs = Runs(self._db, self._lock)
        self.receipts = Receipts(self._db, self._lock)
        self.egress = EgressLog(self._db, self._lock)
        self.first_models = FirstModels(self._db, self._lock)
        self.heads = Heads(self._db, self._lock)
        self.approvals = Approvals(self._db, self._lock)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def settle(self) -> None:
        """Have all of it in the file itself, so that a copy of that is whole; while others read, as much as can be."""
        with self._lock, suppress(sqlite3.OperationalError):  # a full disk, or a command that writes just now
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def copy_to(self, path: Path) -> None:
        """A copy of this whole memory as it is now."""
        path.touch(PRIVATE)
        copy = sqlite3.connect(path)
        try:
            with self._lock:
                self._db.backup(copy)
        finally:
            copy.close()
