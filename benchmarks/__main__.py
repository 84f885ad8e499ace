"""`python -m benchmarks [NAME ...]`: the whole board, or the figures of these names."""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvloop

from benchmarks.board import TINY, Board, Sizes
from benchmarks.cases import (
    artifacts,
    deciding,
    growth,
    heartbeats,
    messages,
    pages,
    parts,
    polling,
    runs,
    sealing,
    sites,
    starting,
    streams,
    trust,
    victim,
    waiting,
    workloads,
    workloads_on_kubernetes,
)
from benchmarks.figures import write_figures
from benchmarks.report import write_report
from benchmarks.yard import Yard
from devservers.installing import install_missing
from ops.place import CHECKOUT

FIGURES = CHECKOUT / "var" / "bench.jsonl"

CASES: dict[str, Callable[[Board], None]] = {
    "part_per_s": parts.measure,
    "seal_mb_per_s": sealing.measure,
    "rss_mb idle": partial(starting.measure_memory, when="idle"),
    "decided_per_s": deciding.measure_decided,
    "reports_per_s": deciding.measure_reports,
    "decision_ms": deciding.measure_decision,
    "trip_ms": messages.measure_trips,
    "forwards_per_s": messages.measure_forwards,
    "run_s": runs.measure,
    "heartbeats_per_s": heartbeats.measure,
    "polls_per_s": polling.measure,
    "rss_mb after": partial(starting.measure_memory, when="after"),
    "artifact_mb_per_s": artifacts.measure,
    "resume_overhead": artifacts.measure_resuming,
    "broadcast_cost": artifacts.measure_broadcast,
    "waiting_polls": waiting.measure,
    "trust_us": trust.measure,
    "victim_p99": victim.measure,
    "spawn_ms": workloads.measure,
    "kubernetes": workloads_on_kubernetes.measure,
    "streams": streams.measure,
    "page": pages.measure,
    "sites": sites.measure,
    "growth": growth.measure,
    "start_s": starting.measure,
}


def chosen(names: list[str]) -> dict[str, Callable[[Board], None]]:
    """The cases whose names begin so, in the board's order; all of them without names."""
    wanted = {case: does for case, does in CASES.items() if not names or any(case.startswith(n) for n in names)}
    if not wanted:
        raise SystemExit(f"no such figure: {', '.join(names)}; there are {', '.join(CASES)}")
    return wanted


def run_board(folder: Path, names: list[str], sizes: Sizes, keep: Path | None = None) -> Board:
    """Servers, a hub, the chosen cases; everything is stopped at the end. keep: takes in the figures of each case as
    soon as it is done, so that one that fails does not take the others along."""
    cases = chosen(names)
    with Yard.open(folder) as yard, yard.hub().running() as hub:
        board = Board(yard, hub, sizes)
        for case, does in cases.items():
            begun = time.perf_counter()
            board.measuring(does)
            hub.forget_artifacts()
            sys.stdout.write(f"{case}: {time.perf_counter() - begun:.0f} s\n")
            if keep is not None:
                write_figures(keep, board.figures)
        board.add("part_per_s", "python loops", board.speeds)
    return board


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of these: {', '.join(CASES)}")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to see that everything works; not kept")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / "var" / "bench", help="for servers and logs; emptied")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 16_384)), hard))
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    install_missing("chromium")
    shutil.rmtree(options.folder, ignore_errors=True)
    board = run_board(
        options.folder, options.names, TINY if options.tiny else Sizes(), None if options.tiny else FIGURES
    )
    if not options.tiny:
        write_figures(FIGURES, board.figures)
        write_report(FIGURES)


if __name__ == "__main__":
    main()
