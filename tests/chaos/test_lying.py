"""The proxy tells each lie where it fits, and sees when an agent acts on one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos.liar import Asked, Elsewhere, Told, elsewhere, liar_before
from chaos.lying import LARGEST, NOWHERE, Between, Lied, Lying, lies, model_in, said, submission_in

RUN = "11111111-0000-4000-8000-000000000000"
PLACE = (RUN, 1, 2)
SUBMIT = Asked("PUT", f"/v1/runs/{RUN}/tasks/1/seats/s", {}, b'{"event": "submit", "seq": 3, "round": 2}')
MODEL = Asked("POST", f"/v1/runs/{RUN}/tasks/1/rounds/2/aggregated", {}, b'{"model": "eA=="}')
NO_MODEL = Asked("POST", MODEL.path, {}, b'{"failure": "list_shortened"}')
FACTS: dict[str, dict[str, Any]] = {
    "invited": {"task": {"model": "m", "parameters": {"learning_rate": 0.5}}, "coordinator_site_id": "c"},
    "aggregate": {"submissions": [{"site_id": "a"}, {"site_id": "b"}], "quorum": 2},
}


class Hub:
    """Shows entries of one kind; `between` stands before it."""

    def __init__(self, other: Elsewhere, between: Between) -> None:
        self.other, self.between = other, between

    def shows(self, kind: str) -> dict[str, Any]:
        """The entry as the agent gets it."""
        entry = {"kind": kind, "seq": 7, "run_id": RUN, "task_seq": 1, "round": 2, "project_id": "p"}
        self.other.told = Told(200, {}, json.dumps({"items": [{**entry, "facts": FACTS.get(kind, {})}]}).encode())
        return self.between.liar.answer(Asked("GET", "/v1/inbox?after=6")).json["items"][0]

    def gets(self, asked: Asked) -> list[str]:
        """What the agent did and must not have."""
        self.between.liar.answer(asked)
        return self.between.believed


@pytest.fixture
def hub() -> Iterator[Hub]:
    with elsewhere() as other, liar_before(other.url, remembers=0) as liar:
        yield Hub(other, Between("east", liar))


TOLD = {
    "a stranger's project": lambda entry: entry["project_id"] == NOWHERE,
    "another coordinator": lambda entry: entry["facts"]["coordinator_site_id"] == NOWHERE,
    "another task": lambda entry: entry["facts"]["task"] == {"model": "m", "parameters": {"learning_rate": 0.0001}},
    "a path for an id": lambda entry: entry["run_id"].startswith("/"),
    "a number beyond belief": lambda entry: entry["seq"] == LARGEST,
    "a list of one": lambda entry: entry["facts"] == {"submissions": [{"site_id": "a"}], "quorum": 1},
    "a list with doubles": lambda entry: [one["site_id"] for one in entry["facts"]["submissions"]] == ["a", "b", "a"],
}


@pytest.mark.parametrize("lie", lies(Path("/precious")), ids=str)
def test_each_lie_is_told_where_it_fits_and_for_a_while(hub: Hub, lie):
    lied = Lied(lie)
    hub.between.begin(lied)
    assert TOLD[lie.name](hub.shows(lie.about))
    assert lied.count == 1
    hub.shows("message")
    assert lied.count == 1
    hub.between.end()
    assert not TOLD[lie.name](hub.shows(lie.about))


@pytest.mark.parametrize("lie", [one for one in lies(Path("/precious")) if one.refused], ids=str)
def test_who_acts_on_a_lie_is_seen(hub: Hub, lie):
    work = SUBMIT if lie.about == "invited" else MODEL
    assert hub.gets(work) == []
    hub.between.begin(Lied(lie))
    hub.shows(lie.about)
    hub.between.end()
    assert list(hub.between.aggregated_falsely) == ([RUN] if lie.about == "aggregate" else [])
    assert hub.gets(NO_MODEL) == []
    assert len(hub.gets(work)) == 1
    hub.shows(lie.about)
    assert len(hub.gets(work)) == 1, "the truth came at last"
    assert list(hub.between.aggregated_falsely) == []


def test_updates_and_models_are_told_from_other_reports():
    ready = Asked("PUT", SUBMIT.path, {}, b'{"event": "ready", "seq": 1, "round": 2, "reason": "submit"}')
    assert [submission_in(one) for one in (SUBMIT, ready, MODEL)] == [PLACE, None, None]
    assert [model_in(one) for one in (MODEL, NO_MODEL, SUBMIT)] == [PLACE, None, None]


def test_what_an_agent_said_is_read_from_the_common_log(tmp_path):
    log = tmp_path / "agents.log"
    old, line = '12:00:00 east    | {"what": "joined"}\n', '\x1b[0m12:00:01 east    | {"what": "not served"}\x1b[0m\n'
    log.write_text(old + line + '12:00:02 north   | {"what": "told"}\n12:00:02 east    | {"what": "cut o\n')
    assert said(log, "east", len(old)) == {"not served"}


def test_a_lie_without_an_echo_is_a_finding(hub: Hub, tmp_path):
    lying = Lying({"east": hub.between}, tmp_path, tmp_path / "agents.log", lambda _text: None)
    lying.history.append(Lied(lies(tmp_path)[0], count=2, ended_at=5))
    assert lying.not_named() == ["east did not say that it was told a stranger's project, 2 times"]
    assert lying.waiting_for() == ["east"]
    hub.gets(SUBMIT)
    assert (lying.waiting_for(), lying.believed()) == ([], [])
    (lying.precious / "file").unlink()
    assert len(lying.believed()) == 1
