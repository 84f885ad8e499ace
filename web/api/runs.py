"""Runs: their records, the reports of sites on their seats, and their events."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain import commands as c
from domain.commands import ReportAggregated, ReportMissingReceipt, ReportSeat, RestartRun, StopRun
from domain.ids import Id
from domain.results import ReceiptResult, RoundResult, RunResult, SeatResult, Stopped
from domain.states import Report, RunState
from domain.values import Metrics, Reason, Sha256, Slug, Span, WaitsFor
from storage.views import events
from storage.views import runs as views
from storage.views.resources import Event, Run, RunHead
from storage.views.sight import Listed, sees_everything
from web.http.answers import answer, written
from web.http.bodies import Body, Count, EventsQuery, Moment, PageQuery, Payload, Position, Query, Uuid, Wait
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.parsing import payload_within_limit
from web.http.streaming import stream, wants_stream
from web.http.writing import write
from web.problems import not_found


class Stop(Body, frozen=True):
    reason: Reason = ""


class Restart(Body, frozen=True):
    """model_version: of the project's models, to begin with in the task that made it."""

    start_from: Literal["reached", "start"] = "reached"
    finish_within_s: Span = 604_800.0
    model_version: Count | None = None


class SeatReport(Body, frozen=True):
    """seq: 1, 2, 3, ... over all reports of this seat. update: the model update of a submit.

    update_artifact_id: the artifact that it lies in; `update` is its detached seal then, or left out.
    code: the digest of what the site runs as the task's model, with ready and submit. waits_for: of a wait; without it
    nothing is waited for any more. waits_until: when the site's hours begin.
    """

    event: Report
    seq: Count
    round: Count
    metrics: Metrics = {}
    reason: Reason = ""
    update: Payload | None = None
    update_artifact_id: Uuid | None = None
    code: Sha256 | None = None
    waits_for: WaitsFor | None = None
    waits_until: Moment | None = None


class LeftOut(Body, frozen=True):
    """A site whose update of the round could not be used. reason: a code, such as `seal_damaged`; detail: the fact."""

    site_id: Uuid
    reason: Slug
    detail: Reason = ""


class Aggregated(Body, frozen=True):
    """model_artifact_id: the artifact that the model lies in; `model` is its detached seal then, or none.

    left_out: the sites whose updates could not be used, each with a code and a sentence.
    """

    metrics: Metrics = {}
    model: Payload | None = None
    failure: Reason = ""
    model_artifact_id: Uuid | None = None
    left_out: Annotated[list[LeftOut], msgspec.Meta(max_length=10_000)] = []


class MissingReceipt(Body, frozen=True):
    """reason: a code, such as `not_named`."""

    reason: Slug


class RunsQuery(PageQuery, frozen=True):
    state: RunState | UnsetType = UNSET
    project: Uuid | UnsetType = UNSET
    site: Uuid | UnsetType = UNSET
    order: Literal["oldest", "newest"] = "oldest"


class RunQuery(Query, frozen=True):
    """after: answer once the run's version is above it, or after `wait` seconds."""

    after: Position | UnsetType = UNSET
    wait: Wait = 0.0


class RunEventsQuery(EventsQuery, frozen=True):
    """order: `newest` answers the newest at once, whatever `after` and `wait` say, the newest first."""

    wait: Wait = 0.0
    order: Literal["oldest", "newest"] = "oldest"


def listed(call: Call) -> Response:
    return answer(
        views.runs(
            call.web.database,
            call.caller.subject,
            call.paging,
            state=given(call.query.state),
            project=given(call.query.project),
            site=given(call.query.site),
            newest_first=call.query.order == "newest",
        )
    )


def read(call: Call) -> Response:
    """The run; with `after` and `wait` once its version is above, or as it is when the wait is over."""
    web, subject, ident = call.web, call.caller.subject, call.id("run_id")
    after = given(call.query.after)

    def newer() -> int | None:
        progress = views.progress_of(web.database, subject, ident)
        if progress is None:
            raise not_found("run", ident)
        return progress.version if progress.version > after else None

    if after is not None and call.query.wait > 0:
        web.waiters.until(("run", ident), call.query.wait, newer, by=call.waiter)
        web.heartbeats.note(call.caller)
    return Response(_shown(call, ident), content_type="application/json")


def _shown(call: Call, ident: Id) -> bytes:
    """The run as the caller sees it. Its version says whether the last answer still holds; that is one cheap query."""
    web, subject = call.web, call.caller.subject
    viewer = None if sees_everything(subject) else subject.id if subject.kind == "site" else subject.organisation_id
    progress = views.progress_of(web.database, subject, ident)
    if progress is None:
        raise not_found("run", ident)
    kept = None if progress.past else web.responses.get((ident, viewer), progress.version)
    if kept is not None:
        return kept
    found = views.run(web.database, subject, ident, past=progress.past)
    if found is None:
        raise not_found("run", ident)
    text = written(found)
    if progress.past:  # who leaves changes no version
        return text
    web.responses.put((ident, viewer), found.version, text)
    return text


def stop(call: Call) -> Response:
    return write(call, StopRun(run_id=call.id("run_id"), reason=call.body.reason))


