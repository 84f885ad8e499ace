"""run_s: a complete run over HTTP, as its sites see it: two rounds, 100 KiB updates and models, no training time.

Every payload is sealed by its sender and opened by its recipients, with the agents' own code; `50 unsealed` and
`200 unsealed` say what that costs. Headers carry digests and receipts as agents' do. `50 limits` is on a hub with the
limits that it ships with.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from benchmarks import scenes
from benchmarks.board import Board
from benchmarks.cases.sealing import memory
from benchmarks.client import Connection, Pool, request
from benchmarks.people import CLOCK, Person, person
from benchmarks.scenes import Site
from benchmarks.yard import Hub, Watch
from config.clock import draw_id
from domain.ids import sha256_hex
from fedyard.sealed import sealing
from fedyard.sealed.sealing import Address, Digests, receipt_of
from fedyard.wire.answers import Entry, Inbox
from fedyard.wire.times import SECOND

ROUNDS = 2
PAYLOAD = bytes(range(256)) * 400
UNSEALED = (50, 200)
LIMITED = 50

_inbox = msgspec.json.Decoder(Inbox)


_DIGEST = sha256_hex(PAYLOAD)


@functools.cache
def _receipts(count: int) -> list[str]:
    return [receipt_of(sha256_hex(b"%d" % number)) for number in range(count)]


class _Ended(msgspec.Struct):
    state: str


def measure(board: Board) -> None:
    most = max(board.sizes.run_sites)
    for count in board.sizes.run_sites:
        spans, watch = asyncio.run(_measure(board, board.hub, count, sealed=True))
        board.add("run_s", str(count), spans, watch)
    for count in UNSEALED:
        spans, watch = asyncio.run(_measure(board, board.hub, min(count, most), sealed=False))
        board.add("run_s", f"{count} unsealed", spans, watch)
    with board.yard.hub(limits=True).running() as hub:  # the other one is idle meanwhile
        spans, watch = asyncio.run(_measure(board, hub, min(LIMITED, most), sealed=True))
    board.add("run_s", f"{LIMITED} limits", spans, watch)


async def _measure(board: Board, hub: Hub, count: int, *, sealed: bool) -> tuple[list[float], Watch]:
    sites = scenes.sites(hub, count)
    project = scenes.project(hub, sites, rounds=ROUNDS, sealed=sealed)
    spans, watch = [], Watch(hub)
    with memory() as folder:
        people = {site.id: person(folder, site.id) for site in sites} if sealed else {}
        scenes.publish_keys(hub, list(people.values()))
        async with Pool(hub.url, count) as connections, Pool(hub.url, 1) as (starting,):
            for _ in range(board.sizes.runs + 1):  # the first warms tokens and connections up
                crowd = _Crowd(project, sites, people)
                agents = [
                    _Agent(crowd, site, connection, scenes.newest(hub, site))
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


@dataclass(frozen=True)
class _Crowd:
    """Who takes part; the first of the sites coordinates. people: their keys, none in a run that is not sealed."""

    project: str
    sites: Sequence[Site]
    people: Mapping[str, Person]

    @property
    def coordinator(self) -> str:
        return self.sites[0].id

    def sealed(self, sender: str, kind: str, entry: Entry) -> bytes:
        """The payload as it travels: an update for the coordinator, a model for everybody."""
        if not self.people:
            return PAYLOAD
        to = self.people.values() if kind == "model" else [self.people[self.coordinator]]
        return sealing.seal(
            PAYLOAD,
            self._address(sender, kind, entry),
            [one.key for one in to],
            self.people[sender].ring.identity,
            id=draw_id(),
            created=CLOCK.now(),
            expires=CLOCK.now() + 3_600 * SECOND,
            digests=self._digests(kind),
        )

    def open(self, reader: str, entry: Entry) -> None:
        """What came with an entry has to be what was sent."""
        message = entry.message
        assert message is not None
        content = message.body
        assert content is not None
        if self.people:
            sender, own = self.people[message.sender_site_id or ""], self.people[reader]
            expected = self._address(sender.site_id, message.kind, entry)
            content = sealing.open(content, expected, own.opener(sender))
        assert content == PAYLOAD

    def _digests(self, kind: str) -> Digests:
        """As long as an agent's: of the task, of the model that was started from, and a receipt for every update."""
        return Digests(_DIGEST, _DIGEST, None if kind == "update" else _receipts(len(self.sites)))

    def _address(self, sender: str, kind: str, entry: Entry) -> Address:
        return Address(
            sender=sender, project=self.project, kind=kind, run=entry.run_id, task=entry.task_seq, round=entry.round
        )


class _Agent:
    """One site: follows its inbox by long polls, reports ready and submit, acknowledges with each round's end.

    The coordinator takes part as well; it opens every update, and aggregates (here: sends 100 KiB).
    """

    def __init__(self, crowd: _Crowd, site: Site, connection: Connection, seen: int) -> None:
        self._crowd = crowd
        self._site = site
        self._connection = connection
        self._seen = seen
        self._reports = 0

    async def work(self) -> str:
        """Until the run has ended; its state."""
        while True:
            path = f"/v1/inbox?after={self._seen}&wait=30&limit=200"
            answer = await self._connection.need(request("GET", path, self._site.token), 200)
            for entry in _inbox.decode(answer.body).items:
                self._seen = entry.seq
                await self._follow(entry)
                if entry.kind == "run_ended":
                    return msgspec.json.decode(entry.facts, type=_Ended).state

    async def _follow(self, entry: Entry) -> None:
        match entry.kind:
            case "invited":
                await self._report(entry, {"event": "ready"})
            case "round_started":
                update = self._crowd.sealed(self._site.id, "update", entry)
                await self._report(entry, {"event": "submit", "update": update, "metrics": {"loss": 0.5}})
            case "message":
                self._crowd.open(self._site.id, entry)
            case "aggregate":
                assert self._site.id == self._crowd.coordinator
                path = f"/v1/runs/{entry.run_id}/tasks/{entry.task_seq}/rounds/{entry.round}/aggregated"
                model = self._crowd.sealed(self._site.id, "model", entry)
                await self._send("POST", path, {"model": model, "metrics": {"accuracy": 0.9}}, 200)
            case "round_completed":
                self._crowd.open(self._site.id, entry)
                body = msgspec.json.encode({"through": self._seen})
                content = request("PUT", "/v1/inbox/acknowledged", self._site.token, body)
                await self._connection.need(content, 202)

    async def _report(self, entry: Entry, report: dict[str, Any]) -> None:
        self._reports += 1
        path = f"/v1/runs/{entry.run_id}/tasks/{entry.task_seq}/seats/{self._site.id}"
        await self._send("PUT", path, {**report, "seq": self._reports, "round": entry.round}, 200)

    async def _send(self, method: str, path: str, body: dict[str, Any], wanted: int) -> None:
        content = request(method, path, self._site.token, msgspec.json.encode(body), wait=True)
        await self._connection.need(content, wanted)
