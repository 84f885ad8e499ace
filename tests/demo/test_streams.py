"""Streams, told as a newcomer sees them: one telling, and what it says of each part."""

from __future__ import annotations

import re

from tests.demo.test_demo import Telling


def test_data_are_trained_on_answered_for_and_federated(tmp_path) -> None:
    telling = Telling(tmp_path / "demo", "--streams")
    assert telling.process.wait() == 0, telling.output
    said = telling.output
    assert re.search(r"^deployment (\d+): waiting; no process waits", said, re.MULTILINE)
    assert re.search(r"^announced +900 digits in digits:0:0:900 on KAFKA_ML_CONTROL_TOPIC", said, re.MULTILINE)
    assert len(re.findall(r"^result +\d+: finished; accuracy", said, re.MULTILINE)) == 2
    assert re.search(r"^answers +297, (8[5-9]|9\d|100)\.\d% of them right$", said, re.MULTILINE)
    ended = re.findall(r"^process +(federated-\S+): succeeded$", said, re.MULTILINE)
    controller, worker = sorted(ended)
    assert controller == "federated-model-training-controller-2"
    assert re.fullmatch(r"federated-training-[0-9a-z]{8}-worker-[0-9a-f]{8}", worker)
    assert re.search(r"^left +nothing", said, re.MULTILINE)
