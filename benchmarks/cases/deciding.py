"""decided_per_s, reports_per_s, decision_ms: seat reports, from the queue alone and over HTTP."""

from __future__ import annotations

import asyncio
import time

from benchmarks import crew
from benchmarks.board import Board
from benchmarks.client import Pool
from benchmarks.crew import Crew
from benchmarks.figures import percentile
from benchmarks.load import Pace
from benchmarks.yard import Hub, Watch
from broker.publisher import GroupPublisher
from domain.commands import Envelope

SHAPES = {"10x5": (10, 5), "1x50": (1, 50), "200x5": (200, 5)}
OVER_HTTP = ("10x5", "1x50")
IDLE_PER_S = 40
_LOOKS = 600
_DECIDED = (
    "SELECT count(*), sum(CASE WHEN state = 'accepted' THEN 1 ELSE 0 END), min(decided_at), max(decided_at) "
    "FROM commands WHERE id {any:uuid}"
)
_LAST = "SELECT decided_at FROM commands WHERE id = %s"


def measure_decided(board: Board) -> None:
    for case, (runs, seats) in SHAPES.items():
        watch = Watch(board.hub)
        rates = [_drained(board, watch, *_small(board, runs, seats)) for _ in range(board.sizes.runs)]
        board.add("decided_per_s", case, rates, watch)


def _small(board: Board, runs: int, seats: int) -> tuple[int, int]:
    """Tests have fewer reports than 200 runs of 5 seats need."""
    return max(1, min(runs, board.sizes.reports // (4 * seats))), seats


def _drained(board: Board, watch: Watch, runs: int, seats: int) -> float:
    """Reports a second: the decider starts on a full queue; from its first decision to the last one.

    `runs` of them report side by side, then the next ones. Each has one round: the next one begins with a model, and
    a decider that takes senders in turn keeps no order between those who in life would have waited for each other.
    """
    hub = board.hub
    groups = max(1, board.sizes.reports // (4 * runs * seats))
    started = crew.runs(hub, runs * groups, seats)
    envelopes = [
        one
        for first in range(0, len(started), runs)
        for row in _side_by_side(started[first : first + runs])
        for one in row
    ]
    hub.stop("decider")
    publisher = GroupPublisher(hub.settings.broker_url, "bench")
    for first in range(0, len(envelopes), 1_000):
        publisher.send(envelopes[first : first + 1_000])
    publisher.close()
    with watch.on():
        hub.start("decider")
        _await(hub, envelopes[-1])
        accepted, first_at, last_at = _await_all(hub, envelopes)
    assert accepted == len(envelopes), "each comes in its turn, and none too early"
    spent = max(last_at - first_at, 1)  # the handful of a test may be one batch, decided at one time
    return len(envelopes) / (spent / 1_000_000)


def _side_by_side(started: list[crew.Run]) -> list[tuple[Envelope, ...]]:
    """A round of all these runs, report by report, as it would come from sites that work at the same speed."""
    return list(zip(*map(crew.reports_of, started), strict=True))


def _await(hub: Hub, last: Envelope) -> None:
    with hub.database.connection():
        while hub.database.one(_LAST, last.id) is None:
            time.sleep(0.005)


def _await_all(hub: Hub, envelopes: list[Envelope]) -> tuple[int, int, int]:
    """How many were accepted, the first decision's and the last one's time. The decider takes senders in turn, so that
    the one sent last need not be the last one decided."""
    with hub.database.connection():
        ids = hub.database.many(one.id for one in envelopes)
        for _ in range(_LOOKS):
            decided, accepted, first_at, last_at = hub.database.one(_DECIDED, ids) or (0, 0, 0, 0)
            if decided == len(envelopes):
                return accepted, first_at, last_at
            time.sleep(0.1)
    raise AssertionError(f"{len(envelopes) - decided} of {len(envelopes)} reports were not decided")


def measure_reports(board: Board) -> None:
    asyncio.run(_reports(board, OVER_HTTP))


async def _reports(board: Board, cases: tuple[str, ...]) -> None:
    for case in cases:
        watch = Watch(board.hub)
        rates = await rates_over_http(board, board.hub, *SHAPES[case], watch)
        board.add("reports_per_s", case, rates, watch)


async def rates_over_http(
    board: Board, hub: Hub, runs: int, seats: int, watch: Watch, *, times: int | None = None
) -> list[float]:
    """Reports a second, each waited for; one connection for each seat. times: as often as everything, if not said."""
    started = crew.runs(hub, runs, seats)
    async with Pool(hub.url, runs * seats) as connections:
        crowd = Crew(started, connections)
        await crowd.drive(min(0.5, board.sizes.seconds))
        rates = []
        for _ in range(times or board.sizes.runs):
            with watch.on():
                await crowd.drive(board.sizes.seconds)
            rates.append(len(crowd.spans) / crowd.seconds)
        return rates


def measure_decision(board: Board) -> None:
    asyncio.run(_decision(board))


async def _decision(board: Board) -> None:
    full = board.value("reports_per_s", "10x5")
    if full is None:
        full = max(await rates_over_http(board, board.hub, *SHAPES["10x5"], Watch(board.hub)))
    for case, per_s, seconds in (
        ("idle", IDLE_PER_S, 2 * board.sizes.seconds),
        ("half load", full / 2, board.sizes.seconds),
    ):
        middle, worst, watch = [], [], Watch(board.hub)
        async with Pool(board.hub.url, 50) as connections:
            crowd = Crew(crew.runs(board.hub, 10, 5), connections)
            await crowd.drive(0.1)
            for number in range(board.sizes.runs):
                with watch.on():
                    await crowd.drive(seconds, Pace(per_s, number))
                middle.append(1000 * percentile(crowd.spans, 0.5))
                worst.append(1000 * percentile(crowd.spans, 0.99))
        board.add("decision_ms", f"{case} p50", middle, watch)
        board.add("decision_ms", f"{case} p99", worst, watch)
