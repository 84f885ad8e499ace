"""polls_per_s: an inbox with nothing new; a run with fifty seats, however many runs live."""

from __future__ import annotations

import asyncio

from benchmarks import scenes
from benchmarks.board import Board
from benchmarks.client import Pool, request
from benchmarks.load import closed
from benchmarks.scenes import Site
from benchmarks.yard import Hub, Watch
from domain.ids import Id

CONNECTIONS = 32


def measure(board: Board) -> None:
    asyncio.run(_inboxes(board))
    sites = scenes.sites(board.hub, board.sizes.seats)
    live: list[Id] = []
    for wanted in board.sizes.live_runs:
        live += live_runs(board.hub, sites, wanted - len(live))
        watch = Watch(board.hub)
        rates = asyncio.run(run_rates(board, board.hub, sites[0], live, watch))
        board.add("polls_per_s", f"run@{wanted}", rates, watch, unit="1/s")


def live_runs(hub: Hub, sites: list[Site], count: int) -> list[Id]:
    """So many more live runs of these sites, a hundred at most in a project."""
    made: list[Id] = []
    while len(made) < count:
        some = min(100, count - len(made))
        made += scenes.runs(hub, scenes.project(hub, sites), sites[0], some)
    return made


async def _inboxes(board: Board) -> None:
    sites = board.sites(CONNECTIONS)
    polls = [request("GET", f"/v1/inbox?after={scenes.newest(board.hub, site)}", site.token) for site in sites]
    watch = Watch(board.hub)
    async with Pool(board.hub.url, CONNECTIONS) as connections:
        await closed(connections, 0.2, lambda number: polls[number], 200)
        rates = []
        for _ in range(board.sizes.runs):
            with watch.on():
                rates.append((await closed(connections, board.sizes.seconds, lambda number: polls[number], 200)).rate)
    board.add("polls_per_s", "inbox", rates, watch)


async def run_rates(
    board: Board, hub: Hub, reader: Site, live: list[Id], watch: Watch, *, times: int | None = None
) -> list[float]:
    """Every connection reads the live runs in turn, as the coordinator, who sees all seats."""
    polls = [request("GET", f"/v1/runs/{ident}", reader.token) for ident in live]
    turns = list(range(CONNECTIONS))

    def next_poll(number: int) -> bytes:
        turns[number] += CONNECTIONS
        return polls[turns[number] % len(polls)]

    async with Pool(hub.url, CONNECTIONS) as connections:
        await closed(connections, 0.2, next_poll, 200)
        rates = []
        for _ in range(times or board.sizes.runs):
            with watch.on():
                rates.append((await closed(connections, board.sizes.seconds, next_poll, 200)).rate)
        return rates
