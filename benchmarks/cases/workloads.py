"""Workloads as processes of this machine: how soon one runs, how many a second, what thousand idle ones cost.

On a hub of its own, that has a cluster. Beside it what the machine does without us: bare processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from benchmarks import scenes
from benchmarks.board import Board
from benchmarks.figures import percentile
from benchmarks.yard import Hub, Watch
from config.settings import path_url
from domain import values as v
from domain.ids import Id
from fedyard.client.client import Client
from fedyard.cluster.processes import Processes

T = TypeVar("T")

IMAGE = "local/sh"
AT_ONCE = 8
"""Callers that start workloads side by side."""
WITHIN_S = 900.0
LOOK_EVERY_S = 0.005
SETTLED_S = 12.0
"""After so long a reconciler has looked twice at what is there, and sends nothing any more."""
LIVES = """
now=$(date +%s.%N)
echo "$$ $now" > "$0/new-$FEDYARD_WORKLOAD_ID"
mv "$0/new-$FEDYARD_WORKLOAD_ID" "$0/$FEDYARD_WORKLOAD_ID"
exec sleep 3600
"""
"""A program that says when it began, and as which process, and goes on."""


class Bench:
    """A hub with a cluster, one project there, and where its programs leave their marks."""

    def __init__(self, hub: Hub, root: Path) -> None:
        self.hub = hub
        self.marks = root / "marks"
        self.marks.mkdir(parents=True)
        (site,) = scenes.sites(hub, 1)
        self.site = site
        self.client = Client(hub.url, site.token)
        self.project = scenes.project(hub, [site])

    def start(self, script: str) -> Id:
        """Its id, once the hub has decided that it is wanted."""
        return self.client.start_workload(self.project, "bench", "hub", self.spec(script)).id

    def spec(self, script: str) -> dict[str, object]:
        return {"kind": "job", "image": IMAGE, "arguments": ["-c", script, str(self.marks)], "grace_s": 1.0}

    def began(self, ident: Id) -> tuple[int, float]:
        """Process and time at which it began."""
        mark = self.marks / ident
        until(f"{ident} runs", mark.exists)
        pid, at = mark.read_text().split()
        return int(pid), float(at)

    def count(self, where: str, *values: object) -> int:
        """Of this project's workloads."""
        statement = f"SELECT count(*) FROM workloads WHERE project_id = %s AND {where}"  # noqa: S608 - words of ours
        with self.hub.database.connection():
            found = self.hub.database.one(statement, self.project, *values)
        assert found is not None
        return int(found[0])

    def count_of(self, ident: Id, state: str) -> int:
        """1 if that workload has come so far."""
        with self.hub.database.connection():
            found = self.hub.database.one("SELECT count(*) FROM workloads WHERE id = %s AND state = %s", ident, state)
        assert found is not None
        return int(found[0])

    def created_and_finished(self, count: int, script: str = "exit 0") -> float:
        """A second, from the first command until the records say of the last one that it has succeeded and is gone."""
        gone = "state = 'succeeded' AND id IN (SELECT workload_id FROM workload_attempts WHERE gone_at IS NOT NULL)"
        before = self.count("state = 'succeeded'")
        begun = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as callers:
            list(callers.map(self.start, [script] * count))
        until("all have ended", lambda: self.count(gone) >= before + count)
        return count / (time.perf_counter() - begun)


def measure(board: Board) -> None:
    root = board.yard.folder.resolve() / f"workloads-{time.monotonic_ns()}"
    cluster = root / "cluster"
    settings = {
        "FEDYARD_CLUSTERS": f"hub={path_url('processes', cluster)}",
        "FEDYARD_PROCESS_IMAGES": f"{IMAGE}=/bin/sh",
        "FEDYARD_WORKLOADS_PER_PROJECT": "100000",
        "FEDYARD_WORKLOADS_PER_DAY": "1000000",
    }
    board.hub.stop()
    try:
        with board.yard.hub(settings=settings).running() as hub:
            _measure(board, hub, root)
    finally:
        _clear(cluster)
    board.hub.start()


