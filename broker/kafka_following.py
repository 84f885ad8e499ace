"""What comes in a topic of Kafka from now on, for who looks on: no group, nothing committed, nothing from before."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from broker.kafka_writing import ANSWERS_WITHIN_S, KafkaTopics, made, meant
from broker.streams import NotAccepted

MAX_WAITING_KBYTES = 2048
"""Of records that whoever looks on has not taken yet."""
_ONLOOKERS = "fedyard-onlookers"
"""Librdkafka wants a group's name; as nothing is subscribed to or committed, nobody joins it."""
_log = logging.getLogger(__name__)


class KafkaFollower:
    """`broker.streams.Follower` of a real cluster. settings: properties that say where it is.

    Raises `Unreachable`, and `NotAccepted` where the topic is not there.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str, within_s: float = ANSWERS_WITHIN_S) -> None:
        topics = KafkaTopics(settings, within_s)
        try:
            there = topics.ends([topic])
        finally:
            topics.close()
        if topic not in there:
            raise NotAccepted(f"topic {topic} is not there")
        own = {
            "group.id": _ONLOOKERS,
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": MAX_WAITING_KBYTES,
        }
        self._consumer: Consumer = made(Consumer, {**settings, **own})
        self._consumer.assign([TopicPartition(topic, number, end) for number, (_, end) in there[topic].items()])

    def poll(self, seconds: float) -> bytes | None:
        """See `Follower.poll`."""
        try:
            message = self._consumer.poll(seconds)
        except KafkaException as error:
            raise meant(error) from None
        if message is None or message.error() is not None:  # what is away comes back, and librdkafka tries by itself
            return None
        return message.value()

    def close(self) -> None:
        """See `Follower.close`."""
        self._consumer.close()
