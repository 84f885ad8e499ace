"""A hub with streams as a program: events reach Kafka, its bridge takes records, and its websocket listens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from broker.kafka_log import PARTITIONS
from broker.kafka_writing import KafkaTopics
from devservers.kafka import PrivateNoida
from devservers.ports import free_port
from tests.ops.program import Program, call, create_account, fedyard
from tests.seals import enrolling

STREAMS = """
events_cluster = "cloud"
events_topic = "ops.events.v1"
websocket_port = {port}

[clusters.cloud]
bootstrap_servers = "{kafka}"
"""


def told(kafka: PrivateNoida, topic: str, run: str, last: str) -> list[str]:
    """The types of a run's events, up to the last one that is waited for."""
    reader = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "reads-ops", "log_level": 0})
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    found: list[str] = []
    while not found or found[-1] != last:
        message = reader.poll(20)
        assert message is not None, found
        assert message.error() is None, found
        if message.key() == run.encode():
            found.append(json.loads(message.value() or b"")["type"])
    reader.close()
    return found


def test_what_happens_in_a_run_is_told_while_the_hub_runs(noida: PrivateNoida, tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "streams.toml"
    file.write_text(STREAMS.format(port=port, kafka=noida.bootstrap_servers))
    hub = Program(tmp_path / "log", "embedded", "--data", tmp_path / "hub", "--port", "0", FEDYARD_STREAMS=str(file))
    try:
        api = hub.ready()
        admin = create_account(tmp_path / "hub")
        organisation = call(api, "/v1/me", admin)[1]["organisation_id"]
        enrolment = call(api, "/v1/enrolments", admin, {"organisation_id": organisation}, wait=10)[1]["token"]
        site = call(api, "/v1/sites", enrolment, enrolling(enrolment, "oslo"), wait=10)[1]["token"]
        tasks = [{"name": "train", "model": "logistic", "rounds": 1}]
        project = call(api, "/v1/projects", site, {"name": "p", "tasks": tasks, "sealed": "optional"}, wait=10)[1]["id"]
        run = call(api, f"/v1/projects/{project}/runs", site, {}, wait=10)[1]["id"]
        assert call(api, f"/v1/runs/{run}/stop", site, {}, wait=10)[0] == 200
        types = told(noida, "ops.events.v1", run, "fedyard.run_cancelled.v1")
        assert types[:2] == ["fedyard.run_created.v1", "fedyard.run_started.v1"]
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://127.0.0.1:{port}/ws/", proxy=None)
        assert refused.value.response.status_code == 401
        with connect(
            f"ws://127.0.0.1:{port}/ws/", proxy=None, additional_headers={"Authorization": f"Bearer {site}"}
        ) as socket:
            socket.send('{"topic": "ops.events.v1"}')
            with pytest.raises(ConnectionClosedError, match="no topic of an inference of yours"):
                socket.recv(timeout=20)
        assert "all events are told" in fedyard("streams", "status", "--data", tmp_path / "hub").stdout
        topics = KafkaTopics({"bootstrap.servers": noida.bootstrap_servers})
        assert len(topics.ends(["ops.events.v1"])["ops.events.v1"]) == PARTITIONS
        topics.close()
    finally:
        assert hub.end() == 0, hub.output
