"""Architectures: models that can be trained over streams. Their code is parsed, and executed nowhere in the hub."""

from __future__ import annotations

from flask import Response

from domain import stream_commands as sc
from domain.results import ArchitectureResult
from domain.streams.code import flaw_of_code
from domain.streams.contract import Framework
from domain.values import Name, Text
from fedyard.wire.problems import ProblemType
from storage.views.sight import Listed
from storage.views.streams import architectures as views
from storage.views.streams.architectures import Architecture, ArchitectureVersion
from web.http.answers import answer
from web.http.bodies import Body, Uuid
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import Refused, not_found


class ArchitectureBody(Body, frozen=True):
    """framework: `tf` or `pth`. code: Python that binds `model`; of a part of a chain (distributed) its last line is
    the model. father_id: of the architecture that it feeds."""

    name: Name
    framework: Framework
    code: sc.Code
    imports: sc.Imports = ""
    description: Text = ""
    distributed: bool = False
    father_id: Uuid | None = None


def _checked(body: ArchitectureBody) -> ArchitectureBody:
    """Raises 422 for code that its container would fail at."""
    flaw = flaw_of_code(body.framework, distributed=body.distributed, imports=body.imports, code=body.code)
    if flaw is not None:
        raise Refused(ProblemType.UNFIT, flaw)
    return body


def create(call: Call) -> Response:
    body = _checked(call.body)
    project = call.id("project_id")
    command = sc.CreateArchitecture(
        project_id=project,
        name=body.name,
        framework=body.framework,
        code=body.code,
        imports=body.imports,
        description=body.description,
        distributed=body.distributed,
        father_id=body.father_id,
    )
    return write(call, command, made="/v1/projects/{project_id}/architectures/{id}")


def change(call: Call) -> Response:
    body = _checked(call.body)
    command = sc.ChangeArchitecture(
        project_id=call.id("project_id"),
        architecture_id=call.id("architecture_id"),
        name=body.name,
        framework=body.framework,
        code=body.code,
        imports=body.imports,
        description=body.description,
        distributed=body.distributed,
        father_id=body.father_id,
    )
    return write(call, command)


def delete(call: Call) -> Response:
    return write(
        call,
        sc.DeleteArchitecture(project_id=call.id("project_id"), architecture_id=call.id("architecture_id")),
    )


def list_of_project(call: Call) -> Response:
    project = call.id("project_id")
    found = views.architectures_of(call.web.database, call.caller.subject, project)
    if found is None:
        raise not_found("project", project)
    return answer(found)


def read(call: Call) -> Response:
    key = call.id("architecture_id")
    found = views.architecture(call.web.database, call.caller.subject, call.id("project_id"), key)
    if found is None:
        raise not_found("architecture", key)
    return answer(found)


def read_version(call: Call) -> Response:
    key, version = call.id("architecture_id"), call.count("version")
    found = views.version_of(call.web.database, call.caller.subject, call.id("project_id"), key, version)
    if found is None:
        raise not_found("version of an architecture", f"{key}/{version}")
    return answer(found)


_ALL = "/v1/projects/{project_id}/architectures"
_ONE = _ALL + "/{architecture_id}"

OPERATIONS = (
    Operation(
        method="POST",
        path=_ALL,
        name="create_architecture",
        about="A model that can be trained over streams; its code is parsed, never executed in the hub (coordinator)",
        does=create,
        scope="write",
        body=ArchitectureBody,
        write=True,
        answers={201: ArchitectureResult},
    ),
    Operation(
        method="GET",
        path=_ALL,
        name="list_architectures",
        about="A project's architectures, without their code (members)",
        does=list_of_project,
        answers={200: Listed[Architecture]},
    ),
    Operation(
        method="GET",
        path=_ONE,
        name="read_architecture",
        about="One architecture, without its code (members)",
        does=read,
        answers={200: Architecture},
    ),
    Operation(
        method="PUT",
        path=_ONE,
        name="change_architecture",
        about="All of an architecture anew; other code is another version (coordinator)",
        does=change,
        scope="write",
        body=ArchitectureBody,
        write=True,
        answers={200: ArchitectureResult},
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        name="delete_architecture",
        about="Show an architecture no more; what was trained keeps its version (coordinator)",
        does=delete,
        scope="write",
        write=True,
        answers={200: ArchitectureResult},
    ),
    Operation(
        method="GET",
        path=_ONE + "/versions/{version}",
        name="read_architecture_version",
        about="The code of an architecture in a version (members; to admins and auditors without the code)",
        does=read_version,
        answers={200: ArchitectureVersion},
    ),
)
