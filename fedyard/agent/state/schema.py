"""The tables, and opening a file of this agent or an older one."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import msgspec

from fedyard.agent.state.part import Transaction
from fedyard.agent.state.records import made_of
from fedyard.sealed.sealing import Digests

PRIVATE = 0o600
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
    digests_json BLOB NOT NULL DEFAULT 'null', norm REAL,
    code TEXT NOT NULL DEFAULT '');
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
CREATE TABLE IF NOT EXISTS egress (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, project_id TEXT NOT NULL, run_id TEXT NOT NULL,
    task_seq INTEGER NOT NULL, round INTEGER NOT NULL, kind TEXT NOT NULL, recipients_json BLOB NOT NULL,
    size_bytes INTEGER NOT NULL, digest TEXT NOT NULL, seal TEXT NOT NULL, norm REAL, metrics_json BLOB NOT NULL,
    count INTEGER NOT NULL, text TEXT NOT NULL, outcome TEXT NOT NULL,
    UNIQUE (run_id, task_seq, round, kind, digest, seal));
CREATE TABLE IF NOT EXISTS releases (
    id INTEGER PRIMARY KEY AUTOINCREMENT, project_id TEXT NOT NULL, run_id TEXT NOT NULL, task_seq INTEGER NOT NULL,
    round INTEGER NOT NULL, entry_seq INTEGER NOT NULL, at INTEGER NOT NULL, noise REAL NOT NULL, clip REAL NOT NULL,
    kept INTEGER NOT NULL DEFAULT 0, epsilon REAL, delta REAL);
CREATE INDEX IF NOT EXISTS releases_of_project ON releases (project_id, noise);
CREATE INDEX IF NOT EXISTS releases_of_run ON releases (run_id, task_seq, round);
CREATE TABLE IF NOT EXISTS approvals (
    id INTEGER PRIMARY KEY AUTOINCREMENT, project_id TEXT NOT NULL, run_id TEXT NOT NULL, task_seq INTEGER NOT NULL,
    name TEXT NOT NULL, digest TEXT NOT NULL, code TEXT NOT NULL, task_json BLOB NOT NULL, number INTEGER NOT NULL,
    attempt INTEGER NOT NULL, asked_at INTEGER NOT NULL, until INTEGER NOT NULL, state TEXT NOT NULL,
    answered_at INTEGER NOT NULL, UNIQUE (run_id, task_seq, digest, code));
CREATE TABLE IF NOT EXISTS begun_runs (
    project_id TEXT NOT NULL, run_id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (project_id, run_id));
CREATE TABLE IF NOT EXISTS refused_runs (run_id TEXT PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS first_models (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL, task TEXT NOT NULL, run_id TEXT NOT NULL, at INTEGER NOT NULL,
    file TEXT NOT NULL, norm REAL);
CREATE TABLE IF NOT EXISTS kept (
    project_id TEXT NOT NULL, task TEXT NOT NULL, number INTEGER NOT NULL, before INTEGER NOT NULL,
    entry_seq INTEGER NOT NULL, run_id TEXT NOT NULL, PRIMARY KEY (project_id, task)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (key TEXT PRIMARY KEY, at INTEGER NOT NULL, body_json BLOB NOT NULL);
"""
LATER = (
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
    ("results", "norm", "REAL"),
    ("results", "code", "TEXT NOT NULL DEFAULT ''"),
    ("seats", "results_json", "BLOB NOT NULL DEFAULT '[]'"),
)
"""Columns that a file of an older agent lacks. lost: 1 if the hub has forgotten the entry, 2 once it has come again."""
_SCHEMA_LATER = "CREATE INDEX IF NOT EXISTS lost_entries ON entries (kind) WHERE lost = 1"


def opened(path: Path) -> sqlite3.Connection:
    """The file with every table and column that this agent knows, made if it is not there; for its owner's eyes."""
    with suppress(FileExistsError):  # a file in use must not be opened and closed: that drops the process's locks
        path.touch(PRIVATE, exist_ok=False)
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5.0)
    try:
        db.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:  # somebody opens the new file just now, and sets it, too
            raise
    db.execute("PRAGMA synchronous = FULL")
    with Transaction(db):  # the agent and a command may open a new file, or an older agent's, at once
        for statement in filter(str.strip, _SCHEMA.split(";")):
            db.execute(statement)
        for table, column, kind in LATER:
            known = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
            if column not in known:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    db.execute(_SCHEMA_LATER)
    _remember_models(db)
    for beside in ("-wal", "-shm"):
        if Path(f"{path}{beside}").exists():
            os.chmod(f"{path}{beside}", PRIVATE)  # noqa: PTH101 - a name beside the file
    return db


def _remember_models(db: sqlite3.Connection) -> None:
    """Of models that an older agent sealed in runs that live: what they were made of."""
    rows = db.execute(
        "SELECT run_id, task_seq, round, digests_json FROM sealed_out AS out WHERE kind = 'model' AND NOT EXISTS"
        " (SELECT 1 FROM models_made AS known WHERE known.run_id = out.run_id AND known.task_seq = out.task_seq"
        " AND known.round = out.round)"
    ).fetchall()
    known = [(*row[:3], made_of(msgspec.json.decode(row[3], type=Digests | None))) for row in rows]
    db.executemany("INSERT OR IGNORE INTO models_made VALUES (?,?,?,?)", known)
