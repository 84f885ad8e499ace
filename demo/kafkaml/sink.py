"""The data source: samples into a topic, then an announcement on the control topic.

`python -m demo.kafkaml.sink SERVERS TOPIC CONTROL_TOPIC ID [--from N] [--to N] [--restrictions JSON]`: digits.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.kafkaml import kafka
from demo.kafkaml.digits import Digits, digits
from demo.kafkaml.expression import Range, total, written
from demo.kafkaml.kafka import Record
from demo.kafkaml.samples import config_of


@dataclass(frozen=True)
class Announcement:
    """What a control record says. ranges: none of an online stream, which is announced by the topic's bare name."""

    topic: str
    ranges: list[Range]
    input_config: dict[str, str]
    description: str = ""
    dataset_restrictions: object = field(default_factory=dict)
    validation_rate: float = 0.0
    test_rate: float = 0.0

    def body(self) -> bytes:
        incremental = not self.ranges
        return json.dumps(
            {
                "topic": self.topic if incremental else written(self.ranges),
                "unsupervised_topic": None,
                "input_format": "RAW",
                "description": self.description,
                "dataset_restrictions": self.dataset_restrictions,
                "input_config": self.input_config,
                "validation_rate": self.validation_rate,
                "test_rate": self.test_rate,
                "total_msg": None if incremental else total(self.ranges),
                "incremental": incremental,
            }
        ).encode()


def key_of(deployment: int) -> bytes:
    """The id, big-endian in as few bytes as it takes; sinks of Kafka-ML write one byte and know no id over 255."""
    return deployment.to_bytes(max(1, -(-deployment.bit_length() // 8)), "big")


def send(servers: str, topic: str, images: NDArray[Any], labels: NDArray[np.int64]) -> list[Range]:
    """What was written where; of each partition of the topic one range, empty ones as well, as sinks announce them."""
    before = kafka.ends(servers, topic)
    records = (Record(label.tobytes(), image.tobytes()) for image, label in zip(images, labels, strict=True))
    got = kafka.write(servers, topic, records)
    return [
        got.get(one, Range(topic, one, end, end)) for one, end in sorted({**dict.fromkeys(got, 0), **before}.items())
    ]


def announce(servers: str, control_topic: str, deployment: int, announcement: Announcement) -> None:
    kafka.write(servers, control_topic, [Record(key_of(deployment), announcement.body())])


def of_digits(servers: str, topic: str, source: Digits, **more: Any) -> Announcement:
    """Sent and not yet announced. more: of `Announcement`."""
    ranges = send(servers, topic, source.images, source.labels)
    return Announcement(topic, ranges, config_of(source.images[0], source.labels[0]), **more)


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.kafkaml.sink", description="Send digits and announce them.")
    for name in ("servers", "topic", "control_topic"):
        parser.add_argument(name)
    parser.add_argument("deployment", type=int)
    parser.add_argument("--from", dest="start", type=int, default=0)
    parser.add_argument("--to", dest="end", type=int)
    parser.add_argument("--restrictions", help="as JSON, which the federated sinks send as a string")
    parser.add_argument("--validation-rate", type=float, default=0.1)
    parser.add_argument("--test-rate", type=float, default=0.2)
    given = parser.parse_args(None if arguments is None else list(arguments))
    source = digits()
    rates = {"validation_rate": given.validation_rate, "test_rate": given.test_rate}
    restrictions = {} if given.restrictions is None else given.restrictions
    found = of_digits(
        given.servers,
        given.topic,
        source.part(given.start, len(source) if given.end is None else given.end),
        description="handwritten digits",
        dataset_restrictions=restrictions,
        **rates,
    )
    announce(given.servers, given.control_topic, given.deployment, found)
    print(written(found.ranges))
    return 0


if __name__ == "__main__":
    sys.exit(main())
