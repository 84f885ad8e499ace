"""Workloads: what shall run for a project, at the hub's clusters or at a site, and what became of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, get_args

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from broker.port import BrokerUnavailable
from domain.codec import THE_HUB, envelope_of
from domain.commands import (
    CreateWorkload,
    FollowWorkload,
    ReportPlaceGone,
    ReportWorkload,
    ScaleWorkload,
    StopWorkload,
    WriteWorkloadLog,
)
from domain.ids import derive
from domain.results import Made, WorkloadLogResult, WorkloadResult
from domain.states import WorkloadState
from domain.streams.door import unsaid, with_door
from domain.values import LOG_PIECE_BYTES, LOG_TAIL_BYTES, Reason, Sha256, Slug, Subject, Where, WorkloadSpec
from domain.workloads import AT_SITE, FOLLOWED_S, token_of, with_own_tokens
from fedyard.cluster.conventions import ENROLMENT_TOKEN
from fedyard.cluster.plan import Side, Wanted
from fedyard.cluster.port import Phase
from fedyard.cluster.port import Reason as ClusterReason
from fedyard.wire.times import SECOND
from storage.places import places_to_end
from storage.views import workloads as views
from storage.views.resources import Workload, WorkloadAttempt, WorkloadLog
from storage.views.sight import Listed
from web.http.answers import answer
from web.http.auth import SITES
from web.http.bodies import Body, Count, PageQuery, Payload, PieceText, Position, Query, Uuid, Wait
from web.http.calls import Call, Web, given
from web.http.operations import Operation
from web.http.parsing import within_inline_limit
from web.http.writing import write
from web.problems import not_found


class NewWorkload(Body, frozen=True):
    name: Slug
    where: Where
    spec: WorkloadSpec


class StopBody(Body, frozen=True):
    reason: Reason = ""


class ReplicasBody(Body, frozen=True):
    replicas: Annotated[int, msgspec.Meta(ge=0, le=1000)]


class WorkloadsQuery(PageQuery, frozen=True):
    state: WorkloadState | UnsetType = UNSET


class LogQuery(Query, frozen=True):
    """attempt: the newest one, if it is left out. after: what the log has from that byte on, while it is written, too;
    with `wait` as soon as there is something."""

    attempt: Count | UnsetType = UNSET
    after: Position | UnsetType = UNSET
    wait: Wait = 0.0


_Address = msgspec.Meta(max_length=300, pattern=r"^[A-Za-z0-9._:\[\]-]*(?!\n)$")
"""Host and port. What dials it reads it out of a file of YAML, and people out of a line."""
_SIDES = msgspec.Meta(extra_json_schema={"propertyNames": {"enum": list(get_args(Side))}})
"""What a schema otherwise leaves out: names of an object that are no others."""
_Event = Annotated[str, msgspec.Meta(max_length=500, pattern=r"^[^\x00]*$")]


class Seen(Body, frozen=True):
    """As a site's agent sees an attempt. log and events: its evidence, once, before anything of it is removed."""

    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    phase: Phase | None = None
    uid: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]*$")] = ""
    reason: ClusterReason = ClusterReason.NONE
    detail: Reason = ""
    exit_code: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    ready: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    addresses: Annotated[dict[Side, Annotated[str, _Address]], _SIDES] = {}
    log: Payload | None = None
    events: Annotated[list[_Event], msgspec.Meta(max_length=50)] = []
    gone: bool = False
    token_sha256: Sha256 | None = None


class LogPiece(Body, frozen=True):
    """What the log of an attempt has from byte `start` on, while somebody follows it."""

    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    start: Position
    log: PieceText


FOLLOW_AGAIN_S = 5
"""Of several calls within this span one says that a log is followed."""


def create(call: Call) -> Response:
    body: NewWorkload = call.body
    command = CreateWorkload(project_id=call.id("project_id"), name=body.name, where=body.where, spec=body.spec)
    return write(call, command, made="/v1/workloads/{id}")


def list_of_project(call: Call) -> Response:
    project, state = call.id("project_id"), given(call.query.state)
    found = views.of_project(call.web.database, call.caller.subject, project, call.paging, state)
    if found is None:
        raise not_found("project", project)
    return answer(found)


def read(call: Call) -> Response:
    found = views.workload(call.web.database, call.caller.subject, call.id("workload_id"))
    if found is None:
        raise not_found("workload", call.id("workload_id"))
    return answer(found)


