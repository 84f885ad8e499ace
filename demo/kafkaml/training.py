"""The training job: `python -m demo.kafkaml.training pytorch|tensorflow`.

It takes its model from RESULT_URL, waits on CONTROL_TOPIC for the first record whose key is its DEPLOYMENT_ID, reads
the records that are announced there, trains, measures, and uploads. CASE 5 of TensorFlow's is the controller of a
federated training (demo/kafkaml/controller.py).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from demo.kafkaml import expression, kafka, network
from demo.kafkaml.controller import control
from demo.kafkaml.door import BETWEEN_S, Door, DoorError
from demo.kafkaml.framework import FRAMEWORKS, Framework
from demo.kafkaml.said import ended, say
from demo.kafkaml.samples import Samples, samples, shape_of

FEDERATED, CLASSIC = "5", "1"
Fields = dict[str, Any]


def run(environment: Mapping[str, str], framework: Framework, between_s: float = BETWEEN_S) -> None:
    """One job, to its end."""
    case = environment.get("CASE", CLASSIC)
    if framework.reads_case and case == FEDERATED:
        control(environment, between_s)
    elif framework.reads_case and case != CLASSIC:
        raise ValueError(f"case {case} is none of this program's")
    else:
        classic(environment, framework, between_s)


def classic(environment: Mapping[str, str], framework: Framework, between_s: float) -> None:
    servers, topic = environment["BOOTSTRAP_SERVERS"], environment["CONTROL_TOPIC"]
    deployment = int(environment["DEPLOYMENT_ID"])
    door = Door(environment["RESULT_URL"], between_s)
    model = door.model()
    say(f"model of {len(model)} bytes; waits on {topic} for deployment {deployment}")
    for record in kafka.everything(servers, topic):
        if not record.key or int.from_bytes(record.key, "big") != deployment:
            continue
        found = json.loads(record.value)
        try:
            _upload(environment, framework, door, model, found)
        except DoorError as error:
            say(f"the result was not taken: {error}")
        return


def _upload(environment: Mapping[str, str], framework: Framework, door: Door, model: bytes, found: Fields) -> None:
    read = kafka.between(environment["BOOTSTRAP_SERVERS"], expression.read(found["topic"]))
    given = samples(read, found["input_format"], found["input_config"])
    say(f"read {len(given)} records of {found['topic']}")
    sample = shape_of(found["input_config"])
    training, testing, validation = given.split(found["validation_rate"], found["test_rate"])
    weights = framework.begun(model, given.rows.shape[1])
    start = time.monotonic()
    epochs, batch = _epochs(environment, framework), int(environment["BATCH"])
    done = network.trained(weights, training, validation, epochs, batch, framework.accuracy, door.metrics)
    took = time.monotonic() - start
    tested = network.measured(done.weights, testing, framework.accuracy) if len(testing) else {}
    wants_matrix = json.loads(environment.get("CONF_MAT_CONFIG") or "null")
    results: Fields = {
        "train_metrics": done.training,
        "val_metrics": done.validation,
        "test_metrics": {name: [value] for name, value in tested.items()},
        "training_time": round(took, 4),
        "confusion_matrix": _matrix(done.weights, testing) if wants_matrix and len(testing) else None,
    }
    if framework.says_indefinite:
        results["indefinite"] = False
    door.result(results, network.packed(done.weights, sample), framework.file_name)
    say(f"trained for {took:.1f} s and uploaded: { ({name: round(one, 3) for name, one in tested.items()}) }")


def _epochs(environment: Mapping[str, str], framework: Framework) -> int:
    return int(json.loads(environment["KWARGS_FIT"].replace("'", '"')).get(framework.epochs, 1))


def _matrix(weights: network.Weights, testing: Samples) -> list[list[int]]:
    """Rows: what it is; columns: what it was taken for."""
    count = network.shape_of(weights).outputs
    found = np.zeros((count, count), dtype=int)
    np.add.at(found, (testing.labels, network.predicted(weights, testing.rows).argmax(axis=1)), 1)
    return [[int(one) for one in line] for line in found]


def main() -> int:
    """The exit code. Words behind the framework are a command, which the image runs instead: that of a model's file."""
    _, framework, *command = sys.argv
    if command:
        _python, *words = command
        os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - what a container does
    return ended(lambda environment: run(environment, FRAMEWORKS[framework]))


if __name__ == "__main__":
    sys.exit(main())
