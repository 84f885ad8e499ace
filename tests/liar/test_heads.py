"""Heads of the chains of events: altered on their way, signed with another key, or of a chain that was cut."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chaos.liar import liar_before
from chaos.lies import Json, heads
from tests.fedyard.world import Project, World, project_of
from tests.liar.agents import AgentThread, at_work
from tests.liar.bugs import HEADS_NOT_COMPARED, HEADS_NOT_VERIFIED, Bug, planted
from tests.waiting import until

SAYS = "chain of events at fault"


def hubs_key(world: World) -> Ed25519PrivateKey:
    """What a malicious hub has."""
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode((world.folder / "head.key").read_text()))


def signed(head: Json, key: Ed25519PrivateKey, **changes: Any) -> Json:
    """Another head, signed with this key."""
    said = {**head, **changes, "key": base64.b64encode(key.public_key().public_bytes_raw()).decode()}
    ids = UUID(said["history_id"]).bytes + UUID(said["stream_id"]).bytes
    numbers = said["seq"].to_bytes(8), said["at"].to_bytes(8)
    statement = b"fedyard head 1\0" + ids + numbers[0] + bytes.fromhex(said["hash"]) + numbers[1]
    return {**said, "signature": base64.b64encode(key.sign(statement)).decode()}


@contextmanager
def lied_to_about(world: World, folder: Path, change: Callable[[Json], Json]) -> Iterator[tuple[AgentThread, Project]]:
    """An agent that has a head of its project; from then on each one of it goes through `change`. It must live on."""
    lies: list[Callable[[Json], Json]] = []
    with (
        liar_before(world.hub, heads(lambda head: lies[0](head) if lies else head)) as liar,
        at_work(world, folder, honest="north", lied_to="east", hub=liar.url) as (north, east),
    ):
        project = project_of([north.site, east.site], rounds=1, sealed="optional")
        say(project, north.site.name, 1)
        until(lambda: any(head.stream_id == project.id for head in kept(east)))
        lies.append(lambda head: change(head) if head["stream_id"] == project.id else head)
        for number in (2, 3):
            say(project, north.site.name, number)
        until(lambda: len(east.lines("message")) == 3)
        behind = (
            f"after={east._agent.state.inbox.taken()}&"  # who reads on has looked at the heads of the answer before
        )
        until(lambda: any(behind in asked.path for asked in list(liar.seen)))
        yield east, project
        lies.clear()
        assert project.finished(project.start()).state == "succeeded"
        assert east.failure is None


def say(project: Project, name: str, number: int) -> None:
    """Something that brings the participant an entry."""
    project.coordinator.post_message(project.id, "participants", b"hello", key=f"{name}-{number}")


def kept(agent: AgentThread) -> list[Any]:
    return agent._agent.state.heads.all() if hasattr(agent._agent, "state") else []


def faults(agent: AgentThread) -> list[str]:
    return [line["fault"] for line in agent.lines(SAYS)]


def cut_tail(world: World, folder: Path) -> None:
    """The hub's chain ends earlier than it did, and the hub itself signs that."""
    with lied_to_about(world, folder, lambda head: signed(head, hubs_key(world), seq=1, hash="a" * 64)) as (east, _):
        assert faults(east) == ["went_back"], "a cut tail was not noticed"
        assert [fault.head.seq for fault in east._agent.state.heads.head_faults()] == [1]


def altered_head(world: World, folder: Path) -> None:
    """Somebody on the way changes what the hub has signed."""
    with lied_to_about(world, folder, lambda head: {**head, "seq": head["seq"] + 1000}) as (east, project):
        assert faults(east) == ["altered"], "an altered head was not noticed"
        assert all(head.seq < 1000 for head in kept(east) if head.stream_id == project.id)


def test_a_cut_tail(world: World, tmp_path: Path) -> None:
    cut_tail(world, tmp_path)


def test_an_altered_head(world: World, tmp_path: Path) -> None:
    altered_head(world, tmp_path)


def test_another_key_and_a_past_that_was_written_anew(world: World, tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate()
    with lied_to_about(world, tmp_path, lambda head: signed(head, other)) as (east, _):
        assert faults(east) == ["foreign"]
    second = tmp_path / "second"
    second.mkdir()
    with lied_to_about(world, second, lambda head: signed(head, hubs_key(world), hash="c" * 64)) as (east, _):
        assert faults(east) == ["fork"]


@pytest.mark.parametrize("bug", [HEADS_NOT_COMPARED, HEADS_NOT_VERIFIED], ids=str)
def test_a_planted_bug_is_noticed(world: World, tmp_path: Path, bug: Bug) -> None:
    scenario = cut_tail if bug is HEADS_NOT_COMPARED else altered_head
    with planted(bug), pytest.raises(AssertionError, match="was not noticed"):
        scenario(world, tmp_path)
