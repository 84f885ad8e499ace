"""Deployments: training of a project's architectures on data that are announced over Kafka, and what it gave."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from flask import Response

from domain import stream_commands as sc
from domain.commands import StopRun
from domain.results import DeploymentResult, StartedDeployment, Stopped, TrainingResultAnswer
from domain.stream_values import Deployment as ContractOf
from domain.values import Reason, Span, Where
from fedyard.cluster.port import Resources
from storage.views.sight import Listed
from storage.views.streams import deployments as views
from storage.views.streams.deployments import Deployment, DeploymentHead, TrainingResult
from web.http.answers import answer
from web.http.bodies import Body, PageQuery, Uuid
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import not_found


class NewDeployment(Body, frozen=True):
    """contract: what training is to be, in Kafka-ML's words. One of configuration_id and architecture_ids: what feeds
    one of them is trained with it. where: its jobs run; left out, where the settings say. control: its jobs find their
    data in a topic of their own, or in the one that all share."""

    contract: ContractOf
    configuration_id: Uuid | None = None
    architecture_ids: Annotated[list[Uuid], msgspec.Meta(max_length=100)] = []
    where: Where | None = None
    attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3
    resources: Resources = Resources()
    control: Literal["own", "shared"] = "own"
    finish_within_s: Span = 604_800.0


class StopBody(Body, frozen=True):
    reason: Reason = ""


def start(call: Call) -> Response:
    body: NewDeployment = call.body
    said = {name: getattr(body, name) for name in body.__struct_fields__}
    return write(call, sc.StartDeployment(project_id=call.id("project_id"), **said), made="/v1/deployments/{id}")


def list_of_project(call: Call) -> Response:
    project = call.id("project_id")
    found = views.deployments_of(call.web.database, call.caller.subject, project, call.paging)
    if found is None:
        raise not_found("project", project)
    return answer(found)


def list_all(call: Call) -> Response:
    return answer(views.everywhere(call.web.database, call.caller.subject, call.paging))


def read(call: Call) -> Response:
    ident = call.id("deployment_id")
    found = views.deployment(call.web.database, call.caller.subject, ident)
    if found is None:
        raise not_found("deployment", ident)
    return answer(found)


def stop(call: Call) -> Response:
    body: StopBody = call.body
    _known(call)
    return write(call, StopRun(run_id=call.id("deployment_id"), reason=body.reason))


def delete(call: Call) -> Response:
    return write(call, sc.DeleteDeployment(run_id=call.id("deployment_id")))


def _known(call: Call) -> None:
    """404 for a run that is no deployment."""
    if views.deployment(call.web.database, call.caller.subject, call.id("deployment_id")) is None:
        raise not_found("deployment", call.id("deployment_id"))


def read_result(call: Call) -> Response:
    found = views.result(call.web.database, call.caller.subject, call.count("rid"))
    if found is None:
        raise not_found("result", call.count("rid"))
    return answer(found)


def stop_result(call: Call) -> Response:
    body: StopBody = call.body
    return write(call, sc.StopResult(number=call.count("rid"), reason=body.reason))


def delete_result(call: Call) -> Response:
    return write(call, sc.DeleteResult(number=call.count("rid")))


_ALL = "/v1/projects/{project_id}/deployments"
_ONE = "/v1/deployments/{deployment_id}"
_RESULT = "/v1/training-results/{rid}"

OPERATIONS = (
    Operation(
        method="POST",
        path=_ALL,
        name="start_deployment",
        about="Train architectures once their data are announced; the jobs begin when these are there (coordinator)",
        does=start,
        scope="write",
        body=NewDeployment,
        write=True,
        answers={201: StartedDeployment},
        problems=(501,),
    ),
    Operation(
        method="GET",
        path=_ALL,
        name="list_deployments",
        about="A project's deployments, oldest first (members, admin, auditor)",
        does=list_of_project,
        query=PageQuery,
        answers={200: Listed[DeploymentHead]},
    ),
    Operation(
        method="GET",
        path="/v1/deployments",
        name="list_all_deployments",
        about="Deployments of all projects that the caller is a member of, newest first (admin, auditor: of all)",
        does=list_all,
        query=PageQuery,
        answers={200: Listed[DeploymentHead]},
    ),
    Operation(
        method="GET",
        path=_ONE,
        name="read_deployment",
        about="A deployment with its contract and its results (members, admin, auditor)",
        does=read,
        answers={200: Deployment},
    ),
    Operation(
        method="POST",
        path=_ONE + "/stop",
        name="stop_deployment",
        about="End it and its jobs; results that have not come are stopped (coordinator, admin)",
        does=stop,
        scope="write",
        body=StopBody,
        optional=True,
        write=True,
        answers={200: Stopped},
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        name="delete_deployment",
        about="It is not shown any more; its results have been deleted before (coordinator, admin)",
        does=delete,
        scope="write",
        write=True,
        answers={200: DeploymentResult},
    ),
    Operation(
        method="GET",
        path=_RESULT,
        name="read_training_result",
        about="What training one architecture gave, by its number (members, admin, auditor)",
        does=read_result,
        answers={200: TrainingResult},
    ),
    Operation(
        method="POST",
        path=_RESULT + "/stop",
        name="stop_training_result",
        about="End the job that makes it, and what else that makes (coordinator, admin)",
        does=stop_result,
        scope="write",
        body=StopBody,
        optional=True,
        write=True,
        answers={200: TrainingResultAnswer},
    ),
    Operation(
        method="DELETE",
        path=_RESULT,
        name="delete_training_result",
        about="It is not shown any more, and its files expire (coordinator, admin)",
        does=delete_result,
        scope="write",
        write=True,
        answers={200: TrainingResultAnswer},
    ),
)
