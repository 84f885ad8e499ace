"""Inferences: services that answer over Kafka with a model that was trained."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response

from domain import stream_commands as sc
from domain.results import InferenceResult
from domain.stream_values import InferenceAsked
from domain.values import Where
from storage.views.sight import Listed
from storage.views.streams import inferences as views
from storage.views.streams.inferences import Inference
from web.http.answers import answer
from web.http.bodies import Body, PageQuery
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import not_found


class InferenceBody(Body, frozen=True):
    """result: the number of a training result that is finished."""

    result: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    asked: InferenceAsked
    where: Where = "hub"


def start(call: Call) -> Response:
    body: InferenceBody = call.body
    command = sc.StartInference(
        project_id=call.id("project_id"), result=body.result, asked=body.asked, where=body.where
    )
    return write(call, command, made="/v1/projects/{project_id}/inferences/{id}")


def stop(call: Call) -> Response:
    return write(call, sc.StopInference(project_id=call.id("project_id"), inference_id=call.id("inference_id")))


def delete(call: Call) -> Response:
    return write(call, sc.DeleteInference(project_id=call.id("project_id"), inference_id=call.id("inference_id")))


def list_of_project(call: Call) -> Response:
    project = call.id("project_id")
    found = views.of_project(call.web.database, call.caller.subject, project, call.paging)
    if found is None:
        raise not_found("project", project)
    return answer(found)


def read(call: Call) -> Response:
    key = call.id("inference_id")
    found = views.inference(call.web.database, call.caller.subject, call.id("project_id"), key)
    if found is None:
        raise not_found("inference", key)
    return answer(found)


_ALL = "/v1/projects/{project_id}/inferences"
_ONE = _ALL + "/{inference_id}"

OPERATIONS = (
    Operation(
        method="POST",
        path=_ALL,
        name="start_inference",
        about="A service that answers over Kafka with what a training result is; its topics first (coordinator)",
        does=start,
        scope="write",
        body=InferenceBody,
        write=True,
        answers={201: InferenceResult},
    ),
    Operation(
        method="GET",
        path=_ALL,
        name="list_inferences",
        about="A project's inferences, each with how its workload goes (members)",
        does=list_of_project,
        query=PageQuery,
        answers={200: Listed[Inference]},
    ),
    Operation(
        method="GET",
        path=_ONE,
        name="read_inference",
        about="One inference (members)",
        does=read,
        answers={200: Inference},
    ),
    Operation(
        method="POST",
        path=_ONE + "/stop",
        name="stop_inference",
        about="Stop an inference; its topics stay (coordinator, admin)",
        does=stop,
        scope="write",
        write=True,
        answers={200: InferenceResult},
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        name="delete_inference",
        about="Show an inference no more, once it is gone (coordinator, admin)",
        does=delete,
        scope="write",
        write=True,
        answers={200: InferenceResult},
    ),
)
