"""Secrets of projects: what their workloads are given by name. They are shut here, and shown to nobody."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response

from domain.commands import DeleteSecret, SetSecret
from domain.results import SecretResult
from domain.values import MAX_SECRET
from storage.views import secrets as views
from storage.views.resources import ProjectSecret
from storage.views.sight import Listed
from web.http.answers import answer
from web.http.bodies import Body
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import not_found


class SecretBody(Body, frozen=True):
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SECRET, pattern=r"^[^\x00]*$")]

    def __repr__(self) -> str:
        return "SecretBody(...)"


def put(call: Call) -> Response:
    """The command has it shut; told from another request by a mark that says nothing without the key."""
    body: SecretBody = call.body
    project, name, box = call.id("project_id"), call.name("secret_name"), call.web.secret_box
    shut = box.shut(project, name, body.value)
    command = SetSecret(project_id=project, name=name, key_id=shut.key_id, content=shut.content)
    identity = msgspec.structs.replace(command, content=box.mark(project, name, body.value))
    return write(call, command, identity=identity)


def delete(call: Call) -> Response:
    return write(call, DeleteSecret(project_id=call.id("project_id"), name=call.name("secret_name")))


def list_of_project(call: Call) -> Response:
    project = call.id("project_id")
    found = views.of_project(call.web.database, call.caller.subject, project, call.web.secret_box.key_id)
    if found is None:
        raise not_found("project", project)
    return answer(found)


OPERATIONS = (
    Operation(
        method="PUT",
        path="/v1/projects/{project_id}/secrets/{secret_name}",
        name="set_secret",
        about="What workloads of a project get by this name; it is shown to nobody (coordinator)",
        does=put,
        scope="write",
        body=SecretBody,
        write=True,
        answers={200: SecretResult},
    ),
    Operation(
        method="DELETE",
        path="/v1/projects/{project_id}/secrets/{secret_name}",
        name="delete_secret",
        about="Forget a secret that no workload needs any more (coordinator)",
        does=delete,
        scope="write",
        write=True,
        answers={200: SecretResult},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/secrets",
        name="list_secrets",
        about="Which secrets a project has: names, who has set them and when (coordinator, admin, auditor)",
        does=list_of_project,
        answers={200: Listed[ProjectSecret]},
    ),
)
