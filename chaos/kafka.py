"""The Kafka of the test: one broker, on which data are announced all the time (chaos/announcing.py)."""

from __future__ import annotations

from pathlib import Path

from broker.kafka_writing import KafkaTopics
from devservers.kafka import PrivateNoida
from domain.stream_commands import NewTopic

CONTROL_TOPIC = "chaos-control"
PARTITIONS = 3
SETTINGS = """
[clusters.cloud]
bootstrap_servers = "{servers}"
control_topics = ["{topic}"]
"""


def start_kafka(folder: Path) -> PrivateNoida:
    """A broker with the control topic. It ends with the thread that starts it."""
    kafka = PrivateNoida(folder)
    kafka.start()
    topics = KafkaTopics({"bootstrap.servers": kafka.bootstrap_servers})
    topics.create([NewTopic(CONTROL_TOPIC, PARTITIONS)])
    topics.close()
    return kafka


def settings_of(kafka: PrivateNoida) -> str:
    """What FEDYARD_STREAMS names."""
    return SETTINGS.format(servers=kafka.bootstrap_servers, topic=CONTROL_TOPIC)
