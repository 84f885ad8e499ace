"""A hub with streams as a program: events reach Kafka, data that are announced reach jobs, its websocket listens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from broker.kafka_log import PARTITIONS
from broker.kafka_writing import KafkaTopics
from devservers.kafka import PrivateNoida
from devservers.ports import free_port
from domain.stream_commands import NewRecord, NewTopic
from tests.ops.program import Program, call, create_account, fedyard
from tests.seals import enrolling

STREAMS = """
door_url = "http://127.0.0.1:1"
events_cluster = "cloud"
events_topic = "ops.events.v1"
websocket_port = {port}

[images]
pytorch_training = "kml/pth"

[clusters.cloud]
bootstrap_servers = "{kafka}"
control_topics = ["OPS_CONTROL"]
"""
TORCH = """
import torch
class Net(torch.nn.Module):
    def loss_fn(self): ...
    def optimizer(self): ...
    def metrics(self): return {"loss": None}
model = Net()
"""
ANNOUNCED = {
    "topic": "ops-data:0:0:3,ops-data:1:0:0",
    "unsupervised_topic": None,
    "input_format": "RAW",
    "input_config": {"data_type": "float32", "label_type": "int64", "data_reshape": "4", "label_reshape": ""},
    "description": "noon",
    "dataset_restrictions": {"site": ["a"]},
    "validation_rate": 0.25,
    "test_rate": 0.0,
    "total_msg": 3,
    "incremental": False,
    "of_tomorrow": {"kept": True},
}


class Streams:
    """A hub, and a project of a site's."""

    def __init__(self, kafka: PrivateNoida, folder: Path) -> None:
        self.kafka, self.folder, self.port = kafka, folder / "hub", free_port()
        self.topics = KafkaTopics({"bootstrap.servers": kafka.bootstrap_servers})
        self.topics.create([NewTopic(name="OPS_CONTROL"), NewTopic(name="ops-data", partitions=2)])
        file = folder / "streams.toml"
        file.write_text(STREAMS.format(port=self.port, kafka=kafka.bootstrap_servers))
        where = ("--data", self.folder, "--port", "0")
        self.hub = Program(folder / "log", "embedded", *where, FEDYARD_STREAMS=str(file))
        self.api = self.hub.ready()
        admin = create_account(self.folder)
        organisation = call(self.api, "/v1/me", admin)[1]["organisation_id"]
        enrolment = call(self.api, "/v1/enrolments", admin, {"organisation_id": organisation}, wait=10)[1]["token"]
        self.site = call(self.api, "/v1/sites", enrolment, enrolling(enrolment, "oslo"), wait=10)[1]["token"]
        tasks = [{"name": "train", "model": "logistic", "rounds": 1}]
        self.project = self.ok("/v1/projects", {"name": "p", "tasks": tasks, "sealed": "optional"})["id"]

    def ok(self, path: str, body: object = None) -> dict[str, Any]:
        status, said = call(self.api, path, self.site, body, wait=10)
        assert status in (200, 201), said
        return said

    def read(self, topic: str, count: int) -> list[tuple[bytes, Any]]:
        """Keys and values of the first records of a topic."""
        name = {"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": "reads-ops", "log_level": 0}
        reader = Consumer({**name, "topic.metadata.refresh.interval.ms": 200})
        reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        found: list[tuple[bytes, Any]] = []
        for _ in range(200):
            message = reader.poll(0.2)
            if message is not None and message.error() is None:
                found.append((message.key() or b"", json.loads(message.value() or b"")))
            if len(found) == count:
                break
        reader.close()
        assert len(found) == count, found
        return found


@pytest.fixture(scope="module")
def streams(noida: PrivateNoida, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streams]:
    made = Streams(noida, tmp_path_factory.mktemp("streams"))
    yield made
    assert made.hub.end() == 0, made.hub.output
    made.topics.close()


def told(kafka: PrivateNoida, run: str, last: str) -> list[str]:
    """The types of a run's events, up to the last one that is waited for."""
    reader = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "reads-ops", "log_level": 0})
    reader.assign([TopicPartition("ops.events.v1", number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    found: list[str] = []
    while not found or found[-1] != last:
        message = reader.poll(20)
        assert message is not None, found
        assert message.error() is None, found
        if message.key() == run.encode():
            found.append(json.loads(message.value() or b"")["type"])
    reader.close()
    return found


def test_data_that_were_announced_reach_a_job_and_are_announced_once_more(streams: Streams) -> None:
    """Each deployment's job finds one record in a topic of its own, with its number and without empty ranges."""
    streams.topics.write([NewRecord(topic="ops-data", key=b"1", value=b"x", once=False)])
    while streams.topics.ends(["ops-data"])["ops-data"][0][1] < 3:  # which partition it is its key says
        streams.topics.write([NewRecord(topic="ops-data", key=None, value=b"x")])
    path = f"/v1/projects/{streams.project}"
    code = {"name": "net", "framework": "pth", "code": TORCH}
    architecture = streams.ok(f"{path}/architectures", code)["id"]
    asked = {"contract": {"pth_kwargs_fit": "max_epochs=1"}, "architecture_ids": [architecture]}
    first, second = (streams.ok(f"{path}/deployments", asked) for _ in range(2))
    value = json.dumps(ANNOUNCED).encode()
    streams.topics.write([NewRecord(topic="OPS_CONTROL", key=bytes([first["number"]]), value=value)])
    ((key, said),) = streams.read(f"OPS_CONTROL.{first['id']}.{first['number']}", 1)
    assert key == bytes([first["number"]])
    assert said == ANNOUNCED | {"topic": "ops-data:0:0:3"}
    (source,) = streams.ok("/v1/data-sources")["items"]
    sent = streams.ok(f"/v1/data-sources/{source['id']}/send", {"deployment": second["number"]})
    assert (sent["state"], sent["log_offset"], sent["partition"]) == ("sent", 1, 0)
    _, again = streams.read("OPS_CONTROL", 2)
    assert again == (bytes([second["number"]]), ANNOUNCED)
    ((key, said),) = streams.read(f"OPS_CONTROL.{second['id']}.{second['number']}", 1)
    assert (key, said["total_msg"]) == (bytes([second["number"]]), 3)


def test_what_happens_in_a_run_is_told_while_the_hub_runs(streams: Streams) -> None:
    run = streams.ok(f"/v1/projects/{streams.project}/runs", {})["id"]
    streams.ok(f"/v1/runs/{run}/stop", {})
    types = told(streams.kafka, run, "fedyard.run_cancelled.v1")
    assert types[:2] == ["fedyard.run_created.v1", "fedyard.run_started.v1"]
    assert "ops.events.v1" in fedyard("streams", "status", "--data", streams.folder).stdout
    assert len(streams.topics.ends(["ops.events.v1"])["ops.events.v1"]) == PARTITIONS


def test_the_websocket_listens_beside_the_web(streams: Streams) -> None:
    address = f"ws://127.0.0.1:{streams.port}/ws/"
    with pytest.raises(InvalidStatus) as refused:
        connect(address, proxy=None)
    assert refused.value.response.status_code == 401
    with connect(address, proxy=None, additional_headers={"Authorization": f"Bearer {streams.site}"}) as socket:
        socket.send('{"topic": "ops.events.v1"}')
        with pytest.raises(ConnectionClosedError, match="no topic of an inference of yours"):
            socket.recv(timeout=20)
