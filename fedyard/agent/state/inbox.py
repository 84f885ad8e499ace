"""Entries of the inbox: taken, waiting, done, and come again after the hub's history went back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from fedyard.agent.state.part import Part, Transaction
from fedyard.agent.state.records import place_of
from fedyard.wire.answers import Entry, Message, entry_of
from fedyard.wire.types import Undecodable

KEEP_ENTRIES = 1000
"""How many finished entries (and plain messages) are kept to look at."""
ONCE = ("message", "invited", "round_started", "aggregate", "score", "round_completed")
"""Entries whose effect is known by their run, task and round, or by their message: it comes once."""
TAKEN_UP_AGAIN = ("invited", "round_started", "aggregate", "score")
"""Those of them that the hub waits for an answer to: what was made of them is sent once they have come again."""
_STEP = "(kind <> 'message' OR round IS NOT NULL)"
"""Entries that are taken in the order of their run."""


class Inbox(Part):
    """Entries of the inbox: taken, waiting, done, and come again after the hub's history went back."""

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
            (*place_of(e.message, e), e.message.body or b"", e.message.sender_site_id, e.message.artifact_id)
            for e in entries
            if e.message is not None and (e.message.body is not None or e.message.artifact_id is not None)
        ]
        newest = max([through, *(e.seq for e in entries)])
        mark = next((e.mark for e in entries if e.seq == newest), "")
        with self._lock, Transaction(self._db):
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
        sql = f"SELECT seq, entry_json FROM entries WHERE run_id IS ? AND NOT done AND {_STEP}"
        return self._oldest(f"{sql} ORDER BY seq LIMIT 1", run_id)

    def waiting_message(self) -> Entry | None:
        """The oldest message between sites that is not done, of whatever run, and of no round."""
        sql = "SELECT seq, entry_json FROM entries WHERE NOT done AND kind = 'message' AND round IS NULL"
        return self._oldest(f"{sql} ORDER BY seq LIMIT 1")

    def waiting_runs(self) -> list[str]:
        """Runs with entries that are not done, messages aside, oldest first."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT run_id FROM entries WHERE run_id IS NOT NULL AND NOT done AND {_STEP}"
                " GROUP BY run_id ORDER BY min(seq)"
            ).fetchall()
        return [row[0] for row in rows]

    def waiting_count(self) -> int:
        """How many entries are not done."""
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM entries WHERE NOT done").fetchone()[0])

    def done(self, seq: int) -> None:
        """Nothing more follows from this entry. An update or model that came with it and was not opened goes.

        Others are opened by then, and go with their round or run; of runs that a hub invents there is no end.
        """
        with self._lock, Transaction(self._db):
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
            "SELECT count(*) FROM entries WHERE run_id = ? AND (seq = ? AND lost OR seq > ? AND NOT lost"
            f" AND kind IN ({marks})"
            " AND (kind = 'run_ended' OR (task_seq = ? AND (kind = 'task_ended' OR round >= ?))))",
            (entry.run_id, entry.seq, entry.seq, *wanted, entry.task_seq, entry.round or 0),
        )
        return found > 0

    def latest(self, count: int) -> list[Entry]:
        """The newest entries, oldest first, for people."""
        with self._lock:
            rows = self._db.execute("SELECT entry_json FROM entries ORDER BY seq DESC LIMIT ?", (count,)).fetchall()
        entries = []
        for row in reversed(rows):
            with suppress(Undecodable):
                entries.append(entry_of(row[0]))
        return entries

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
                self._db.execute(f"DELETE FROM {table} WHERE entry_seq = ?", (before[0],))
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
            self._db.execute(f"UPDATE {table} SET entry_seq = ? WHERE entry_seq = ?", (seq, before))

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
