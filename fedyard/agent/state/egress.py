"""What has left this house for the hub: updates and models with the metrics that went along, scores, logs and reasons.

A row is here before the first byte of it leaves, in the transaction that keeps what is sent; it outlives its run.
Messages that people sent are in `History`. What workloads send, and what a task's own code sends past its agent, is not
in here: the agent does not see it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from fedyard.agent.state.part import Part
from fedyard.agent.state.records import Egress, LogPiece, Report
from fedyard.wire.types import Micros

KEEP_EGRESS = 20_000
"""How many rows are kept; the oldest go. An update, a round's log and a reason are a row each."""
REASONS = ("fail", "aggregation_failed")
"""Reports that carry a sentence."""
SCORED = "scored"
"""The report that carries metrics alone, or a sentence why there are none."""
_CARRIES = {"submit": "update", "aggregated": "model", SCORED: "score", **dict.fromkeys(REASONS, "reason")}
_COLUMNS = (
    *("at", "project_id", "run_id", "task_seq", "round", "kind", "recipients_json", "size_bytes", "digest", "seal"),
    *("norm", "metrics_json", "count", "text", "outcome"),
)
_LISTED = ", ".join(_COLUMNS)


class EgressLog(Part):
    """What has left this house, newest first. Rows are written by those whose transaction keeps what leaves."""

    def latest(
        self, count: int, *, run_id: str | None = None, kind: str | None = None, before: int = 2**62
    ) -> list[Egress]:
        """The newest ones of a run and a kind, or of all, that are older than `before` (an id)."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT id, {_LISTED} FROM egress WHERE (?1 IS NULL OR run_id = ?1) AND (?2 IS NULL OR kind = ?2)"
                " AND id < ?3 ORDER BY id DESC LIMIT ?4",
                (run_id, kind, before, count),
            ).fetchall()
        return [_egress(row) for row in rows]

    def totals(self) -> list[tuple[str, str, int, int, Micros]]:
        """(project, kind, how many, bytes, the newest one's time) of all that is kept."""
        with self._lock:
            return self._db.execute(
                "SELECT project_id, kind, sum(count), sum(size_bytes), max(at) FROM egress GROUP BY project_id, kind"
                " ORDER BY project_id, kind"
            ).fetchall()


def keep(db: sqlite3.Connection, leaving: Egress) -> None:
    """Within a transaction: this is about to leave. What is here already stays; of a log its pieces add up."""
    if leaving.kind in _CARRIES.values():
        db.execute(
            "UPDATE egress SET outcome = 'superseded' WHERE run_id = ? AND task_seq = ? AND round = ? AND kind = ?"
            " AND outcome = ''",
            (leaving.run_id, leaving.task_seq, leaving.round, leaving.kind),
        )
    db.execute(
        f"INSERT INTO egress ({_LISTED}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " ON CONFLICT (run_id, task_seq, round, kind, digest, seal) DO UPDATE SET"
        " count = CASE kind WHEN 'log' THEN count + 1 ELSE count END,"
        " size_bytes = CASE kind WHEN 'log' THEN size_bytes + excluded.size_bytes ELSE size_bytes END,"
        " at = CASE kind WHEN 'log' THEN excluded.at ELSE at END",
        (
            leaving.at,
            leaving.project_id,
            leaving.run_id,
            leaving.task_seq,
            leaving.round,
            leaving.kind,
            msgspec.json.encode(leaving.recipients),
            leaving.size_bytes,
            leaving.digest,
            leaving.seal,
            leaving.norm,
            msgspec.json.encode(leaving.metrics),
            leaving.count,
            leaving.text,
            leaving.outcome,
        ),
    )
    db.execute("DELETE FROM egress WHERE id <= (SELECT max(id) FROM egress) - ?", (KEEP_EGRESS,))


def keep_piece(db: sqlite3.Connection, piece: LogPiece) -> None:
    """Within a transaction: a piece of a log; its text is not kept here."""
    row = Egress(
        at=piece.at,
        project_id=piece.project_id,
        run_id=piece.run_id,
        task_seq=piece.task_seq,
        round=piece.round,
        kind="log",
        size_bytes=len(piece.text.encode()),
    )
    keep(db, row)


def keep_said(db: sqlite3.Connection, report: Report, now: int) -> None:
    """Within a transaction: a report that carries a sentence, or a score; the hub reads it, as the coordinator does."""
    if report.event not in (*REASONS, SCORED):
        return
    said = msgspec.json.decode(report.body, type=dict[str, object])
    text = str(said.get("reason") or said.get("failure") or "")
    project = db.execute(
        "SELECT json_extract(CAST(entry_json AS TEXT), '$.project_id') FROM entries WHERE seq = ?", (report.entry_seq,)
    ).fetchone()
    row = Egress(
        at=now,
        project_id=str(project[0]) if project and project[0] else "",
        run_id=report.run_id,
        task_seq=report.task_seq,
        round=report.round,
        kind=_CARRIES[report.event],
        size_bytes=len(text.encode()) if report.event in REASONS else len(report.body),
        digest=hashlib.sha256(text.encode() if report.event in REASONS else report.body).hexdigest(),
        text=text,
        metrics=msgspec.convert(said.get("metrics", {}), dict[str, float]),
    )
    keep(db, row)


def settle(db: sqlite3.Connection, report: Report, outcome: str) -> None:
    """Within a transaction: the hub has answered to the report that carried it: ok or refused."""
    kind = _CARRIES.get(report.event)
    if kind is not None:
        db.execute(
            "UPDATE egress SET outcome = ? WHERE run_id = ? AND task_seq = ? AND round = ? AND kind = ?"
            " AND outcome = ''",
            (outcome, report.run_id, report.task_seq, report.round, kind),
        )


def _egress(row: Sequence[Any]) -> Egress:
    fields = dict(zip(("id", *_COLUMNS), row, strict=True))
    to, metrics = fields.pop("recipients_json"), fields.pop("metrics_json")
    return Egress(
        **fields,
        recipients=msgspec.json.decode(to, type=tuple[str, ...]),
        metrics=msgspec.json.decode(metrics, type=dict[str, float]),
    )
