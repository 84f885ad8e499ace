"""Rounds that a project's own coordinator leads: what is reported of them, and their history."""

from __future__ import annotations

from flask import Response

from domain.commands import ReportRound
from domain.results import ProjectRoundResult
from domain.values import CLIENT_SCOPE, Counts, Metrics, RoundNumber, RoundStart, StageName
from fedyard.wire.problems import ProblemType
from storage.views import rounds as views
from storage.views.resources import ProjectRound
from storage.views.sight import Listed
from web.http.answers import answer
from web.http.auth import ROUNDS, SITES
from web.http.bodies import Body, PageQuery, Uuid
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import Refused, not_found


class RoundBody(Body, frozen=True):
    """counts and metrics: by any name. checkpoint_artifact_id: of the model that the round has made, when it is
    COMPLETED. start: which start of this attempt it is, if the coordinator began again with round 0 by itself: a number
    that only grows; left out, the newest one."""

    number: RoundNumber
    stage: StageName
    counts: Counts = {}
    metrics: Metrics = {}
    checkpoint_artifact_id: Uuid | None = None
    start: RoundStart | None = None


def report(call: Call) -> Response:
    body: RoundBody = call.body
    leading = call.caller.leading
    assert leading is not None, "the scope is of these tokens alone"
    if leading.project_id != call.id("project_id"):
        raise Refused(ProblemType.FORBIDDEN, f"this token is for the rounds of project {leading.project_id} alone")
    return write(
        call,
        ReportRound(
            project_id=leading.project_id,
            workload_id=leading.workload_id,
            attempt=leading.attempt,
            number=body.number,
            stage=body.stage,
            start=body.start,
            counts=body.counts,
            metrics=body.metrics,
            checkpoint_artifact_id=body.checkpoint_artifact_id,
        ),
    )


def listed(call: Call) -> Response:
    found = views.of_project(call.web.database, call.caller.subject, call.id("project_id"), call.paging)
    if found is None:
        raise not_found("project", call.id("project_id"))
    return answer(found)


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/projects/{project_id}/rounds",
        name="report_round",
        about="How far a round is that the project's own coordinator leads (a token of that attempt at it)",
        does=report,
        who=SITES,
        scope=ROUNDS,
        body=RoundBody,
        write=True,
        answers={200: ProjectRoundResult},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/rounds",
        name="list_rounds",
        about="Rounds that a project's own coordinator led, the newest first (members, their clients, admin, auditor)",
        does=listed,
        other_scopes=(CLIENT_SCOPE,),
        query=PageQuery,
        answers={200: Listed[ProjectRound]},
    ),
)
