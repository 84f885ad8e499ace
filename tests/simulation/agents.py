"""Sites with a cluster of their own: the part of the agent that looks after workloads, over the site's line to the hub.

It lives and dies with the site, whose disk it shares, and finds again what lies there. Now and then a site is away for
so long that what ran there counts as lost, and comes back with the truth.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from fedyard.agent.cluster import ClusterSettings
from fedyard.agent.consents import Consent, Consents
from fedyard.agent.flags import Flags
from fedyard.agent.workloads import Workloads
from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unavailable
from fedyard.wire import answers as a
from fedyard.wire.times import SECOND
from tests.simulation.clusters import SimulatedCluster
from tests.simulation.processes import Answer, Lost
from tests.simulation.sites import Site
from tests.simulation.world import STORM_S, Process, World

SETTINGS = ClusterSettings(kind="processes", images={"any": ["true"]}, projects=["*"], max_workloads=6)
LOOKS_WITHIN_S = 1.5
AWAY_S = (16.0, 28.0)
"""So long a site is away that has gone for long."""


class Line(Client):
    """What an agent asks of the hub. What is taken counts as decided: the hub's list says whether it was."""

    hub = "https://hub"

    def __init__(self, world: World, site: Site, agent: Process) -> None:
        self._world, self._site, self._agent = world, site, agent

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
        give_up_s: float | None = None,
    ) -> tuple[int, bytes, str]:
        said = None if body is None else msgspec.json.decode(body)
        answer = self._asked(method, path, said, (headers or {}).get("Idempotency-Key"))
        content = {} if answer.status == HTTPStatus.ACCEPTED else answer.body
        return HTTPStatus.OK, msgspec.json.encode(content), ""

    def _asked(self, method: str, path: str, body: Any, key: str | None) -> Answer:
        self._world.place(self._agent, "before a request")
        try:
            answer = self._world.web.ask(self._site.request(method, path, body, key))
        except Lost:
            raise Unavailable("no answer") from None
        self._world.place(self._agent, "after a request")
        if answer.status in (429, 503):
            raise Unavailable("not now")
        if answer.status >= 400:
            raise Refused(path, answer.status, a.Problem(type=answer.body["type"], detail=str(answer.body)))
        return answer


class Everything(Consents):
    """Its people serve whatever project there is."""

    def __init__(self, world: World) -> None:
        self._world = world

    def all(self) -> dict[str, Consent]:
        return {
            ident: Consent(project_id=ident, name=ident, coordinator=whose, identity=b"", at=0, by="people")
            for ident, whose in self._world.projects.items()
        }


class LookingAfter(Process):
    """Of one site. folder: its disk."""

    def __init__(self, world: World, site: Site, cluster: SimulatedCluster, folder: Path) -> None:
        super().__init__(world, f"agent of {site.name}")
        self.kind = "agent"
        self._site, self._cluster, self._folder = site, cluster, folder
        chance = random.Random(f"{site.name} away in {world.seed}")
        self._leaves_at = world.micros + int(chance.uniform(10, STORM_S) * SECOND) if chance.random() < 0.5 else 0

    def start(self) -> None:
        self._of_life = self._site.life
        self._workloads = Workloads(
            self._site.id,
            self._folder,
            SETTINGS,
            Everything(self.world),
            Line(self.world, self._site, self),
            flags=Flags(),
            clock=self,
            log=lambda *_, **__: None,
            now=self.now,
            opened=lambda *_: self._cluster.of(self),
        )

    def step(self) -> float:
        if self._leaves_at and self.world.micros >= self._leaves_at and not self.world.calm and not self._site.busy:
            self._leaves_at = 0
            self._leave()
        if not self._site.alive:
            return 0.5
        if self._of_life != self._site.life:
            self.start()
        return min(LOOKS_WITHIN_S, self._workloads.turn()) * self.world.chance.uniform(0.5, 1)

    def has(self, ident: str, attempt: int) -> bool:
        """Does what this attempt left lie on the site's disk?"""
        return (self._folder / "workloads" / "left" / f"{ident}-{attempt}.json").exists()

    def wait(self, event: threading.Event, _: float) -> bool:
        """Nobody waits in one thread."""
        return event.is_set()

    def _leave(self) -> None:
        usual, self._site.returns_within_s = self._site.returns_within_s, AWAY_S
        self.world.tell(f"{self._site.name} goes away for long")
        self.world.happened["site away for long"] += 1
        self.world.kill(self._site)
        self._site.returns_within_s = usual
