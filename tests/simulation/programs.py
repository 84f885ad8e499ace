"""Programs of workloads that hold seats: each enrols with its one-time token and takes part, as a site does.

A program that dies ends its attempt. One that hangs is silent, and its attempt is given up; it may wake while it still
runs, and speak of a seat that another one holds by then. What it has is gone with it.
"""

from __future__ import annotations

import random
from typing import Any

from domain.states import SiteState
from fedyard.cluster.conventions import ENROLMENT_TOKEN
from fedyard.cluster.port import Reason
from fedyard.wire.times import SECOND
from tests.simulation.clusters import Object, SimulatedCluster
from tests.simulation.processes import Answer, Lost, Request
from tests.simulation.sending import Out
from tests.simulation.sites import Site
from tests.simulation.world import Broken, Process, World

LAST_WORDS = ("ready", "trained", "submit")


class Program(Site):
    """Of one object in a cluster."""

    def __init__(self, world: World, cluster: SimulatedCluster, one: Object) -> None:
        name = f"program {cluster.name} {one.uid}"
        super().__init__(world, name, enrolment=one.spec.secrets[ENROLMENT_TOKEN])
        self.kind = "program"
        self._one = one
        self._chance = chance = random.Random(f"{world.seed} {name}")
        since = world.micros + int(chance.uniform(1, 15) * SECOND)
        self._hangs = (since, since + int(chance.uniform(5, 30) * SECOND)) if chance.random() < 0.2 else (0, 0)

    def begin(self) -> None:
        """It has one life."""
        if self.life == 0 and self._one.runs(self.world.micros):
            super().begin()

    def die(self) -> None:
        self._one.dies(self.world.micros, Reason.SIGNALLED)

    def step(self) -> float:
        now = self.world.micros
        if not self._one.runs(now):
            self._say_last_words()
            self.end()
            return 1.0
        if self._hangs[0] <= now < self._hangs[1]:
            return 1.0
        return super().step()

    def _say_last_words(self) -> None:
        """What it sent before it ended, and what arrives when another one may have its seat."""
        if self.world.calm or not self.disk.reports or self._chance.random() < 0.3:
            return
        (run, task), last = max(self.disk.reports.items())
        body = {"event": self._chance.choice(LAST_WORDS), "seq": last + 1, "round": self._chance.randint(1, 3)}
        path = f"/v1/runs/{run}/tasks/{task}/seats/{self.id}"
        self.world.web.late(Request("PUT", path, self.token, body), self._chance.uniform(0.1, 8))

    def _begin_something(self) -> None:
        """It is in one project, and of no use elsewhere."""
        roll = self.world.chance.random()
        if roll < 0.3:
            self._change_keys()
        elif roll < 0.7:
            self._report_late()
        else:
            self._write(self._one.spec.place)

    # what the hub says when its attempt is over

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None, token: str = "") -> Answer:
        answer = super().ask(method, path, body, key, token)
        if answer.status == 401 and not token:
            self._exit("its token is not in force")
        return answer

    def _heard(self, out: Out, said: dict[str, Any], *, accepted: bool) -> None:
        if out.what in ("enrol", "key", "recover") and not accepted:
            self._exit(f"{out.what} was refused")
        super()._heard(out, said, accepted=accepted)

    def _exit(self, why: str) -> None:
        """Only where its attempt is over."""
        self.world.checker.check()
        holder = self.world.checker.holder_of(self.id)
        if holder is not None and holder.state != SiteState.RETIRED and not self.world.restores.done:
            raise Broken(f"{self.name}: {why}, but its attempt is not over")
        self._one.dies(self.world.micros, Reason.EXIT_CODE)
        raise Lost


class Programs(Process):
    """Plays what runs with a token, wherever that is."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "programs")

    def step(self) -> float:
        for cluster in self.world.clusters.values():
            for one in cluster.living():
                if not one.begun and ENROLMENT_TOKEN in one.spec.secrets and one.runs(self.world.micros):
                    one.begun = True
                    program = Program(self.world, cluster, one)
                    self.world.processes.append(program)
                    program.begin()
        return 0.3
