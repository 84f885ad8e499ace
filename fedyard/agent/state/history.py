"""Where this site is in the hub's history, and what it owes to a hub that went back."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fedyard.agent.state.inbox import KEEP_ENTRIES, TAKEN_UP_AGAIN
from fedyard.agent.state.part import Part, Transaction
from fedyard.agent.state.records import Position
from fedyard.wire.types import Uuid

KEEP_SENT = 1000
"""How many messages that this site's people sent are kept, to be sent again to a hub that has forgotten them."""
MAX_HELD = 200


class History(Part):
    """Where this site is in the hub's history, and what it owes to a hub that went back."""

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
        with self._lock, Transaction(self._db):
            self._db.execute("UPDATE entries SET lost = 1 WHERE seq > ? AND lost = 0", (common_seq,))
            self._db.execute(
                f"UPDATE entries SET done = 1 WHERE lost = 1 AND kind IN ({asking})",
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
        with self._lock, Transaction(self._db):
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

        And whether there are more live ones than `MAX_HELD`, the oldest of which are left out.

        A seat that this site was invited to and has not taken yet is a live one without a report.
        """
        with self._lock:
            live = self._db.execute(
                "SELECT run_id, task_seq, report_seq, 'live' FROM (SELECT run_id, task_seq, report_seq, 1 AS taken,"
                " rowid AS nth FROM seats UNION ALL SELECT run_id, task_seq, 0, 0, max(seq) FROM entries"
                " WHERE kind = 'invited' AND NOT done AND NOT EXISTS (SELECT 1 FROM seats WHERE"
                " seats.run_id = entries.run_id AND seats.task_seq = entries.task_seq) GROUP BY run_id, task_seq)"
                " ORDER BY taken DESC, nth DESC LIMIT ?",
                (MAX_HELD + 1,),
            ).fetchall()
            ended = self._db.execute(
                "SELECT run_id, task_seq, 0, 'ended' FROM entries WHERE task_seq IS NOT NULL AND run_id IN"
                " (SELECT run_id FROM ended_runs) GROUP BY run_id, task_seq ORDER BY max(seq) DESC LIMIT ?",
                (MAX_HELD,),
            ).fetchall()
        return [*live, *ended][:MAX_HELD], len(live) > MAX_HELD

    def revoked_tokens(self) -> list[str]:
        """Ids of this site's tokens that the hub said are revoked, as far as its notices are kept; newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT DISTINCT json_extract(CAST(entry_json AS TEXT), '$.facts.token_id') AS token FROM entries"
                " WHERE kind = 'token_revoked' AND token IS NOT NULL ORDER BY seq DESC LIMIT ?",
                (MAX_HELD,),
            ).fetchall()
        return [row[0] for row in rows if _is_uuid(row[0])]

    def keep_sent(self, key: str, body: bytes, now: int) -> None:
        """A message of this site's people, before it is sent."""
        with self._lock, Transaction(self._db):
            self._db.execute("INSERT OR IGNORE INTO sent VALUES (?,?,?)", (key, now, body))
            self._db.execute("DELETE FROM sent WHERE rowid <= (SELECT max(rowid) FROM sent) - ?", (KEEP_SENT,))

    def sent_since(self, at: int) -> list[tuple[str, bytes]]:
        """(key, body) of messages, oldest first; older ones go."""
        with self._lock, Transaction(self._db):
            self._db.execute("DELETE FROM sent WHERE at < ?", (at,))
            rows = self._db.execute("SELECT key, body_json FROM sent ORDER BY rowid").fetchall()
        return [(key, bytes(body)) for key, body in rows]

    def sent(self) -> list[tuple[int, bytes]]:
        """(time, body) of the messages that are kept, newest first, for people."""
        with self._lock:
            rows = self._db.execute("SELECT at, body_json FROM sent ORDER BY rowid DESC").fetchall()
        return [(at, bytes(body)) for at, body in rows]


def _is_uuid(text: object) -> bool:
    try:
        msgspec.convert(text, Uuid)
    except msgspec.ValidationError:
        return False
    return True
