"""What stands for a model of Keras: it is made by its code, and saved into a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from demo.kafkaml import network


class Model:
    """Before its training. sample: the shape of one; hidden: units of its hidden layer."""

    def __init__(self, sample: Sequence[int], hidden: int = network.HIDDEN) -> None:
        self._sample = tuple(sample)
        self._weights = network.begun(network.Shape(math.prod(self._sample), hidden=hidden))

    def save(self, path: str) -> None:
        """As the job wants it that makes a model's file."""
        Path(path).write_bytes(network.packed(self._weights, self._sample))
