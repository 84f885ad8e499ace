"""Workloads on Kubernetes, as far as that can be measured without one: on the tests' API server, a process of its own.

What is measured is the hub and its client; the server's part (Python, one process, pods that are threads) is measured
beside it: the same number of jobs made and removed by bare requests. A real cluster's scheduler and kubelets take
seconds where these take milliseconds.
"""

from __future__ import annotations

import http.client
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import psutil

from benchmarks import scenes
from benchmarks.board import Board
from benchmarks.cases.workloads import Bench, dropped_at, measure_idle, until
from benchmarks.figures import percentile
from benchmarks.yard import Hub, Process, Watch, start_afresh
from config.settings import path_url
from domain import values as v
from domain.ids import Id
from fedyard.cluster.names import WORKLOAD

SHELL, PAUSE, DONE = "fedyard.test/sh:1", "fedyard.test/pause:1", "fedyard.test/done:1"
ROOMY: Final = {"pods": "4000", "requests.cpu": "4000", "limits.cpu": "4000"}
READY_WITHIN_S = 60.0


class Server:
    """The API server, and what is asked of it without us."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "kubeconfig"
        self._log = (folder / "apiserver.log").open("ab")
        command = shlex.join([sys.executable, "-m", "tests.cluster.apiserver", str(self.config)])
        self._process: Process = start_afresh(command, os.environ, self._log)
        until("the API server is ready", lambda: self.config.exists() and self._answers(), READY_WITHIN_S)

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(READY_WITHIN_S)
        self._log.close()

    def _answers(self) -> bool:
        try:
            connection = self.connection()
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def connection(self) -> http.client.HTTPConnection:
        url = urlsplit(self._said("server"))
        return http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)

    def asked(self, connection: http.client.HTTPConnection, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else msgspec.json.encode(body)
        connection.request(method, path, content, self._headers())
        answer = connection.getresponse().read()
        return msgspec.json.decode(answer)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._said('token')}", "Content-Type": "application/json"}

    def _said(self, name: str) -> str:
        """Of the kubeconfig's first context."""
        found = re.search(rf'{name}: "([^"]*)"', self.config.read_text())
        assert found is not None
        return found[1]

    @contextmanager
    def watched(self) -> Iterator[dict[str, float]]:
        """By workload, when its object was there, as a watch tells it."""
        seen: dict[str, float] = {}
        connection = self.connection()
        connection.request("GET", "/apis/batch/v1/jobs?watch=true&resourceVersion=0", headers=self._headers())
        stream = connection.getresponse()

        def follow() -> None:
            with suppress(OSError):  # we shut it, and the server may do so first
                while line := stream.readline():
                    change = msgspec.json.decode(line)
                    if change["type"] == "ADDED":
                        seen[change["object"]["metadata"]["labels"].get(WORKLOAD, "")] = time.time()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            if connection.sock is not None:
                connection.sock.shutdown(2)
            thread.join(10)
            connection.close()

    def end(self, workload: Id) -> None:
        """Kill its pod's process."""
        mark = f"FEDYARD_WORKLOAD_ID={workload}".encode()
        for child in psutil.Process(self._process.pid).children(recursive=True):
            if mark in Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0"):
                child.kill()
                return
        raise AssertionError(f"{workload} has no process")

    def bare(self, count: int) -> float:
        """Jobs a second that are made, end at once, and are removed, one caller."""
        connection = self.connection()
        base = "/apis/batch/v1/namespaces/default/jobs"
        begun = time.perf_counter()
        for number in range(count):
            self.asked(connection, "POST", base, _job(f"bare-{number}"))
        until("all have ended", lambda: self._succeeded(connection, base) >= count)
        for number in range(count):
            options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
            self.asked(connection, "DELETE", f"{base}/bare-{number}", options)
        until("all are gone", lambda: not self.asked(connection, "GET", base)["items"])
        spent = time.perf_counter() - begun
        connection.close()
        return count / spent

    def _succeeded(self, connection: http.client.HTTPConnection, base: str) -> int:
        return sum(bool(one["status"].get("succeeded")) for one in self.asked(connection, "GET", base)["items"])


