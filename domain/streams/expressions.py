"""Where data lie in Kafka: `topic:partition:start:end`, several with commas in between, or the name of a topic alone.

start: the first offset; end: behind the last one (Kafka-ML's programs call it length).
"""

from __future__ import annotations

import re

import msgspec

TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_MAX = 2**63 - 1


class StreamRange(msgspec.Struct, frozen=True):
    """Records of one partition, from `start` on, before `end`."""

    topic: str
    partition: int
    start: int
    end: int

    @property
    def count(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.start}:{self.end}"


class NoExpression(Exception):
    """This says no place in Kafka; the text says why, without quoting it."""


def ranges_of(expression: str) -> list[StreamRange] | None:
    """The ranges, empty ones too; None: the name of a topic alone, whose data come as they come.

    Raises `NoExpression`.
    """
    if ":" not in expression:
        if not TOPIC.fullmatch(expression):
            raise NoExpression("it is neither the name of a topic nor ranges")
        return None
    return [_range(part) for part in expression.split(",")]


def expression_of(ranges: list[StreamRange]) -> str:
    """Back again, without the empty ones: trainers wait for ever at those."""
    return ",".join(str(each) for each in ranges if each.count)


def _range(text: str) -> StreamRange:
    parts = text.strip().split(":")
    if len(parts) != 4 or not all(re.fullmatch("[0-9]{1,19}", part) for part in parts[1:]):
        raise NoExpression("a range of it is not topic:partition:start:end")
    partition, start, end = map(int, parts[1:])
    if not TOPIC.fullmatch(parts[0]) or partition >= 2**31 or not start <= end <= _MAX:
        raise NoExpression("a range of it is not topic:partition:start:end")
    return StreamRange(parts[0], partition, start, end)
