"""Which records of Kafka are meant: `topic:partition:start:end`, several with commas between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Range(NamedTuple):
    """Records of one partition. start, end: offsets; the end is exclusive (Kafka-ML calls it "length")."""

    topic: str
    partition: int
    start: int
    end: int


def written(ranges: Iterable[Range]) -> str:
    return ",".join(":".join(map(str, one)) for one in ranges)


def read(expression: str) -> list[Range]:
    """`ValueError` if it is none."""
    found = []
    for item in expression.split(","):
        topic, partition, start, end = item.split(":")
        found.append(Range(topic, int(partition), int(start), int(end)))
    return found


def total(ranges: Iterable[Range]) -> int:
    """How many records they are."""
    return sum(one.end - one.start for one in ranges)
