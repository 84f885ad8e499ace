"""Kafka-ML's deployments, by their numbers; in one path it is the configuration's, as ever."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Response

from domain import stream_commands as sc
from domain.stream_values import Deployment
from storage.views.streams import kafka_ml as views
from web.api.kafka_ml.common import Failed, body, decide, json, known, nothing, operation, project_of, shown
from web.http.calls import Call

_FIELDS = frozenset(Deployment.__struct_fields__)
_NEEDED = ("gpumem", "tf_kwargs_fit", "tf_kwargs_val", "pth_kwargs_fit", "pth_kwargs_val", "batch", "configuration")


def create(call: Call) -> Response:
    """Empty arguments are as if they were not there, and so are fields that are null or that nobody knows."""
    project, said = project_of(call), body(call, dict[str, Any])
    lacking = [name for name in _NEEDED if name not in said]
    if lacking:
        raise Failed(f"{lacking[0]} is missing")
    number = said["configuration"]
    if not isinstance(number, int) or isinstance(number, bool):
        raise Failed(f"configuration is {number!r}: it is a number")
    key = views.id_of(call.web.database, "configurations", project, number)
    if key is None:
        raise Failed(f"there is no configuration {number}")
    fields = {name: value for name, value in said.items() if name in _FIELDS and value is not None}
    fields |= {name: None for name in ("stream_timeout", "improvement") if name in said and said[name] is None}
    try:
        contract = msgspec.convert(fields, Deployment)
    except msgspec.ValidationError as error:
        raise Failed(f"Information not valid: {error}") from None
    decide(call, sc.StartDeployment(project_id=project, contract=contract, configuration_id=key))
    return nothing(201)


def listed(call: Call) -> Response:
    return json(views.deployments(call.web.database, project_of(call)))


def of_configuration(call: Call) -> Response:
    known(call, "configurations", "Configuration does not exist")
    number = call.count("number")
    return json(views.deployments(call.web.database, project_of(call), number))


def delete(call: Call) -> Response:
    _, key = known(call, "deployments", "Deployment does not exist")
    decide(call, sc.DeleteDeployment(run_id=key))
    return nothing()


def results(call: Call) -> Response:
    project, key = known(call, "deployments", "Deployment not found")
    return shown(views.results(call.web.database, project, key))


OPERATIONS = (
    operation("GET", "/deployments/", "list_deployments", listed),
    operation("POST", "/deployments/", "create_deployment", create, write=True),
    operation("GET", "/deployments/{number}", "list_deployments_of_configuration", of_configuration),
    operation("DELETE", "/deployments/{number}", "delete_deployment", delete, write=True),
    operation("GET", "/deployments/results/{number}", "list_results_of_deployment", results),
)
