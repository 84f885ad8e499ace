"""Announcing data once more over HTTP: answered when the record's delivery report is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain import stream_commands as sc
from domain.codec import THE_HUB, envelope_of
from domain.commands import AnyCommand, Envelope
from domain.ids import derive
from domain.stream_values import Deployment
from domain.values import Subject
from tests.web.network import Caller, Network
from tests.web.test_refusals import slug

STREAMS = """
[images]
tensorflow_training = "kml/tf"

[clusters.cloud]
bootstrap_servers = "127.0.0.1:1"
control_topics = ["CONTROL"]
"""
KERAS = "import tensorflow as tf\nmodel = tf.keras.Sequential()"
BODY = {"topic": "data:0:0:5", "input_format": "RAW", "input_config": {}, "total_msg": 5, "of_tomorrow": True}


class Streams:
    """A hub with streams; two deployments of a project, and data that were announced for the first."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.oslo, self.bergen = net.site("oslo"), net.site("bergen")
        self.project = net.project(self.oslo, self.bergen)
        path = f"/v1/projects/{self.project}/architectures"
        made = self.oslo.ok("POST", path, {"name": "cnn", "framework": "tf", "code": KERAS})
        self.architecture = made["id"]
        self.start("first")
        self.start("second")
        self.source = self.send(
            sc.TakeRecord(
                cluster="cloud",
                cluster_id="k",
                topic="CONTROL",
                topic_id="t",
                partition=0,
                offset=0,
                at=0,
                key=b"\1",
                value=msgspec.json.encode(BODY),
                purpose="control",
            ),
            "record",
        )

    def send(self, command: AnyCommand, name: str, by: Subject = THE_HUB) -> str:
        """Its id."""
        envelope = envelope_of(command, id=derive("test", name), by=by, at=0)
        self.net.publisher.send([envelope])
        return envelope.id

    def start(self, name: str) -> None:
        by = Subject(kind="site", id=self.oslo.id, organisation_id=self.oslo.ok("GET", "/v1/me")["organisation_id"])
        command = sc.StartDeployment(
            project_id=self.project,
            contract=Deployment(tf_kwargs_fit="epochs=1"),
            architecture_ids=[self.architecture],
        )
        self.send(command, name, by)

    def asked(self) -> Envelope:
        """What a doing actor would have been given, to announce the data once more."""
        return next(
            one
            for one in reversed(self.net.publisher.done)
            if isinstance(one.command, sc.PrepareStream) and one.command.purpose == "resend"
        )

    def reports(self, **fields: Any) -> None:
        about = self.asked().command.about_id  # type: ignore[union-attr]
        self.send(sc.ReportStream(purpose="resend", about_id=about, attempt=1, **fields), f"report {about}")

    def sent_by(self, caller: Caller, deployment: int = 2, **more: Any) -> Any:
        path = f"/v1/data-sources/{self.source}/send"
        return caller.call("POST", path, {"deployment": deployment}, **more)


@pytest.fixture
def streams(make_net: Callable[..., Network], tmp_path: Path) -> Streams:
    file = tmp_path / "streams.toml"
    file.write_text(STREAMS)
    return Streams(make_net(streams=str(file)))


def test_the_answer_comes_with_the_delivery_report(streams: Streams) -> None:
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(streams.sent_by(streams.oslo)))
    asking.start()
    while not any(
        isinstance(one.command, sc.PrepareStream) and one.command.purpose == "resend"
        for one in streams.net.publisher.done
    ):
        asking.join(0.01)
        assert asking.is_alive()
    (record,) = streams.asked().command.records  # type: ignore[union-attr]
    assert msgspec.json.decode(record.value) == BODY
    streams.reports(written=[sc.Written(topic="CONTROL", partition=0, offset=9)])
    asking.join(20)
    (answer,) = answers
    said = answer.get_json()
    assert (answer.status_code, said["state"], said["log_offset"]) == (201, "sent", 9)
    assert (said["deployment_number"], said["data_source_id"]) == (2, streams.source)
    assert answer.headers["Location"] == f"/v1/sendings/{said['id']}"
    assert streams.bergen.ok("GET", answer.headers["Location"]) == said
    assert streams.net.site("far").get(answer.headers["Location"]).status_code == 404


def test_who_does_not_wait_looks_later(streams: Streams) -> None:
    asked = streams.sent_by(streams.oslo, headers={"Prefer": "wait=0"})
    assert asked.status_code in (201, 202)
    about = streams.asked().command.about_id  # type: ignore[union-attr]
    assert streams.oslo.ok("GET", f"/v1/sendings/{about}")["state"] == "sending"
    streams.reports(reason="not_reached", detail="_TRANSPORT: nobody there")
    found = streams.oslo.ok("GET", f"/v1/sendings/{about}?wait=5")
    assert (found["state"], found["reason"]) == ("failed", "not_reached")


def test_who_may_and_what_is_refused(streams: Streams) -> None:
    assert streams.sent_by(streams.bergen).status_code == 403
    far = streams.net.site("far")
    assert slug(streams.sent_by(far), 404) == "not_found"
    assert slug(streams.sent_by(streams.oslo, 9), 404) == "not_found"
    assert slug(streams.sent_by(streams.oslo, 0), 400) == "malformed"
    assert streams.oslo.get(f"/v1/sendings/{derive('none')}?wait=9").status_code == 404
