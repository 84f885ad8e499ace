"""The agent's memory: one SQLite file, so that a kill at any moment loses nothing.

An inbox entry is acknowledged to the hub once it is in here; from then on this file owes its effect. An entry is
done once everything that follows from it has been reported. A report is in here, to the byte, before it is first
sent, under a key of its own: after a crash the very same request is repeated and the hub sees one.

What comes in lies here sealed until it is first opened, and then opened, since the key that opens it will be gone one
day; large content lies in files beside. What a hook has made lies here until the hub has it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from fedyard.agent.contract import Held
from fedyard.agent.heads import Fault, Head
from fedyard.sealed.sealing import Digests, Origin
from fedyard.wire.answers import Entry, Message, entry_of
from fedyard.wire.types import Undecodable, Uuid

PRIVATE = 0o600
KEEP_ENTRIES = 1000
"""How many finished entries (and plain messages) are kept to look at."""
KEEP_SENT = 1000
"""How many messages that this site's people sent are kept, to be sent again to a hub that has forgotten them."""
HELD_AT_MOST = 200
ONCE = ("message", "invited", "round_started", "aggregate", "round_completed")
"""Entries whose effect is known by their run, task and round, or by their message: it comes once."""
TAKEN_UP_AGAIN = ("invited", "round_started", "aggregate")
"""Those of them that the hub waits for an answer to: what was made of them is sent once they have come again."""
KEEP_RECEIPTS = 1000
"""How many missing receipts are kept for people to see."""
KEEP_ENDED_RUNS = 10_000
"""How many ends of runs are remembered that no model was sealed in; those with a model for ever."""
KEEP_HEADS = 1000
"""How many heads of one chain of events are kept: the newest one, and the last of each day before."""
KEEP_HEAD_FAULTS = 1000
DAY_MICROS = 86_400_000_000
KEEP_OWN_TASKS = 1000
"""How many tasks that this site's people gave to a project are remembered."""
_STEP = "(kind <> 'message' OR round IS NOT NULL)"
"""Entries that are taken in the order of their run."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY, run_id TEXT, task_seq INTEGER, round INTEGER, kind TEXT NOT NULL,
    entry_json BLOB NOT NULL, done INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS entries_of_run ON entries (run_id, seq);
DROP INDEX IF EXISTS steps_waiting;
DROP INDEX IF EXISTS messages_waiting;
CREATE INDEX IF NOT EXISTS run_steps_waiting ON entries (run_id, seq)
    WHERE NOT done AND (kind <> 'message' OR round IS NOT NULL);
CREATE INDEX IF NOT EXISTS people_waiting ON entries (seq) WHERE NOT done AND kind = 'message' AND round IS NULL;
CREATE TABLE IF NOT EXISTS bodies (
    message_id TEXT PRIMARY KEY, kind TEXT NOT NULL, entry_seq INTEGER NOT NULL,
    run_id TEXT, task_seq INTEGER, round INTEGER, body BLOB NOT NULL,
    sender TEXT, artifact_id TEXT, opened INTEGER NOT NULL DEFAULT 0, file TEXT NOT NULL DEFAULT '',
    origin_json BLOB NOT NULL DEFAULT 'null');
CREATE TABLE IF NOT EXISTS opened_seals (id TEXT PRIMARY KEY, place TEXT NOT NULL, expires INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS results (
    entry_seq INTEGER PRIMARY KEY, run_id TEXT NOT NULL, packed BLOB NOT NULL, file TEXT NOT NULL,
    metrics_json BLOB NOT NULL, left_out_json BLOB NOT NULL DEFAULT '[]',
    digests_json BLOB NOT NULL DEFAULT 'null');
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
CREATE TABLE IF NOT EXISTS run_tasks (
    run_id TEXT NOT NULL, task_seq INTEGER NOT NULL, digest TEXT NOT NULL, task_json BLOB NOT NULL,
    seats_json BLOB NOT NULL, PRIMARY KEY (run_id, task_seq));
CREATE TABLE IF NOT EXISTS own_tasks (
    project_id TEXT NOT NULL, digest TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (project_id, digest));
CREATE TABLE IF NOT EXISTS sealed_out (
    run_id TEXT NOT NULL, task_seq INTEGER NOT NULL, round INTEGER NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL,
    digests_json BLOB NOT NULL, PRIMARY KEY (run_id, task_seq, round, kind, digest));
CREATE TABLE IF NOT EXISTS models_made (
    run_id TEXT NOT NULL, task_seq INTEGER NOT NULL, round INTEGER NOT NULL, made_of TEXT NOT NULL,
    PRIMARY KEY (run_id, task_seq, round)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ended_runs (run_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS receipts (
    run_id TEXT NOT NULL, task_seq INTEGER NOT NULL, round INTEGER NOT NULL, project_id TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', at INTEGER NOT NULL DEFAULT 0, key TEXT NOT NULL DEFAULT '',
    hub TEXT NOT NULL DEFAULT '', PRIMARY KEY (run_id, task_seq, round));
CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), taken_seq INTEGER NOT NULL);
INSERT OR IGNORE INTO position (one, taken_seq) VALUES (1, 0);
CREATE TABLE IF NOT EXISTS heads (
    history_id TEXT NOT NULL, stream_id TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL, day INTEGER NOT NULL,
    noted_at INTEGER NOT NULL, head_json BLOB NOT NULL, PRIMARY KEY (stream_id, history_id, seq, hash)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS head_faults (
    kind TEXT NOT NULL, stream_id TEXT NOT NULL, history_id TEXT NOT NULL, told_at INTEGER NOT NULL,
    count INTEGER NOT NULL, fault_json BLOB NOT NULL, PRIMARY KEY (kind, stream_id, history_id));
CREATE TABLE IF NOT EXISTS sent (key TEXT PRIMARY KEY, at INTEGER NOT NULL, body_json BLOB NOT NULL);
"""
_LATER = (
    ("bodies", "sender", "TEXT"),
    ("bodies", "artifact_id", "TEXT"),
    ("bodies", "opened", "INTEGER NOT NULL DEFAULT 0"),
    ("bodies", "file", "TEXT NOT NULL DEFAULT ''"),
    ("results", "left_out_json", "BLOB NOT NULL DEFAULT '[]'"),
    ("seats", "project_id", "TEXT"),
    ("bodies", "origin_json", "BLOB NOT NULL DEFAULT 'null'"),
    ("results", "digests_json", "BLOB NOT NULL DEFAULT 'null'"),
    ("entries", "mark", "TEXT NOT NULL DEFAULT ''"),
    ("position", "mark", "TEXT NOT NULL DEFAULT ''"),
    ("position", "history_id", "TEXT NOT NULL DEFAULT ''"),
    ("entries", "lost", "INTEGER NOT NULL DEFAULT 0"),
    ("position", "claim_json", "BLOB NOT NULL DEFAULT ''"),
    ("position", "claim_key", "TEXT NOT NULL DEFAULT ''"),
    ("position", "owed_json", "BLOB NOT NULL DEFAULT ''"),
    ("position", "recovered_at", "INTEGER NOT NULL DEFAULT 0"),
    ("position", "rejoined_at", "INTEGER NOT NULL DEFAULT 0"),
)
"""Columns that a file of an older agent lacks. lost: 1 if the hub has forgotten the entry, 2 once it has come again."""
_SCHEMA_LATER = "CREATE INDEX IF NOT EXISTS lost_entries ON entries (kind) WHERE lost = 1"


