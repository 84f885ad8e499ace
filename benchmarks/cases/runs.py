"""run_s: a complete run over HTTP, as its sites see it: two rounds, 100 KiB updates and models, no training time."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

from benchmarks import scenes
from benchmarks.board import Board
from benchmarks.client import Connection, Pool, request
from benchmarks.scenes import Site
from benchmarks.yard import Watch

ROUNDS = 2
PAYLOAD = base64.b64encode(bytes(range(256)) * 400).decode()


def measure(board: Board) -> None:
    for count in board.sizes.run_sites:
        spans, watch = asyncio.run(_measure(board, count))
        board.add("run_s", str(count), spans, watch)


async def _measure(board: Board, count: int) -> tuple[list[float], Watch]:
    sites = scenes.sites(board.hub, count)
    project = scenes.project(board.hub, sites, rounds=ROUNDS)
    spans, watch = [], Watch(board.hub)
    async with Pool(board.hub.url, count) as connections, Pool(board.hub.url, 1) as (starting,):
        for _ in range(board.sizes.runs + 1):  # the first warms tokens and connections up
            agents = [
                _Agent(site, connection, scenes.newest(board.hub, site), coordinates=site is sites[0])
                for site, connection in zip(sites, connections, strict=True)
            ]
            working = [asyncio.create_task(agent.work()) for agent in agents]
            await asyncio.sleep(0.2)
            start = request("POST", f"/v1/projects/{project}/runs", sites[0].token, b"{}", wait=True)
            with watch.on():
                begun = time.perf_counter()
                await starting.need(start, 201)
                states = await asyncio.gather(*working)
                spans.append(time.perf_counter() - begun)
            assert set(states) == {"succeeded"}
    return spans[1:], watch


class _Agent:
    """One site: follows its inbox by long polls, reports ready and submit, acknowledges with each round's end.

    The coordinator takes part as well, and aggregates (here: sends 100 KiB).
    """

    def __init__(self, site: Site, connection: Connection, seen: int, *, coordinates: bool) -> None:
        self._site = site
        self._connection = connection
        self._seen = seen
        self._coordinates = coordinates
        self._reports = 0

    async def work(self) -> str:
        """Until the run has ended; its state."""
        while True:
            path = f"/v1/inbox?after={self._seen}&wait=30&limit=200"
            answer = await self._connection.need(request("GET", path, self._site.token), 200)
            for entry in answer.json()["items"]:
                self._seen = entry["seq"]
                await self._follow(entry)
                if entry["kind"] == "run_ended":
                    return str(entry["facts"]["state"])

    async def _follow(self, entry: dict[str, Any]) -> None:
        match entry["kind"]:
            case "invited":
                await self._report(entry, {"event": "ready"})
            case "round_started":
                await self._report(entry, {"event": "submit", "update": PAYLOAD, "metrics": {"loss": 0.5}})
            case "aggregate":
                assert self._coordinates
                path = f"/v1/runs/{entry['run_id']}/tasks/{entry['task_seq']}/rounds/{entry['round']}/aggregated"
                await self._send("POST", path, {"model": PAYLOAD, "metrics": {"accuracy": 0.9}}, 200)
            case "round_completed":
                assert entry["message"]["size_bytes"] == 102_400
                body = json.dumps({"through": self._seen}).encode()
                content = request("PUT", "/v1/inbox/acknowledged", self._site.token, body)
                await self._connection.need(content, 202)

    async def _report(self, entry: dict[str, Any], report: dict[str, Any]) -> None:
        self._reports += 1
        path = f"/v1/runs/{entry['run_id']}/tasks/{entry['task_seq']}/seats/{self._site.id}"
        await self._send("PUT", path, {**report, "seq": self._reports, "round": entry["round"]}, 200)

    async def _send(self, method: str, path: str, body: dict[str, Any], wanted: int) -> None:
        content = request(method, path, self._site.token, json.dumps(body).encode(), wait=True)
        await self._connection.need(content, wanted)
