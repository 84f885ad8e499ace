"""Consent is the site's own: who makes it a member, invites it, or shows it another project, gets nothing of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chaos.liar import liar_before
from chaos.lies import Json, edited, entries_of
from fedyard.agent.consents import Join
from fedyard.agent.state import State
from fedyard.cli.main import main
from fedyard.client.client import Client
from fedyard.clock import draw_secret
from fedyard.sealed.keys import fingerprint, words
from fedyard.wire.answers import Run
from tests.fedyard.world import ALLOWED, SiteProcess, World, joining, project_of
from tests.liar.agents import AgentThread, at_work
from tests.liar.bugs import ANY_COORDINATOR, NO_CONSENT_CHECK, Bug, planted
from tests.waiting import until

CONTRACT = {"quorum": 1, "quorum_of": "count", "select_within_s": 60, "train_within_s": 60, "aggregate_within_s": 60}
TASK: dict[str, Any] = {"name": "train", "model": ALLOWED[0], "rounds": 1, "contract": CONTRACT}
NOWHERE = "99999999-0000-4000-8000-000000000000"


@contextmanager
def agent_of(site: SiteProcess) -> Iterator[AgentThread]:
    agent = AgentThread(site).start()
    try:
        yield agent
    finally:
        agent.stop()


def reasons(boss: Client, run_id: str) -> dict[str, str]:
    """Why seats failed, by site."""
    events = boss.events(run_id)
    return {str(e.site_id): str(e.facts["reason"]) for e in events if e.kind == "seat_failed"}


def finished(boss: Client, run_id: str) -> Run:
    return until(lambda: (run := boss.run(run_id)).finished and run)


def served_nothing(agent: AgentThread) -> None:
    """Nothing was computed, opened or sealed; and the agent is at work."""
    assert agent.runs(), agent.failure
    assert agent.site.calls() == [], "a hook was called for a project that nobody joined"
    assert not (agent.site.path / "models").exists()
    state = State(agent.site.path / "state.sqlite")
    assert not any(entry.kind == "message" for entry in state.inbox.latest(100))
    state.close()


def words_of(site: SiteProcess) -> str:
    return words(fingerprint(site.folder.keyring().identity_key))


# who makes it a member


def foreign_invitation(world: World, folder: Path) -> None:
    """An admin's token issues one for the site, and joins it to a stranger's project."""
    mallory, east = world.sites(folder, "mallory", "east")
    with agent_of(mallory), agent_of(east) as agent:
        mine = mallory.client.create_project(f"free sweets {folder.name}", [TASK], joining="open")
        mallory.serve(mine)
        stolen = draw_secret()
        token = {"owner_kind": "site", "owner_id": east.site_id, "label": "spare", "scopes": ["read", "write"]}
        token["sha256"] = hashlib.sha256(stolen.encode()).hexdigest()
        world.admin.write("POST", "/v1/tokens", token, dict, key=None)
        Client(world.hub, stolen).put_member(mine, east.site_id)
        run_id = mallory.client.start_run(mine).id
        until(lambda: agent.lines("invited"))
        finished(mallory.client, run_id)
        until(lambda: agent.lines("run_ended"))
        served_nothing(agent)
        assert reasons(mallory.client, run_id)[east.site_id].startswith("not_consented: neither the configuration")
        (line,) = agent.lines("not served")
        assert (line["project"], line["run"]) == (mine, run_id)
        kinds = [line["kind"] for line in agent.lines("told")]
        assert kinds == ["token_issued", "member_admitted"]
        assert agent.lines("told")[0]["detail"].startswith("token 'spare' (")


def test_who_makes_a_site_a_member_does_not_get_its_weights(world: World, tmp_path: Path) -> None:
    foreign_invitation(world, tmp_path)


def test_an_invitation_waits_for_the_sites_people(world: World, tmp_path: Path, capsys) -> None:
    north, east = world.sites(tmp_path, "north", "east")
    with agent_of(east) as agent:
        name = f"by invitation {tmp_path.name}"
        project = north.client.create_project(name, [TASK], joining="invitation")
        north.client.put_member(project, east.site_id)
        (line,) = until(lambda: agent.lines("invitation"))
        assert words_of(north) in line["detail"]
        assert [m.state for m in north.client.members(project) if m.site_id == east.site_id] == ["invited"]
        argv = ["--folder", str(east.path), "project", "join", name, "--coordinator", *words_of(north).split()]
        assert main(argv) == 0
        assert capsys.readouterr().out.startswith(f"{name}: active\n")
        assert main(["--folder", str(east.path), "site", "inbox"]) == 0
        assert f"this site was invited to project {project}" in capsys.readouterr().out


def test_a_project_created_in_the_sites_name_is_not_aggregated(world: World, tmp_path: Path) -> None:
    """A member of its organisation makes it a coordinator, and starts a run."""
    north, east, south = world.sites(tmp_path, "north", "east", "south")
    body = {"name": f"in its name {tmp_path.name}", "tasks": [TASK | {"who": "participants"}], "joining": "open"}
    with agent_of(north) as agent, agent_of(east), agent_of(south):
        made = world.admin.write("POST", "/v1/projects", body | {"coordinator_site_id": north.site_id}, dict, key=None)
        until(lambda: [line for line in agent.lines("told") if line["kind"] == "project_created"])
        for site in (east, south):
            site.join(made["id"])
        run_id = world.admin.start_run(made["id"]).id
        run = finished(world.admin, run_id)
        assert (run.state, run.reason) == ("failed", "aggregation_failed")
        failures = [str(e.facts) for e in world.admin.events(run_id) if e.kind == "round_failed"]
        assert ["not_consented" in text for text in failures] == [True]
        assert not any("aggregate" in call for call in north.calls())
        assert main(["--folder", str(north.path), "run", "start", made["id"]]) == 1
        assert main(["--folder", str(north.path), "project", "join", made["id"]]) == 0
        again = world.admin.start_run(made["id"]).id
        assert finished(world.admin, again).state == "succeeded"


@pytest.mark.parametrize("bug", [NO_CONSENT_CHECK, ANY_COORDINATOR], ids=str)
def test_a_planted_bug_is_noticed(world: World, tmp_path: Path, bug: Bug) -> None:
    scenario = foreign_invitation if bug is NO_CONSENT_CHECK else strangers_project_of_that_name
    with planted(bug), pytest.raises(AssertionError, match=r"that nobody joined|joined a stranger's project"):
        scenario(world, tmp_path)


# another project, another coordinator


def test_a_run_that_is_shown_in_another_project(world: World, tmp_path: Path) -> None:
    """Both are served; the update of one must not be sealed to the coordinator of the other."""
    with liar_before(world.hub) as liar, at_work(world, tmp_path, honest="north", lied_to="east", hub=liar.url) as two:
        north, east = (agent.site for agent in two)
        project = project_of([north, east], rounds=1)
        (mallory,) = world.sites(tmp_path, "mallory")
        other = mallory.client.create_project(f"other {tmp_path.name}", [TASK], joining="open")
        east.join(other)
        liar.rules = [entries_of("round_started", lambda entry: {**entry, "project_id": other})]
        run_id = project.start()
        until(lambda: east.site_id in reasons(north.client, run_id))
        assert reasons(north.client, run_id)[east.site_id].startswith(f"not_consented: run {run_id} belongs to")
        assert "train 1" not in east.calls()


def test_an_invitation_that_is_shown_in_a_project_that_is_not_served(world: World, tmp_path: Path) -> None:
    with liar_before(world.hub) as liar, at_work(world, tmp_path, honest="north", lied_to="east", hub=liar.url) as two:
        north, east = (agent.site for agent in two)
        project = project_of([north, east], rounds=1)
        liar.rules = [entries_of("invited", lambda entry: {**entry, "project_id": NOWHERE})]
        run_id = project.start()
        until(lambda: east.site_id in reasons(north.client, run_id))
        assert reasons(north.client, run_id)[east.site_id].startswith("not_consented")
        served_nothing(two[1])


def swapped_coordinator(world: World, folder: Path) -> None:
    """The hub says that the project which was joined is mallory's: updates would be sealed to mallory."""
    with liar_before(world.hub) as liar, at_work(world, folder, honest="north", lied_to="east", hub=liar.url) as two:
        north, east = (agent.site for agent in two)
        (mallory,) = world.sites(folder, "mallory")
        project = project_of([north, east], rounds=1)

        def of_mallory(shown: Json) -> Json:
            return {**shown, "coordinator_site_id": mallory.site_id}

        liar.rules = [edited("GET", "/v1/projects/[^/]+", of_mallory)]
        run_id = project.start()
        until(lambda: east.site_id in reasons(north.client, run_id))
        assert "was joined under the coordinator" in reasons(north.client, run_id)[east.site_id]
        sent = [asked for asked in liar.seen if b'"submit"' in asked.body]
        assert sent == [], "an update was sealed to another coordinator"


