"""Kafka-ML's federated back-end, as its two loggers call it: what they post is taken as the bridge takes records."""

from __future__ import annotations

from typing import Any

from flask import Response

from config.streams import Cluster
from domain.stream_commands import Purpose
from storage.views.sight import sees_everything
from storage.views.streams import kafka_ml as views
from web.api.kafka_ml.common import Failed, body, json, need_coordinator, nothing, operation, project_of, text
from web.api.kafka_ml.taking import take
from web.http.calls import Call


def _may_post(call: Call) -> None:
    """Who coordinates the project that the operator has named for these paths, or runs the network: what is announced
    here concerns every project, and whoever coordinates any would else announce and see what is others'."""
    by = call.caller.subject
    if by.role == "admin":
        return
    if not call.web.hub.settings.kafka_ml_project:
        raise Failed(
            "only an admin may do this where the hub's operator has named no project (FEDYARD_KAFKA_ML_PROJECT)"
        )
    need_coordinator(call, project_of(call))


def _topic_for(call: Call, purpose: Purpose) -> tuple[str, str]:
    """The first cluster, by name, that is read for such records, and its topic."""
    clusters: dict[str, Cluster] = call.web.streams.clusters
    for name, cluster in sorted(clusters.items()):
        for topic, of in cluster.topics.items():
            if of == purpose:
                return name, topic
    raise Failed("the hub's settings name no such control topic of streams")


def _take(call: Call, purpose: Purpose, wanted: str) -> Response:
    _may_post(call)
    said = body(call, dict[str, Any])
    value = {name: one for name, one in said.items() if name != "time"}
    cluster, topic = _topic_for(call, purpose)
    time = said.get("time")
    became = take(call, cluster=cluster, topic=topic, purpose=purpose, key=None, value=value, time=time)
    return nothing(201) if became == wanted else text("Deployment not valid", 406)


def store_data(call: Call) -> Response:
    return _take(call, "data", "data_source")


def store_model(call: Call) -> Response:
    return _take(call, "model", "model_announcement")


def list_data(call: Call) -> Response:
    return _listed(call, views.federated_data(call.web.database))


def list_models(call: Call) -> Response:
    return _listed(call, views.federated_models(call.web.database))


def _listed(call: Call, found: list[views.Old]) -> Response:
    if not sees_everything(call.caller.subject):
        _may_post(call)
    return json(found)


OF_LOGGERS = (
    operation("GET", "/federated-datasources/", "list_federated_data", list_data),
    operation("POST", "/federated-datasources/", "store_federated_data", store_data, write=True),
    operation("GET", "/model-control-logger/", "list_federated_models", list_models),
    operation("POST", "/model-control-logger/", "store_federated_model", store_model, write=True),
)
