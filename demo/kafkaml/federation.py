"""What a controller and its workers say to each other: topics `FED-<id>-...`, and weights with a control record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.kafkaml import arrays, expression, kafka
from demo.kafkaml.kafka import Record

CONTROL, DATA = {"max.message.bytes": "50000"}, {"max.message.bytes": "10000000"}
LAST = -1
"""The version of the last round's model, and of what answers it."""
MAX_ARRAYS = 255


class Topics:
    """Of one federated training. string_id: eight of [0-9a-z]."""

    def __init__(self, string_id: str) -> None:
        self.model_control = f"FED-{string_id}-model_control_topic"
        self.model_data = f"FED-{string_id}-model_data_topic"
        self.updates_control = f"FED-{string_id}-agg_control_topic"
        self._updates = f"FED-{string_id}-agg_data_topic-"
        self._workers = f"FED-MODEL-{string_id}-CLIENT-"
        self.controllers = f"group_id_{string_id}"

    def updates(self, client: str) -> str:
        return self._updates + client

    def worker(self, client: str) -> str:
        """A worker's group, and the key of what it says."""
        return self._workers + client

    def shared(self) -> dict[str, dict[str, str]]:
        """Those of the controller's making; the worker makes the one for its updates."""
        return {self.model_control: CONTROL, self.updates_control: CONTROL, self.model_data: DATA}


def write_weights(servers: str, topic: str, weights: Sequence[NDArray[Any]]) -> str:
    """The expression of where they lie: one record for each array, its key the array's number in one byte."""
    assert len(weights) <= MAX_ARRAYS, "a number is one byte"
    records = [Record(bytes([number]), arrays.dumped(one)) for number, one in enumerate(weights)]
    ranges = kafka.write(servers, topic, records, partition=0)
    return expression.written(ranges.values())


def read_weights(servers: str, where: str) -> list[NDArray[np.float32]]:
    """In their order. `ValueError` where one is missing or is no array."""
    found = {}
    for record in kafka.between(servers, expression.read(where)):
        (number,) = record.key
        found[number] = arrays.loaded(record.value).astype(np.float32)
    if sorted(found) != list(range(len(found))):
        raise ValueError(f"{where} has the arrays {sorted(found)}")
    return [found[number] for number in range(len(found))]
