"""trip_ms and forwards_per_s: messages between sites, from the POST until the other has read them."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator

from benchmarks import scenes
from benchmarks.board import Board
from benchmarks.client import Connection, Pool, request
from benchmarks.figures import percentile
from benchmarks.scenes import Site
from benchmarks.yard import Watch

SENDERS = 8
CONNECTIONS_EACH = 4
READERS = 64
KIB = 1024


def _content(site: Site, project: str, to: str, size: int) -> bytes:
    new = {"project_id": project, "to": to, "body": base64.b64encode(b"x" * size).decode()}
    return request("POST", "/v1/messages", site.token, json.dumps({"messages": [new]}).encode())


def measure_trips(board: Board) -> None:
    asyncio.run(_trips(board))


async def _trips(board: Board) -> None:
    coordinator, participant = sites = scenes.sites(board.hub, 2)
    project = scenes.project(board.hub, sites)
    for name, size in (("1KiB", KIB), ("100KiB", 100 * KIB)):
        content = _content(participant, project, "coordinator", size)
        middle, worst, watch = [], [], Watch(board.hub)
        async with Pool(board.hub.url, 2) as (sending, receiving):
            for _ in range(board.sizes.runs):
                with watch.on():
                    spans = [
                        await _trip(board, content, coordinator, sending, receiving) for _ in range(board.sizes.trips)
                    ]
                middle.append(1000 * percentile(spans, 0.5))
                worst.append(1000 * percentile(spans, 0.99))
        board.add("trip_ms", f"{name} p50", middle, watch)
        board.add("trip_ms", f"{name} p99", worst, watch)


async def _trip(board: Board, content: bytes, to: Site, sending: Connection, receiving: Connection) -> float:
    """Seconds from the POST to the return of the other's long poll, which waits already."""
    poll = request("GET", f"/v1/inbox?after={scenes.newest(board.hub, to)}&wait=30", to.token)
    waiting = asyncio.create_task(receiving.need(poll, 200))
    await asyncio.sleep(0.005)
    begun = time.perf_counter()
    sent = asyncio.create_task(sending.need(content, 202))
    answer = await waiting
    span = time.perf_counter() - begun
    await sent
    assert len(answer.json()["items"]) == 1
    return span


def measure_forwards(board: Board) -> None:
    asyncio.run(_many_to_one(board))
    asyncio.run(_one_to_many(board))


async def _many_to_one(board: Board) -> None:
    """Eight sites send one message a request, four requests at a time; the recipient reads and acknowledges."""
    recipient, *senders = members = scenes.sites(board.hub, 1 + SENDERS)
    project = scenes.project(board.hub, members)
    contents = [_content(site, project, "coordinator", KIB) for site in senders]
    rates, watch = [], Watch(board.hub)
    async with (
        Pool(board.hub.url, SENDERS * CONNECTIONS_EACH) as connections,
        Pool(board.hub.url, 1) as (reading,),
    ):
        for _ in range(board.sizes.runs):
            left = iter(range(board.sizes.messages))

            async def send(number: int, connection: Connection, left: Iterator[int] = left) -> None:
                for _ in left:
                    await connection.need(contents[number % SENDERS], 202)

            seen = scenes.newest(board.hub, recipient)
            with watch.on():
                begun = time.perf_counter()
                sending = [asyncio.create_task(send(*pair)) for pair in enumerate(connections)]
                await _read_through(recipient, reading, seen, seen + board.sizes.messages)
                rates.append(board.sizes.messages / (time.perf_counter() - begun))
            await asyncio.gather(*sending)
    board.add("forwards_per_s", "8to1", rates, watch)


async def _read_through(site: Site, connection: Connection, seen: int, last: int) -> None:
    """Read the inbox by long polls until `last`, acknowledging what was read; every entry once and in order."""
    while seen < last:
        answer = await connection.need(request("GET", f"/v1/inbox?after={seen}&wait=30&limit=200", site.token), 200)
        seqs = [item["seq"] for item in answer.json()["items"]]
        assert seqs == list(range(seen + 1, seen + 1 + len(seqs))), "no entry is left out or comes twice"
        if seqs:
            seen = seqs[-1]
            body = json.dumps({"through": seen}).encode()
            await connection.need(request("PUT", "/v1/inbox/acknowledged", site.token, body), 202)


async def _one_to_many(board: Board) -> None:
    """One site sends to all others, message after message; 64 connections read the others' inboxes in turn."""
    sender, *others = members = scenes.sites(board.hub, 1 + board.sizes.recipients)
    project = scenes.project(board.hub, members)
    content = _content(sender, project, "participants", KIB)
    rates, watch = [], Watch(board.hub)
    async with Pool(board.hub.url, 1) as (sending,), Pool(board.hub.url, READERS) as reading:
        seen = dict.fromkeys(others, 0)
        for turn in range(1, board.sizes.runs + 1):
            last = turn * board.sizes.broadcasts

            async def send() -> None:
                for _ in range(board.sizes.broadcasts):
                    await sending.need(content, 202)

            with watch.on():
                begun = time.perf_counter()
                sent = asyncio.create_task(send())
                await asyncio.gather(
                    *(_read_share(others[number::READERS], seen, last, one) for number, one in enumerate(reading))
                )
                rates.append(board.sizes.broadcasts * len(others) / (time.perf_counter() - begun))
            await sent
    board.add("forwards_per_s", "1to1000", rates, watch)


async def _read_share(share: list[Site], seen: dict[Site, int], last: int, connection: Connection) -> None:
    """These sites' inboxes, one after the other by long polls, until each has everything."""
    left = list(share)
    while left:
        for site in list(left):
            poll = request("GET", f"/v1/inbox?after={seen[site]}&wait=30&limit=200", site.token)
            answer = await connection.need(poll, 200)
            seen[site] += len(answer.json()["items"])
            if seen[site] >= last:
                left.remove(site)
