"""Who looks after workloads in a simulation, and who wants them: two reconcilers that both act, and people."""

from __future__ import annotations

import random
from typing import Any

import actors.reconciling
import actors.workloads
import domain.decisions.workloads
import fedyard.cluster.plan
from actors.reconciling import ClusterReconciler
from domain import records as r
from domain.states import WORKLOAD_LIVE
from k8s.clusters import HubCluster
from storage.wanted import WantedWorkloads
from tests.simulation.broker import SimulatedPublisher
from tests.simulation.clusters import KEY, NAME
from tests.simulation.processes import Lost, Request
from tests.simulation.sites import Site
from tests.simulation.world import Broken, Process, World

MAX_WANTED = 10
"""Workloads of a seed."""
ON_THEIR_OWN = 5
"""Turns of the calm in which what runs may still end by itself."""
RETRIED_AFTER_S = 3
SPANS: list[tuple[Any, str, float]] = [
    (fedyard.cluster.plan, "ORPHAN_AGE_S", 12.0),
    (fedyard.cluster.plan, "MISSING_S", 2.0),
    (fedyard.cluster.plan, "PULL_WITHIN_S", 15.0),
    (fedyard.cluster.plan, "EVIDENCE_WITHIN_S", 12.0),
    (fedyard.cluster.plan, "DEADLINE_SLACK_S", 4.0),
    (fedyard.cluster.plan, "UNMADE_S", 6.0),
    (actors.workloads, "LEASE_S", 4),
    (actors.workloads, "AWAY_S", 1.0),
    (actors.reconciling, "SAID_AGAIN_S", 3.0),
    (actors.reconciling, "RENEW_EVERY_S", 12.0),
]
"""Spans of a history of minutes, in the order that the real ones have."""


def retry_after_s(_: int) -> int:
    return RETRIED_AFTER_S


SWAPS = [*SPANS, (domain.decisions.workloads, "retry_after_s", retry_after_s)]


class ReconcilingProcess(Process):
    """There are two, and both lead: leading is only there to save work."""

    def start(self) -> None:
        place = HubCluster(NAME, self.world.cluster.of(self))
        wanted = WantedWorkloads(self.open(), KEY)
        self.reconciler = ClusterReconciler(place, wanted, SimulatedPublisher(self.world, self), self)

    def step(self) -> float:
        assert self.database is not None
        self.database.hold()
        self.reconciler.turn()
        return self.world.chance.uniform(0.3, 1.2)


class Wanting(Process):
    """People of the coordinators want workloads, scale and stop them; in the calm all that is left is stopped."""

    def __init__(self, world: World, sites: list[Site]) -> None:
        super().__init__(world, "people")
        self._sites = sites
        self._chance = random.Random(f"who wants workloads in {world.seed}")
        self._left = self._chance.randint(3, MAX_WANTED)
        self._asked = 0
        self._calm_turns = 0

    def step(self) -> float:
        rows = self.world.checker.every(r.Workload)
        live = [one for one in rows if one.state in WORKLOAD_LIVE and one.stop_at is None]
        live.sort(key=lambda one: one.id)
        if self.world.calm:
            self._calm_turns += 1
            for one in live if self._calm_turns > ON_THEIR_OWN else ():
                self._ask(one.project_id, f"/v1/workloads/{one.id}/stop", {"reason": "it is enough"})
            return 2.0
        if not self.world.projects:
            return 1.0
        roll = self._chance.random()
        if self._left and (roll < 0.5 or not live):
            self._left -= 1
            project = self._chance.choice(sorted(self.world.projects))
            self._ask(project, f"/v1/projects/{project}/workloads", self._wanted())
        elif live and roll < 0.8:
            one = self._chance.choice(live)
            self._ask(one.project_id, f"/v1/workloads/{one.id}/stop", {"reason": "no more"})
        elif services := [one for one in live if one.kind == "service"]:
            one = self._chance.choice(services)
            body = {"replicas": self._chance.randint(0, 3)}
            self._ask(one.project_id, f"/v1/workloads/{one.id}/replicas", body, "PUT")
        return self._chance.choice((0.5, 2, 6))

    def _wanted(self) -> dict[str, Any]:
        chance = self._chance
        spec: dict[str, Any] = {"kind": "job", "image": "any", "attempts": chance.randint(1, 4), "grace_s": 1.0}
        if chance.random() < 0.3:
            spec |= {"kind": "service", "port": 8080, "replicas": chance.randint(1, 3)}
        elif chance.random() < 0.3:
            spec["deadline_s"] = float(chance.choice((2, 5)))
        return {"name": f"w{self._left}", "where": NAME, "spec": spec}

    def _token_for(self, project: str) -> str:
        """Of its coordinator."""
        names = (one.name for one in self._sites if one.id == self.world.projects[project])
        return f"token of {next(names)}"

    def _ask(self, project: str, path: str, body: dict[str, Any], method: str = "POST") -> None:
        """Once: what gets lost is let be, but for the stops of the calm."""
        self._asked += 1
        try:
            answer = self.world.web.ask(Request(method, path, self._token_for(project), body, f"people-{self._asked}"))
        except Lost:
            return
        if answer.status not in (202, 429, 503) and not (answer.status == 404 and self.world.restores.done):
            raise Broken(f"people: {path} was answered {answer.status}: {answer.body}")
