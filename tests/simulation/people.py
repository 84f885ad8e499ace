"""People of the coordinators: what they want to have run in a simulation, and projects that they archive."""

from __future__ import annotations

import random
from typing import Any

from domain import records as r
from domain.states import WORKLOAD_LIVE
from fedyard.wire.times import SECOND
from tests.simulation.clusters import NAME
from tests.simulation.processes import Lost, Request
from tests.simulation.sites import Site
from tests.simulation.world import Broken, Process, World

MAX_WANTED = 10
"""Workloads of a seed, besides those that hold seats and those of projects themselves."""
ON_THEIR_OWN = 5
"""Turns of the calm in which what runs may still end by itself."""


class Wanting(Process):
    """Workloads are started, scaled and stopped, projects' own coordinators and selectors too, and perhaps one project
    is archived. In the calm all that is left is stopped."""

    def __init__(self, world: World, sites: list[Site]) -> None:
        super().__init__(world, "people")
        self._sites = sites
        self._chance = random.Random(f"who wants workloads in {world.seed}")
        self._left = self._chance.randint(3, MAX_WANTED)
        self._asked = 0
        self._calm_turns = 0
        ends = random.Random(f"which project ends in {world.seed}")
        self._ends_at = world.micros + int(ends.uniform(15, 50) * SECOND) if ends.random() < 0.6 else 0
        world.shape = self._shape

    def _shape(self, site: str, body: dict[str, Any]) -> None:
        """Workloads hold seats of its first task, and perhaps it has a coordinator and selectors."""
        chance = random.Random(f"project of {site} in {self.world.seed}")
        task = body["tasks"][0]
        if chance.random() < 0.75:
            own = f"site:{site}"
            spec = {"kind": "job", "image": "any", "attempts": chance.randint(1, 4), "grace_s": 1.0}
            where = own if own in self.world.clusters and chance.random() < 0.5 else NAME
            task["workloads"] = [{"name": "worker", "count": chance.randint(1, 2), "where": where, "spec": spec}]
        if chance.random() < 0.6:
            task["contract"] |= {"quorum": chance.randint(1, 2), "quorum_of": "count"}
            selectors = chance.randint(1, 2)
            body["infrastructure"] = {"coordinator_image": "any", "selector_image": "any", "selectors": selectors}

    def undone(self) -> str | None:
        left = [ident for ident in sorted(self.world.closing) if not self._archived(ident)]
        return f"projects {left} are not archived yet" if left else None

    def step(self) -> float:
        if self._ends_at and self.world.micros >= self._ends_at and self.world.projects:
            self._ends_at = 0
            self.world.closing.add(self._chance.choice(sorted(self.world.projects)))
        for project in sorted(self.world.closing):
            if not self._archived(project) and (self.world.calm or self._chance.random() < 0.4):
                self._ask(project, f"/v1/projects/{project}", None, "DELETE")
        live = [o for o in self.world.checker.every(r.Workload) if o.state in WORKLOAD_LIVE and o.stop_at is None]
        live.sort(key=lambda one: one.id)
        if self.world.calm:
            self._end(live)
            return 2.0
        if not self.world.projects:
            return 1.0
        roll = self._chance.random()
        if self._left and (roll < 0.4 or not live):
            self._left -= 1
            project = self._chance.choice(sorted(self.world.projects))
            self._ask(project, f"/v1/projects/{project}/workloads", self._wanted(project))
        elif roll < 0.6:
            self._run_parts()
        elif live and roll < 0.8:
            one = self._chance.choice(live)
            self._ask(one.project_id, f"/v1/workloads/{one.id}/stop", {"reason": "no more"})
        elif services := [one for one in live if one.kind == "service"]:
            one = self._chance.choice(services)
            body = {"replicas": self._chance.randint(0, 3)}
            self._ask(one.project_id, f"/v1/workloads/{one.id}/replicas", body, "PUT")
        return self._chance.choice((0.5, 2, 6))

    def _end(self, live: list[r.Workload]) -> None:
        """What is to be archived first shall be so with what runs."""
        self._calm_turns += 1
        for one in live if self._calm_turns > ON_THEIR_OWN else ():
            waits = one.project_id in self.world.closing and not self._archived(one.project_id)
            if one.run_id is not None or not waits:
                self._ask(one.project_id, f"/v1/workloads/{one.id}/stop", {"reason": "it is enough"})

    def _archived(self, project: str) -> bool:
        found = self.world.checker.have(r.Project, project)
        return found is not None and found.archived_at is not None

    def _run_parts(self) -> None:
        """A project's own coordinator and selectors: start (also what runs), stop, scale."""
        with_parts = [
            one.id
            for one in self.world.checker.every(r.Project)
            if one.infrastructure_json and one.id in self.world.projects
        ]
        if not with_parts:
            return
        project, roll = self._chance.choice(sorted(with_parts)), self._chance.random()
        path = f"/v1/projects/{project}/infrastructure"
        if roll < 0.6:
            self._ask(project, f"{path}/start", None)
        elif roll < 0.75:
            self._ask(project, f"{path}/stop", {"reason": "enough rounds"})
        else:
            self._ask(project, f"{path}/selectors", {"selectors": self._chance.randint(1, 3)}, "PUT")

    def _wanted(self, project: str) -> dict[str, Any]:
        chance = self._chance
        spec: dict[str, Any] = {"kind": "job", "image": "any", "attempts": chance.randint(1, 4), "grace_s": 1.0}
        if chance.random() < 0.3:
            spec |= {"kind": "service", "port": 8080, "replicas": chance.randint(1, 3)}
        elif chance.random() < 0.3:
            spec["deadline_s"] = float(chance.choice((2, 5)))
        members = {one.site_id for one in self.world.checker.every(r.Membership) if one.project_id == project}
        places = [where for where in sorted(self.world.agents) if where.removeprefix("site:") in members]
        return {"name": f"w{self._left}", "where": chance.choice([NAME, *places]), "spec": spec}

    def _token_for(self, project: str) -> str:
        """Of its coordinator."""
        names = (one.name for one in self._sites if one.id == self.world.projects[project])
        return f"token of {next(names)}"

    def _ask(self, project: str, path: str, body: dict[str, Any] | None, method: str = "POST") -> None:
        """Once: what gets lost is let be, but for what is asked for again anyhow."""
        self._asked += 1
        try:
            answer = self.world.web.ask(Request(method, path, self._token_for(project), body, f"people-{self._asked}"))
        except Lost:
            return
        if answer.status not in (202, 429, 503) and not (answer.status == 404 and self.world.restores.done):
            raise Broken(f"people: {path} was answered {answer.status}: {answer.body}")
