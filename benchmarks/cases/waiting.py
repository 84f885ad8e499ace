"""waiting_polls: thousands of inboxes polled and nothing new; then half of them get a message at once."""

from __future__ import annotations

import asyncio
import base64
import json
import time

from benchmarks import scenes
from benchmarks.board import Board
from benchmarks.client import Connection, Pool, request
from benchmarks.figures import percentile
from benchmarks.load import Pace, closed, timed
from benchmarks.scenes import Site
from benchmarks.yard import Watch

OTHERS_PER_S = 100
_BODY = base64.b64encode(b"x" * 100).decode()


def measure(board: Board) -> None:
    """On a web process that has done nothing else, so that its memory is that of the polls."""
    for count in board.sizes.polls:
        board.hub.stop("web")
        board.hub.start("web")
        asyncio.run(_measure(board, count))


async def _measure(board: Board, count: int) -> None:
    sender, reader, *sites = scenes.sites(board.hub, count + 2)
    project = scenes.project(board.hub, [sender, *sites])
    memory, idle, others, waking = [], [], [], []
    async with Pool(board.hub.url, count) as connections, Pool(board.hub.url, 2) as (one, other):
        for number in range(board.sizes.runs):
            after = scenes.newest(board.hub, sites[0])
            later = scenes.newest(board.hub, sites[-1])
            half = count // 2
            polls = await _open(sites, connections, [after] * half + [later] * (count - half))
            memory.append(board.hub.megabytes()["web"])
            idle.append(await _idle(board))
            others.append(1000 * percentile(await _ask_others(board, reader, other, number), 0.99))
            waking.append(1000 * percentile(await _wake(project, sender, sites[:half], polls[:half], one), 0.99))
            await _wake(project, sender, sites[half:], polls[half:], one)
    case = f"{count}"
    board.add("waiting_polls", f"{case} rss", memory, unit="MB")
    board.add("waiting_polls", f"{case} idle cpu", idle, unit="%")
    board.add("waiting_polls", f"{case} others p99", others, unit="ms")
    board.add("waiting_polls", f"{case} wake half p99", waking, unit="ms")


async def _open(sites: list[Site], connections: list[Connection], after: list[int]) -> list[asyncio.Task[float]]:
    """Every site polls; a thousand come in a second. The task's result is when its poll returned."""

    async def poll(site: Site, connection: Connection, seq: int) -> float:
        begun = time.perf_counter()
        answer = await connection.need(request("GET", f"/v1/inbox?after={seq}&wait=30", site.token), 200)
        came = time.perf_counter()
        assert answer.json()["items"], f"woken by a message, not after {came - begun:.1f} s"
        return came

    tasks = []
    for number, (site, connection, seq) in enumerate(zip(sites, connections, after, strict=True)):
        tasks.append(asyncio.create_task(poll(site, connection, seq)))
        if number % 10 == 9:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    return tasks


async def _idle(board: Board) -> float:
    """Percent of one processor that the web uses; long enough for every waiter to have looked by itself."""
    watch = Watch(board.hub)
    with watch.on():
        await asyncio.sleep(2 * board.sizes.seconds)
    return 100 * watch.shares["web"]


async def _ask_others(board: Board, reader: Site, connection: Connection, seed: int) -> list[float]:
    content = request("GET", "/v1/inbox?after=0", reader.token)
    await closed([connection], 0.1, lambda _: content, 200)
    pace, spans = Pace(OTHERS_PER_S, seed), list[float]()
    end = time.perf_counter() + board.sizes.seconds
    while not spans or time.perf_counter() < end:
        await pace.turn()
        await timed(spans, connection.need(content, 200))
    return spans


async def _wake(
    project: str, sender: Site, sites: list[Site], polls: list[asyncio.Task[float]], connection: Connection
) -> list[float]:
    """Seconds from the request that wakes them to each poll's return."""
    new = {"project_id": project, "to": [site.id for site in sites], "body": _BODY}
    content = request("POST", "/v1/messages", sender.token, json.dumps({"messages": [new]}).encode())
    begun = time.perf_counter()
    await connection.need(content, 202)
    return [came - begun for came in await asyncio.gather(*polls)]