class Report(msgspec.Struct, frozen=True):
    """A report as it is sent. seq: the seat's count, 0 for an aggregate.

    outcome: empty until the hub has answered, then ok or refused; owed if the hub has forgotten it since.
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

    file: where large opened content lies. origin: what the header of a sealed one said, once it was opened.
    """

    message_id: str
    kind: str
    body: bytes
    sender: str | None
    artifact_id: str | None
    opened: bool
    file: str
    origin: Origin | None = None

    def __repr__(self) -> str:
        return f"Body({self.kind} {self.message_id}, {len(self.body)} bytes, opened={self.opened})"


class LeftOut(msgspec.Struct, frozen=True):
    """A site whose update could not be used. reason: a code; detail: the fact."""

    site_id: str
    reason: str
    detail: str


class Made(msgspec.Struct, frozen=True):
    """What a hook has made because of an entry: packed content, or the file that holds it.

    left_out: whose updates a model is made without. digests: what it was made of.
    """

    entry_seq: int
    run_id: str
    packed: bytes
    file: str
    metrics: dict[str, float]
    left_out: Sequence[LeftOut] = ()
    digests: Digests | None = None

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


class RunTask(msgspec.Struct, frozen=True):
    """A task of a run as this site knows it, since it was first told. digest: `contract.task_digest`.

    seats: every site that was ever shown as having a seat in it; only its coordinator is told.
    """

    run_id: str
    task_seq: int
    digest: str
    task_json: bytes
    seats: Sequence[str] = ()


class Receipt(msgspec.Struct, frozen=True):
    """What became of an update that the hub has accepted.

    outcome: awaited, found, told (why it is not in the model), or missing; then reason is a code, at when it was found
    missing (microseconds), key that of the report to the hub, and hub its answer: ok, refused, or nothing yet.
    """

    run_id: str
    task_seq: int
    round: int
    project_id: str
    outcome: str
    reason: str = ""
    at: int = 0
    key: str = ""
    hub: str = ""


