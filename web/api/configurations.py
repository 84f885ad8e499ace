"""Configurations: architectures of a project that are trained together."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response

from domain import stream_commands as sc
from domain.results import ConfigurationResult
from domain.values import Name, Text
from storage.views.sight import Listed
from storage.views.streams import architectures as views
from storage.views.streams.architectures import Configuration
from web.http.answers import answer
from web.http.bodies import Body, Uuid
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import not_found


class ConfigurationBody(Body, frozen=True):
    """architecture_ids: of the project; what feeds one of them is put with them."""

    name: Name
    architecture_ids: Annotated[list[Uuid], msgspec.Meta(max_length=sc.MAX_IN_CONFIGURATION)]
    description: Text = ""


def create(call: Call) -> Response:
    body: ConfigurationBody = call.body
    command = sc.CreateConfiguration(
        project_id=call.id("project_id"),
        name=body.name,
        architecture_ids=body.architecture_ids,
        description=body.description,
    )
    return write(call, command, made="/v1/projects/{project_id}/configurations/{id}")


def change(call: Call) -> Response:
    body: ConfigurationBody = call.body
    command = sc.ChangeConfiguration(
        project_id=call.id("project_id"),
        configuration_id=call.id("configuration_id"),
        name=body.name,
        architecture_ids=body.architecture_ids,
        description=body.description,
    )
    return write(call, command)


def delete(call: Call) -> Response:
    return write(
        call,
        sc.DeleteConfiguration(project_id=call.id("project_id"), configuration_id=call.id("configuration_id")),
    )


def list_of_project(call: Call) -> Response:
    project = call.id("project_id")
    found = views.configurations_of(call.web.database, call.caller.subject, project)
    if found is None:
        raise not_found("project", project)
    return answer(found)


def read(call: Call) -> Response:
    key = call.id("configuration_id")
    found = views.configuration(call.web.database, call.caller.subject, call.id("project_id"), key)
    if found is None:
        raise not_found("configuration", key)
    return answer(found)


_ALL = "/v1/projects/{project_id}/configurations"
_ONE = _ALL + "/{configuration_id}"

OPERATIONS = (
    Operation(
        method="POST",
        path=_ALL,
        name="create_configuration",
        about="Architectures that are trained together (coordinator)",
        does=create,
        scope="write",
        body=ConfigurationBody,
        write=True,
        answers={201: ConfigurationResult},
    ),
    Operation(
        method="GET",
        path=_ALL,
        name="list_configurations",
        about="A project's configurations (members)",
        does=list_of_project,
        answers={200: Listed[Configuration]},
    ),
    Operation(
        method="GET",
        path=_ONE,
        name="read_configuration",
        about="One configuration (members)",
        does=read,
        answers={200: Configuration},
    ),
    Operation(
        method="PUT",
        path=_ONE,
        name="change_configuration",
        about="All of a configuration anew; what was deployed of it stays as it was (coordinator)",
        does=change,
        scope="write",
        body=ConfigurationBody,
        write=True,
        answers={200: ConfigurationResult},
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        name="delete_configuration",
        about="Show a configuration no more, once it has no deployments (coordinator)",
        does=delete,
        scope="write",
        write=True,
        answers={200: ConfigurationResult},
    ),
)
