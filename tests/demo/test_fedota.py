"""The stand-ins for Fedota's coordinator, selector and client: their messages as protobuf has them, and a round."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from demo.fedota import messages as m
from demo.fedota.client import read_config, take_part
from demo.fedota.files import overwrite, packed, read
from fedyard.sidecar.rounds import Stage
from fedyard.sidecar.status import StatusServer
from tests.waiting import until
from web.api.fedota import configuration

ROOT = Path(__file__).parents[2]
KINDS = descriptor_pb2.FieldDescriptorProto
FIELDS = {
    "CheckInRequest": [("message", 1, KINDS.TYPE_STRING)],
    "FlData": [
        ("chunk", 1, KINDS.TYPE_BYTES), ("intVal", 2, KINDS.TYPE_INT64), ("type", 3, KINDS.TYPE_UINT32),
        ("isLastChunk", 4, KINDS.TYPE_BOOL), ("filePath", 5, KINDS.TYPE_STRING),
    ],
    "ClientCount": [("count", 1, KINDS.TYPE_UINT32), ("id", 2, KINDS.TYPE_STRING)],
    "SelectorId": [("id", 1, KINDS.TYPE_STRING)],
    "FlClientStatus": [("accepted", 1, KINDS.TYPE_BOOL)],
    "FlRoundStatus": [("stage", 1, KINDS.TYPE_UINT32), ("roundNo", 2, KINDS.TYPE_UINT32)],
}  # fmt: skip
"""fl-proto; enums as the numbers that they are on the wire."""


def fedotas() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="fedota.proto", syntax="proto3")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            message.field.add(name=field, number=number, type=kind, label=KINDS.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in FIELDS}


THEIRS = fedotas()
TEXTS = st.text(alphabet="a-.:0é€\U0001f600", max_size=200)


@given(
    st.binary(max_size=300), st.integers(-(2**63), 2**63 - 1), st.sampled_from([m.FILES, m.INT]), st.text(max_size=20)
)
def test_data_are_written_and_read_as_protobuf_does(chunk, number, kind, path) -> None:
    theirs = THEIRS["FlData"](chunk=chunk, intVal=number, type=kind, filePath=path).SerializeToString()
    ours = m.FlData(chunk, number, kind, path)
    assert (ours.write(), m.FlData.read(theirs)) == (theirs, ours)


@given(st.integers(0, 2**32 - 1), TEXTS, st.booleans())
def test_the_other_messages_are_protobufs_too(number, text, accepted) -> None:
    assert m.check_in_request(text) == THEIRS["CheckInRequest"](message=text).SerializeToString()
    assert m.client_count(number, text) == THEIRS["ClientCount"](count=number, id=text).SerializeToString()
    assert m.selector_of_count(m.client_count(number, text)) == text
    assert m.selector_id(text) == THEIRS["SelectorId"](id=text).SerializeToString()
    assert m.read_selector_id(m.selector_id(text)) == text
    assert m.client_status(accepted=accepted) == THEIRS["FlClientStatus"](accepted=accepted).SerializeToString()
    assert m.is_accepted(m.client_status(accepted=accepted)) is accepted
    assert m.round_status(3, number) == THEIRS["FlRoundStatus"](stage=3, roundNo=number).SerializeToString()


def test_a_client_reads_the_configuration_that_joining_gives() -> None:
    wanted = {
        "SELECTOR_ADDRESS": "127.1.2.3:50051", "DEVICE_DIR": "../device_data", "DATA_DIR": "data",
        "FL_INIT_DIR": "fl_init_files", "CHECKPOINT_FILE": "fl_checkpoint", "MODEL_FILE": "model.h5",
        "WEIGHT_UPDATES_DIR": "weight_updates", "WEIGHT_UPDATES_FILE": "fl_weight_updates", "DATASET_ID": "1",
        "TIMEOUT_IN_SECONDS": "10000", "CHUNKER_SIZE": "200",
    }  # fmt: skip
    assert wanted.items() <= read_config(configuration("127.1.2.3:50051")).items()
    assert read_config(configuration())["SELECTOR_ADDRESS"] == ""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture
def started() -> Iterator[Any]:
    running: list[subprocess.Popen[bytes]] = []

    def start(part: str, **environment: str) -> None:
        command = [sys.executable, "-m", f"demo.fedota.{part}"]
        running.append(subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL))

    yield start
    for one in running:
        one.send_signal(signal.SIGTERM)
    assert [one.wait(20) for one in running] == [0] * len(running)


def test_a_round_averages_what_two_clients_of_two_selectors_have_trained(started: Any, tmp_path: Path) -> None:
    root = tmp_path / "volume"
    (root / "initFiles").mkdir(parents=True)
    (root / "initFiles" / "model.h5").write_bytes(b"a linear model")
    checkpoint = root / "initFiles" / "fl_checkpoint"
    overwrite(checkpoint, packed({"weights": np.zeros(2), "bias": np.zeros(1)}) + b"longer than the next")
    reported: list[tuple[int, Stage]] = []
    webserver = StatusServer(0, lambda number, stage: reported.append((number, stage)))
    ports = [free_port() for _ in range(3)]
    shared = {"FL_ROOT_PATH": str(root)}
    started(
        "coordinator", **shared, PORT=str(ports[0]), CHECKIN_LIMIT="2", WEBSERVER_ADDRESS=f"localhost:{webserver.port}"
    )
    for number in (0, 1):
        named = {"HOSTNAME": f"selector-{number}", "SELECTOR_SERVICE": "selector", "PORT": str(ports[1 + number])}
        started("selector", **shared, **named, COORDINATOR_ADDRESS=f"127.0.0.1:{ports[0]}")
    draw = np.random.default_rng(7)
    results, threads = [], []
    for number in (0, 1):
        features = draw.normal(size=(640, 2))
        rows = np.column_stack([features, features @ [2.0, -1.0] + 0.5])
        place = tmp_path / f"client-{number}"
        (tmp_path / "device_data" / "data" / "train").mkdir(parents=True, exist_ok=True)
        place.mkdir()
        np.savetxt(tmp_path / "device_data" / "data" / "train" / f"rows-{number}.csv", rows, delimiter=",")
        (place / "config.yaml").write_text(configuration(f"127.0.0.1:{ports[1 + number]}"))
        threads.append(threading.Thread(target=lambda place=place: results.append(take_part(place)), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [0, 0]
    until(lambda: len(reported) == 3)
    webserver.stop()
    assert (1, Stage.SELECTION) in reported, "which is what becomes of COMPLETED"
    assert set(reported) <= {(0, Stage.CONFIGURATION), (0, Stage.REPORTING), (1, Stage.SELECTION)}
    own = root / f"selector-0.selector:{ports[1]}"
    assert (own / "fl_agg_checkpoint_weight").read_text() == (own / "roundFiles" / "checkpoint_weight_1").read_text()
    assert np.allclose(read(checkpoint)["weights"], [2.0, -1.0], atol=0.6)