def restart(call: Call) -> Response:
    body: Restart = call.body
    return write(
        call,
        RestartRun(
            run_id=call.id("run_id"),
            start_from=body.start_from,
            finish_within_s=body.finish_within_s,
            model_version=body.model_version,
        ),
        made="/v1/runs/{id}",
    )


def read_events(call: Call) -> Response:
    web, subject, ident = call.web, call.caller.subject, call.id("run_id")
    progress = views.progress_of(web.database, subject, ident)
    if progress is None:
        raise not_found("run", ident)
    if wants_stream(call.request):
        return stream(call, ident)
    after, limit = call.query.after, call.query.limit
    if call.query.order == "newest":
        newest = events.newest_of_run(web.database, subject, ident, limit=limit, past=progress.past)
        return answer(Listed[Event](items=newest, next=None))

    def some() -> Listed[Event] | None:
        found = events.of_run(web.database, subject, ident, after=after, limit=limit, past=progress.past)
        return found if found.items else None

    found = web.waiters.until(("run", ident), call.query.wait, some, by=call.waiter)
    return answer(found or Listed[Event](items=[], next=None))


def report(call: Call) -> Response:
    body: SeatReport = call.body
    payload_within_limit(body.update, call.web.hub.settings.inline_limit_bytes, "the update")
    return write(
        call,
        ReportSeat(
            run_id=call.id("run_id"),
            task_seq=call.count("task_seq"),
            site_id=call.id("site_id"),
            event=body.event,
            seq=body.seq,
            round=body.round,
            metrics=body.metrics,
            reason=body.reason,
            update=body.update,
            update_artifact_id=body.update_artifact_id,
            code=body.code,
            waits_for=body.waits_for,
            waits_until=body.waits_until,
        ),
    )


def aggregated(call: Call) -> Response:
    body: Aggregated = call.body
    payload_within_limit(body.model, call.web.hub.settings.inline_limit_bytes, "the model")
    return write(
        call,
        ReportAggregated(
            run_id=call.id("run_id"),
            task_seq=call.count("task_seq"),
            round=call.count("round"),
            metrics=body.metrics,
            model=body.model,
            failure=body.failure,
            model_artifact_id=body.model_artifact_id,
            left_out=[c.LeftOut(one.site_id, one.reason, one.detail) for one in body.left_out],
        ),
    )


def missing_receipt(call: Call) -> Response:
    body: MissingReceipt = call.body
    return write(
        call,
        ReportMissingReceipt(
            run_id=call.id("run_id"),
            task_seq=call.count("task_seq"),
            round=call.count("round"),
            site_id=call.id("site_id"),
            reason=body.reason,
        ),
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/runs",
        name="list_runs",
        about="Runs of the projects that one is a member of; all for admin and auditor",
        does=listed,
        query=RunsQuery,
        answers={200: Listed[RunHead]},
    ),
    Operation(
        method="GET",
        path="/v1/runs/{run_id}",
        name="read_run",
        about="A run with its tasks, rounds, seats; a participant sees its own seat only",
        does=read,
        hot=True,
        query=RunQuery,
        long=True,
        answers={200: Run},
    ),
    Operation(
        method="POST",
        path="/v1/runs/{run_id}/stop",
        name="stop_run",
        about="Cancel a run (coordinator, admin)",
        does=stop,
        scope="write",
        body=Stop,
        optional=True,
        write=True,
        answers={200: Stopped},
    ),
    Operation(
        method="POST",
        path="/v1/runs/{run_id}/restart",
        name="restart_run",
        about="Start the next attempt of a run (coordinator)",
        does=restart,
        scope="write",
        body=Restart,
        optional=True,
        write=True,
        answers={201: RunResult},
    ),
    Operation(
        method="GET",
        path="/v1/runs/{run_id}/events",
        name="list_run_events",
        about="What happened in a run; with Accept: text/event-stream as a stream that ends with the run",
        does=read_events,
        query=RunEventsQuery,
        long=True,
        answers={200: Listed[Event]},
        media={"text/event-stream": "Server-sent events: id is the seq, event the kind, data the event as JSON"},
        nothing="The run is over and its last event was seen: do not connect again",
    ),
    Operation(
        method="PUT",
        path="/v1/runs/{run_id}/tasks/{task_seq}/seats/{site_id}",
        name="report_seat",
        about="A site's report on its seat",
        does=report,
        hot=True,
        scope="write",
        body=SeatReport,
        write=True,
        answers={200: SeatResult},
    ),
    Operation(
        method="POST",
        path="/v1/runs/{run_id}/tasks/{task_seq}/rounds/{round}/aggregated",
        name="report_aggregated",
        about="The coordinator has aggregated: the new global model and its metrics",
        does=aggregated,
        hot=True,
        scope="write",
        body=Aggregated,
        optional=True,
        write=True,
        answers={200: RoundResult},
    ),
    Operation(
        method="PUT",
        path="/v1/runs/{run_id}/tasks/{task_seq}/rounds/{round}/missing-receipts/{site_id}",
        name="report_missing_receipt",
        about="A site does not find its update among those that its round's model names",
        does=missing_receipt,
        scope="write",
        body=MissingReceipt,
        write=True,
        answers={200: ReceiptResult},
    ),
)
