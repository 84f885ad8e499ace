"""Kafka-ML's inferences, by their numbers. Tokens of clusters and addresses of brokers are none that the hub keeps."""

from __future__ import annotations

from flask import Response

from domain import stream_commands as sc
from storage.views.streams import kafka_ml as views
from web.api.kafka_ml.common import Failed, decide, nothing, operation, project_of, shown
from web.http.calls import Call


def listed(call: Call) -> Response:
    return shown(views.inferences(call.web.database, project_of(call)))


def _known(call: Call, detail: str) -> views.Old:
    found = views.inferences(call.web.database, project_of(call), number=call.count("number"))
    if not found:
        raise Failed(detail)
    return found[0]


def stop(call: Call) -> Response:
    """It is shown as stopped once it is gone."""
    detail = "Inference not found or not running"
    found = _known(call, detail)
    if found["state_key"] not in ("preparing", "serving"):
        raise Failed(detail)
    decide(call, sc.StopInference(project_id=project_of(call), inference_id=found["key"]))
    return nothing()


def delete(call: Call) -> Response:
    found = _known(call, "Inference does not exist")
    if found["status"] != "stopped":
        raise Failed("Inference in use, please stop it before delete.")
    decide(call, sc.DeleteInference(project_id=project_of(call), inference_id=found["key"]))
    return nothing()


OPERATIONS = (
    operation("GET", "/inferences/", "list_inferences", listed),
    operation("POST", "/inferences/{number}", "stop_inference", stop, write=True),
    operation("DELETE", "/inferences/{number}", "delete_inference", delete, write=True),
)
