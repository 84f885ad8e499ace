"""A project's own coordinator and selectors: start, scale, stop."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response

from domain.commands import ScaleSelectors, StartInfrastructure, StopInfrastructure
from domain.results import InfrastructureResult
from domain.values import Reason
from web.http.bodies import Body
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write


class StartParts(Body, frozen=True):
    """model_version: of the project's models, a checkpoint of its own coordinator, which that shall begin with."""

    model_version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None


class StopParts(Body, frozen=True):
    reason: Reason = ""


class SelectorsBody(Body, frozen=True):
    selectors: Annotated[int, msgspec.Meta(ge=1, le=64)]


def start(call: Call) -> Response:
    body: StartParts = call.body
    return write(call, StartInfrastructure(project_id=call.id("project_id"), model_version=body.model_version))


def stop(call: Call) -> Response:
    body: StopParts = call.body
    return write(call, StopInfrastructure(project_id=call.id("project_id"), reason=body.reason))


def scale(call: Call) -> Response:
    body: SelectorsBody = call.body
    return write(call, ScaleSelectors(project_id=call.id("project_id"), selectors=body.selectors))


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/projects/{project_id}/infrastructure/start",
        name="start_infrastructure",
        about="Make the project's own coordinator and selectors, or make them as it says now (coordinator, admin)",
        does=start,
        scope="write",
        body=StartParts,
        optional=True,
        write=True,
        answers={200: InfrastructureResult},
    ),
    Operation(
        method="POST",
        path="/v1/projects/{project_id}/infrastructure/stop",
        name="stop_infrastructure",
        about="Coordinator and selectors shall go; their files stay (coordinator, admin)",
        does=stop,
        scope="write",
        body=StopParts,
        optional=True,
        write=True,
        answers={200: InfrastructureResult},
    ),
    Operation(
        method="PUT",
        path="/v1/projects/{project_id}/infrastructure/selectors",
        name="scale_selectors",
        about="So many selectors, now and whenever they are started (coordinator, admin)",
        does=scale,
        scope="write",
        body=SelectorsBody,
        write=True,
        answers={200: InfrastructureResult},
    ),
)