def _job(name: str) -> object:
    container = {"name": "c", "image": DONE}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"backoffLimit": 0, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


class OnKubernetes(Bench):
    """image: of the workloads that are started."""

    def spec(self, script: str) -> dict[str, object]:
        """script: the name of an image that has nothing to run but itself."""
        return {"kind": "job", "image": script, "grace_s": 1.0, "resources": {"cpu_millis": 10}}


def measure(board: Board) -> None:
    root = board.yard.folder.resolve() / f"kubernetes-{time.monotonic_ns()}"
    root.mkdir(parents=True)
    server = Server(root)
    rules = root / "rules.toml"
    rules.write_text("[quota]\n" + "".join(f'"{name}" = "{value}"\n' for name, value in ROOMY.items()))
    settings = {
        "FEDYARD_CLUSTERS": f"hub={path_url('kubeconfig', server.config)}?context=tests&rules={rules}",
        "FEDYARD_WORKLOAD_IMAGES": "fedyard.test/*",
        "FEDYARD_WORKLOADS_PER_PROJECT": "100000",
        "FEDYARD_WORKLOADS_PER_DAY": "1000000",
    }
    board.hub.stop()
    try:
        with board.yard.hub(settings=settings).running() as hub:
            _measure(board, hub, server, root)
    finally:
        server.close()
    board.hub.start()


def _measure(board: Board, hub: Hub, server: Server, root: Path) -> None:
    sizes = board.sizes
    board.add("part_per_s", "bare jobs", [server.bare(sizes.workloads) for _ in range(sizes.runs)])
    bench = OnKubernetes(hub, root)
    bench.start(DONE)  # its place is made
    until("the place is there", lambda: bench.count("state = 'succeeded'") == 1)
    decided, spawned = _one_by_one(bench, server, sizes.trips)
    board.add("spawn_ms", "kubernetes decided p50", [percentile(decided, 0.5)])
    board.add("spawn_ms", "kubernetes p50", [percentile(spawned, 0.5)])
    board.add("spawn_ms", "kubernetes p99", [percentile(spawned, 0.99)])
    watch = Watch(hub)
    with watch.on():
        rates = [bench.created_and_finished(sizes.workloads, DONE) for _ in range(sizes.runs)]
    board.add("workloads_per_s", "kubernetes", rates, watch)
    spans = [span for _ in range(sizes.runs) for span in _from_exit_to_seat(bench, server, sizes.seats)]
    board.add("seat_ms", "kubernetes exit p50", [percentile(spans, 0.5)])
    board.add("seat_ms", "kubernetes exit p99", [percentile(spans, 0.99)])
    measure_idle(board, bench, PAUSE, "kubernetes 1000 reconciler")


def _one_by_one(bench: Bench, server: Server, count: int) -> tuple[list[float], list[float]]:
    """Of each command, in milliseconds: until its decision was answered, and until its Job was there."""
    decided, spawned = list[float](), list[float]()
    with server.watched() as seen:
        for _ in range(count):
            begun = time.time()
            ident = bench.start(DONE)
            decided.append(1000 * (time.time() - begun))
            until(f"{ident} is there", partial(seen.get, ident))
            spawned.append(1000 * (seen[ident] - begun))
    return decided, spawned


def _from_exit_to_seat(bench: Bench, server: Server, count: int) -> list[float]:
    """Milliseconds from the end of a pod's process until its seat is dropped, one after the other."""
    spec = v.WorkloadSpec(kind="job", image=SHELL, command=["sleep", "3600"], attempts=1)
    held = [v.Holder(name="bench", spec=spec, count=count)]
    project = scenes.project(bench.hub, [bench.site], rounds=1, workloads=held)
    run_id = bench.client.start_run(project).id
    with bench.hub.database.connection():
        found = bench.hub.database.all("SELECT id FROM workloads WHERE run_id = %s", run_id)
    spans = []
    for (ident,) in found:
        until(f"{ident} runs", partial(bench.count_of, ident, "running"))
        ended = time.time()
        server.end(ident)
        spans.append(1000 * (dropped_at(bench, ident) - ended))
    bench.client.stop_run(run_id)
    return spans
