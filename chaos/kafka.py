"""The Kafka of the test: one broker, on which data are announced all the time (chaos/announcing.py)."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from broker.kafka_writing import KafkaTopics
from devservers.kafka import PrivateNoida
from domain.stream_commands import NewTopic

CONTROL_TOPIC = "chaos-control"
PARTITIONS = 3
READ_WITHIN_S = 30.0
Place = tuple[int, int]
"""Partition and offset."""
SETTINGS = """
[clusters.cloud]
bootstrap_servers = "{servers}"
control_topics = ["{topic}"]
settings_file = "{properties}"
"""


def start_kafka(folder: Path) -> PrivateNoida:
    """A broker with the control topic. It ends with the thread that starts it."""
    kafka = PrivateNoida(folder)
    kafka.start()
    topics = KafkaTopics({"bootstrap.servers": kafka.bootstrap_servers})
    topics.create([NewTopic(CONTROL_TOPIC, PARTITIONS)])
    topics.close()
    return kafka


def everything_in(kafka: PrivateNoida) -> dict[Place, bytes]:
    """All records of the control topic, by their places."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "nobody",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
        }
    )
    found: dict[Place, bytes] = {}
    left = PARTITIONS
    try:
        consumer.assign([TopicPartition(CONTROL_TOPIC, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        while left:
            messages = consumer.consume(1, READ_WITHIN_S)
            if not messages:
                raise TimeoutError(f"{CONTROL_TOPIC} cannot be read")
            (message,) = messages
            if message.error() is not None:
                left -= 1
                continue
            found[message.partition() or 0, message.offset() or 0] = message.value() or b""
    finally:
        consumer.close()
    return found


def write_settings(kafka: PrivateNoida, folder: Path, name: str) -> Path:
    """The file that FEDYARD_STREAMS names for a process of that name.

    This broker never gives up a member of a group that was killed, unless the same one comes again: so each has a name.
    """
    properties = folder / f"{name}.properties"
    properties.write_text(f"group.instance.id={name}\n")
    file = folder / f"{name}.streams.toml"
    file.write_text(SETTINGS.format(servers=kafka.bootstrap_servers, topic=CONTROL_TOPIC, properties=properties))
    return file
