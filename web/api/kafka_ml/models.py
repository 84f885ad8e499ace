"""Kafka-ML's models: architectures of the project, by their numbers."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Response

from domain import stream_commands as sc
from domain.ids import Id
from domain.streams.code import flaw_of_code
from storage.views.streams import kafka_ml as views
from web.api.kafka_ml.common import (
    Failed,
    body,
    decide,
    json,
    known,
    nothing,
    operation,
    project_of,
    refuse_unfit,
    result_of,
    shown,
)
from web.http.calls import Call

_NO_SUCH = "Model does not exist"


class OldModel(msgspec.Struct, frozen=True):
    """father: its number; one is counted only if the model is distributed."""

    name: str
    code: str
    framework: str
    description: str | None = ""
    imports: str | None = ""
    distributed: bool = False
    father: int | None = None


def _said(call: Call, project: Id) -> dict[str, Any]:
    """The fields of a command. Raises `Failed`, or what is answered in the same way."""
    said = body(call, OldModel)
    if said.framework not in ("tf", "pth"):
        raise Failed(f"framework is {said.framework!r}: it is tf or pth")
    framework = "pth" if said.framework == "pth" else "tf"
    imports = said.imports or ""
    refuse_unfit(
        flaw_of_code(
            "pth" if framework == "pth" else "tf", distributed=said.distributed, imports=imports, code=said.code
        )
    )
    father = None
    if said.distributed and said.father is not None:
        father = views.id_of(call.web.database, "architectures", project, said.father)
        if father is None:
            raise Failed(f"there is no model {said.father} that could be its father")
    return {
        "project_id": project,
        "name": said.name,
        "framework": framework,
        "code": said.code,
        "imports": imports,
        "description": said.description or "",
        "distributed": said.distributed,
        "father_id": father,
    }


def _command(kind: type[Any], fields: dict[str, Any]) -> Any:
    """Checked as the edge checks it. Raises `Failed`."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise Failed(f"Information not valid: {error}") from None


def create(call: Call) -> Response:
    fields = _said(call, project_of(call))
    decide(call, _command(sc.CreateArchitecture, fields))
    return nothing(201)


def change(call: Call) -> Response:
    project, key = known(call, "architectures", "Model not valid.")
    decide(call, _command(sc.ChangeArchitecture, {**_said(call, project), "architecture_id": key}))
    return nothing()


def delete(call: Call) -> Response:
    project, key = known(call, "architectures", _NO_SUCH)
    decide(call, sc.DeleteArchitecture(project_id=project, architecture_id=key))
    return nothing()


def listed(call: Call) -> Response:
    return shown(views.models(call.web.database, project_of(call)))


def fathers(call: Call) -> Response:
    return shown([one for one in views.models(call.web.database, project_of(call)) if one["father"] is None])


def distributed(call: Call) -> Response:
    return shown([one for one in views.models(call.web.database, project_of(call)) if one["distributed"]])


def read(call: Call) -> Response:
    number = call.count("number")
    found = next((one for one in views.models(call.web.database, project_of(call)) if one["id"] == number), None)
    return json({"detail": "Not found."}, 404) if found is None else json(views.shown(found))


def of_result(call: Call) -> Response:
    """Whether it is a part of a chain asks the front end by this."""
    found = views.code_of(call.web.database, result_of(call))
    if found is None:
        raise Failed("TrainingResult not found")
    return json(views.shown(found))


OPERATIONS = (
    operation("GET", "/models/", "list_models", listed),
    operation("POST", "/models/", "create_model", create, write=True),
    operation("GET", "/models/fathers", "list_fathers", fathers),
    operation("GET", "/models/distributed", "list_distributed_models", distributed),
    operation("GET", "/models/{number}", "read_model", read),
    operation("PUT", "/models/{number}", "change_model", change, write=True),
    operation("DELETE", "/models/{number}", "delete_model", delete, write=True),
    operation("GET", "/models/result/{number}", "read_model_of_result", of_result),
)
