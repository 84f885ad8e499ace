"""Kafka-ML's training results, by their numbers. What its jobs themselves call lies behind their own way in."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Response

from domain import stream_commands as sc
from domain.stream_values import InferenceAsked
from storage.views.streams import kafka_ml as views
from web.api.contents import hand_out
from web.api.kafka_ml.common import (
    Failed,
    body,
    decide,
    json,
    nothing,
    operation,
    project_of,
    result_of,
    shown,
)
from web.http.calls import Call

_ENDINGS = {"pt": "pth", "h5": "h5"}
"""What the front end calls the file, by the format of it."""


class OldInference(msgspec.Struct, frozen=True):
    """Brokers: the names of clusters that the hub's settings have; a caller's own are none that the hub talks to."""

    input_format: str
    input_config: str
    input_topic: str
    output_topic: str
    gpumem: int = 0
    replicas: int = 1
    model_result: int | None = None
    limit: float | None = None
    output_upper: str | None = None
    token: str | None = None
    external_host: str | None = None
    input_kafka_broker: str | None = None
    output_kafka_broker: str | None = None
    upper_kafka_broker: str | None = None


def listed(call: Call) -> Response:
    return shown(views.results(call.web.database, project_of(call)))


def delete(call: Call) -> Response:
    result = result_of(call)
    if result["status"] == "deployed":
        raise Failed("Training result in use, please stop it before delete.")
    decide(call, sc.DeleteResult(number=result["id"]))
    return nothing()


def stop(call: Call) -> Response:
    result = result_of(call)
    if result["status"] not in ("created", "deployed"):
        raise Failed("Result not found or not running")
    decide(call, sc.StopResult(number=result["id"], reason="stopped in Kafka-ML's front end"))
    return nothing()


def model(call: Call) -> Response:
    result = result_of(call)
    if result["artifact_key"] is None:
        raise Failed("File not found")
    framework, ending = result["framework_key"], _ENDINGS.get(result["format_key"], "h5")
    response = hand_out(call, result["artifact_key"])
    response.headers["Content-Type"] = "application/force-download"
    response.headers["Content-Disposition"] = f"attachment; filename=model.{ending}"
    response.headers["ML-Framework"] = framework
    response.headers["Access-Control-Expose-Headers"] = "ML-Framework"
    return response


def confusion_matrix(call: Call) -> Response:
    result = result_of(call)
    if result["matrix_key"] is None:
        raise Failed("File not found")
    response = hand_out(call, result["matrix_key"])
    response.headers["Content-Type"] = "image/png"
    return response


def chart(call: Call) -> Response:
    """Per metric one line over the epochs, and one with `_val` behind its name."""
    result = result_of(call)
    if result["train_metrics"] is None:
        raise Failed("there are no metrics yet")
    lines = [(name, values) for name, values in _lists(result["train_metrics"])]
    lines += [(f"{name}_val", values) for name, values in _lists(result["val_metrics"])]
    metrics = [
        {"name": name, "series": [{"value": value, "name": epoch} for epoch, value in enumerate(values, start=1)]}
        for name, values in lines
    ]
    return json({"metrics": metrics, "conf_mat": result["confusion_matrix"]})


def _lists(metrics: object) -> list[tuple[str, list[Any]]]:
    if not isinstance(metrics, dict):
        return []
    return [(str(name), values) for name, values in metrics.items() if isinstance(values, list)]


def inference_info(call: Call) -> Response:
    """How to read samples: as the newest inference of this result does, or as its data source said."""
    project, result = project_of(call), result_of(call)
    served = views.inferences(call.web.database, project, result=result["id"])
    if served:
        newest = max(served, key=lambda one: one["id"])
        return json({name: newest[name] for name in ("input_format", "input_config")})
    sources = views.data_sources(call.web.database, project, of=result["deployment"]["id"])
    if not sources:
        return json({"input_format": "", "input_config": ""})
    config = sources[0]["input_config"]
    trained = result["architecture_key"]
    if any(one["father_key"] == trained for one in views.models(call.web.database, project)):
        # it reads what the part below it writes; of what shape that is only running the code would tell
        said = {name: value for name, value in msgspec.json.decode(config).items() if name != "data_reshape"}
        config = msgspec.json.encode({**said, "data_type": "float32"}).decode()
    return json({"input_format": sources[0]["input_format"], "input_config": config})


def start_inference(call: Call) -> Response:
    result, said = result_of(call), body(call, OldInference)
    if said.model_result not in (None, result["id"]):
        raise Failed(f"model_result is {said.model_result}, and the path says {result['id']}: say one of them")
    if said.token or said.external_host:
        raise Failed("a cluster is named by the hub's operator, and not by its address and token: leave these empty")
    fields = {
        "input_format": said.input_format,
        "input_config": said.input_config,
        "input_topic": said.input_topic,
        "output_topic": said.output_topic,
        "replicas": said.replicas,
        "limit": said.limit,
        "output_upper": said.output_upper or "",
        "input_cluster": said.input_kafka_broker or "",
        "output_cluster": said.output_kafka_broker or "",
        "upper_cluster": said.upper_kafka_broker or "",
        "gpus": said.gpumem,
    }
    try:
        asked = msgspec.convert(fields, InferenceAsked)
    except msgspec.ValidationError as error:
        raise Failed(f"Information not valid: {error}") from None
    decide(call, sc.StartInference(project_id=project_of(call), result=result["id"], asked=asked))
    return nothing()


OPERATIONS = (
    operation("GET", "/results/", "list_results", listed),
    operation("DELETE", "/results/{number}", "delete_result", delete, write=True),
    operation("POST", "/results/stop/{number}", "stop_result", stop, write=True),
    operation("GET", "/results/model/{number}", "read_trained_model", model),
    operation("GET", "/results/confusion_matrix/{number}", "read_confusion_matrix", confusion_matrix),
    operation("GET", "/results/chart/{number}", "read_chart", chart),
    operation("GET", "/results/inference/{number}", "read_inference_info", inference_info),
    operation("POST", "/results/inference/{number}", "start_inference", start_inference, write=True),
)
