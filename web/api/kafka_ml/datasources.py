"""Kafka-ML's data sources: listed, stored as its control logger posts them, and sent once more."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Response

from domain.states import SendingState
from domain.stream_commands import SendDataSource
from storage.views.streams import kafka_ml as views
from storage.views.streams.sendings import Sending, sending
from web.api.kafka_ml.common import Failed, body, decide, json, need_coordinator, nothing, operation, project_of, shown
from web.api.kafka_ml.taking import take
from web.http.calls import Call
from web.http.writing import SECRET_WAIT_S

LOOKS_EVERY_S = 0.2


class OldDataSource(msgspec.Struct, frozen=True):
    """As the front end sends back what it was shown, with the number of another deployment."""

    topic: str
    deployment: int | str
    input_format: str | None = None
    time: str | None = None


def listed(call: Call) -> Response:
    return shown(views.data_sources(call.web.database, project_of(call)))


def store(call: Call) -> Response:
    """What the control logger has read is stored, and written to no topic.

    Where the bridge reads that topic itself, the same data come from there, too.
    """
    project, said = project_of(call), body(call, dict[str, Any])
    need_coordinator(call, project)
    number = _number(said.get("deployment"))
    _check_deployment(call, project, number)
    streams = call.web.streams
    cloud = streams.clusters.get(streams.cloud)
    if cloud is None or not cloud.control_topics:
        raise Failed("the hub's settings name no control topic of streams")
    value = {name: one for name, one in said.items() if name not in ("deployment", "time")}
    key = number.to_bytes((number.bit_length() + 7) // 8, "big")
    topic, time = cloud.control_topics[0], said.get("time")
    became = take(call, cluster=streams.cloud, topic=topic, purpose="control", key=key, value=value, time=time)
    if became != "data_source":
        return json({"detail": f"it cannot be understood: see the quarantine of streams ({became})"}, 400)
    return json(said, 201)


def send(call: Call) -> Response:
    """Announce it once more, for another deployment, with all that its first announcement said."""
    project, said = project_of(call), body(call, OldDataSource)
    number = _number(said.deployment)
    _check_deployment(call, project, number)
    there = views.data_sources(call.web.database, project, topic=said.topic)
    same = [
        one for one in there if said.time in (None, one["time"]) and said.input_format in (None, one["input_format"])
    ]
    if not there:
        raise Failed(f"no data source was announced in {said.topic}: what was announced can be sent once more")
    made = decide(call, SendDataSource(data_source_id=(same or there)[0]["key"], deployment_number=number))
    ended = _ended(call, str(made["id"]))
    if ended is None:
        raise Failed("the hub is still sending this: look at the list of data sources in a moment", 503)
    if ended.state != SendingState.SENT:
        raise Failed(f"it was not sent: {ended.detail or ended.reason}")
    return nothing(201)


def _ended(call: Call, key: str) -> Sending | None:
    web, subject = call.web, call.caller.subject

    def look() -> Sending | None:
        found = sending(web.database, subject, key)
        return None if found is None or found.state == SendingState.SENDING else found

    return web.waiters.until(("command", key), SECRET_WAIT_S, look, LOOKS_EVERY_S, by=call.waiter)


def _number(said: object) -> int:
    text = str(said)
    if isinstance(said, bool) or not (text.isascii() and text.isdigit()) or not 0 < int(text[:20]) < 2**53:
        raise Failed("Deployment not valid")
    return int(text)


def _check_deployment(call: Call, project: str, number: int) -> None:
    if views.id_of(call.web.database, "deployments", project, number) is None:
        raise Failed("Deployment not valid")


OPERATIONS = (
    operation("GET", "/datasources/", "list_data_sources", listed),
    operation("POST", "/datasources/kafka", "send_data_source", send, write=True),
)
"""Of the front end."""
OF_LOGGERS = (operation("POST", "/datasources/", "store_data_source", store, write=True),)
