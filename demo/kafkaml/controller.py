"""The controller of a federated training: the training image of TensorFlow's, with CASE 5.

It announces the model, sends it, and takes one worker's update for each round; the new model is the mean of the old one
and of that update.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo.kafkaml import kafka, network
from demo.kafkaml.door import Door
from demo.kafkaml.federation import LAST, Topics, read_weights, write_weights
from demo.kafkaml.framework import FRAMEWORKS
from demo.kafkaml.kafka import Record
from demo.kafkaml.said import say

AVERAGING = "FedAvg"
Metrics = dict[str, dict[str, list[float]]]


def control(environment: Mapping[str, str], between_s: float) -> None:
    """All rounds. It waits for a worker as long as it takes, as Kafka-ML's does."""
    if environment["AGG_STRATEGY"] != AVERAGING:
        raise ValueError(f"{environment['AGG_STRATEGY']} is no strategy of this program")
    servers, door = environment["BOOTSTRAP_SERVERS"], Door(environment["RESULT_URL"], between_s)
    model = door.model()
    weights, sample = network.unpacked(model), network.sample_in(model)
    topics = Topics(environment["FEDERATED_STRING_ID"])
    kafka.write(servers, environment["MODEL_LOGGER_TOPIC"], [Record(b"", announcement(environment, weights, sample))])
    kafka.make(servers, topics.shared())
    updates = kafka.Group(servers, topics.updates_control, topics.controllers)
    said: list[Metrics] = []
    rounds, version, start = int(environment["AGGREGATION_ROUNDS"]), 0, time.monotonic()
    try:
        for number in range(rounds):
            sent = version if number < rounds - 1 else LAST
            where = write_weights(servers, topics.model_data, weights)
            body = model_record(environment, weights, where, sent)
            kafka.write(servers, topics.model_control, [Record(environment["RESULT_ID"].encode(), body)])
            say(f"round {number + 1} of {rounds}: version {sent} is in {where}")
            version, update, metrics = _update(servers, updates)
            weights = [((old + new) / 2).astype(np.float32) for old, new in zip(weights, update, strict=True)]
            said.append(metrics)
            door.metrics(*_last_of_each(said))
    finally:
        updates.close()
    training, validation = _last_of_each(said)
    results = {
        "train_metrics": training,
        "val_metrics": validation,
        "test_metrics": [],
        "training_time": round(time.monotonic() - start, 4),
        "confusion_matrix": None,
        "indefinite": False,
    }
    door.result(results, network.packed(weights, sample), FRAMEWORKS["tensorflow"].file_name)
    say(f"trained in {rounds} rounds and uploaded")


def announcement(environment: Mapping[str, str], weights: Sequence[Any], sample: Sequence[int]) -> bytes:
    """What the edge matches data with."""
    return json.dumps(
        {
            "model_format": {
                "input_shape": " ".join(map(str, sample)),
                "output_shape": str(network.shape_of(weights).outputs),
            },
            "federated_params": {
                "federated_string_id": environment["FEDERATED_STRING_ID"],
                "data_restriction": environment["DATA_RESTRICTION"],
                "min_data": int(environment["MIN_DATA"]),
            },
            "framework": "tf",
            "distributed": False,
            "incremental": False,
        }
    ).encode()


def model_record(environment: Mapping[str, str], weights: Sequence[Any], where: str, version: int) -> bytes:
    settings = {
        "batch": int(environment["BATCH"]),
        "kwargs_fit": json.loads(environment["KWARGS_FIT"].replace("'", '"')),
        "kwargs_val": json.loads(environment["KWARGS_VAL"].replace("'", '"')),
        "unsupervised": False,
    }
    compiled = {"optimizer": "SGD", "loss": "sparse_categorical_crossentropy"}
    return json.dumps(
        {
            "topic": where,
            "version": version,
            "training_settings": settings,
            "model_architecture": network.architecture(network.shape_of(weights)),
            "model_compile_args": {**compiled, "metrics": [FRAMEWORKS["tensorflow"].accuracy]},
        }
    ).encode()


def _update(servers: str, updates: kafka.Group) -> tuple[int, list[Any], Metrics]:
    """The next one that can be read: its version, its weights, and how its worker fared."""
    while True:
        record = updates.next()
        try:
            body = json.loads(record.value)
            found = read_weights(servers, body["topic"])
            return int(body["version"]), found, body["metrics"]
        except (ValueError, KeyError) as error:
            say(f"an update that cannot be read: {error}")
        finally:
            updates.commit()


def _last_of_each(said: Sequence[Metrics]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Of each round the last epoch."""
    found: tuple[dict[str, list[float]], dict[str, list[float]]] = ({}, {})
    for metrics in said:
        for where, kind in zip(found, ("training", "validation"), strict=True):
            for name, values in metrics[kind].items():
                where.setdefault(name, []).append(values[-1])
    return found
