"""The agent's memory: one SQLite file, so that a kill at any moment loses nothing.

An inbox entry is acknowledged to the hub once it is in here; from then on this file owes its effect. An entry is
done once everything that follows from it has been reported. A report is in here, to the byte, before it is first
sent, under a key of its own: after a crash the very same request is repeated and the hub sees one.

What comes in lies here sealed until it is first opened, and then opened, since the key that opens it will be gone one
day; large content lies in files beside. What a hook has made lies here until the hub has it.
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
    run_id TEXT, task_seq INTEGER, round INTEGER, body BLOB NOT NULL,
    sender TEXT, artifact_id TEXT, opened INTEGER NOT NULL DEFAULT 0, file TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS opened_seals (id TEXT PRIMARY KEY, place TEXT NOT NULL, expires INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS results (
    entry_seq INTEGER PRIMARY KEY, run_id TEXT NOT NULL, packed BLOB NOT NULL, file TEXT NOT NULL,
    metrics_json BLOB NOT NULL, left_out_json BLOB NOT NULL DEFAULT '[]');
CREATE TABLE IF NOT EXISTS outgoing (
    entry_seq INTEGER PRIMARY KEY, run_id TEXT NOT NULL, seal BLOB, file TEXT NOT NULL, artifact_id TEXT);
CREATE TABLE IF NOT EXISTS log_counts (
    run_id TEXT NOT NULL, task_seq INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (run_id, task_seq));
CREATE TABLE IF NOT EXISTS log_pieces (
    run_id TEXT NOT NULL, task_seq INTEGER NOT NULL, seq INTEGER NOT NULL, project_id TEXT NOT NULL,
    round INTEGER NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run_id, task_seq, seq));
CREATE TABLE IF NOT EXISTS reports (
    entry_seq INTEGER NOT NULL, event TEXT NOT NULL, run_id TEXT NOT NULL, task_seq INTEGER NOT NULL,
    round INTEGER NOT NULL, seq INTEGER NOT NULL, key TEXT NOT NULL, body_json BLOB NOT NULL,
    outcome TEXT NOT NULL DEFAULT '', PRIMARY KEY (entry_seq, event));
CREATE TABLE IF NOT EXISTS seats (
    run_id TEXT NOT NULL, task_seq INTEGER NOT NULL, report_seq INTEGER NOT NULL,
    task_json BLOB NOT NULL, number INTEGER NOT NULL, attempt INTEGER NOT NULL, model_id TEXT, project_id TEXT,
    PRIMARY KEY (run_id, task_seq));
CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), taken_seq INTEGER NOT NULL);
INSERT OR IGNORE INTO position VALUES (1, 0);
"""
_LATER = (
    ("bodies", "sender", "TEXT"),
    ("bodies", "artifact_id", "TEXT"),
    ("bodies", "opened", "INTEGER NOT NULL DEFAULT 0"),
    ("bodies", "file", "TEXT NOT NULL DEFAULT ''"),
    ("results", "left_out_json", "BLOB NOT NULL DEFAULT '[]'"),
    ("seats", "project_id", "TEXT"),
)
"""Columns that a file of an older agent lacks."""


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


class Body(msgspec.Struct, frozen=True):
    """A message's body: as it arrived, or opened. artifact_id: where the ciphertext lies, if not in `body`.

    file: where large opened content lies.
    """

    message_id: str
    kind: str
    body: bytes
    sender: str | None
    artifact_id: str | None
    opened: bool
    file: str

    def __repr__(self) -> str:
        return f"Body({self.kind} {self.message_id}, {len(self.body)} bytes, opened={self.opened})"


class LeftOut(msgspec.Struct, frozen=True):
    """A site whose update could not be opened. reason: a code; detail: the fact."""

    site_id: str
    reason: str
    detail: str


class Made(msgspec.Struct, frozen=True):
    """What a hook has made because of an entry: packed content, or the file that holds it.

    left_out: whose updates a model is made without.
    """

    entry_seq: int
    run_id: str
    packed: bytes
    file: str
    metrics: dict[str, float]
    left_out: Sequence[LeftOut] = ()

    def __repr__(self) -> str:
        return f"Made(entry={self.entry_seq}, {len(self.packed)} bytes, file={self.file!r})"

    @property
    def content(self) -> bytes | Path:
        return Path(self.file) if self.file else self.packed


class Outgoing(msgspec.Struct, frozen=True):
    """A large payload on its way: its detached seal (None if it is not sealed), the file with its body.

    artifact_id: where it lies at the hub, once it does.
    """

    entry_seq: int
    run_id: str
    seal: bytes | None
    file: str
    artifact_id: str | None = None

    def __repr__(self) -> str:
        return f"Outgoing(entry={self.entry_seq}, file={self.file!r}, artifact_id={self.artifact_id!r})"


