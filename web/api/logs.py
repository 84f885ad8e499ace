"""Logs of runs: sites write theirs, the coordinator follows them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.commands import WriteLog
from domain.results import LogResult
from storage.views import logs as views
from storage.views import runs
from storage.views.resources import LogPiece
from storage.views.sight import Listed
from web.http.answers import answer
from web.http.bodies import Body, Count, EventsQuery, PieceText, Uuid, Wait
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.parsing import within_inline_limit
from web.http.writing import write
from web.live.shares import weight
from web.problems import not_found

PIECES_AT_ONCE_BYTES = 1_048_576
"""Of one call together: so many fit into a command."""


class NewPieces(Body, frozen=True):
    """seq: of the first piece; a site counts the pieces of a task run 1, 2, 3, ...

    round: left out where sealed pieces say it themselves.
    """

    seq: Count
    pieces: Annotated[list[PieceText], msgspec.Meta(min_length=1, max_length=32)]
    round: Count | None = None


class LogsQuery(EventsQuery, frozen=True):
    """after: the `at` of the last piece seen."""

    wait: Wait = 0.0
    site: Uuid | UnsetType = UNSET
    task: Count | UnsetType = UNSET


def write_log(call: Call) -> Response:
    body: NewPieces = call.body
    within_inline_limit(sum(map(len, body.pieces)), PIECES_AT_ONCE_BYTES, "pieces, all together,")
    call.counts_as(weight(len(body.pieces)))
    return write(
        call,
        WriteLog(
            run_id=call.id("run_id"),
            task_seq=call.count("task_seq"),
            site_id=call.id("site_id"),
            seq=body.seq,
            round=body.round,
            pieces=body.pieces,
        ),
    )


def read(call: Call) -> Response:
    """Pieces behind `after`; with `wait` as soon as there are some."""
    web, subject, ident, query = call.web, call.caller.subject, call.id("run_id"), call.query
    if runs.progress_of(web.database, subject, ident) is None:
        raise not_found("run", ident)
    site, task = given(query.site), given(query.task)

    def some() -> Listed[LogPiece] | None:
        found = views.of_run(web.database, subject, ident, site=site, task=task, after=query.after, limit=query.limit)
        return found if found.items else None

    found = web.waiters.until(("log", ident), query.wait, some, by=call.waiter)
    web.heartbeats.note(call.caller)
    return answer(found or Listed[LogPiece](items=[], next=None))


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/runs/{run_id}/tasks/{task_seq}/logs/{site_id}",
        name="write_log",
        about="Further pieces of a site's log of a task run, numbered without gaps",
        does=write_log,
        scope="write",
        body=NewPieces,
        write=True,
        answers={200: LogResult},
    ),
    Operation(
        method="GET",
        path="/v1/runs/{run_id}/logs",
        name="read_logs",
        about="The log of a run, in the order in which it came; a participant sees its own site's only",
        does=read,
        query=LogsQuery,
        long=True,
        answers={200: Listed[LogPiece]},
    ),
)
