"""Updates that left with noise, or may leave: what a project's privacy budget is counted over. No row ever goes.

A place is reserved before an update is made, so that tasks that compute at once cannot overdraw the budget together. It
is the same place when a hook that crashed is called again, since what it made then was never kept; it is given back
where nothing was made. What was kept stays counted, whether or not the hub ever took it, and also where an older memory
was put in this one's place: it is told a second time, in a file beside (`release_record.py`).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

import msgspec

from fedyard.agent.state.part import Part, Transaction
from fedyard.agent.state.release_record import MAX_COUNT, NAME, Count, Counts, Damaged, Record, greater
from fedyard.tasks.privacy import Privacy, Released, Spent
from fedyard.wire.answers import Entry
from fedyard.wire.plurals import counted
from fedyard.wire.types import Micros


class BudgetState(msgspec.Struct, frozen=True):
    """What has been spent of a project's budget. epsilon, delta: as counted when the newest update was made.

    updates: with noise. without: updates on record (`egress.py`) that left without any.
    """

    project_id: str
    updates: int
    without: int
    epsilon: float
    delta: float | None
    at: Micros


class Releases(Part):
    """Updates that left with noise, or may leave."""

    def __init__(self, db: sqlite3.Connection, lock: threading.Lock, record: Record) -> None:
        super().__init__(db, lock)
        self._record = record

    def recover(self, log: Callable[..., None]) -> None:
        """As the agent starts: count what the record tells of and this memory does not, and say so.

        Without a record, or with one that cannot be read, this memory alone counts, and the record is written anew.
        """
        fault = ""
        with self._lock, Transaction(self._db):
            kept = _kept(self._db)
            try:
                noted = self._record.read()
                if noted is None and kept:
                    fault = f"there is no {NAME}"
            except Damaged as damaged:
                noted, fault = None, str(damaged)
            missing = _missing(noted or {}, kept)
            for one in missing:
                _count_missing(self._db, one)
            found = greater(noted or {}, kept)
            if found != (noted or {}):
                try:
                    self._record.write(found)
                except OSError as error:
                    fault = "; ".join(filter(None, [fault, f"{NAME} could not be written ({error})"]))
        if fault:
            log("privacy record", why=f"{fault}: updates with noise are counted by state.sqlite alone")
        for one in missing:
            log(
                "privacy budget went back",
                project=one.project_id,
                missing=one.count,
                noise=one.noise,
                why=f"{NAME} tells of {counted(one.count, 'update')} more than state.sqlite: an older copy was put in "
                "its place, or the agent was ended as it kept one. They are counted as spent",
            )

    def reserve(self, entry: Entry, privacy: Privacy, now: Micros) -> list[Released]:
        """Make a place for the update of an entry; all others of its project, those that are being made among them."""
        where, project_id = (entry.seq, entry.run_id), entry.project_id or ""
        with self._lock, Transaction(self._db):
            self._db.execute("DELETE FROM releases WHERE entry_seq = ? AND run_id IS ? AND NOT kept", where)
            others = _released(self._db, project_id)
            self._db.execute(
                "INSERT INTO releases (project_id, run_id, task_seq, round, entry_seq, at, noise, clip)"
                " VALUES (?,?,?,?,?,?,?,?)",
                (
                    project_id,
                    entry.run_id,
                    entry.task_seq,
                    entry.round or 0,
                    entry.seq,
                    now,
                    privacy.noise,
                    privacy.clip,
                ),
            )
        return others

    def of(self, project_id: str) -> list[Released]:
        """All of a project."""
        with self._lock:
            return _released(self._db, project_id)

    def give_back(self, entry: Entry) -> None:
        """Nothing was made."""
        self._write("DELETE FROM releases WHERE entry_seq = ? AND run_id IS ? AND NOT kept", (entry.seq, entry.run_id))

    def spent(self) -> list[BudgetState]:
        """By project, what has been spent."""
        with self._lock:
            rows = self._db.execute(
                "SELECT project_id, count(*), epsilon, delta, at, max(id) FROM releases WHERE kept GROUP BY project_id"
                " ORDER BY project_id"  # what stands beside max(id) is of that row
            ).fetchall()
        return [
            BudgetState(project_id, count, self.without(project_id), epsilon, delta, at)
            for project_id, count, epsilon, delta, at, _ in rows
        ]

    def without(self, project_id: str) -> int:
        """Updates of a project on record that left without noise."""
        return self._value(
            "SELECT count(*) FROM egress WHERE kind = 'update' AND project_id = ? AND NOT EXISTS (SELECT 1 FROM"
            " releases WHERE kept AND releases.run_id = egress.run_id AND releases.task_seq = egress.task_seq AND"
            " releases.round = egress.round)",
            (project_id,),
        )


def keep(db: sqlite3.Connection, record: Record, entry_seq: int, run_id: str, spent: Spent, now: Micros) -> None:
    """Within the transaction that keeps an update, and last in it: its place is taken, and the record tells of it.

    Raises `LookupError` if none was reserved, `OSError` if the record cannot be written: then nothing is kept. Where
    the transaction fails after that, one update too many is counted, never one too few.
    """
    where = (entry_seq, run_id)
    of_entry = "WHERE entry_seq = ? AND run_id = ? AND NOT kept"
    found = db.execute(f"SELECT project_id, noise FROM releases {of_entry}", where).fetchall()
    if len(found) != 1:
        raise LookupError(f"no place in the budget for the update of entry {entry_seq} in run {run_id}")
    db.execute(
        f"UPDATE releases SET kept = 1, epsilon = ?, delta = ?, at = ? {of_entry}",
        (spent.epsilon, spent.delta, now, *where),
    )
    project_id, noise = found[0]
    kept = _kept(db)
    try:
        noted = record.read() or {}
    except Damaged:  # it was read as the agent started
        noted = {}
    key = (project_id, noise)
    before = noted[key].count if key in noted else 0
    newest = msgspec.structs.replace(kept[key], count=min(MAX_COUNT, max(kept[key].count, before + 1)))
    record.write({**greater(noted, kept), key: newest})


def forget_run(db: sqlite3.Connection, run_id: str) -> None:
    """Within a transaction: nothing more is made in this run."""
    db.execute("DELETE FROM releases WHERE run_id = ? AND NOT kept", (run_id,))


def _released(db: sqlite3.Connection, project_id: str) -> list[Released]:
    rows = db.execute(
        "SELECT noise, count(*) FROM releases WHERE project_id = ? GROUP BY noise ORDER BY noise", (project_id,)
    ).fetchall()
    return [Released(noise, count) for noise, count in rows]


def _kept(db: sqlite3.Connection) -> Counts:
    rows = db.execute(
        "SELECT project_id, noise, min(count(*), ?), clip, epsilon, delta, at, max(id) FROM releases WHERE kept"
        " GROUP BY project_id, noise",  # what stands beside max(id) is of that row
        (MAX_COUNT,),
    ).fetchall()
    found = [Count(*row[:-1]) for row in rows]
    return {one.key: one for one in found}


def _missing(noted: Counts, kept: Counts) -> list[Count]:
    """What is noted and not kept, the newest last."""
    short = {key: one.count - (kept[key].count if key in kept else 0) for key, one in noted.items()}
    found = [msgspec.structs.replace(one, count=short[key]) for key, one in noted.items() if short[key] > 0]
    return sorted(found, key=lambda one: one.at)


def _count_missing(db: sqlite3.Connection, one: Count) -> None:
    """As rows of no entry: which runs these updates were of is not known any more."""
    row = (one.project_id, one.at, one.noise, one.clip, one.epsilon, one.delta)
    db.executemany(
        "INSERT INTO releases (project_id, run_id, task_seq, round, entry_seq, at, noise, clip, kept, epsilon, delta)"
        " VALUES (?, '', 0, 0, 0, ?, ?, ?, 1, ?, ?)",
        [row] * one.count,
    )
