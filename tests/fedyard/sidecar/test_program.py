"""The program itself: what it lacks it names, and what it was told before it is ended the hub hears."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from fedyard.sidecar.rounds import Stage
from tests.fedyard.sidecar.answers import Answers, told
from tests.ops.program import ROOT
from tests.waiting import until

PROJECT = "0c1b7f5e-0000-4000-8000-000000000001"


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder), **more}


@contextmanager
def running(folder: Path, url: str, port: int) -> Iterator[subprocess.Popen[str]]:
    given = {"FEDYARD_HUB_URL": url, "FEDYARD_PROJECT_ID": PROJECT, "FEDYARD_TOKEN": "fyr_secret", "PORT": str(port)}
    command = [sys.executable, "-m", "fedyard.sidecar", str(folder / "fl_checkpoint")]
    program = subprocess.Popen(command, env=environment(folder, **given), cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        yield program
    finally:
        program.kill()
        program.wait()


def report(port: int, number: int, stage: Stage) -> None:
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        said = bytes([0x08, stage, 0x10, number])
        channel.unary_unary("/FlStatus/RoundStatus")(said, timeout=30, wait_for_ready=True)


def test_who_is_killed_goes_on_and_who_is_ended_tells_first(hub: Answers, tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with running(tmp_path, "http://127.0.0.1:9", port):  # where no hub is
        report(port, 0, Stage.REPORTING)
    with running(tmp_path, hub.url, port) as again:
        report(port, 1, Stage.SELECTION)
        again.send_signal(signal.SIGTERM)
        said = again.communicate(timeout=30)[0]
    assert again.returncode == 0
    until(lambda: len(hub.asked) == 3)
    assert told(hub) == [(0, "REPORTING"), (0, "COMPLETED"), (1, "SELECTION")]
    assert "fyr_secret" not in said
    assert "round 0: no checkpoint" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fl_checkpoint"], "the environment lacks FEDYARD_HUB_URL, FEDYARD_PROJECT_ID, FEDYARD_TOKEN"),
        ([], "usage: python3 -m fedyard.sidecar CHECKPOINT"),
    ],
)
def test_what_it_lacks_it_names(tmp_path: Path, arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "fedyard.sidecar", *arguments]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stdout) == (2, True)


def test_a_folder_that_it_cannot_write_to_it_names(tmp_path: Path) -> None:
    lost = tmp_path / "lost"
    given = {"FEDYARD_HUB_URL": "http://127.0.0.1:9", "FEDYARD_PROJECT_ID": PROJECT, "FEDYARD_TOKEN": "fyr_secret"}
    command = [sys.executable, "-m", "fedyard.sidecar", "fl_checkpoint"]
    done = subprocess.run(command, env=environment(lost, **given), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"what the hub is to be told cannot be kept in {lost}: No such file or directory" in done.stdout
