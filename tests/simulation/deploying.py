"""People of a coordinator who train over Kafka in a simulation: architectures, a configuration, deployments, and the
data for these: too early, twice, for what is over, and such as cannot be trained on.

Whatever they ask for they ask for under one key, until it is decided; what a restored hub has forgotten, once more.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from domain import records as r
from domain import stream_records as sr
from domain.states import RESULT_LIVE, RUN_FINAL, DeploymentState
from domain.streams.training import key_of
from fedyard.wire.times import SECOND
from tests.simulation.processes import Lost, Request
from tests.simulation.sending import ASK_FOR_S
from tests.simulation.sites import Site
from tests.simulation.streams import GONE, SAMPLE_COUNT, SAMPLES
from tests.simulation.world import Broken, Process, World

MAX_DEPLOYMENTS = 4
TAKEN_BACK = (404, 409)
"""Answers to what is no more, or cannot be now."""
CODE = """
class Net:
    def loss_fn(self): ...
    def optimizer(self): ...
    def metrics(self): ...
model = Net()
"""


@dataclass
class Wish:
    """Something that they have asked for. made: its id, once it was accepted. over: it was decided."""

    request: Request
    command: str | None = None
    asked_at: int = 0
    over: bool = False
    made: str = ""


class Deploying(Process):
    """One coordinator's people. site: whose project it is."""

    def __init__(self, world: World, site: Site) -> None:
        super().__init__(world, "deployers")
        self._site = site
        self._chance = random.Random(f"who trains over Kafka in {world.seed}")
        self._left = self._chance.randint(2, MAX_DEPLOYMENTS)
        self._said = 0
        self._wishes: list[Wish] = []
        self._project = self._wish("/v1/projects", self._new_project())
        self._models: list[Wish] = []
        self._set: Wish | None = None

    def _new_project(self) -> dict[str, Any]:
        task = {"name": "train", "model": "m", "rounds": 1, "contract": {"quorum": 0.5}}
        return {"name": "over Kafka", "joining": "open", "sealed": "optional", "tasks": [task]}

    def _wish(self, path: str, body: Any, method: str = "POST") -> Wish:
        token, key = f"token of {self._site.name}", f"deployers-{len(self._wishes)}"
        wish = Wish(Request(method, path, token, body, key))
        self._wishes.append(wish)
        return wish

    def history_went_back(self) -> None:
        """What the hub has forgotten is asked for again, under the same key."""
        for wish in self._wishes:
            known = wish.command is not None and self.world.checker.have(r.Outcome, wish.command) is not None
            wish.over = wish.over and known
            wish.command = wish.command if known else None

    def undone(self) -> str | None:
        """What they still wish for, or None."""
        left = [wish.request.path for wish in self._wishes if not wish.over]
        return f"wishes {left} and {self._left} deployments are left" if left or self._left else None

    def step(self) -> float:
        if self.world.waited_for and not self.world.calm and self._chance.random() < 0.2:
            number = self.world.door.uploading
            self._push(self._wish(f"/v1/training-results/{number}/stop", {"reason": "at the last moment"}))
            return 0.2
        waiting = [wish for wish in self._wishes if not wish.over]
        if waiting and self._chance.random() < 0.6:
            self._push(waiting[0] if self._chance.random() < 0.8 else self._chance.choice(waiting))
            return self._chance.uniform(0.1, 0.6)
        self._begin_something()
        return self._chance.uniform(0.2, 1.5)

    def _push(self, wish: Wish) -> None:
        if wish.command is not None:
            outcome = self.world.checker.have(r.Outcome, wish.command)
            if outcome is None:
                if self.world.micros - wish.asked_at > ASK_FOR_S * SECOND:
                    wish.command = None
                return
            self._decided(wish, outcome)
            return
        try:
            answer = self.world.web.ask(wish.request)
        except Lost:
            return
        if answer.status == 202:
            wish.command, wish.asked_at = answer.body["command"]["id"], self.world.micros
        elif answer.status in TAKEN_BACK:
            wish.over = True
        elif answer.status not in (429, 503):
            raise Broken(f"deployers: {wish.request.path} was answered {answer.status}: {answer.body}")

    def _decided(self, wish: Wish, outcome: r.Outcome) -> None:
        said = msgspec.json.decode(outcome.answer_json)
        self.world.tell(f"deployers: {wish.request.path} {outcome.state} {outcome.status}")
        if outcome.state == "accepted":
            wish.over, wish.made = True, said["id"]
            if wish is self._project:
                self.world.projects[wish.made] = self._site.id
                self.world.sealed[wish.made] = False
        elif outcome.status in TAKEN_BACK:
            wish.over = True
        elif outcome.status != 429:
            raise Broken(f"deployers: {wish.request.path} became {said}")
        else:  # there was too much of it; under another key it may be tried later
            wish.command, wish.request = None, replace(wish.request, key=f"{wish.request.key}-again")

    def _begin_something(self) -> None:
        project = f"/v1/projects/{self._project.made}"
        if not self._project.made:
            return
        if not self._models:
            for n in range(self._chance.randint(1, 2)):
                body = {"name": f"model {n}", "framework": "pth", "code": CODE}
                self._models.append(self._wish(f"{project}/architectures", body))
            return
        if not all(model.made for model in self._models):
            return
        if self._set is None:
            body = {"name": "all", "architecture_ids": [model.made for model in self._models]}
            self._set = self._wish(f"{project}/configurations", body)
        deployments = sorted(self.world.checker.every(sr.Deployment), key=lambda one: one.number)
        waiting = [one for one in deployments if one.state == DeploymentState.WAITING]
        roll = self._chance.random()
        if self._left and self._set.made and (roll < 0.3 or not deployments) and len(waiting) < 2:
            self._left -= 1
            self._wish(f"{project}/deployments", self._new_deployment())
        elif roll < 0.75:
            self._announce(deployments, waiting)
        elif deployments and not self.world.calm:
            self._meddle(self._chance.choice(deployments))

    def _new_deployment(self) -> dict[str, Any]:
        chance = self._chance
        assert self._set is not None
        named: dict[str, Any] = {"configuration_id": self._set.made}
        if chance.random() < 0.4:
            named = {"architecture_ids": [chance.choice(self._models).made]}
        return {
            "contract": {"pth_kwargs_fit": "max_epochs=1"},
            "attempts": chance.randint(1, 4),
            "control": "own" if chance.random() < 0.85 else "shared",
            "finish_within_s": float(chance.choice((20, 40, 60))),
            **named,
        }

    def _announce(self, deployments: list[sr.Deployment], waiting: list[sr.Deployment]) -> None:
        """For what waits, mostly; or for what does not yet, or no more."""
        if self.world.kafka.topics.away:
            return
        number = (deployments[-1].number if deployments else 0) + 1
        if waiting and self._chance.random() < 0.75:
            number = self._chance.choice(waiting).number
        elif deployments and self._chance.random() < 0.6:
            number = self._chance.choice(deployments).number
        self._said += 1
        says = f"d{self._said}"
        self.world.kafka.write("control", says, key_of(number), msgspec.json.encode(self._data(says)))

    def _data(self, says: str) -> dict[str, Any]:
        chance = self._chance
        start = chance.randint(GONE, 9)
        end = start + chance.randint(1, SAMPLE_COUNT - 10)
        where, total = f"{SAMPLES}:0:{start}:{end}", end - start
        if chance.random() < 0.3:
            where = f"{SAMPLES}:0:{end}:{end},{where}"
        flaws: list[Callable[[], tuple[str, int]]] = [
            lambda: (where, total + 1),
            lambda: (f"{SAMPLES}:0:0:{end}", end),
            lambda: (f"{SAMPLES}:0:{start}:{SAMPLE_COUNT + 5}", SAMPLE_COUNT + 5 - start),
            lambda: ("nowhere:0:0:5", 5),
            lambda: (f"{SAMPLES}:0:4:4", 0),
        ]
        if chance.random() < 0.15:
            where, total = chance.choice(flaws)()
        return {
            "topic": where,
            "input_format": "RAW",
            "input_config": {"data_reshape": "8 8"},
            "description": says,
            "dataset_restrictions": "{}",
            "total_msg": total,
            "validation_rate": 0.1,
            "test_rate": 0.1,
        }

    def _meddle(self, deployment: sr.Deployment) -> None:
        """Stop it, or one of its results; delete what is over."""
        chance = self._chance
        mine = [one for one in self.world.checker.every(sr.TrainingResult) if one.run_id == deployment.run_id]
        mine.sort(key=lambda one: one.number)
        live = [one for one in mine if one.state in RESULT_LIVE]
        run = self.world.checker.have(r.Run, deployment.run_id)
        roll = chance.random()
        if roll < 0.2 and run is not None and run.state not in RUN_FINAL:
            self._wish(f"/v1/deployments/{deployment.run_id}/stop", {"reason": "no more"})
        elif roll < 0.5 and live:
            self._wish(f"/v1/training-results/{chance.choice(live).number}/stop", {"reason": "enough"})
        elif roll < 0.8 and mine:
            self._wish(f"/v1/training-results/{chance.choice(mine).number}", None, "DELETE")
        elif run is not None and run.state in RUN_FINAL:
            self._wish(f"/v1/deployments/{deployment.run_id}", None, "DELETE")