def _measure(board: Board, hub: Hub, root: Path) -> None:
    runs = range(board.sizes.runs)
    board.add("part_per_s", "bare processes", [_bare(board.sizes.workloads) for _ in runs])
    bench = Bench(hub, root)
    decided, spawned = _one_by_one(bench, board.sizes.trips)
    board.add("spawn_ms", "decided p50", [percentile(decided, 0.5)])
    board.add("spawn_ms", "p50", [percentile(spawned, 0.5)])
    board.add("spawn_ms", "p99", [percentile(spawned, 0.99)])
    watch = Watch(hub)
    with watch.on():
        rates = [bench.created_and_finished(board.sizes.workloads) for _ in runs]
    board.add("workloads_per_s", "created and finished", rates, watch)
    dropped = [_from_exit_to_seat(bench, board.sizes.seats) for _ in runs]
    spans = [span for each in dropped for span in each]
    board.add("seat_ms", "exit p50", [percentile(spans, 0.5)])
    board.add("seat_ms", "exit p99", [percentile(spans, 0.99)])
    measure_idle(board, bench, LIVES, "1000 reconciler")


def _bare(count: int) -> float:
    """Processes a second that do nothing, one after the other: what none of ours can be above by much."""
    begun = time.perf_counter()
    for _ in range(count):
        subprocess.run(["/bin/sh", "-c", "exit 0"], check=True)
    return count / (time.perf_counter() - begun)


def _one_by_one(bench: Bench, count: int) -> tuple[list[float], list[float]]:
    """Of each command, in milliseconds: until its decision was answered, and until the program ran."""
    decided, spawned = list[float](), list[float]()
    for _ in range(count):
        begun = time.time()
        ident = bench.start(LIVES)
        decided.append(1000 * (time.time() - begun))
        spawned.append(1000 * (bench.began(ident)[1] - begun))
    return decided, spawned


def _from_exit_to_seat(bench: Bench, count: int) -> list[float]:
    """Milliseconds from a process's end until its seat is dropped, one after the other."""
    spec = v.WorkloadSpec(kind="job", image=IMAGE, arguments=["-c", LIVES, str(bench.marks)], attempts=1)
    held = [v.Holder(name="bench", spec=spec, count=count)]
    project = scenes.project(bench.hub, [bench.site], rounds=1, workloads=held)
    run_id = bench.client.start_run(project).id
    spans = []
    with bench.hub.database.connection():
        found = bench.hub.database.all("SELECT id FROM workloads WHERE run_id = %s", run_id)
    for (ident,) in found:
        pid, _ = bench.began(ident)
        ended = time.time()
        os.kill(pid, signal.SIGKILL)
        spans.append(1000 * (dropped_at(bench, ident) - ended))
    bench.client.stop_run(run_id)
    return spans


def dropped_at(bench: Bench, workload: Id) -> float:
    """Seconds since the epoch, by the hub's record of the seat."""
    statement = (
        "SELECT state_at FROM seats WHERE state = 'dropped' AND site_id IN"
        " (SELECT site_id FROM workload_attempts WHERE workload_id = %s)"
    )

    def at() -> float | None:
        with bench.hub.database.connection():
            row = bench.hub.database.one(statement, workload)
        return None if row is None else row[0] / 1e6

    return until(f"the seat of {workload} is dropped", at)


def measure_idle(board: Board, bench: Bench, program: str, name: str) -> None:
    """What the reconciler takes of a processor while a thousand workloads just run. program: what `start` takes."""
    live = board.sizes.live_workloads
    lives = bench.count("state = 'running'")
    with ThreadPoolExecutor(AT_ONCE) as callers:
        list(callers.map(bench.start, [program] * (live - lives)))
    until("all run", lambda: bench.count("state = 'running'") >= live)
    time.sleep(SETTLED_S if board.sizes.settle_s else 0.0)
    shares = []
    for _ in range(board.sizes.runs):
        watch = Watch(bench.hub)
        with watch.on():
            time.sleep(4 * board.sizes.seconds)
        shares.append(100 * watch.shares["reconciler"])
    board.add("idle_workloads", name, shares, watch)


def _clear(cluster: Path) -> None:
    """End whatever runs, now that no hub looks after it."""
    with _opened(cluster) as processes:
        places = [(place, (place / "owner").read_text()) for place in (cluster / "places").iterdir()]

        def gone() -> bool:
            left = [place for place, owner in places if not processes.remove_place(owner, place.name)]
            return not left

        until("nothing is left", gone)


@contextmanager
def _opened(cluster: Path) -> Iterator[Processes]:
    processes = Processes(cluster, images={})
    try:
        yield processes
    finally:
        processes.close()


def until(what: str, fact: Callable[[], T | None], within_s: float = WITHIN_S) -> T:
    """The first true value of it."""
    end = time.perf_counter() + within_s
    while not (found := fact()):
        assert time.perf_counter() < end, f"waited in vain until {what}"
        time.sleep(LOOK_EVERY_S)
    return found