def list_attempts(call: Call) -> Response:
    found = views.attempts(call.web.database, call.caller.subject, call.id("workload_id"))
    if found is None:
        raise not_found("workload", call.id("workload_id"))
    return answer(found)


def read_log(call: Call) -> Response:
    """What an attempt left; with `after` what its log has from there on, which is read as long as somebody asks."""
    ident, attempt, after = call.id("workload_id"), given(call.query.attempt), given(call.query.after)
    if after is None:
        found = views.log(call.web.database, call.caller.subject, ident, attempt)
    else:
        found = _followed(call, ident, attempt, after)
    if found is None:
        raise not_found("workload", ident)
    return answer(found)


def _followed(call: Call, ident: str, attempt: int | None, after: int) -> WorkloadLog | None:
    web, subject = call.web, call.caller.subject
    first = log_now(web, subject, ident, attempt, after)
    if not isinstance(first, views.Followed):
        return first
    number = first.found.attempt

    def some() -> WorkloadLog | None:
        """None while there is nothing to tell. Who may not read it any more is told so at once."""
        seen = views.log_from(web.database, subject, ident, number, after)
        if isinstance(seen, views.Followed):
            return seen.found if seen.found.log or seen.found.over else None
        if seen is None:
            raise not_found("workload", ident)
        return seen

    found = web.waiters.until(("log", ident), call.query.wait, some, by=call.waiter)
    web.heartbeats.note(call.caller)
    return found or first.found


def log_now(
    web: Web, subject: Subject, ident: str, attempt: int | None, after: int
) -> views.Followed | WorkloadLog | None:
    """What the log has from that byte on, as far as it was read; from now on it is read, if this caller may read it."""
    first = views.log_from(web.database, subject, ident, attempt, after)
    if isinstance(first, views.Followed) and not first.found.over:
        _have_it_read(web, ident, first.found.attempt, first.until_at)
    return first


def _have_it_read(web: Web, ident: str, attempt: int, until_at: int) -> None:
    """Tell whoever looks after its cluster that somebody follows its log, unless that is known for long enough."""
    now = web.hub.clock.now()
    if until_at - now > FOLLOWED_S * SECOND // 2:
        return
    follow = FollowWorkload(workload_id=ident, attempt=attempt)
    named = derive("follow_workload", ident, attempt, now // (FOLLOW_AGAIN_S * SECOND))
    with suppress(BrokerUnavailable):  # asked again with the next call
        web.hub.publisher.send([envelope_of(follow, id=named, by=THE_HUB, at=now)])


def write_log(call: Call) -> Response:
    body: LogPiece = call.body
    within_inline_limit(len(body.log), LOG_PIECE_BYTES, "a piece of a log")
    ident = call.id("workload_id")
    piece = unsaid(body.log)
    return write(call, WriteWorkloadLog(workload_id=ident, attempt=body.attempt, start=body.start, body=piece))


def stop(call: Call) -> Response:
    body: StopBody = call.body
    return write(call, StopWorkload(workload_id=call.id("workload_id"), reason=body.reason))


def scale(call: Call) -> Response:
    body: ReplicasBody = call.body
    return write(call, ScaleWorkload(workload_id=call.id("workload_id"), replicas=body.replicas))


def list_at_site(call: Call) -> Response:
    """To the site itself alone: what is in a spec is for its cluster."""
    if call.caller.subject.id != call.id("site_id"):
        raise not_found("site", call.id("site_id"))
    found = views.wanted_at(call.web.database, call.caller.subject.id, call.web.hub.clock.now())
    return answer(Listed[Wanted](items=[_with_token(call, one) for one in found], next=None))


def _with_token(call: Call, one: Wanted) -> Wanted:
    """Who holds a seat is given the one-time token, who gets initial files one for these, derived when they are shown;
    where the hub is its site knows."""
    if not one.enrols:
        spec = with_own_tokens(one.spec, call.web.workload_key)
        return msgspec.structs.replace(one, spec=with_door(spec, call.web.workload_key, call.web.door_url))
    secrets = {ENROLMENT_TOKEN: token_of(call.web.workload_key, one.spec.id, one.spec.attempt)}
    return msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, secrets=secrets))


class Place(msgspec.Struct, frozen=True):
    """Of an archived project: what it has at the site's cluster shall go, its volume too."""

    project_id: Uuid


def _places(call: Call) -> list[Place]:
    """Those at the site that asks, which alone looks after them."""
    site_id = call.id("site_id")
    if call.caller.subject.id != site_id:
        raise not_found("site", site_id)
    now = call.web.hub.clock.now()
    return [Place(project_id=one) for one in places_to_end(call.web.database, f"{AT_SITE}{site_id}", now)]


