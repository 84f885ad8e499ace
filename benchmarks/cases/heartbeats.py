"""heartbeats_per_s: every site beats in its turn; a beat counts when it is in the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import count

from benchmarks.board import Board
from benchmarks.client import Connection, Pool, request
from benchmarks.figures import percentile
from benchmarks.load import closed
from benchmarks.scenes import CLOCK, Site
from benchmarks.yard import Watch

CONNECTIONS = 64
LOOK_EVERY_S = 0.01
STORED_WITHIN_S = 10.0
APART_US = 10_000
"""So far this process's clock and the hub's, which goes by the database's, may be apart."""
_SEEN = "SELECT site_id, seen_at FROM site_beats WHERE site_id {any:uuid}"
_STALE = "SELECT count(*) FROM site_beats WHERE site_id {any:uuid} AND seen_at >= %s"


def measure(board: Board) -> None:
    asyncio.run(_measure(board))


async def _measure(board: Board) -> None:
    sites = board.sites(board.sizes.sites)
    beats = [request("PUT", f"/v1/sites/{site.id}/heartbeat", site.token, b"{}") for site in sites]
    rates, stored, watch = [], [], Watch(board.hub)
    async with Pool(board.hub.url, CONNECTIONS) as connections:
        await _everybody_once(connections, beats)
        for _ in range(board.sizes.runs):
            turn = count()
            begun_at = CLOCK.now() - APART_US
            probing = asyncio.create_task(_probe(board, sites))
            with watch.on():
                load = await closed(connections, board.sizes.seconds, lambda _: beats[next(turn) % len(beats)], 202)  # noqa: B023 - used up in this turn
            stored.append(1000 * percentile(await probing, 0.99))
            await _all_stored(board, sites[: len(load.spans)], begun_at)
            rates.append(load.rate)
    board.add("heartbeats_per_s", "10000 sites", rates, watch)
    board.add("heartbeats_per_s", "10000 sites, stored p99", stored)


async def _everybody_once(connections: Sequence[Connection], beats: Sequence[bytes]) -> None:
    """So that every token is known, as in a hub that has run for a while."""
    left = iter(beats)

    async def some(connection: Connection) -> None:
        for content in left:
            await connection.need(content, 202)

    await asyncio.gather(*map(some, connections))


async def _probe(board: Board, sites: list[Site]) -> list[float]:
    """Seconds from a beat's request until its row, of a beat every few milliseconds beside the load."""
    spans: list[float] = []
    waiting: dict[str, tuple[float, int]] = {}
    end = time.perf_counter() + board.sizes.seconds
    async with Pool(board.hub.url, 1) as (connection,):
        turn = 0
        found: dict[str, int] = {}
        while not turn or time.perf_counter() < end or waiting:
            if time.perf_counter() > end + STORED_WITHIN_S:
                late = {ident: asked_at - found.get(ident, 0) for ident, (_, asked_at) in waiting.items()}
                raise AssertionError(f"beats were answered and not stored; how far each row is behind (us): {late}")
            if not turn or time.perf_counter() < end:
                site = sites[(turn * 37) % len(sites)]
                turn += 1
                waiting.setdefault(site.id, (time.perf_counter(), CLOCK.now() - APART_US))
                await connection.need(request("PUT", f"/v1/sites/{site.id}/heartbeat", site.token, b"{}"), 202)
            await asyncio.sleep(LOOK_EVERY_S)
            with board.hub.database.connection():
                found = dict(board.hub.database.all(_SEEN, board.hub.database.many(waiting)))
            now = time.perf_counter()
            for ident, (asked, asked_at) in list(waiting.items()):
                if found.get(ident, 0) >= asked_at:
                    spans.append(now - asked)
                    del waiting[ident]
    return spans


async def _all_stored(board: Board, sites: list[Site], since: int) -> None:
    """Every site that was let beat is in the store within a few seconds, or the figure does not count."""
    database = board.hub.database
    for _ in range(500):
        with database.connection():
            found = database.one(_STALE, database.many(site.id for site in sites), since)
        if found is not None and found[0] == len(sites):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("beats were answered and not stored")
