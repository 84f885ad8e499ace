"""Kafka-ML's configurations, by their numbers."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Response

from domain import stream_commands as sc
from domain.ids import Id
from storage.views.streams import kafka_ml as views
from web.api.kafka_ml.common import Failed, body, decide, json, known, nothing, operation, project_of, shown
from web.http.calls import Call

_NO_SUCH = "Configuration does not exist"


class OldConfiguration(msgspec.Struct, frozen=True):
    """ml_models: numbers of models; None: they were left out, which changes nothing of them."""

    name: str
    description: str | None = ""
    ml_models: list[int] | None = None


def _said(call: Call, project: Id, before: views.Old | None = None) -> dict[str, Any]:
    said = body(call, OldConfiguration)
    wanted = said.ml_models
    if wanted is None:
        wanted = [] if before is None else [one["id"] for one in before["ml_models"]]
    keys = {one["id"]: one["key"] for one in views.models(call.web.database, project)}
    unknown = [number for number in wanted if number not in keys]
    if unknown:
        raise Failed(f"Configuration not valid: there is no model {unknown[0]}")
    return {
        "project_id": project,
        "name": said.name,
        "description": said.description or "",
        "architecture_ids": [keys[number] for number in wanted],
    }


def _command(kind: type[Any], fields: dict[str, Any]) -> Any:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise Failed(f"Information not valid: {error}") from None


def _known(call: Call) -> views.Old:
    number = call.count("number")
    all_of_it = views.configurations(call.web.database, project_of(call))
    found = next((one for one in all_of_it if one["id"] == number), None)
    if found is None:
        raise Failed(_NO_SUCH)
    return found


def create(call: Call) -> Response:
    decide(call, _command(sc.CreateConfiguration, _said(call, project_of(call))))
    return nothing(201)


def change(call: Call) -> Response:
    found = _known(call)
    fields = {**_said(call, project_of(call), found), "configuration_id": found["key"]}
    decide(call, _command(sc.ChangeConfiguration, fields))
    return nothing()


def delete(call: Call) -> Response:
    project, key = known(call, "configurations", _NO_SUCH)
    decide(call, sc.DeleteConfiguration(project_id=project, configuration_id=key))
    return nothing()


def listed(call: Call) -> Response:
    return shown(views.configurations(call.web.database, project_of(call)))


def read(call: Call) -> Response:
    try:
        return json(views.shown(_known(call)))
    except Failed as failed:
        if failed.detail != _NO_SUCH:
            raise
        return json({"detail": "Not found."}, 404)


def frameworks(call: Call) -> Response:
    numbers = {one["id"] for one in _known(call)["ml_models"]}
    there = views.models(call.web.database, project_of(call))
    return json(sorted({one["framework"] for one in there if one["id"] in numbers}))


def is_distributed(call: Call) -> Response:
    numbers = {one["id"] for one in _known(call)["ml_models"]}
    there = views.models(call.web.database, project_of(call))
    return json(any(one["distributed"] for one in there if one["id"] in numbers))


OPERATIONS = (
    operation("GET", "/configurations/", "list_configurations", listed),
    operation("POST", "/configurations/", "create_configuration", create, write=True),
    operation("GET", "/configurations/{number}", "read_configuration", read),
    operation("PUT", "/configurations/{number}", "change_configuration", change, write=True),
    operation("DELETE", "/configurations/{number}", "delete_configuration", delete, write=True),
    operation("GET", "/frameworksInConfiguration/{number}", "list_frameworks_of_configuration", frameworks),
    operation("GET", "/distributedConfiguration/{number}", "read_whether_distributed", is_distributed),
)
