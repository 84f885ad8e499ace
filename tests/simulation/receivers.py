"""Receivers of webhooks: they fail in the storm, and take whatever comes in the calm."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from actors.requests import Answered, NotSent
from actors.webhooks import Post
from tests.simulation.world import Broken

if TYPE_CHECKING:
    from tests.simulation.world import Process, World

KEY = bytes(32)
AGAIN_AFTER_S = (1, 2, 3, 5, 8, 8, 8, 8, 8)
LEASE_S = 6
"""Spans of a history of minutes."""


class Receivers:
    """Chance of their own, so that what they draw moves nothing else of a seed. taken: ids that were answered well."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = random.Random(f"receivers of {world.seed}")
        self._failing = self._chance.choice((0.0, 0.2, 0.7))
        self._heard: dict[str, bytes] = {}
        self.taken: set[str] = set()

    def post_of(self, process: Process) -> Post:
        """As this process makes requests. It may die before one, and before it has the answer."""

        def post(_: str, __: str, headers: Mapping[str, str], body: bytes) -> Answered:
            self._world.place(process, "before a request")
            answer = self._answer(headers["webhook-id"], body)
            self._world.place(process, "after a request")
            if answer is None:
                raise NotSent("timeout")
            return answer

        return post

    def _answer(self, ident: str, body: bytes) -> Answered | None:
        if self._heard.setdefault(ident, body) != body:
            raise Broken(f"webhook-id {ident} came with two contents")
        fails = not self._world.calm and self._chance.random() < self._failing
        how = self._chance.choice((Answered(500), Answered(503, 2.0), None)) if fails else Answered(200)
        if how is None or how.status == 200:  # it was taken, though perhaps nobody hears of it
            self.taken.add(ident)
        return how
