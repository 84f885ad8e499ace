"""Samples as records: of the format RAW, numpy's bytes, the label as the key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.kafkaml.kafka import Record

TYPES = {
    "half": np.float16, "float": np.float64, "float32": np.float32, "double": np.float64, "int64": np.int64,
    "int32": np.int32, "int16": np.int16, "int8": np.int8, "uint16": np.uint16, "uint8": np.uint8, "bool": np.bool_,
}  # fmt: skip
"""What Kafka-ML calls numpy's types; "string" is for tables, which these programs do not train on."""
Rows = NDArray[np.float64]
Labels = NDArray[np.int64]


class UnknownFormatError(ValueError):
    """An input format, or a type, that these programs do not read."""


@dataclass(frozen=True)
class Samples:
    """rows: one sample each, flattened; labels: of each its class."""

    rows: Rows
    labels: Labels

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, end: int) -> Samples:
        return Samples(self.rows[start:end], self.labels[start:end])

    def split(self, validation_rate: float, test_rate: float) -> tuple[Samples, Samples, Samples]:
        """For training the first, then for testing, then for validation, in the proportions of the announcement."""
        count = len(self)
        trained = int((1 - (validation_rate + test_rate)) * count)
        tested = int(test_rate * count)
        return self.part(0, trained), self.part(trained, trained + tested), self.part(trained + tested, count)


def config_of(sample: NDArray[np.generic], label: np.generic) -> dict[str, str]:
    """What a sink says of its samples, from the first one."""
    return {
        "data_type": sample.dtype.name,
        "label_type": label.dtype.name,
        "data_reshape": " ".join(map(str, sample.shape)),
        "label_reshape": "1",
    }


def row(value: bytes, input_format: str, config: Mapping[str, str | None]) -> Rows:
    """One sample, flattened, from a record's value."""
    if input_format != "RAW":
        raise UnknownFormatError(f"these programs read RAW, not {input_format}")
    found = np.frombuffer(value, dtype=_type(config["data_type"])).astype(np.float64)
    return found.reshape(shape_of(config) or (-1,)).reshape(-1)


def shape_of(config: Mapping[str, str | None]) -> tuple[int, ...]:
    """Of a sample before it is flattened; empty where it is not said."""
    return tuple(int(number) for number in (config.get("data_reshape") or "").split())


def samples(records: Iterable[Record], input_format: str, config: Mapping[str, str | None]) -> Samples:
    rows, labels = [], []
    for one in records:
        rows.append(row(one.value, input_format, config))
        labels.append(int(np.frombuffer(one.key, dtype=_type(config["label_type"]))[0]))
    if not rows:
        raise UnknownFormatError("there is no record in the ranges that were announced")
    return Samples(np.stack(rows), np.array(labels, dtype=np.int64))


def _type(name: str | None) -> type[np.generic]:
    if name not in TYPES:
        raise UnknownFormatError(f"{name} is no type that these programs read")
    return TYPES[name]
