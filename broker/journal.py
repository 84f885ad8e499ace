"""The embedded broker's journal: an SQLite file in which a message lies until it is acknowledged.

One thread writes. What several threads ask for at the same time goes to disk in one transaction
(WAL, synchronous=FULL); acknowledgements ride along, or go a moment later: losing one in a crash
only delivers the message again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from broker.messages import DramatiqMessage, wire_of
from broker.port import BrokerUnavailable
from config.clock import Clock
from config.faults import in_a_line

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

LIVE_LIMIT = 200_000
LIVE_LIMIT_BYTES = 1_073_741_824
DEAD_LIMIT = 1_000
LAZY_S = 0.2
"""How long an acknowledgement may wait for a write to ride along with."""

logger = logging.getLogger(__name__)


class JournalLocked(Exception):
    """Another process has the journal open."""


@dataclass(frozen=True)
class Entry:
    """A message to be kept.

    queue: where it lies now (a delay queue's name ends in .DQ). size_bytes: of its argument.
    """

    id: str
    queue: str
    kind: str
    body: bytes
    size_bytes: int


_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    queue TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    dead_at INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX IF NOT EXISTS journal_dead ON journal (seq) WHERE dead_at IS NOT NULL;
"""


class Journal:
    """One process at a time. Raises `JournalLocked` if another one holds it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock_file = _locked(path)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._db = _opened(path)
        self._changed = threading.Condition()
        self._works: list[tuple[Work[Any], Future[Any] | None]] = []
        self._urgent = False
        self._closing = False
        self._live, self._live_bytes = self._measured()
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    def add(self, entries: Sequence[Entry], on_disk: Callable[[Sequence[int]], None]) -> Future[list[int]]:
        """Keep `entries`. Their rows are the future's result once they are on disk.

        `on_disk(rows)` is called by the writing thread then, in the order of the rows over all callers.
        Raises `BrokerUnavailable` if the journal is full or closed.
        """
        size = sum(entry.size_bytes for entry in entries)
        if self._live + len(entries) > LIVE_LIMIT or self._live_bytes + size > LIVE_LIMIT_BYTES:
            raise BrokerUnavailable(
                f"the journal holds {self._live} undecided commands, {self._live_bytes} bytes: it is full", 5
            )

        def insert(db: sqlite3.Connection) -> list[int]:
            return [_inserted(db, entry) for entry in entries]

        def inserted(rows: list[int]) -> None:
            self._count(len(rows), size)
            on_disk(rows)

        return self.run(insert, inserted)

    def replace(self, row: int, entry: Entry) -> None:
        """A message's new state (it is delayed now): written soon; until then the old state stands."""
        self._later(
            lambda db: db.execute(
                "UPDATE journal SET queue = ?, body = ? WHERE seq = ?", (entry.queue, entry.body, row)
            )
        )

    def remove(self, row: int, size_bytes: int) -> None:
        """Acknowledged: gone soon."""
        self._count(-1, -size_bytes)
        self._later(lambda db: db.execute("DELETE FROM journal WHERE seq = ?", (row,)))

    def bury(self, row: int, entry: Entry, failures: int, reason: str) -> None:
        """Dead: kept for the operator, soon. Only the newest `DEAD_LIMIT` dead letters are kept."""
        now = self.clock.now()

        def update(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE journal SET queue = ?, body = ?, dead_at = ?, failures = ?, reason = ? WHERE seq = ?",
                (entry.queue, entry.body, now, failures, reason, row),
            )
            _forget_oldest_dead(db)

        self._count(-1, -entry.size_bytes)
        self._later(update)

    def live(self) -> list[tuple[int, str, str, bytes]]:
        """(row, id, queue, body) of every message that is not dead, oldest first."""
        query = "SELECT seq, id, queue, body FROM journal WHERE dead_at IS NULL ORDER BY seq"
        return self.run(lambda db: db.execute(query).fetchall()).result()

    def counted(self) -> list[tuple[str, bool, int, bytes]]:
        """(queue, whether they are dead letters, how many there are, the body of the oldest one)."""
        query = (
            "SELECT queue, dead, count, (SELECT body FROM journal WHERE seq = first) FROM (SELECT queue,"
            " dead_at IS NOT NULL AS dead, count(*) AS count, min(seq) AS first FROM journal GROUP BY queue, dead)"
        )
        return self.run(lambda db: [(q, bool(d), n, b) for q, d, n, b in db.execute(query)]).result()

    def dead(self) -> list[tuple[int, str, str, bytes, int, int, str]]:
        """(row, id, queue, body, dead_at, failures, reason) of every dead letter, oldest first."""
        query = (
            "SELECT seq, id, queue, body, dead_at, failures, reason FROM journal WHERE dead_at IS NOT NULL ORDER BY seq"
        )
        return self.run(lambda db: db.execute(query).fetchall()).result()

    def revive(self, row: int, entry: Entry) -> None:
        """A dead letter lives again; on disk when this returns."""
        update = "UPDATE journal SET queue = ?, body = ?, dead_at = NULL, failures = 0, reason = '' WHERE seq = ?"
        self.run(lambda db: db.execute(update, (entry.queue, entry.body, row)).rowcount).result()
        self._count(1, entry.size_bytes)

    def forget(self, rows: Sequence[int]) -> None:
        """Dead letters are thrown away; from the disk when this returns."""
        delete = "DELETE FROM journal WHERE seq = ? AND dead_at IS NOT NULL"
        self.run(lambda db: db.executemany(delete, [(row,) for row in rows]).rowcount).result()

    def run(self, work: Work[T], then: Callable[[T], None] | None = None) -> Future[T]:
        """Have the writing thread do `work` in its next transaction; `then(result)` follows the commit."""
        future: Future[T] = Future()
        if then is not None:
            future.add_done_callback(lambda done: None if done.exception() else then(done.result()))
        with self._changed:
            if self._closing:
                raise BrokerUnavailable("the embedded broker is closed")
            self._works.append((work, future))
            self._urgent = True
            self._changed.notify()
        return future

    def close(self) -> None:
        """Write what is left and let go of the file."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify()
        self._writer.join()
        self._db.close()
        self._lock_file.close()

    def _later(self, work: Work[object]) -> None:
        """After closing this does nothing: the message is delivered again at the next start."""
        with self._changed:
            if self._closing:
                return
            self._works.append((work, None))
            if len(self._works) == 1:
                self._changed.notify()

    def _count(self, messages: int, size: int) -> None:
        with self._changed:
            self._live += messages
            self._live_bytes += size

    def _measured(self) -> tuple[int, int]:
        row = self._db.execute(
            "SELECT count(*), coalesce(sum(size_bytes), 0) FROM journal WHERE dead_at IS NULL"
        ).fetchone()
        return int(row[0]), int(row[1])

    def _write(self) -> None:
        while works := self._next_works():
            try:
                results = self._commit([work for work, _ in works])
            except Exception as error:  # noqa: BLE001 - the waiting threads get it
                self._give_up(works, error)
                continue
            for (_, future), result in zip(works, results, strict=True):
                if future is not None:
                    future.set_result(result)

    def _next_works(self) -> list[tuple[Work[Any], Future[Any] | None]]:
        with self._changed:
            while not (self._urgent or self._closing):
                if not self._changed.wait(LAZY_S if self._works else None):
                    break
            works, self._works = self._works, []
            self._urgent = False
            return works

    def _commit(self, works: Sequence[Work[Any]]) -> list[Any]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            results = [work(self._db) for work in works]
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return results

    def _give_up(self, works: Sequence[tuple[Work[Any], Future[Any] | None]], error: Exception) -> None:
        """Whoever waits is told; what nobody waits for is tried again with the next write."""
        logger.error("journal %s not written: %s", self.path, in_a_line(error))
        with self._changed:
            if not self._closing:
                self._works[:0] = [(work, None) for work, future in works if future is None]
        for _, future in works:
            if future is not None:
                future.set_exception(BrokerUnavailable("the journal cannot be written; the hub's log says why"))


def entry_of(message: DramatiqMessage) -> Entry:
    """What is kept of a message."""
    return Entry(message.message_id, message.queue_name, message.actor_name, wire_of(message), len(message.args[0]))


def _inserted(db: sqlite3.Connection, entry: Entry) -> int:
    row = db.execute(
        "INSERT INTO journal (id, queue, kind, body, size_bytes) VALUES (?, ?, ?, ?, ?)",
        (entry.id, entry.queue, entry.kind, entry.body, entry.size_bytes),
    ).lastrowid
    assert row is not None
    return row


def _forget_oldest_dead(db: sqlite3.Connection) -> None:
    forgotten = db.execute(
        "DELETE FROM journal WHERE dead_at IS NOT NULL AND seq <= "
        "(SELECT seq FROM journal WHERE dead_at IS NOT NULL ORDER BY seq DESC LIMIT 1 OFFSET ?)",
        (DEAD_LIMIT,),
    ).rowcount
    if forgotten:
        logger.warning("%d dead letters forgotten: only the newest %d are kept", forgotten, DEAD_LIMIT)


def _locked(path: Path) -> IO[str]:
    lock = path.with_name(path.name + ".lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read(20).strip() or "unknown"
        lock.close()
        raise JournalLocked(
            f"the journal {path} is in use by process {holder}: one embedded hub at a time; stop that one first"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 1000"):
        db.execute(f"PRAGMA {pragma}")
    db.executescript(_SCHEMA)
    return db
