"""No entry ends an agent: an odd one fails its seat, with a reason, and the agent serves the next run.

The hub is between: a wire turns good entries into nasty ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fedyard.agent.agent import ends_agent
from fedyard.client.errors import Refused, Unavailable
from fedyard.sealed.errors import SealError
from fedyard.wire.answers import Problem
from tests.fedyard.world import Wire, World, project_of, wire_to
from tests.liar.agents import AgentThread

Json = dict[str, Any]
Change = Callable[[Json], Json]


def task(**fields: object) -> Change:
    return lambda facts: {**facts, "task": {**facts["task"], **fields}}


def parameters(value: object) -> Change:
    return task(parameters={"x": value})


NASTY: dict[str, tuple[str, Change]] = {
    "beyond 64 bits": ("invited", parameters(2**70)),
    "a million digits": ("invited", parameters(10**4000)),
    "nested": ("invited", parameters(json.loads("[" * 500 + "]" * 500))),
    "no task": ("invited", lambda facts: {**facts, "task": None}),
    "another kind of facts": ("invited", lambda _facts: {}),
    "submissions are none": ("aggregate", lambda facts: {**facts, "submissions": [{"site_id": 1}]}),
    "metrics are text": (
        "aggregate",
        lambda f: {**f, "submissions": [{**s, "metrics": "x"} for s in f["submissions"]]},
    ),
    "the same twice": ("aggregate", lambda facts: {**facts, "submissions": facts["submissions"] * 2}),
    "a quorum of millions": ("aggregate", lambda facts: {**facts, "quorum": 2**80}),
}


HARMLESS = ("a quorum of millions",)
SILENT = ("another kind of facts",)
"""Of which nothing can be reported: the hub waits as long as the contract says."""


def turned(kind: str, change: Change) -> Callable[[str, str, bytes], bytes]:
    def rewrite(_method: str, path: str, content: bytes) -> bytes:
        if "/inbox" not in path or f'"{kind}"'.encode() not in content:
            return content
        page = json.loads(content)
        for item in page["items"]:
            if item["kind"] == kind:
                item["facts"] = change(item["facts"])
        return json.dumps(page).encode()

    return rewrite


@pytest.fixture(scope="module")
def two(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Wire, list[AgentThread]]]:
    """What comes to the first of two agents, and both, who go through all that is odd."""
    folder = tmp_path_factory.mktemp("odd")
    with wire_to(world.hub) as wire:
        sites = [*world.sites(folder, "north", hub=wire.url), *world.sites(folder, "east")]
        agents = [AgentThread(site).start() for site in sites]
        try:
            yield wire, agents
        finally:
            for agent in agents:
                agent.stop()


@pytest.mark.parametrize("which", NASTY)
def test_an_odd_entry_fails_a_seat_and_ends_no_agent(two: tuple[Wire, list[AgentThread]], which: str) -> None:
    kind, change = NASTY[which]
    wire, agents = two
    select_s = 4 if which in SILENT else 20
    contract = {"aggregate_within_s": 20, "select_within_s": select_s}
    project = project_of([agent.site for agent in agents], rounds=1, contract=contract, called=f"odd: {which}")
    wire.rewrite = turned(kind, change)
    run = project.finished(project.start())
    told = [str(e) for e in project.coordinator.events(run.id) if e.kind in ("seat_failed", "round_failed")]
    assert run.state == "succeeded" if which in HARMLESS else told
    wire.rewrite = lambda _method, _path, content: content
    assert project.finished(project.start()).state == "succeeded"
    assert [agent.failure for agent in agents] == [None, None]


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (Refused("GET /v1/inbox", 401, Problem(title="")), True),
        (Refused("GET /v1/inbox", 403, Problem(title="")), False),
        (Unavailable("gone"), False),
        (SealError("x"), False),
        (OverflowError(), False),
        (MemoryError(), False),
        (OSError(28, "No space left on device"), False),
        (KeyboardInterrupt(), True),
    ],
)
def test_what_ends_an_agent(error: BaseException, ends: bool) -> None:
    assert ends_agent(error) is ends
