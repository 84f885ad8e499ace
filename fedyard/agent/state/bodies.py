"""What messages carry: sealed as it came, then opened; and which seals were opened already."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fedyard.agent.contract import Held
from fedyard.agent.state.part import Part, Transaction
from fedyard.agent.state.records import Body, place_of
from fedyard.sealed.sealing import Origin
from fedyard.wire.answers import Entry, Message


class Bodies(Part):
    """What messages carry: sealed as it came, then opened; and which seals were opened already."""

    def get(self, message_id: str) -> Body | None:
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
        place = place_of(message, entry)
        with self._lock, Transaction(self._db):
            self._db.execute(
                "INSERT INTO bodies VALUES (?,?,?,?,?,?,?,?,?,1,?,?) ON CONFLICT (message_id) DO UPDATE"
                " SET body = excluded.body, opened = 1, file = excluded.file, origin_json = excluded.origin_json",
                (*place, body, message.sender_site_id, message.artifact_id, file, msgspec.json.encode(origin)),
            )

    def first_opened(self, seal_id: str, place: str, expires: int) -> bool:
        """True if the sealed payload was never opened before, or only in this very place."""
        with self._lock, Transaction(self._db):
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
        with self._lock, Transaction(self._db):
            found = self._db.execute(
                f"DELETE FROM bodies WHERE {where} RETURNING file",
                (entry.run_id, entry.task_seq, entry.round, kept),
            ).fetchall()
        return [row[0] for row in found if row[0]]
