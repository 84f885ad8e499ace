"""A participant who sends far more than his share: a program gone wild, or somebody else who has his token.

It asks in bursts and waits for nobody: messages, joining and leaving, artifacts that are declared and never stored,
tokens. What holds for it holds for everybody: `bounds.py` counts what each subject has, `turns.py` whose turn it is.
Drawn by a chance of its own, as restores are.
"""

from __future__ import annotations

import base64
import random
from typing import Any

from domain.ids import sha256_hex
from fedyard.wire.chunks import tree_digest
from fedyard.wire.times import SECOND
from tests.simulation.processes import WRITES_PER_S, Lost, Request
from tests.simulation.sites import Site
from tests.simulation.world import Broken, Process, World
from web.live.shares import BURST_S

RATE = 0.2
"""Of seeds in which there is one."""
BURSTS = 5
_TAKEN = 202
_HELD_BACK = (429, 503)


class Flood(Process):
    """In the name of a site that also goes on as ever, with a share that is the same one."""

    def __init__(self, world: World, site: Site) -> None:
        super().__init__(world, "flood")
        self._site = site
        self._chance = random.Random(f"flood of {world.seed}")
        self.on = self._chance.random() < RATE
        self._left = BURSTS
        self._sent = 0

    def step(self) -> float:
        if not self._left or self.world.calm:
            return 1000.0
        if self.world.projects:
            self._left -= 1
            self._burst()
        return self._chance.uniform(1, 12)

    def _burst(self) -> None:
        """As many calls as it can make at once; the hub takes no more of them than a share."""
        web, kinds = self.world.web, self._chance.sample((self._message, self._member, self._declare, self._token), 2)
        began, life, taken = self.world.micros, web.life, 0
        calls = self._chance.choice((15, 30, int(WRITES_PER_S * BURST_S) + 15))
        self.world.tell(f"{self._site.name} floods the hub with {calls} calls")
        self.world.happened["flood"] += 1
        for _ in range(calls):
            self._sent += 1
            method, path, body = self._chance.choice(kinds)(self._chance.choice(sorted(self.world.projects)))
            try:
                answer = web.ask(Request(method, path, self._site.token, body, f"flood-{self._sent}"))
            except Lost:
                continue
            taken += answer.status == _TAKEN
            forgotten = answer.status == 404 and self.world.restores.done
            if answer.status not in (_TAKEN, *_HELD_BACK) and not forgotten:
                raise Broken(f"the flood: {method} {path} was answered {answer.status}: {answer.body}")
        spent_s = (self.world.micros - began) / SECOND
        if web.life == life and taken > WRITES_PER_S * (BURST_S + spent_s) + 1:
            raise Broken(f"{taken} of {calls} calls of one subject were taken within {spent_s:.1f} s")

    def _message(self, project: str) -> tuple[str, str, Any]:
        text = base64.b64encode(f"{self._site.name} floods, {self._sent}".encode()).decode()
        message = {"project_id": project, "to": "coordinator", "ttl_s": 20.0, "body": text}
        return "POST", "/v1/messages", {"messages": [message]}

    def _member(self, project: str) -> tuple[str, str, Any]:
        joins = self._chance.random() < 0.5
        return "PUT" if joins else "DELETE", f"/v1/projects/{project}/members/{self._site.id}", {} if joins else None

    def _declare(self, project: str) -> tuple[str, str, Any]:
        digests = bytes.fromhex(sha256_hex(f"never sent, {self._sent}".encode()))
        declared = {
            "project_id": project,
            "kind": "result",
            "size_bytes": self._chance.choice((1, 90, 300)),
            "digest": tree_digest(digests),
            "chunk_digests": base64.b64encode(digests).decode(),
        }
        return "POST", "/v1/artifacts", declared

    def _token(self, _: str) -> tuple[str, str, Any]:
        secret = sha256_hex(f"{self.world.seed} token {self._sent}".encode())
        body = {"owner_kind": "site", "owner_id": self._site.id, "sha256": secret, "label": "flood", "scopes": ["read"]}
        return "POST", "/v1/tokens", body
