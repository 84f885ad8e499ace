"""A hub that wants a second model of a round: the difference of two shows the update of the site that is in one alone.

It lets the round's true model be made, then takes the coordinator's inbox over, shows the run as it was before, and
plays everything that it has: the round's start and its call to aggregate once more, with other lists; ends of runs,
invented ones and the run's own; the run invited to anew; a history that went back and knows no such run. Whatever it
plays, one sealed model leaves.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from chaos.liar import HANG_UP, Asked, Forward, Told
from chaos.lies import Json
from tests.fedyard.world import World
from tests.liar.bugs import MANY_MODELS, MODELS_GO_WITH_THEIR_RUN, Bug, planted
from tests.liar.test_tasks_and_lists import MANY, listing, scene
from tests.waiting import until

ROUND = 1
RUNS_INVENTED = 30


class Takeover:
    """A rule. The inbox is the hub's until the coordinator was told that the round is over; then it is ours.

    From then on the hub shows the run as it was when the round began: without a model.
    """

    def __init__(self) -> None:
        self.real: dict[str, Json] = {}
        """By kind: the entries of the round as the hub sent them."""
        self.models: list[bytes] = []
        """What the coordinator has sent as models of the round."""
        self._news = threading.Condition()
        self._ours: list[Json] | None = None
        self._newest = 0
        self._history = ""

    def __call__(self, asked: Asked, forward: Forward) -> Told:
        if asked.to("POST", "/v1/runs/") and asked.path.endswith(f"/rounds/{ROUND}/aggregated"):
            return self._model(asked, forward)
        if asked.to("GET", "/v1/inbox"):
            return self._page(asked, forward)
        if self.taken and asked.method == "PUT" and asked.path == "/v1/inbox/acknowledged":
            return Told(200, {}, b"{}")
        if self.taken and asked.method == "POST" and asked.path.endswith("/recovery"):
            return self._recovered(asked)
        told = forward(asked)
        if self.taken and asked.to("GET", "/v1/runs/") and told.status == 200 and "tasks" in told.json:
            return told.but({**told.json, "tasks": [{**task, "model_message_id": None} for task in told.json["tasks"]]})
        return told

    @property
    def taken(self) -> bool:
        return self._ours is not None

    def show(self, entry: Json, **changed: object) -> int:
        """Put an entry into the coordinator's inbox; its number."""
        with self._news:
            assert self._ours is not None
            self._newest += 1
            self._ours.append({**entry, **changed, "seq": self._newest, "mark": ""})
            self._news.notify_all()
            return self._newest

    def go_back(self) -> None:
        """From now on the hub has another history, which knows no run."""
        with self._news:
            self._history = str(uuid4())
            self._news.notify_all()

    def _model(self, asked: Asked, forward: Forward) -> Told:
        if b'"failure"' in asked.body:
            return forward(asked)
        self.models.append(asked.body)
        return HANG_UP if len(self.models) == 1 else forward(asked)  # as if it had not come: give it to me again

    def _page(self, asked: Asked, forward: Forward) -> Told:
        query = parse_qs(urlsplit(asked.path).query)
        if self._ours is None:
            told = forward(asked)
            return self._kept(told) if told.status == 200 else told
        after, wait = (int(query.get(name, ["0"])[0]) for name in ("after", "wait"))
        with self._news:
            self._news.wait_for(lambda: self._newest > after, min(wait, 1))
            items = [entry for entry in self._ours if entry["seq"] > after]
            page = {"items": items, "last_seq": self._newest, "acknowledged_seq": after, "history_id": self._history}
        return Told(200, {}, json.dumps(page).encode())

    def _kept(self, told: Told) -> Told:
        """The hub's page, cut behind the news that the round is over; from there on the inbox is ours."""
        page = told.json
        for place, entry in enumerate(page["items"], 1):
            if entry["round"] == ROUND:
                self.real.setdefault(entry["kind"], entry)
            if (entry["kind"], entry["round"]) == ("round_completed", ROUND):
                self._ours, self._newest, self._history = [], entry["seq"], page["history_id"]
                return told.but({**page, "items": page["items"][:place], "last_seq": entry["seq"]})
        return told

    def _recovered(self, asked: Asked) -> Told:
        held = json.loads(asked.body)["seats"]
        seats = [{"run_id": seat["run_id"], "task_seq": seat["task_seq"], "run_state": None} for seat in held]
        with self._news:
            at = {"common_seq": self._newest, "read_after": self._newest}  # nothing that comes was there before
            answer = {"history_id": self._history, **at, "seats": seats}
        return Told(200, {}, json.dumps(answer).encode())


def a_second_model(world: World, folder: Path) -> None:
    with scene(world, folder, lied_to=["north"]) as there:
        hub = Takeover()
        there.liars["north"].rules = [hub]
        project = there.project(rounds=2, contract=MANY)
        run_id = project.start()
        north, east = there.agents["north"], there.id("east")
        fewer = listing(lambda listed: [one for one in listed if one["site_id"] != east])
        doubled = listing(lambda listed: [one for one in listed if one["site_id"] != east] * 2)

        def play(like: str, change: Callable[[Json], Json] = dict, **changed: object) -> None:
            """Show it, and wait until the agent is done with it."""
            number = hub.show(change(hub.real[like]), **changed)
            until(lambda: any(line.get("entry") == number for line in north.lines(str(changed.get("kind", like)))))
            assert len(set(hub.models)) == 1, f"a second model has left after {like}"

        def end(run: str) -> None:
            nothing: dict[str, Any] = {"task_seq": None, "round": None, "message": None, "facts": {"state": "failed"}}
            play("round_completed", kind="run_ended", run_id=run, **nothing)

        def ask() -> None:
            for change in (fewer, doubled):
                play("aggregate", change)

        until(lambda: hub.taken)
        assert len(hub.models) >= 2, "it was sent again as it was, when the hub had not heard of it"
        ask()
        play("round_started")  # the start of the round once more
        ask()
        play("invited")
        play("round_started")
        ask()
        for _ in range(RUNS_INVENTED):
            end(str(uuid4()))
        ask()
        end(run_id)  # which is not over
        ask()
        play("invited")  # as if it were new
        play("round_started")
        ask()
        hub.go_back()
        until(lambda: north.lines("sent again"))
        ask()
        play("invited")
        ask()

        refused = {line["reason"] for line in north.lines("aggregation refused")}
        assert {"aggregated_before", "list_doubled", "run_over"} <= refused
        assert north.failure is None
        project.coordinator.stop_run(run_id)


def test_one_sealed_model_leaves(world: World, tmp_path: Path) -> None:
    a_second_model(world, tmp_path)


@pytest.mark.parametrize("bug", [MANY_MODELS, MODELS_GO_WITH_THEIR_RUN], ids=str)
def test_without_the_rule_a_second_one_does(world: World, tmp_path: Path, bug: Bug) -> None:
    with planted(bug), pytest.raises(AssertionError, match="a second model has left"):
        a_second_model(world, tmp_path)