class Position(msgspec.Struct, frozen=True):
    """Where a site is in the hub's history. claim: what the hub is being told; owed: its answer, still to be met.

    recovered_at: microseconds, when the history went back last; 0 if it never did. rejoined_at: the one of these after
    which the hub was told again what this site's people joined and left.
    """

    taken: int
    mark: str
    history_id: str
    claim: bytes
    claim_key: str
    owed: bytes
    recovered_at: int
    rejoined_at: int


class State:
    """Safe to use from many threads: every method is one transaction under one lock."""

    def __init__(self, path: Path) -> None:
        with suppress(FileExistsError):  # a file in use must not be opened and closed: that drops the process's locks
            path.touch(PRIVATE, exist_ok=False)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5.0)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:  # somebody opens the new file just now, and sets it, too
                raise
        self._db.execute("PRAGMA synchronous = FULL")
        with _Transaction(self._db):  # the agent and a command may open a new file, or an older agent's, at once
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._db.execute(statement)
            for table, column, kind in _LATER:
                known = {row[1] for row in self._db.execute(f"PRAGMA table_info({table})")}
                if column not in known:
                    self._db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        self._db.execute(_SCHEMA_LATER)
        self._remember_models()
        for beside in ("-wal", "-shm"):
            if Path(f"{path}{beside}").exists():
                os.chmod(f"{path}{beside}", PRIVATE)  # noqa: PTH101 - a name beside the file

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _remember_models(self) -> None:
        """Of models that an older agent sealed in runs that live: what they were made of."""
        rows = self._db.execute(
            "SELECT run_id, task_seq, round, digests_json FROM sealed_out AS out WHERE kind = 'model' AND NOT EXISTS"
            " (SELECT 1 FROM models_made AS known WHERE known.run_id = out.run_id AND known.task_seq = out.task_seq"
            " AND known.round = out.round)"
        ).fetchall()
        known = [(*row[:3], made_of(msgspec.json.decode(row[3], type=Digests | None))) for row in rows]
        self._db.executemany("INSERT OR IGNORE INTO models_made VALUES (?,?,?,?)", known)

    # the hub's history

    def position(self) -> Position:
        """Where this site is in the hub's history, and what it still owes to a hub that went back."""
        with self._lock:
            row = self._db.execute(
                "SELECT taken_seq, mark, history_id, CAST(claim_json AS BLOB), claim_key, CAST(owed_json AS BLOB),"
                " recovered_at, rejoined_at FROM position"
            ).fetchone()
        return Position(*row)

    def first_history(self, history_id: str) -> None:
        """The hub's history, as it was seen first."""
        self._write("UPDATE position SET history_id = ? WHERE history_id = ''", (history_id,))

    def keep_claim(self, key: str, claim: bytes) -> None:
        """What the hub is told, before it is told."""
        self._write("UPDATE position SET claim_key = ?, claim_json = ?", (key, claim))

    def recovered(self, history_id: str, common_seq: int, read_after: int, mark: str, owed: bytes, now: int) -> None:
        """Read on there. Entries that this site has beyond the common one are lost: they may come again, renumbered.

        What they asked for is not wanted before. owed: what the hub answered, still to be met.
        """
        asking = ",".join("?" * len(TAKEN_UP_AGAIN))
        with self._lock, _Transaction(self._db):
            self._db.execute("UPDATE entries SET lost = 1 WHERE seq > ? AND lost = 0", (common_seq,))
            self._db.execute(
                f"UPDATE entries SET done = 1 WHERE lost = 1 AND kind IN ({asking})",  # noqa: S608 - marks only
                TAKEN_UP_AGAIN,
            )
            self._db.execute(
                "UPDATE position SET history_id = ?, taken_seq = ?, mark = ?, claim_key = '', claim_json = '',"
                " owed_json = ?, recovered_at = ?",
                (history_id, read_after, mark, owed, now),
            )

    def owe(self, seats: Iterable[tuple[str, int, int]]) -> int:
        """What the hub lacks is to be reported again; how many reports. Nothing else is owed to it then.

        seats: (run, task, count of reports that the hub has), as far as their runs live. Entries that led to such
        reports are taken up again: those that the hub has too at once, the others when they come again, since it would
        refuse a report that its run has not come to. So it is with the last model of each task run.
        """
        with self._lock, _Transaction(self._db):
            for run_id, task_seq, count in seats:
                seat = (run_id, task_seq)
                self._db.execute("UPDATE seats SET report_seq = ? WHERE run_id = ? AND task_seq = ?", (count, *seat))
                self._db.execute(
                    "UPDATE reports SET outcome = 'owed' WHERE run_id = ? AND task_seq = ? AND seq > ?"
                    " AND outcome != 'refused'",
                    (*seat, count),
                )
            self._db.execute(
                "UPDATE reports SET outcome = 'owed' WHERE seq = 0 AND outcome != 'refused' AND entry_seq IN"
                " (SELECT max(seq) FROM entries WHERE kind = 'aggregate' AND lost = 0 GROUP BY run_id, task_seq)"
            )
            self._db.execute(
                "UPDATE entries SET done = 0 WHERE lost = 0 AND seq IN"
                " (SELECT entry_seq FROM reports WHERE outcome = 'owed')"
            )
            self._db.execute("UPDATE position SET owed_json = ''")
            return int(self._db.execute("SELECT count(*) FROM reports WHERE outcome = 'owed'").fetchone()[0])

    def rejoined(self, recovered_at: int) -> None:
        """The hub was told again what this site's people joined and left, after it recovered then."""
        self._write("UPDATE position SET rejoined_at = ?", (recovered_at,))

    def marks(self) -> list[tuple[int, str]]:
        """(seq, mark) of the newest entries, newest first, with where this site is now."""
        with self._lock:
            rows = self._db.execute(
                "SELECT seq, mark FROM entries WHERE mark != '' UNION SELECT taken_seq, mark FROM position"
                " WHERE mark != '' ORDER BY seq DESC LIMIT ?",
                (KEEP_ENTRIES,),
            ).fetchall()
        return [(seq, mark) for seq, mark in rows if seq > 0]

    def held_seats(self) -> tuple[list[tuple[str, int, int, str]], bool]:
        """(run, task, count of reports, live or ended), of runs that live and then of those that ended lately.

        And whether there are more live ones than `HELD_AT_MOST`, the oldest of which are left out.

        A seat that this site was invited to and has not taken yet is a live one without a report.
        """
        with self._lock:
            live = self._db.execute(
                "SELECT run_id, task_seq, report_seq, 'live' FROM (SELECT run_id, task_seq, report_seq, 1 AS taken,"
                " rowid AS nth FROM seats UNION ALL SELECT run_id, task_seq, 0, 0, max(seq) FROM entries"
                " WHERE kind = 'invited' AND NOT done AND NOT EXISTS (SELECT 1 FROM seats WHERE"
                " seats.run_id = entries.run_id AND seats.task_seq = entries.task_seq) GROUP BY run_id, task_seq)"
                " ORDER BY taken DESC, nth DESC LIMIT ?",
                (HELD_AT_MOST + 1,),
            ).fetchall()
            ended = self._db.execute(
                "SELECT run_id, task_seq, 0, 'ended' FROM entries WHERE task_seq IS NOT NULL AND run_id IN"
                " (SELECT run_id FROM ended_runs) GROUP BY run_id, task_seq ORDER BY max(seq) DESC LIMIT ?",
                (HELD_AT_MOST,),
            ).fetchall()
        return [*live, *ended][:HELD_AT_MOST], len(live) > HELD_AT_MOST

    def revoked_tokens(self) -> list[str]:
        """Ids of this site's tokens that the hub said are revoked, as far as its notices are kept; newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT DISTINCT json_extract(CAST(entry_json AS TEXT), '$.facts.token_id') AS token FROM entries"
                " WHERE kind = 'token_revoked' AND token IS NOT NULL ORDER BY seq DESC LIMIT ?",
                (HELD_AT_MOST,),
            ).fetchall()
        return [row[0] for row in rows if _is_uuid(row[0])]

    def keep_sent(self, key: str, body: bytes, now: int) -> None:
        """A message of this site's people, before it is sent."""
        with self._lock, _Transaction(self._db):
            self._db.execute("INSERT OR IGNORE INTO sent VALUES (?,?,?)", (key, now, body))
            self._db.execute("DELETE FROM sent WHERE rowid <= (SELECT max(rowid) FROM sent) - ?", (KEEP_SENT,))

    def sent_since(self, at: int) -> list[tuple[str, bytes]]:
        """(key, body) of messages, oldest first; older ones go."""
        with self._lock, _Transaction(self._db):
            self._db.execute("DELETE FROM sent WHERE at < ?", (at,))
            rows = self._db.execute("SELECT key, body_json FROM sent ORDER BY rowid").fetchall()
        return [(key, bytes(body)) for key, body in rows]

    def copy_to(self, path: Path) -> None:
        """A copy of this whole memory as it is now."""
        path.touch(PRIVATE)
        copy = sqlite3.connect(path)
        try:
            with self._lock:
                self._db.backup(copy)
        finally:
            copy.close()

    def _come_again(self, entry: Entry) -> None:
        """What follows if the entry came before, under another number, in a part of the history that was forgotten."""
        before = self._lost(entry) if entry.kind in ONCE else None
        if before is None:
            return
        self._db.execute("UPDATE entries SET lost = 2 WHERE seq = ?", (before[0],))
        over = self._db.execute("SELECT 1 FROM ended_runs WHERE run_id = ?", (entry.run_id,)).fetchone()
        if entry.kind not in TAKEN_UP_AGAIN or over:
            self._db.execute("UPDATE entries SET done = 1 WHERE seq = ?", (entry.seq,))
        elif entry.kind == "aggregate" and _submissions(before[1]) != _submissions(msgspec.json.encode(entry)):
            for table in ("reports", "results", "outgoing"):  # made of other updates than are listed now
                self._db.execute(f"DELETE FROM {table} WHERE entry_seq = ?", (before[0],))  # noqa: S608 - our own
        else:
            self._follow_from(entry.seq, before[0])

    def _follow_from(self, seq: int, before: int) -> None:
        """What was made because of the entry `before` follows from `seq` now.

        What was refused meanwhile is asked anew, under another key: the hub had not come so far.
        """
        self._db.execute(
            "DELETE FROM reports WHERE entry_seq = ? AND outcome = 'refused'"
            " AND event IN ('fail', 'aggregation_failed')",
            (before,),
        )
        self._db.execute(
            "UPDATE reports SET entry_seq = ?, key = CASE WHEN outcome = 'refused' THEN '' ELSE key END,"
            " outcome = CASE WHEN outcome = 'refused' OR seq = 0 THEN 'owed' ELSE outcome END WHERE entry_seq = ?",
            (seq, before),
        )
        for table in ("results", "outgoing"):
            self._db.execute(f"UPDATE {table} SET entry_seq = ? WHERE entry_seq = ?", (seq, before))  # noqa: S608

    def _lost(self, entry: Entry) -> tuple[int, bytes] | None:
        """(seq, JSON) of the lost entry that this one is; the oldest, if it was there several times."""
        sql = "SELECT seq, entry_json FROM entries WHERE lost = 1 AND kind = ?"
        if entry.kind == "message":
            id = "" if entry.message is None else entry.message.id
            found = self._db.execute(
                f"{sql} AND json_extract(CAST(entry_json AS TEXT), '$.message.id') = ? ORDER BY seq LIMIT 1",
                (entry.kind, id),
            )
        else:
            found = self._db.execute(
                f"{sql} AND run_id IS ? AND task_seq IS ? AND round IS ? ORDER BY seq LIMIT 1",
                (entry.kind, entry.run_id, entry.task_seq, entry.round),
            )
        row = found.fetchone()
        return None if row is None else (int(row[0]), bytes(row[1]))

    # the inbox

    def taken(self) -> int:
        """The newest entry that is in here."""
        return self._value("SELECT taken_seq FROM position")

    def take(self, entries: Sequence[Entry], *, through: int = 0) -> None:
        """Keep entries; what is here already stays as it is. through: the newest one, also of those not to be kept."""
        rows = [
            (e.seq, e.run_id, e.task_seq, e.round, e.kind, msgspec.json.encode(_without_body(e)), e.mark)
            for e in entries
        ]
        bodies = [
            (*_place(e.message, e), e.message.body or b"", e.message.sender_site_id, e.message.artifact_id)
            for e in entries
            if e.message is not None and (e.message.body is not None or e.message.artifact_id is not None)
        ]
        newest = max([through, *(e.seq for e in entries)])
        mark = next((e.mark for e in entries if e.seq == newest), "")
        with self._lock, _Transaction(self._db):
            self._db.executemany(
                "INSERT OR IGNORE INTO entries (seq, run_id, task_seq, round, kind, entry_json, mark)"
                " VALUES (?,?,?,?,?,?,?)",
                rows,
            )
            for entry in entries:
                self._come_again(entry)
            self._db.executemany(
                "INSERT OR IGNORE INTO bodies (message_id, kind, entry_seq, run_id, task_seq, round, body, sender,"
                " artifact_id) VALUES (?,?,?,?,?,?,?,?,?)",
                bodies,
            )
            self._db.execute("UPDATE position SET taken_seq = ?, mark = ? WHERE taken_seq < ?", (newest, mark, newest))
            old = self._db.execute("SELECT seq FROM entries ORDER BY seq DESC LIMIT 1 OFFSET ?", (KEEP_ENTRIES,))
            oldest = next((row[0] for row in old.fetchall()), 0)  # numbers jump when the hub's history went back
            self._db.execute("DELETE FROM entries WHERE done AND seq <= ?", (oldest,))
            self._db.execute("DELETE FROM bodies WHERE entry_seq <= ? AND kind NOT IN ('update', 'model')", (oldest,))

    def waiting(self, run_id: str | None) -> Entry | None:
        """The oldest entry of a run that is not done, messages aside; None: of those that belong to no run.

        An update is a message of a round, and a step of its run: the hub's list of updates is compared with those that
        came before it. What an earlier agent understood and this one does not is done with.
        """
        sql = f"SELECT seq, entry_json FROM entries WHERE run_id IS ? AND NOT done AND {_STEP}"  # noqa: S608 - our own
        return self._oldest(f"{sql} ORDER BY seq LIMIT 1", run_id)

    def waiting_message(self) -> Entry | None:
        """The oldest message between sites that is not done, of whatever run, and of no round."""
        sql = "SELECT seq, entry_json FROM entries WHERE NOT done AND kind = 'message' AND round IS NULL"
        return self._oldest(f"{sql} ORDER BY seq LIMIT 1")

    def _oldest(self, sql: str, *values: object) -> Entry | None:
        while True:
            with self._lock:
                row = self._db.execute(sql, values).fetchone()
            if row is None:
                return None
            try:
                return entry_of(row[1])
            except Undecodable:
                self.done(row[0])

    def waiting_runs(self) -> list[str]:
        """Runs with entries that are not done, messages aside, oldest first."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT run_id FROM entries WHERE run_id IS NOT NULL AND NOT done AND {_STEP}"  # noqa: S608 - our own
                " GROUP BY run_id ORDER BY min(seq)"
            ).fetchall()
        return [row[0] for row in rows]

    def done(self, seq: int) -> None:
        """Nothing more follows from this entry. An update or model that came with it and was not opened goes.

        Others are opened by then, and go with their round or run; of runs that a hub invents there is no end.
        """
        with self._lock, _Transaction(self._db):
            self._db.execute("UPDATE entries SET done = 1 WHERE seq = ?", (seq,))
            self._db.execute(
                "DELETE FROM bodies WHERE entry_seq = ? AND NOT opened AND kind IN ('update', 'model')", (seq,)
            )

    def overtaken(self, entry: Entry, kinds: Iterable[str]) -> bool:
        """True if a later entry of these kinds ended what `entry` asks for: the run, its task, or its round.

        An entry that the hub has forgotten ends nothing, and is not wanted itself before it comes again.
        """
        wanted = [*kinds]
        if not wanted:
            return False
        marks = ",".join("?" * len(wanted))
        found = self._value(
            "SELECT count(*) FROM entries WHERE run_id = ? AND (seq = ? AND lost OR seq > ? AND NOT lost"  # noqa: S608
            f" AND kind IN ({marks})"
            " AND (kind = 'run_ended' OR (task_seq = ? AND (kind = 'task_ended' OR round >= ?))))",
            (entry.run_id, entry.seq, entry.seq, *wanted, entry.task_seq, entry.round or 0),
        )
        return found > 0

    # messages

    def body(self, message_id: str) -> Body | None:
        with self._lock:
            row = self._db.execute(
                "SELECT message_id, kind, body, sender, artifact_id, opened, file, origin_json FROM bodies"
                " WHERE message_id = ?",
                (message_id,),
            ).fetchone()
        if row is None:
            return None
        id, kind, body, sender, artifact_id, opened, file, origin = row
        known = msgspec.json.decode(origin, type=Origin | None)
        return Body(id, kind, bytes(body), sender, artifact_id, bool(opened), file, known)

    def held_updates(self, run_id: str) -> list[Held]:
        """The updates of a run that are here, opened."""
        with self._lock:
            rows = self._db.execute(
                "SELECT message_id, sender, run_id, task_seq, round FROM bodies"
                " WHERE run_id = ? AND kind = 'update' AND opened",
                (run_id,),
            ).fetchall()
        return [Held(*row) for row in rows]

    def keep_opened(self, message: Message, entry: Entry, content: bytes | Path, origin: Origin | None = None) -> None:
        """Keep what a message holds, in place of its sealed body; of the entry that needed it first."""
        body, file = (content, "") if isinstance(content, bytes) else (b"", str(content))
        place = _place(message, entry)
        with self._lock, _Transaction(self._db):
            self._db.execute(
                "INSERT INTO bodies VALUES (?,?,?,?,?,?,?,?,?,1,?,?) ON CONFLICT (message_id) DO UPDATE"
                " SET body = excluded.body, opened = 1, file = excluded.file, origin_json = excluded.origin_json",
                (*place, body, message.sender_site_id, message.artifact_id, file, msgspec.json.encode(origin)),
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
        entries = []
        for row in reversed(rows):
            with suppress(Undecodable):
                entries.append(entry_of(row[0]))
        return entries

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

    def failed_before(self, run_id: str, task_seq: int, entry_seq: int, *, answered: bool) -> bool:
        """True if this site gave the seat up because of an earlier entry; answered: and the hub has heard of it."""
        heard = " AND outcome != ''" if answered else ""
        return (
            self._value(
                "SELECT count(*) FROM reports WHERE run_id = ? AND task_seq = ? AND event = 'fail'"  # noqa: S608
                f" AND entry_seq < ?{heard}",
                (run_id, task_seq, entry_seq),
            )
            > 0
        )

    def keep_report(self, report: Report) -> bool:
        """Keep a new report, and count it on its seat; False if the hub has forgotten meanwhile what it is about."""
        with self._lock, _Transaction(self._db):
            if self._db.execute("SELECT 1 FROM entries WHERE seq = ? AND lost", (report.entry_seq,)).fetchone():
                return False
            self._db.execute("INSERT INTO reports VALUES (?,?,?,?,?,?,?,?,?)", msgspec.structs.astuple(report))
            if report.seq:
                self._count(report, report.seq)
        return True

    def due(self, report: Report, key: str) -> Report:
        """An owed report as it is sent again: under its seat's next number. key: in place of one that was refused."""
        with self._lock, _Transaction(self._db):
            seq, body = report.seq, report.body
            seat = self._db.execute(
                "SELECT report_seq FROM seats WHERE run_id = ? AND task_seq = ?", (report.run_id, report.task_seq)
            ).fetchone()
            if seq and seat is not None and seq != seat[0] + 1:
                seq = seat[0] + 1
                body = msgspec.json.encode({**msgspec.json.decode(body), "seq": seq})
            report = msgspec.structs.replace(report, seq=seq, body=body, key=report.key or key, outcome="")
            self._rewrite(report)
            if seq:
                self._count(report, seq)
        return report

    def ask_anew(self, report: Report, key: str) -> None:
        """The hub had not come so far, and would say so again under the same key."""
        with self._lock, _Transaction(self._db):
            self._rewrite(msgspec.structs.replace(report, key=key))

    def _rewrite(self, report: Report) -> None:
        self._db.execute(
            "UPDATE reports SET seq = ?, key = ?, body_json = ?, outcome = ? WHERE entry_seq = ? AND event = ?",
            (report.seq, report.key, report.body, report.outcome, report.entry_seq, report.event),
        )

    def answered(self, report: Report, outcome: str) -> bool:
        """The hub has answered; a refused report did not count, so the seat's next one has its number.

        False if the report has come to be owed since it was sent: the answer says nothing of the history that is now,
        but a refusal has spent its key.
        """
        with self._lock, _Transaction(self._db):
            if self._db.execute("SELECT 1 FROM reports WHERE key = ? AND outcome = 'owed'", (report.key,)).fetchone():
                if outcome == "refused":
                    self._db.execute("UPDATE reports SET key = '' WHERE key = ?", (report.key,))
                return False
            self._db.execute(
                "UPDATE reports SET outcome = ? WHERE entry_seq = ? AND event = ?",
                (outcome, report.entry_seq, report.event),
            )
            if report.seq:
                new, which = (report.seq - 1, "=") if outcome == "refused" else (report.seq, "<")
                self._db.execute(
                    f"UPDATE seats SET report_seq = ? WHERE run_id = ? AND task_seq = ? AND report_seq {which} ?",  # noqa: S608
                    (new, report.run_id, report.task_seq, report.seq),
                )
            return True

    # what hooks made

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
        seq, run_id, packed, file, metrics, left_out, digests = row
        return Made(
            seq,
            run_id,
            bytes(packed),
            file,
            msgspec.json.decode(metrics, type=dict[str, float]),
            msgspec.json.decode(left_out, type=tuple[LeftOut, ...]),
            msgspec.json.decode(digests, type=Digests | None),
        )

    def keep_made(self, made: Made) -> None:
        numbers, left_out = msgspec.json.encode(made.metrics), msgspec.json.encode(made.left_out)
        digests = msgspec.json.encode(made.digests)
        row = (made.entry_seq, made.run_id, made.packed, made.file, numbers, left_out, digests)
        self._write("INSERT OR REPLACE INTO results VALUES (?,?,?,?,?,?,?)", row)

    def outgoing(self, entry_seq: int, run_id: str | None) -> Outgoing | None:
        """A large payload on its way because of an entry; run_id as for `made`."""
        with self._lock:
            row = self._db.execute(
                "SELECT * FROM outgoing WHERE entry_seq = ? AND run_id IS ?", (entry_seq, run_id)
            ).fetchone()
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
        """A finished run: what its entries, updates, models and reports held goes; the entries' numbers stay.

        So do the digests of its tasks, since a hub that says that it ended may show it anew with others, and what its
        models were made of. That it ended is remembered if this site had a part in it: the hub may
        invent runs and their ends, and no number of them takes the place of a run that this site sealed a model in.
        """
        with self._lock, _Transaction(self._db):
            had_part = self._db.execute(
                "SELECT EXISTS (SELECT 1 FROM seats WHERE run_id = ?1) OR EXISTS (SELECT 1 FROM run_tasks WHERE"
                " run_id = ?1) OR EXISTS (SELECT 1 FROM sealed_out WHERE run_id = ?1) OR EXISTS (SELECT 1 FROM"
                " models_made WHERE run_id = ?1)",
                (run_id,),
            ).fetchone()[0]
            self._db.execute("DELETE FROM bodies WHERE run_id = ? AND kind IN ('update', 'model')", (run_id,))
            for table in ("reports", "results", "outgoing", "sealed_out"):
                self._db.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608 - our own names
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

    # what the hub is held to

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
        with self._lock, _Transaction(self._db):
            self._db.executemany(
                "INSERT OR REPLACE INTO own_tasks VALUES (?,?,?)", [(project_id, *task) for task in tasks]
            )
            self._db.execute(
                "DELETE FROM own_tasks WHERE project_id = ? AND rowid NOT IN"
                " (SELECT rowid FROM own_tasks WHERE project_id = ? ORDER BY rowid DESC LIMIT ?)",
                (project_id, project_id, KEEP_OWN_TASKS),
            )

    def keep_sealed(self, entry: Entry, kind: str, digest: str, digests: Digests | None) -> None:
        """What this site has sealed for a round; digest: of the seal, empty if it went unsealed.

        Of a model it is kept for ever what it was made of (`made_of`), as it was first.
        """
        row = (entry.run_id, entry.task_seq, entry.round, kind, digest, msgspec.json.encode(digests))
        with self._lock, _Transaction(self._db):
            self._db.execute("INSERT OR IGNORE INTO sealed_out VALUES (?,?,?,?,?,?)", row)
            if kind == "model":
                self._db.execute("INSERT OR IGNORE INTO models_made VALUES (?,?,?,?)", (*row[:3], made_of(digests)))

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

    # receipts

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

    def settle_receipt(self, receipt: Receipt) -> None:
        """What became of an update that was awaited; once."""
        with self._lock, _Transaction(self._db):
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

    # heads of the hub's chains of events

    def newest_head(self, stream_id: str, history_id: str, after: int) -> Head | None:
        """The newest one of a chain in a history, of those that were kept after that time."""
        return self._head(
            "stream_id = ? AND history_id = ? AND noted_at > ? ORDER BY seq DESC LIMIT 1",
            (stream_id, history_id, after),
        )

    def head_before(self, stream_id: str, at: int) -> Head | None:
        """The one of a chain that was kept last up to that time, in whatever history."""
        return self._head("stream_id = ? AND noted_at <= ? ORDER BY noted_at DESC, seq DESC LIMIT 1", (stream_id, at))

    def heads(self) -> list[Head]:
        """All that are kept, by chain, oldest first."""
        with self._lock:
            rows = self._db.execute("SELECT head_json FROM heads ORDER BY stream_id, noted_at, seq").fetchall()
        return [msgspec.json.decode(row[0], type=Head) for row in rows]

    def keep_heads(self, heads: Sequence[Head], now: int) -> None:
        """These are the newest ones of their chains; of each day the last one stays."""
        if not heads:
            return
        day = now // DAY_MICROS
        with self._lock, _Transaction(self._db):
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
        with self._lock, _Transaction(self._db):
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
            tell = now - int(known[0]) >= DAY_MICROS
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
            row = self._db.execute(f"SELECT head_json FROM heads WHERE {where}", values).fetchone()  # noqa: S608
        return None if row is None else msgspec.json.decode(row[0], type=Head)

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


def made_of(digests: Digests | None) -> str:
    """SHA-256, in hex, over the receipts of the updates in a model; empty where they are not known."""
    if digests is None or digests.receipts is None:
        return ""
    return hashlib.sha256("\n".join(sorted(digests.receipts)).encode()).hexdigest()


def _place(message: Message, entry: Entry) -> tuple[object, ...]:
    """Where a body belongs."""
    return message.id, message.kind, entry.seq, entry.run_id, entry.task_seq, entry.round


def _without_body(entry: Entry) -> Entry:
    """Bodies lie in a table of their own."""
    if entry.message is None:
        return entry
    bare: Message = msgspec.structs.replace(entry.message, body=None)
    return msgspec.structs.replace(entry, message=bare)


def _submissions(entry_json: bytes) -> set[tuple[object, object]]:
    """Whose updates a call to aggregate lists, as (site, message)."""
    facts = msgspec.json.decode(entry_json).get("facts") or {}
    listed = facts.get("submissions") if isinstance(facts, dict) else None
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {(str(one.get("site_id")), str(one.get("message_id"))) for one in found}


def _is_uuid(text: object) -> bool:
    try:
        msgspec.convert(text, Uuid)
    except msgspec.ValidationError:
        return False
    return True