class LogPiece(msgspec.Struct, frozen=True):
    """A piece of a task run's log that the hub does not have yet. at: microseconds, when it was begun."""

    run_id: str
    task_seq: int
    seq: int
    project_id: str
    round: int
    at: int
    text: str

    def __repr__(self) -> str:
        return f"LogPiece({self.run_id}/{self.task_seq} {self.seq}, {len(self.text)} characters)"


class Seat(msgspec.Struct, frozen=True):
    """What the site knows of its part in a task run. model_id: the message with the newest global model.

    project_id: what it was invited to; a run belongs to one project for ever.
    """

    run_id: str
    task_seq: int
    report_seq: int
    task_json: bytes
    number: int
    attempt: int
    model_id: str | None = None
    project_id: str | None = None


class State:
    """Safe to use from many threads: every method is one transaction under one lock."""

    def __init__(self, path: Path) -> None:
        path.touch(PRIVATE)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5.0)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        for table, column, kind in _LATER:
            known = {row[1] for row in self._db.execute(f"PRAGMA table_info({table})")}
            if column not in known:
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
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
            (*_place(e.message, e), e.message.body or b"", e.message.sender_site_id, e.message.artifact_id)
            for e in entries
            if e.message is not None and (e.message.body is not None or e.message.artifact_id is not None)
        ]
        newest = max(e.seq for e in entries)
        with self._lock, _Transaction(self._db):
            self._db.executemany(
                "INSERT OR IGNORE INTO entries (seq, run_id, task_seq, round, kind, entry_json) VALUES (?,?,?,?,?,?)",
                rows,
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO bodies (message_id, kind, entry_seq, run_id, task_seq, round, body, sender,"
                " artifact_id) VALUES (?,?,?,?,?,?,?,?,?)",
                bodies,
            )
            self._db.execute("UPDATE position SET taken_seq = max(taken_seq, ?)", (newest,))
            self._db.execute("DELETE FROM entries WHERE done AND seq < ?", (newest - KEEP_ENTRIES,))
            self._db.execute(
                "DELETE FROM bodies WHERE entry_seq < ? AND kind NOT IN ('update', 'model')", (newest - KEEP_ENTRIES,)
            )

    def waiting(self, run_id: str | None) -> Entry | None:
        """The oldest entry of a run that is not done; None: of those that belong to no run.

        What an earlier agent understood and this one does not is done with.
        """
        while True:
            with self._lock:
                row = self._db.execute(
                    "SELECT seq, entry_json FROM entries WHERE run_id IS ? AND NOT done ORDER BY seq LIMIT 1", (run_id,)
                ).fetchone()
            if row is None:
                return None
            try:
                return msgspec.json.decode(row[1], type=Entry)
            except msgspec.DecodeError:
                self.done(row[0])

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

    def body(self, message_id: str) -> Body | None:
        with self._lock:
            row = self._db.execute(
                "SELECT message_id, kind, body, sender, artifact_id, opened, file FROM bodies WHERE message_id = ?",
                (message_id,),
            ).fetchone()
        if row is None:
            return None
        id, kind, body, sender, artifact_id, opened, file = row
        return Body(id, kind, bytes(body), sender, artifact_id, bool(opened), file)

    def keep_opened(self, message: Message, entry: Entry, content: bytes | Path) -> None:
        """Keep what a message holds, in place of its sealed body; of the entry that needed it first."""
        body, file = (content, "") if isinstance(content, bytes) else (b"", str(content))
        place = _place(message, entry)
        with self._lock, _Transaction(self._db):
            self._db.execute(
                "INSERT INTO bodies VALUES (?,?,?,?,?,?,?,?,?,1,?) ON CONFLICT (message_id)"
                " DO UPDATE SET body = excluded.body, opened = 1, file = excluded.file",
                (*place, body, message.sender_site_id, message.artifact_id, file),
            )

    def first_opened(self, seal_id: str, place: str, expires: int) -> bool:
        """True if the sealed payload was never opened before, or only in this very place."""
        with self._lock, _Transaction(self._db):
            self._db.execute("INSERT OR IGNORE INTO opened_seals VALUES (?,?,?)", (seal_id, place, expires))
            row = self._db.execute("SELECT place FROM opened_seals WHERE id = ?", (seal_id,)).fetchone()
        return bool(row[0] == place)

    def forget_opened(self, now: int) -> None:
        """What has expired cannot be shown again."""
        self._write("DELETE FROM opened_seals WHERE expires <= ?", (now,))

    def forget_round(self, entry: Entry) -> list[str]:
        """A completed round: its updates and earlier models go, the model that came with `entry` stays.

        The files that held some of them.
        """
        kept = "" if entry.message is None else entry.message.id
        where = "run_id = ? AND task_seq = ? AND round <= ? AND message_id != ? AND kind IN ('update', 'model')"
        with self._lock, _Transaction(self._db):
            found = self._db.execute(
                f"DELETE FROM bodies WHERE {where} RETURNING file",  # noqa: S608 - our own words
                (entry.run_id, entry.task_seq, entry.round, kept),
            ).fetchall()
        return [row[0] for row in found if row[0]]

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
        self._write("INSERT OR REPLACE INTO seats VALUES (?,?,?,?,?,?,?,?)", msgspec.structs.astuple(seat))

    def project_of(self, run_id: str) -> str | None:
        """The project that a run was first shown in; None if this site has no seat of it yet."""
        with self._lock:
            row = self._db.execute(
                "SELECT project_id FROM seats WHERE run_id = ? AND project_id IS NOT NULL LIMIT 1", (run_id,)
            ).fetchone()
        return None if row is None else str(row[0])

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

    def failed_before(self, run_id: str, task_seq: int, entry_seq: int) -> bool:
        """True if this site gave the seat up because of an earlier entry."""
        sql = "SELECT count(*) FROM reports WHERE run_id = ? AND task_seq = ? AND event = 'fail' AND entry_seq < ?"
        return self._value(sql, (run_id, task_seq, entry_seq)) > 0

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

    # what hooks made

    def made(self, entry_seq: int) -> Made | None:
        with self._lock:
            row = self._db.execute("SELECT * FROM results WHERE entry_seq = ?", (entry_seq,)).fetchone()
        if row is None:
            return None
        seq, run_id, packed, file, metrics, left_out = row
        numbers = msgspec.json.decode(metrics, type=dict[str, float])
        return Made(seq, run_id, bytes(packed), file, numbers, msgspec.json.decode(left_out, type=tuple[LeftOut, ...]))

    def keep_made(self, made: Made) -> None:
        numbers, left_out = msgspec.json.encode(made.metrics), msgspec.json.encode(made.left_out)
        row = (made.entry_seq, made.run_id, made.packed, made.file, numbers, left_out)
        self._write("INSERT OR REPLACE INTO results VALUES (?,?,?,?,?,?)", row)

    def outgoing(self, entry_seq: int) -> Outgoing | None:
        with self._lock:
            row = self._db.execute("SELECT * FROM outgoing WHERE entry_seq = ?", (entry_seq,)).fetchone()
        return None if row is None else Outgoing(*row)

    def keep_outgoing(self, outgoing: Outgoing) -> None:
        self._write("INSERT OR REPLACE INTO outgoing VALUES (?,?,?,?,?)", msgspec.structs.astuple(outgoing))

    def seal_anew(self, report: Report) -> None:
        """A refused report goes, with the payload that was sealed for it; what the hook made stays."""
        with self._lock, _Transaction(self._db):
            self._db.execute("DELETE FROM reports WHERE entry_seq = ? AND event = ?", (report.entry_seq, report.event))
            self._db.execute("DELETE FROM outgoing WHERE entry_seq = ?", (report.entry_seq,))
            if report.seq:
                self._count(report, report.seq - 1)

    def forget_made(self, entry_seq: int) -> None:
        """The hub has it."""
        with self._lock, _Transaction(self._db):
            self._db.execute("DELETE FROM results WHERE entry_seq = ?", (entry_seq,))
            self._db.execute("DELETE FROM outgoing WHERE entry_seq = ?", (entry_seq,))

    # logs

    def keep_piece(self, piece: LogPiece) -> None:
        """A new piece, under the next number of its task run; its own `seq` does not count."""
        with self._lock, _Transaction(self._db):
            row = self._db.execute(
                "INSERT INTO log_counts VALUES (?,?,1) ON CONFLICT DO UPDATE SET seq = seq + 1 RETURNING seq",
                (piece.run_id, piece.task_seq),
            ).fetchone()
            numbered = msgspec.structs.replace(piece, seq=row[0])
            self._db.execute("INSERT INTO log_pieces VALUES (?,?,?,?,?,?,?)", msgspec.structs.astuple(numbered))

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

    def forget_run(self, run_id: str) -> None:
        """A finished run: what its entries, updates, models and reports held goes; the entries' numbers stay."""
        with self._lock, _Transaction(self._db):
            self._db.execute("DELETE FROM bodies WHERE run_id = ? AND kind IN ('update', 'model')", (run_id,))
            for table in ("reports", "results", "outgoing"):
                self._db.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608 - our own names
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


def _place(message: Message, entry: Entry) -> tuple[object, ...]:
    """Where a body belongs."""
    return message.id, message.kind, entry.seq, entry.run_id, entry.task_seq, entry.round


def _without_body(entry: Entry) -> Entry:
    """Bodies lie in a table of their own."""
    if entry.message is None:
        return entry
    bare: Message = msgspec.structs.replace(entry.message, body=None)
    return msgspec.structs.replace(entry, message=bare)
