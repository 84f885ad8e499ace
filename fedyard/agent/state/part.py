"""What the parts of the agent's memory have in common: one connection under one lock."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence


class Part:
    """One subject's tables. Safe to use from many threads: every method is one transaction under the file's lock."""

    def __init__(self, db: sqlite3.Connection, lock: threading.Lock) -> None:
        self._db, self._lock = db, lock

    def _value(self, sql: str, arguments: Sequence[object] = ()) -> int:
        with self._lock:
            return int(self._db.execute(sql, arguments).fetchone()[0])

    def _write(self, sql: str, arguments: Sequence[object]) -> None:
        with self._lock, Transaction(self._db):
            self._db.execute(sql, arguments)


class Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when something is raised."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")
