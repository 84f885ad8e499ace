"""The program itself: without a rule nothing changes, and every kind of rule does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.liar import Told, liar_before
from chaos.lies import edited, entry_instead, once, repeated, swallowed, told_instead
from fedyard.client.client import Client
from fedyard.client.errors import Unavailable
from tests.fedyard.world import World, project_of
from tests.liar.agents import at_work


def test_without_a_rule_a_run_succeeds(world: World, tmp_path: Path) -> None:
    with liar_before(world.hub) as liar, at_work(world, tmp_path, honest="north", lied_to="east", hub=liar.url) as two:
        project = project_of([agent.site for agent in two], rounds=1)
        run = project.finished(project.start())
        assert (run.state, [agent.failure for agent in two]) == ("succeeded", [None, None])
        assert {asked.method for asked in liar.seen} >= {"GET", "PUT"}


def test_rules(world: World, tmp_path: Path) -> None:
    (site,) = world.sites(tmp_path, "north")
    with liar_before(world.hub) as liar:
        client = Client(liar.url, site.folder.token(), give_up_s=0.1)
        liar.rules = [edited("GET", "/v1/me", lambda me: {**me, "name": "another"})]
        assert client.me().name == "another"
        liar.rules = [once(told_instead("GET", "/v1/me", Told(503)))]
        assert Client(liar.url, site.folder.token()).me().name == site.name
        liar.rules = [swallowed("GET", "/v1/me")]
        with pytest.raises(Unavailable):
            client.me()
        liar.rules = []
        before = len(client.projects())
        liar.rules = [repeated("POST", "/v1/projects")]
        client.create_project(f"of {site.name}", [{"name": "train", "model": "x"}])
        assert len(client.projects()) == before + 1
        liar.rules = [entry_instead("message", kind="unheard_of")]
        assert all(entry.kind != "message" for entry in client.inbox(after=0).items)