def test_a_swapped_coordinator_gets_no_update(world: World, tmp_path: Path) -> None:
    swapped_coordinator(world, tmp_path)


def test_an_invitation_under_another_coordinator(world: World, tmp_path: Path) -> None:
    with liar_before(world.hub) as liar, at_work(world, tmp_path, honest="north", lied_to="east", hub=liar.url) as two:
        north, east = (agent.site for agent in two)
        project = project_of([north, east], rounds=1)

        def under_another(entry: Json) -> Json:
            return {**entry, "facts": {**entry["facts"], "coordinator_site_id": NOWHERE}}

        liar.rules = [entries_of("invited", under_another)]
        run_id = project.start()
        until(lambda: east.site_id in reasons(north.client, run_id))
        assert "joined under the coordinator" in reasons(north.client, run_id)[east.site_id]
        served_nothing(two[1])


def test_a_hub_that_invites_to_one_seat_for_ever_is_refused_once(world: World, tmp_path: Path) -> None:
    """Every notice of the inbox becomes an invitation to a run that nobody knows."""
    with liar_before(world.hub) as liar, at_work(world, tmp_path, honest="north", lied_to="east", hub=liar.url) as two:
        north, east = (agent.site for agent in two)
        task = {"name": "train", "model": ALLOWED[0]}
        facts = {"attempt": 1, "number": 1, "report_seq": 0, "task": task}
        fields = {"kind": "invited", "project_id": NOWHERE, "run_id": NOWHERE, "task_seq": 1, "round": 1}
        liar.rules = [
            entries_of(kind, lambda entry: {**entry, **fields, "facts": facts})
            for kind in ("member_admitted", "member_left", "token_issued", "token_revoked")
        ]
        project = north.client.create_project(f"flood {tmp_path.name}", [TASK], joining="open")
        for _ in range(3):
            Client(world.hub, east.folder.token()).put_member(project, east.site_id)
            Client(world.hub, east.folder.token()).remove_member(project, east.site_id)
        until(lambda: len(two[1].lines("invited")) == 6)
        assert len(two[1].lines("not served")) == 1
        assert len([asked for asked in liar.seen if "/seats/" in asked.path]) == 1
        served_nothing(two[1])