def list_places(call: Call) -> Response:
    return answer(Listed[Place](items=_places(call), next=None))


def place_gone(call: Call) -> Response:
    """Once: what is not to go, or has gone, is not to be reported."""
    project_id = call.id("project_id")
    if project_id not in {one.project_id for one in _places(call)}:
        raise not_found("place", project_id)
    return write(call, ReportPlaceGone(cluster=f"{AT_SITE}{call.id('site_id')}", project_id=project_id))


def report(call: Call) -> Response:
    body: Seen = call.body
    within_inline_limit(len(body.log or b""), LOG_TAIL_BYTES, "a log's tail")
    said = {name: getattr(body, name) for name in body.__struct_fields__}
    said["log"] = None if body.log is None else unsaid(body.log)
    return write(call, ReportWorkload(workload_id=call.id("workload_id"), **said))


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/projects/{project_id}/workloads",
        name="create_workload",
        about="Have something run for a project, at a cluster of the hub's or at a site (coordinator, admin)",
        does=create,
        scope="write",
        body=NewWorkload,
        write=True,
        answers={201: WorkloadResult},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/workloads",
        name="list_workloads",
        about="A project's workloads (coordinator, admin, auditor)",
        does=list_of_project,
        query=WorkloadsQuery,
        answers={200: Listed[Workload]},
    ),
    Operation(
        method="GET",
        path="/v1/workloads/{workload_id}",
        name="read_workload",
        about="A workload: state, reason, addresses (coordinator, admin, auditor, the site that it runs at)",
        does=read,
        answers={200: Workload},
    ),
    Operation(
        method="GET",
        path="/v1/workloads/{workload_id}/attempts",
        name="list_workload_attempts",
        about="Every attempt at a workload, and how it ended",
        does=list_attempts,
        answers={200: Listed[WorkloadAttempt]},
    ),
    Operation(
        method="GET",
        path="/v1/workloads/{workload_id}/log",
        name="read_workload_log",
        about="What an attempt left: what the cluster said, and its log's tail (coordinator, the site that it ran at); "
        "with `after` its log, also while it runs",
        does=read_log,
        query=LogQuery,
        long=True,
        answers={200: WorkloadLog},
    ),
    Operation(
        method="POST",
        path="/v1/workloads/{workload_id}/stop",
        name="stop_workload",
        about="It shall go; it is `stopped` once nothing of it is there (coordinator, admin)",
        does=stop,
        scope="write",
        body=StopBody,
        optional=True,
        write=True,
        answers={200: WorkloadResult},
    ),
    Operation(
        method="PUT",
        path="/v1/workloads/{workload_id}/replicas",
        name="scale_workload",
        about="So many replicas of a service (coordinator, admin)",
        does=scale,
        scope="write",
        body=ReplicasBody,
        write=True,
        answers={200: WorkloadResult},
    ),
    Operation(
        method="GET",
        path="/v1/sites/{site_id}/workloads",
        name="list_site_workloads",
        about="What shall run at a site, and what shall go: for its own agent",
        does=list_at_site,
        who=SITES,
        answers={200: Listed[Wanted]},
    ),
    Operation(
        method="GET",
        path="/v1/sites/{site_id}/places",
        name="list_site_places",
        about="What archived projects have at a site's cluster, and shall go: for its own agent",
        does=list_places,
        who=SITES,
        answers={200: Listed[Place]},
    ),
    Operation(
        method="PUT",
        path="/v1/sites/{site_id}/places/{project_id}/gone",
        name="report_place_gone",
        about="An archived project has nothing left at this site's cluster",
        does=place_gone,
        who=SITES,
        scope="write",
        write=True,
        answers={200: Made},
    ),
    Operation(
        method="POST",
        path="/v1/workloads/{workload_id}/report",
        name="report_workload",
        about="What a site sees of an attempt at a workload that runs there",
        does=report,
        who=SITES,
        scope="write",
        body=Seen,
        write=True,
        answers={200: Made},
    ),
    Operation(
        method="POST",
        path="/v1/workloads/{workload_id}/log",
        name="write_workload_log",
        about="What the log of an attempt that runs at a site has from a byte on, while somebody follows it",
        does=write_log,
        who=SITES,
        scope="write",
        body=LogPiece,
        write=True,
        answers={200: WorkloadLogResult},
    ),
)
