"""The log of a run. A sealed piece is handed to each reader with its own wrap alone."""

from __future__ import annotations

from itertools import accumulate

from domain.ids import Id
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.messages import BODIES_AT_ONCE_BYTES, body_for
from storage.views.resources import LogPiece
from storage.views.runs import coordinates_run
from storage.views.sight import Clause, Listed, own, rows, sees_everything

_SIZE = "SELECT place, size_bytes FROM log_pieces"
_PLACE = "SELECT place FROM log_pieces"
_PIECE = "SELECT place, site_id, task_seq, seq, round, created_at, size_bytes, body FROM log_pieces"


def of_run(
    database: Database, subject: Subject, run: Id, *, site: Id | None, task: int | None, after: int, limit: int
) -> Listed[LogPiece]:
    """Pieces behind the place `after`; a participant sees its own. Who may read the run was asked before.

    Who runs the network or audits it sees what pieces there are, not what is in them.

    A page ends before its bodies get too large, but has one piece at least.
    """
    where = [Clause("run_id = %s", (run,))]
    if site is not None:
        where.append(Clause("site_id = %s", (site,)))
    if task is not None:
        where.append(Clause("task_seq = %s", (task,)))
    with database.connection():
        coordinates = coordinates_run(database, subject, run)
        if not (coordinates or sees_everything(subject)):
            where.append(own("site_id", subject))
        sizes = rows(database, _SIZE, [*where, Clause("place > %s", (after,))], "ORDER BY place LIMIT %s", limit + 1)
        last = _last_shown(sizes[:limit])
        if last is None:
            return Listed(items=[], next=None)
        within = Clause("place > %s AND place <= %s", (after, last))
        found = rows(database, _PIECE, [*where, within], "ORDER BY place")
        shut: set[int] = set()
        if sees_everything(subject) and not coordinates:
            mine = rows(database, _PLACE, [*where, within, own("site_id", subject)])
            shut = {one[0] for one in found} - {one[0] for one in mine}
    reader = subject.id if subject.kind == "site" else None
    return Listed(
        items=[_piece(one, reader, shut=one[0] in shut) for one in found],
        next=str(last) if sizes and sizes[-1][0] > last else None,
    )


def _last_shown(sizes: list[Row]) -> int | None:
    """The place with which the page ends."""
    totals = accumulate(size for _, size in sizes)
    fitting = [place for (place, _), total in zip(sizes, totals, strict=True) if total <= BODIES_AT_ONCE_BYTES]
    return int(fitting[-1] if fitting else sizes[0][0]) if sizes else None


def _piece(one: Row, reader: Id | None, *, shut: bool) -> LogPiece:
    place, site, task_seq, seq, number, created_at, size_bytes, body = one
    return LogPiece(
        at=place,
        site_id=site,
        task_seq=task_seq,
        seq=seq,
        round=number,
        created_at=time_text(created_at),
        body=None if shut else body_for(reader, bytes(body)),
        size_bytes=size_bytes,
    )