# a name, and whose it is


def strangers_project_of_that_name(world: World, folder: Path) -> None:
    """The agent is to join north's project; mallory has made one of that name first."""
    north, mallory = world.sites(folder, "north", "mallory")
    name = f"breast-cancer {folder.name}"
    (east,) = world.sites(folder, "east", join=joining(name, words_of(north)))
    made = mallory.client.create_project(name, [TASK], joining="open")
    with agent_of(east) as agent:
        until(lambda: agent.lines("not joined") or agent.lines("joined"))
        assert not agent.lines("joined"), "it joined a stranger's project"
        (line,) = agent.lines("not joined")
        assert words_of(mallory) in line["detail"]
        assert [m.site_id for m in mallory.client.members(made)] == [mallory.site_id], "it joined a stranger's project"
        assert east.folder.consents().all() == {}


def test_a_strangers_project_of_that_name_is_not_joined(world: World, tmp_path: Path) -> None:
    strangers_project_of_that_name(world, tmp_path)


def test_who_knows_no_coordinator_holds_to_the_first(world: World, tmp_path: Path) -> None:
    """Later the hub shows another project under that name: it does not count."""
    (north,) = world.sites(tmp_path, "north")
    name = f"first come {tmp_path.name}"
    with liar_before(world.hub) as liar:
        (east,) = world.sites(tmp_path, "east", hub=liar.url, join=joining(name))
        made = north.client.create_project(name, [TASK], joining="open")
        with agent_of(east) as agent:
            (line,) = until(lambda: agent.lines("consent given"))
            assert (line["id"], line["words"]) == (made, words_of(north))
            until(lambda: agent.lines("joined"))
        (mallory,) = world.sites(tmp_path, "mallory")
        other = mallory.client.create_project(f"{name}, too", [TASK], joining="open")
        liar.rules = [
            edited("GET", "/v1/projects", lambda page: {**page, "items": _called(page["items"], other, name)})
        ]
        with agent_of(east) as agent:
            (line,) = until(lambda: agent.lines("joined"))
            assert line["id"] == made
        assert [*east.folder.consents().all()] == [made]


