"""This site's seats, and its reports on them, each to the byte as it is sent."""

from __future__ import annotations

import msgspec

from fedyard.agent.state import egress
from fedyard.agent.state.part import Part, Transaction
from fedyard.agent.state.records import Report, Seat


class Seats(Part):
    """This site's seats, and its reports on them, each to the byte as it is sent."""

    def get(self, run_id: str, task_seq: int) -> Seat | None:
        with self._lock:
            row = self._db.execute("SELECT * FROM seats WHERE run_id = ? AND task_seq = ?", (run_id, task_seq))
            found = row.fetchone()
        return None if found is None else Seat(*found)

    def keep_seat(self, seat: Seat) -> None:
        self._write("INSERT OR REPLACE INTO seats VALUES (?,?,?,?,?,?,?,?,?)", msgspec.structs.astuple(seat))

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

    def owed(self) -> int:
        """How many reports the hub has not answered."""
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM reports WHERE outcome = ''").fetchone()[0])

    def failed_before(self, run_id: str, task_seq: int, entry_seq: int, *, answered: bool) -> bool:
        """True if this site gave the seat up because of an earlier entry; answered: and the hub has heard of it."""
        heard = " AND outcome != ''" if answered else ""
        return (
            self._value(
                "SELECT count(*) FROM reports WHERE run_id = ? AND task_seq = ? AND event = 'fail'"
                f" AND entry_seq < ?{heard}",
                (run_id, task_seq, entry_seq),
            )
            > 0
        )

    def keep_report(self, report: Report, now: int) -> bool:
        """Keep a new report, and count it on its seat; False if the hub has forgotten meanwhile what it is about."""
        with self._lock, Transaction(self._db):
            if self._db.execute("SELECT 1 FROM entries WHERE seq = ? AND lost", (report.entry_seq,)).fetchone():
                return False
            self._db.execute("INSERT INTO reports VALUES (?,?,?,?,?,?,?,?,?)", msgspec.structs.astuple(report))
            egress.keep_said(self._db, report, now)
            if report.seq:
                self._count(report, report.seq)
        return True

    def due(self, report: Report, key: str) -> Report:
        """An owed report as it is sent again: under its seat's next number. key: in place of one that was refused."""
        with self._lock, Transaction(self._db):
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
        with self._lock, Transaction(self._db):
            self._rewrite(msgspec.structs.replace(report, key=key))

    def answered(self, report: Report, outcome: str) -> bool:
        """The hub has answered; a refused report did not count, so the seat's next one has its number.

        False if the report has come to be owed since it was sent: the answer says nothing of the history that is now,
        but a refusal has spent its key.
        """
        with self._lock, Transaction(self._db):
            if self._db.execute("SELECT 1 FROM reports WHERE key = ? AND outcome = 'owed'", (report.key,)).fetchone():
                if outcome == "refused":
                    self._db.execute("UPDATE reports SET key = '' WHERE key = ?", (report.key,))
                return False
            self._db.execute(
                "UPDATE reports SET outcome = ? WHERE entry_seq = ? AND event = ?",
                (outcome, report.entry_seq, report.event),
            )
            egress.settle(self._db, report, outcome)
            if report.seq:
                new, which = (report.seq - 1, "=") if outcome == "refused" else (report.seq, "<")
                self._db.execute(
                    f"UPDATE seats SET report_seq = ? WHERE run_id = ? AND task_seq = ? AND report_seq {which} ?",
                    (new, report.run_id, report.task_seq, report.seq),
                )
            return True

    def seal_anew(self, report: Report) -> None:
        """A refused report goes, with the payload that was sealed for it; what the hook made stays."""
        with self._lock, Transaction(self._db):
            self._db.execute("DELETE FROM reports WHERE entry_seq = ? AND event = ?", (report.entry_seq, report.event))
            self._db.execute("DELETE FROM outgoing WHERE entry_seq = ?", (report.entry_seq,))
            egress.settle(self._db, report, "refused")
            if report.seq:
                self._count(report, report.seq - 1)

    def _rewrite(self, report: Report) -> None:
        self._db.execute(
            "UPDATE reports SET seq = ?, key = ?, body_json = ?, outcome = ? WHERE entry_seq = ? AND event = ?",
            (report.seq, report.key, report.body, report.outcome, report.entry_seq, report.event),
        )

    def _count(self, report: Report, seq: int) -> None:
        self._db.execute(
            "UPDATE seats SET report_seq = ? WHERE run_id = ? AND task_seq = ?", (seq, report.run_id, report.task_seq)
        )
