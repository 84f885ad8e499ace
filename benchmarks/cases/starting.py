"""start_s and rss_mb: how long a hub takes to be there, and how much memory it takes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.board import Board
from benchmarks.yard import is_ready
from broker.policies import apply_policies
from config.processes import WORKERS
from devservers.ports import free_port
from ops.place import CHECKOUT

READY_WITHIN_S = 60.0
ROLES = ("web", *WORKERS)


def measure(board: Board) -> None:
    folder = board.yard.folder / "starts"
    board.add("start_s", "embedded", [_embedded(folder / str(number)) for number in range(board.sizes.runs)])
    board.add("start_s", "full", [_full(board, folder / f"full-{number}") for number in range(board.sizes.runs)])
    shutil.rmtree(folder, ignore_errors=True)


def _embedded(folder: Path) -> float:
    folder.mkdir(parents=True)
    port = free_port()
    return _until_ready(["bin/fedyard-hub", "embedded", "--data", str(folder), "--port", str(port)], port, {})


def _full(board: Board, folder: Path) -> float:
    """`make up` on servers that run, with a fresh vhost and a fresh database: migrations and queues included."""
    folder.mkdir(parents=True)
    port = free_port()
    vhost = board.yard.rabbitmq.vhost()
    apply_policies(board.yard.rabbitmq.management.call, vhost.rpartition("/")[2])
    there = {
        "FEDYARD_BROKER_URL": vhost,
        "FEDYARD_DATABASE_URL": board.yard.postgres.database(),
        "FEDYARD_WEB_PORT": str(port),
    }
    return _until_ready(["bin/fedyard-hub", "up", "--data", str(folder)], port, there)


def _until_ready(command: Sequence[str], port: int, there: Mapping[str, str]) -> float:
    begun = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FEDYARD_")}
    with subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env={**environment, **there},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            while not is_ready(f"http://127.0.0.1:{port}"):
                assert process.poll() is None, f"{' '.join(command)} ended by itself"
                assert time.perf_counter() < begun + READY_WITHIN_S, "not ready"
                time.sleep(0.02)
            return time.perf_counter() - begun
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def measure_memory(board: Board, when: str) -> None:
    """Each process of the board's own hub; after load once it had the time to give back what it does not need."""
    if when == "after":
        time.sleep(board.sizes.settle_s)
    found = board.hub.megabytes()
    for role in ROLES:
        board.add("rss_mb", f"{role} {when}", [found[role]])
    board.add("rss_mb", f"all {when}", [sum(found[role] for role in ROLES)])
