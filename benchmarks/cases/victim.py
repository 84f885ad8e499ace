"""victim_p99: how long a quiet site waits for its decision while another floods, to how long it waits otherwise.

On a hub whose threads, rates and shares are those that it ships with.
"""

from __future__ import annotations

import asyncio

from benchmarks import crew, scenes
from benchmarks.board import Board
from benchmarks.client import Pool
from benchmarks.crew import Crew
from benchmarks.figures import percentile
from benchmarks.flood import Counts, Plan, flooding
from benchmarks.load import Pace
from benchmarks.yard import Hub, Watch

QUIET_PER_S = 20
"""Reports of the victim a second: with its commands as the run's coordinator less than half of its rate."""


def measure(board: Board) -> None:
    """Idle and flooded in turn, so that a slow minute hits both."""
    board.hub.stop()
    with board.yard.hub(limits=True).running() as hub:
        asyncio.run(_measure(board, hub))
    board.hub.start()


async def _measure(board: Board, hub: Hub) -> None:
    idle, flooded, counts = list[float](), list[float](), list[Counts]()
    watch, seconds = Watch(hub), 4 * board.sizes.seconds
    async with Pool(hub.url, 1) as connections:
        victim = Crew(crew.runs(hub, 1, 1), connections)
        await victim.drive(0.2)
        for number in range(board.sizes.runs):
            await victim.drive(seconds, Pace(QUIET_PER_S, number))
            idle.append(1000 * percentile(victim.spans, 0.99))
            with flooding(_plan(board, hub)) as flood, watch.on():
                await victim.drive(seconds, Pace(QUIET_PER_S, number))
            flooded.append(1000 * percentile(victim.spans, 0.99))
            counts.append(flood.counts)
    board.add("victim_p99", "to idle", [after / before for before, after in zip(idle, flooded, strict=True)], watch)
    board.add("victim_p99", "idle", idle)
    board.add("victim_p99", "flooded", flooded)
    board.add("victim_p99", "tried", [one.tried for one in counts])
    board.add("victim_p99", "accepted", [one.accepted for one in counts])
    board.add("victim_p99", "refused", [one.refused for one in counts])


def _plan(board: Board, hub: Hub) -> Plan:
    """A flooder who has used up nothing of its rates yet."""
    flooder, other = scenes.sites(hub, 2)
    return Plan(
        url=hub.url,
        token=flooder.token,
        project_id=scenes.project(hub, [flooder, other]),
        to=other.id,
        after=0,
        writers=board.sizes.flood,
        half_bodies=board.sizes.flood,
        polls=board.sizes.flood,
    )
