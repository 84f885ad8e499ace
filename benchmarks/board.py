"""What every case is given: the servers, a shared hub, sizes, and where its figures go."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from benchmarks import scenes
from benchmarks.figures import Figure, median_figure
from benchmarks.machine import LOOPS, loops_per_s
from benchmarks.scenes import Site
from benchmarks.yard import Hub, Watch, Yard


@dataclass(frozen=True)
class Sizes:
    """How much each case does; the board's own are the defaults, tests take tiny ones."""

    runs: int = 3
    seconds: float = 3.0
    sites: int = 10_000
    reports: int = 8_000
    live_runs: tuple[int, ...] = (10, 50, 500)
    seats: int = 50
    polls: tuple[int, ...] = (1_000, 3_000)
    trips: int = 150
    messages: int = 4_000
    recipients: int = 1_000
    broadcasts: int = 20
    run_sites: tuple[int, ...] = (2, 10, 50, 200)
    old_runs: int = 100_000
    old_events: int = 1_000_000
    rows: int = 20_000
    settle_s: float = 25.0
    loops: int = LOOPS
    payload_bytes: int = 2**30
    broadcast_bytes: int = 100 * 2**20
    cuts: int = 50
    flood: int = 64
    workloads: int = 500
    live_workloads: int = 1_000
    records: int = 10_000
    backlog: int = 100_000
    outage_s: float = 60.0
    models: int = 1_000
    simulated_sites: int = 50
    simulated_rounds: int = 10
    model_bytes: int = 500_000_000


TINY = Sizes(
    runs=1,
    seconds=0.1,
    sites=20,
    reports=40,
    live_runs=(2,),
    seats=5,
    polls=(12,),
    trips=4,
    messages=40,
    recipients=12,
    broadcasts=3,
    run_sites=(2,),
    old_runs=50,
    old_events=500,
    rows=2_000,
    settle_s=0.0,
    loops=10_000,
    payload_bytes=9_000_000,
    broadcast_bytes=5_000_000,
    flood=40,
    workloads=3,
    live_workloads=6,
    records=60,
    backlog=200,
    outage_s=1.0,
    models=5,
    simulated_sites=2,
    simulated_rounds=2,
    model_bytes=3_000_000,
)


@dataclass
class Board:
    """Cases read `hub`, which runs, and call `add`."""

    yard: Yard
    hub: Hub
    sizes: Sizes
    figures: list[Figure] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    _sites: list[Site] = field(default_factory=list)

    def add(
        self, name: str, case: str, values: Sequence[float], watch: Watch | None = None, unit: str | None = None
    ) -> None:
        """The figure of these runs, also said aloud."""
        figure = median_figure(name, case, values, watch.shares if watch else None, unit)
        self.figures.append(figure)
        range_ = f"[{figure.min:g}..{figure.max:g}]"
        sys.stdout.write(f"  {name:<18} {case:<26} {figure.value:>9g} {figure.unit:<5} {range_}\n")
        sys.stdout.flush()

    def measuring(self, does: Callable[[Board], None]) -> None:
        """One case, its figures marked with how fast the machine was around it."""
        first, before = len(self.figures), loops_per_s(self.sizes.loops)
        does(self)
        after = loops_per_s(self.sizes.loops)
        self.speeds += [before, after]
        speed = round((before + after) / 2, 1)
        self.figures[first:] = [msgspec.structs.replace(one, machine=speed) for one in self.figures[first:]]

    def value(self, name: str, case: str) -> float | None:
        """A figure measured earlier in this run of the board."""
        return next((one.value for one in self.figures if (one.name, one.case) == (name, case)), None)

    def sites(self, count: int) -> list[Site]:
        """Sites that cases may share; at least one."""
        if len(self._sites) < count:
            self._sites += scenes.sites(self.hub, count - len(self._sites))
        return self._sites[:count]