def _called(items: list[Json], project_id: str, name: str) -> list[Json]:
    """Another project under that name, and the true one left out."""
    return [{**one, "name": name} for one in items if one["id"] == project_id]


def test_two_projects_of_one_name_are_both_shown_and_none_is_joined(world: World, tmp_path: Path) -> None:
    north, mallory = world.sites(tmp_path, "north", "mallory")
    name = f"twice {tmp_path.name}"
    with liar_before(world.hub) as liar:
        made = [site.client.create_project(f"{name} {site.name}", [TASK], joining="open") for site in (north, mallory)]
        both = [one for one in north.client.read("/v1/projects", dict, {"limit": 200})["items"] if one["id"] in made]
        liar.rules = [
            edited("GET", "/v1/projects", lambda page: {**page, "items": [{**one, "name": name} for one in both]})
        ]
        (east,) = world.sites(tmp_path, "east", hub=liar.url, join=joining(name))
        with agent_of(east) as agent:
            (line,) = until(lambda: agent.lines("not joined"))
            for site, project_id in zip((north, mallory), made, strict=True):
                assert project_id in line["detail"]
                assert words_of(site) in line["detail"]
        assert east.folder.consents().all() == {}
        assert east.client.projects(member=east.site_id) == []


# leaving


def test_leaving_counts_at_once_also_without_a_hub(world: World, tmp_path: Path, capsys) -> None:
    with liar_before(world.hub) as liar:
        (north,) = world.sites(tmp_path, "north")
        name = f"left {tmp_path.name}"
        (east,) = world.sites(tmp_path, "east", hub=liar.url, join=joining(name))
        project = north.client.create_project(name, [TASK], joining="open")
        with agent_of(east) as agent:
            until(lambda: agent.lines("joined"))
    assert main(["--folder", str(east.path), "project", "leave", name]) == 1
    said = capsys.readouterr().out
    assert f"{name}: this site does not serve it any more" in said
    assert "the hub has not heard of it" in said
    assert not east.folder.consents().serves(project)
    assert main(["--folder", str(east.path), "site", "consents"]) == 0
    assert ", left " in capsys.readouterr().out
    text = (east.path / "site.toml").read_text().replace(liar.url, world.hub)
    (east.path / "site.toml").write_text(text)
    north.serve(project)
    with agent_of(north), agent_of(east) as agent:
        (line,) = until(lambda: agent.lines("not joined"))
        assert "the people of this site left project" in line["detail"]
        run_id = north.client.start_run(project).id
        until(lambda: east.site_id in reasons(north.client, run_id))
        assert "left project" in reasons(north.client, run_id)[east.site_id]
        served_nothing(agent)


def test_leaving_stops_a_hook_that_computes(world: World, tmp_path: Path) -> None:
    with liar_before(world.hub) as liar, at_work(world, tmp_path, honest="north", lied_to="east", hub=liar.url) as two:
        north, east = (agent.site for agent in two)
        project = project_of([north, east], rounds=1)
        east.hold("train")
        run_id = project.start()
        until(lambda: "train 1" in east.calls())
        consents = east.folder.consents()
        consents.withdraw(consents.of(project.id), 1)  # the hub hears of it by the seat alone
        until(lambda: east.site_id in reasons(north.client, run_id))
        assert "left project" in reasons(north.client, run_id)[east.site_id]
        assert "stopped train" in east.calls()


def test_what_site_toml_says_no_more_is_served_no_more(world: World, tmp_path: Path) -> None:
    (north,) = world.sites(tmp_path, "north")
    name = f"edited {tmp_path.name}"
    (east,) = world.sites(tmp_path, "east", join=[Join(project=name, coordinator=north.site_id)])
    project = north.client.create_project(name, [TASK], joining="open")
    with agent_of(east) as agent:
        until(lambda: agent.lines("joined"))
    assert east.folder.consents().serves(project)
    path = east.path / "site.toml"
    path.write_text(path.read_text().replace(name, f"not {name}"))
    with agent_of(east) as agent:
        (line,) = until(lambda: agent.lines("consent withdrawn"))
        assert line["id"] == project
    assert not east.folder.consents().serves(project)
