"""The agent's memory: one SQLite file, so that a kill at any moment loses nothing.

An inbox entry is acknowledged to the hub once it is in here; from then on this file owes its effect. An entry is
done once everything that follows from it has been reported. A report is in here, to the byte, before it is first
sent, under a key of its own: after a crash the very same request is repeated and the hub sees one.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from controller.answers import Entry, Message

PRIVATE = 0o600
KEEP_ENTRIES = 1000
"""How many finished entries (and plain messages) are kept to look at."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY, run_id TEXT, task_seq INTEGER, round INTEGER, kind TEXT NOT NULL,
    entry_json BLOB NOT NULL, done INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS entries_of_run ON entries (run_id, seq);
CREATE TABLE IF NOT EXISTS bodies (
    message_id TEXT PRIMARY KEY, kind TEXT NOT NULL, entry_seq INTEGER NOT NULL,
    run_id TEXT, task_seq INTEGER, round INTEGER, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS reports (
    entry_seq INTEGER NOT NULL, event TEXT NOT NULL, run_id TEXT NOT NULL, task_seq INTEGER NOT NULL,
    round INTEGER NOT NULL, seq INTEGER NOT NULL, key TEXT NOT NULL, body_json BLOB NOT NULL,
    outcome TEXT NOT NULL DEFAULT '', PRIMARY KEY (entry_seq, event));
CREATE TABLE IF NOT EXISTS seats (
    run_id TEXT NOT NULL, task_seq INTEGER NOT NULL, report_seq INTEGER NOT NULL,
    task_json BLOB NOT NULL, number INTEGER NOT NULL, attempt INTEGER NOT NULL, model_id TEXT,
    PRIMARY KEY (run_id, task_seq));
CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), taken_seq INTEGER NOT NULL);
INSERT OR IGNORE INTO position VALUES (1, 0);
"""


class Report(msgspec.Struct, frozen=True):
    """A report as it is sent. seq: the seat's count, 0 for an aggregate.

    outcome: empty until the hub has answered, then ok or refused.
    """

    entry_seq: int
    event: str
    run_id: str
    task_seq: int
    round: int
    seq: int
    key: str
    body: bytes
    outcome: str = ""

    def __repr__(self) -> str:
        return f"Report({self.event} {self.run_id}/{self.task_seq} round {self.round} seq {self.seq} {self.outcome})"


class Seat(msgspec.Struct, frozen=True):
    """What the site knows of its part in a task run. model_id: the message with the newest global model."""

    run_id: str
    task_seq: int
    report_seq: int
    task_json: bytes
    number: int
    attempt: int
    model_id: str | None = None


class State:
    """Safe to use from many threads: every method is one transaction under one lock."""

    def __init__(self, path: Path) -> None:
        path.touch(PRIVATE)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5.0)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        for beside in ("-wal", "-shm"):
            if Path(f"{path}{beside}").exists():
                os.chmod(f"{path}{beside}", PRIVATE)  # noqa: PTH101 - a name beside the file

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # the inbox

    def taken(self) -> int:
        """The newest entry that is in here."""
        return self._value("SELECT taken_seq FROM position")

    def take(self, entries: Sequence[Entry]) -> None:
        """Keep entries; what is here already stays as it is."""
        rows = [(e.seq, e.run_id, e.task_seq, e.round, e.kind, msgspec.json.encode(_without_body(e))) for e in entries]
        bodies = [
            (e.message.id, e.message.kind, e.seq, e.run_id, e.task_seq, e.round, e.message.body)
            for e in entries
            if e.message is not None and e.message.body is not None
        ]
        newest = max(e.seq for e in entries)
        with self._lock, _Transaction(self._db):
            self._db.executemany(
                "INSERT OR IGNORE INTO entries (seq, run_id, task_seq, round, kind, entry_json) VALUES (?,?,?,?,?,?)",
                rows,
            )
            self._db.executemany("INSERT OR IGNORE INTO bodies VALUES (?,?,?,?,?,?,?)", bodies)
            self._db.execute("UPDATE position SET taken_seq = max(taken_seq, ?)", (newest,))
            self._db.execute("DELETE FROM entries WHERE done AND seq < ?", (newest - KEEP_ENTRIES,))
            self._db.execute(
                "DELETE FROM bodies WHERE entry_seq < ? AND kind NOT IN ('update', 'model')", (newest - KEEP_ENTRIES,)
            )

    def waiting(self, run_id: str | None) -> Entry | None:
        """The oldest entry of a run that is not done; None: of those that belong to no run."""
        with self._lock:
            row = self._db.execute(
                "SELECT entry_json FROM entries WHERE run_id IS ? AND NOT done ORDER BY seq LIMIT 1", (run_id,)
            ).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Entry)

    def waiting_runs(self) -> list[str]:
        """Runs with entries that are not done, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT run_id FROM entries WHERE run_id IS NOT NULL AND NOT done GROUP BY run_id ORDER BY min(seq)"
            ).fetchall()
        return [row[0] for row in rows]

    def done(self, seq: int) -> None:
        """Nothing more follows from this entry."""
        self._write("UPDATE entries SET done = 1 WHERE seq = ?", (seq,))

    def overtaken(self, entry: Entry, kinds: Iterable[str]) -> bool:
        """True if a later entry of these kinds ended what `entry` asks for: the run, its task, or its round."""
        wanted = [*kinds]
        marks = ",".join("?" * len(wanted))
        found = self._value(
            f"SELECT count(*) FROM entries WHERE run_id = ? AND seq > ? AND kind IN ({marks})"  # noqa: S608 - marks only
            " AND (kind = 'run_ended' OR (task_seq = ? AND (kind = 'task_ended' OR round >= ?)))",
            (entry.run_id, entry.seq, *wanted, entry.task_seq, entry.round or 0),
        )
        return found > 0

    # messages

    def body(self, message_id: str) -> bytes | None:
        with self._lock:
            row = self._db.execute("SELECT body FROM bodies WHERE message_id = ?", (message_id,)).fetchone()
        return None if row is None else bytes(row[0])

    def forget_round(self, entry: Entry) -> None:
        """A completed round: its updates and earlier models go, the model that came with `entry` stays."""
        kept = "" if entry.message is None else entry.message.id
        self._write(
            "DELETE FROM bodies WHERE run_id = ? AND task_seq = ? AND round <= ? AND message_id != ?"
            " AND kind IN ('update', 'model')",
            (entry.run_id, entry.task_seq, entry.round, kept),
        )

    def latest(self, count: int) -> list[Entry]:
        """The newest entries, oldest first, for people."""
        with self._lock:
            rows = self._db.execute("SELECT entry_json FROM entries ORDER BY seq DESC LIMIT ?", (count,)).fetchall()
        return [msgspec.json.decode(row[0], type=Entry) for row in reversed(rows)]

    # seats and reports

    def seat(self, run_id: str, task_seq: int) -> Seat | None:
        with self._lock:
            row = self._db.execute("SELECT * FROM seats WHERE run_id = ? AND task_seq = ?", (run_id, task_seq))
            found = row.fetchone()
        return None if found is None else Seat(*found)

    def keep_seat(self, seat: Seat) -> None:
        self._write("INSERT OR REPLACE INTO seats VALUES (?,?,?,?,?,?,?)", msgspec.structs.astuple(seat))

    def report(self, entry_seq: int, event: str) -> Report | None:
        with self._lock:
            row = self._db.execute("SELECT * FROM reports WHERE entry_seq = ? AND event = ?", (entry_seq, event))
            found = row.fetchone()
        return None if found is None else Report(*found)

    def reports(self, entry_seq: int) -> list[Report]:
        """What was reported because of an entry, in order."""
        with self._lock:
            rows = self._db.execute("SELECT * FROM reports WHERE entry_seq = ? ORDER BY seq", (entry_seq,)).fetchall()
        return [Report(*row) for row in rows]

    def keep_report(self, report: Report) -> None:
        """Keep a new report, and count it on its seat."""
        with self._lock, _Transaction(self._db):
            self._db.execute("INSERT INTO reports VALUES (?,?,?,?,?,?,?,?,?)", msgspec.structs.astuple(report))
            if report.seq:
                self._count(report, report.seq)

    def answered(self, report: Report, outcome: str) -> None:
        """The hub has answered; a refused report did not count, so the seat's next one has its number."""
        with self._lock, _Transaction(self._db):
            self._db.execute(
                "UPDATE reports SET outcome = ? WHERE entry_seq = ? AND event = ?",
                (outcome, report.entry_seq, report.event),
            )
            if outcome == "refused" and report.seq:
                self._count(report, report.seq - 1)

    def forget_run(self, run_id: str) -> None:
        """A finished run: what its entries, updates, models and reports held goes; the entries' numbers stay."""
        with self._lock, _Transaction(self._db):
            self._db.execute("DELETE FROM bodies WHERE run_id = ? AND kind IN ('update', 'model')", (run_id,))
            self._db.execute("DELETE FROM reports WHERE run_id = ?", (run_id,))
            self._db.execute("DELETE FROM seats WHERE run_id = ?", (run_id,))
            self._db.execute("UPDATE entries SET done = 1 WHERE run_id = ?", (run_id,))

    def _count(self, report: Report, seq: int) -> None:
        self._db.execute(
            "UPDATE seats SET report_seq = ? WHERE run_id = ? AND task_seq = ?", (seq, report.run_id, report.task_seq)
        )

    def _value(self, sql: str, arguments: Sequence[object] = ()) -> int:
        with self._lock:
            return int(self._db.execute(sql, arguments).fetchone()[0])

    def _write(self, sql: str, arguments: Sequence[object]) -> None:
        with self._lock, _Transaction(self._db):
            self._db.execute(sql, arguments)


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when something is raised."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _without_body(entry: Entry) -> Entry:
    """Bodies lie in a table of their own."""
    if entry.message is None:
        return entry
    bare: Message = msgspec.structs.replace(entry.message, body=None)
    return msgspec.structs.replace(entry, message=bare)
