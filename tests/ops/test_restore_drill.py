"""The drill: a hub at work is copied, goes on, is killed, put back, started; its agents recover by themselves."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from devservers.ports import free_port
from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from fedyard.client.errors import Refused
from tests.fedyard.world import Project, SiteProcess, Wire, World, project_of, wire_to
from tests.ops.program import ROOT, Program, all_gone, call, create_account, environment, fedyard
from tests.waiting import until

QUICK = {"FEDYARD_TICK_EVERY_S": "0.5", "FEDYARD_HEARTBEAT_EVERY_S": "5"}


class Drill:
    """A hub on one port, whichever of its lives it is in."""

    def __init__(self, folder: Path, data: Path, form: str, more: dict[str, str]) -> None:
        self.folder, self.data, self.form, self.lives = folder, data, form, 0
        self.variables = {**QUICK, **more, "FEDYARD_WEB_PORT": str(free_port())}
        self.start()

    def start(self) -> None:
        self.lives += 1
        log = self.folder / f"log{self.lives}"
        self.program = Program(log, self.form, "--data", self.data, **self.variables)
        self.api = self.program.ready()

    def kill(self) -> None:
        family = self.program.family() if self.program.runs() else []
        self.program.end(signal.SIGKILL)
        all_gone(family)

    def keep(self) -> None:
        """Copy the records while the hub runs."""
        done = fedyard("backup", "--to", self.folder / "kept", "--data", self.data)
        assert done.returncode == 0, done.stderr

    def put_back(self) -> None:
        """The hub is stopped."""
        done = fedyard("restore", self.folder / "kept", "--replace", "--data", self.data)
        assert done.returncode == 0, done.stderr


class RawDrill(Drill):
    """PostgreSQL's own programs alone; the hub is not told."""

    def __init__(self, folder: Path, data: Path, postgres: PrivatePostgres, rabbitmq: PrivateRabbitmq) -> None:
        url = postgres.database()
        self.postgres, self.name = postgres, url.rpartition("/")[2]
        super().__init__(folder, data, "up", {"FEDYARD_DATABASE_URL": url, "FEDYARD_BROKER_URL": rabbitmq.vhost()})

    def keep(self) -> None:
        self.dump = self.postgres.dump(self.name)

    def put_back(self) -> None:
        self.postgres.restore(self.name, self.dump)


@pytest.fixture(params=["embedded", "raw"])
def drill(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Drill]:
    if request.param == "embedded":
        made = Drill(tmp_path, tmp_path / "hub", "embedded", {})
    else:
        servers = request.getfixturevalue("postgres"), request.getfixturevalue("rabbitmq")
        made = RawDrill(tmp_path, request.getfixturevalue("servers_folder") / "drill", *servers)
    yield made
    made.kill()


@pytest.mark.timeout(400)
def test_after_a_restore_nothing_is_lost_unseen_and_what_was_revoked_stays_so(drill: Drill, tmp_path: Path) -> None:
    world = World(drill.api, create_account(drill.data), tmp_path)
    sites = world.sites(tmp_path, "one", "two")
    one, two = [site.start() for site in sites]
    try:
        project = project_of(sites, rounds=1)
        until(lambda: all(keys_of(site) for site in sites))
        token_id, token = token_for(world, two)
        say(one, project, "before")
        until(lambda: texts_of(two) == ["before"])
        two.hold("train")
        cut = project.start()
        project.stands(cut, two, "training 1")
        drill.keep()

        two.release("train")
        assert project.finished(cut).state == "succeeded"
        say(one, project, "between 1")
        say(two, project, "between 2")
        two.hold("train")
        forgotten = project.start()
        project.stands(forgotten, two, "training 1")
        assert call(drill.api, "/v1/me", token)[0] == 200
        world.admin.written("DELETE", f"/v1/tokens/{token_id}", None, dict[str, Any], "revoked-in-the-drill")
        assert call(drill.api, "/v1/me", token)[0] == 401
        revoked = site_command(two, "site", "revoke-key", "1")
        assert revoked.returncode == 0, revoked.stderr
        until(lambda: (1, "revoked") in states_of(two))
        until(lambda: (len(texts_of(one)), len(texts_of(two))) == (1, 2))
        heard = all_heard(sites)
        assert against_heads_of(two, drill) == []

        drill.kill()
        drill.put_back()
        drill.start()
        until(lambda: logged(one, "sent again") and logged(two, "sent again"))
        two.release("train")
        say(one, project, "after 1")
        say(two, project, "after 2")
        until(lambda: len(texts_of(one)) >= 2 and len(texts_of(two)) >= 3)
        assert sorted(texts_of(one)) == ["after 2", "between 2"]  # each once
        assert sorted(texts_of(two)) == ["after 1", "before", "between 1"]
        until(lambda: (1, "revoked") in states_of(two))
        until(lambda: call(drill.api, "/v1/me", token)[0] == 401)
        ended = project.finished(cut)
        assert (ended.state, ended.reason) in {("succeeded", "completed"), ("failed", "hub_restored")}
        with pytest.raises(Refused):  # the hub does not know it any more, says so, and the agents have left it
            project.run(forgotten)
        assert project.finished(project.start()).state == "succeeded"
        assert all(site.runs() for site in sites)
        assert all(list(site.path.glob("state-*.sqlite")) for site in sites)
        assert heard < all_heard(sites)
        assert fedyard("events", "verify", "--data", drill.data).returncode == 0
        lost = against_heads_of(two, drill)  # a chain that is whole again has forgotten what the site has a head of
        assert lost
        assert all("the hub was restored since" in fault for fault in lost), lost
        assert {fault for site in sites for fault in head_faults(site)} <= {"lost"}
    finally:
        for site in sites:
            site.kill()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("drill", ["embedded"], indirect=True)
def test_what_was_made_before_a_restore_is_sent_when_the_restored_run_has_come_so_far(
    drill: Drill, tmp_path: Path
) -> None:
    """One agent recovers while the other is away, so that its update, and its model, come long before their rounds."""
    world = World(drill.api, create_account(drill.data), tmp_path)
    sites = world.sites(tmp_path, "one", "two")
    one, two = [site.start() for site in sites]
    try:
        project = project_of(sites)
        until(lambda: all(keys_of(site) for site in sites))
        two.hold("prepare")
        run_id = project.start()
        project.stands(run_id, one, "ready 1")
        drill.keep()

        two.hold("train")
        two.release("prepare")
        project.stands(run_id, one, "submitted 1")
        two.release("train")
        until(lambda: project.task(run_id).round == 2)
        two.hold("train")
        two.hold("prepare")
        until(lambda: any(stood(project, run_id, two, at) for at in ("preparing 2", "training 2", "submitted 2")))
        before = calls_of(sites)

        two.kill()
        drill.kill()
        drill.put_back()
        drill.start()
        until(lambda: logged(one, "sent again"))
        assert project.seat(run_id, one) == "ready 1"
        two.start()
        two.release("train")
        two.release("prepare")
        assert project.finished(run_id).state == "succeeded"
        assert {call: times for call, times in calls_of(sites).items() if call[1].endswith(" 1")} == {
            call: times for call, times in before.items() if call[1].endswith(" 1")
        }  # nothing of round 1 was computed again
        rounds = project.task(run_id).rounds
        assert [len(round.submissions) for round in rounds] == [2, 2]
    finally:
        for site in sites:
            site.kill()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("drill", ["embedded"], indirect=True)
def test_a_report_that_is_refused_before_its_site_hears_of_the_restore_is_sent_again(
    drill: Drill, tmp_path: Path
) -> None:
    """The hub has forgotten the report before it."""
    world = World(drill.api, create_account(drill.data), tmp_path)
    with wire_to(drill.api) as wire:
        sites = [*world.sites(tmp_path, "one", hub=wire.url), *world.sites(tmp_path, "two")]
        one = sites[0]
        for site in sites:
            site.start()
        try:
            project = project_of(sites, rounds=1)
            until(lambda: all(keys_of(site) for site in sites))
            one.hold("train")
            run_id = project.start()
            project.stands(run_id, one, "training 1")
            drill.keep()
            wire.hold = lambda _, body: b'"submit"' in body
            one.release("train")
            project.stands(run_id, one, "uploading 1")

            drill.kill()
            drill.put_back()
            wire.hold = lambda path, _: path.startswith("/v1/inbox") and not path.endswith("limit=1")
            drill.start()
            until(lambda: asked_where_it_is(wire) or "refused: too_early" in (one.path / "agent.log").read_text())
            wire.hold = lambda _path, _body: False
            assert project.finished(run_id).state == "succeeded"
            assert one.calls().count("train 1") == 1
        finally:
            for site in sites:
                site.kill()


def asked_where_it_is(wire: Wire) -> bool:
    """The agent itself reads its inbox by larger parts."""
    return any(path.startswith("/v1/inbox?") and path.endswith("limit=1") for _, path, _, _ in wire.passed)


def stood(project: Project, run_id: str, site: SiteProcess, seat: str) -> bool:
    return project.seat(run_id, site) == seat


def calls_of(sites: list[SiteProcess]) -> Counter[tuple[str, str]]:
    """How often each hook was called at each site, but for `prepare`, which every start of an agent calls again."""
    return Counter((site.name, call) for site in sites for call in site.calls() if not call.startswith("prepare"))


def against_heads_of(site: SiteProcess, drill: Drill) -> list[str]:
    """What the hub's records lack of the heads that a site has kept."""
    file = drill.folder / "heads.jsonl"
    assert site_command(site, "site", "heads", "--to", str(file)).returncode in (0, 1)
    assert {json.loads(line)["kind"] for line in file.read_text().splitlines()} == {"project", "site"}
    done = fedyard("events", "verify", "--against", file, "--data", drill.data)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()[:-1]


def head_faults(site: SiteProcess) -> list[str]:
    return [kind for (kind,) in memory(site, "SELECT kind FROM head_faults")]


def token_for(world: World, site: SiteProcess) -> tuple[str, str]:
    """(id, secret) of one more token of a site, given to it by an admin."""
    body = {"owner_kind": "site", "owner_id": site.site_id, "label": "spare"}
    status, made = call(world.hub, "/v1/tokens", world.admin_token, body, wait=20)
    assert status == 201, made
    return made["id"], made["token"]


def site_command(site: SiteProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(ROOT / "bin" / "fedyard"), "--folder", str(site.path), *arguments]
    return subprocess.run(argv, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False)


def say(site: SiteProcess, project: Project, text: str) -> None:
    """To the other one, as its people do."""
    to = "participants" if site is project.sites[0] else "coordinator"
    done = site_command(site, "send", f"project of {project.sites[0].name}", "--to", to, "--text", text)
    assert done.returncode == 0, done.stderr


def texts_of(site: SiteProcess) -> list[str]:
    """What the messages in a site's memory say, as far as its agent has opened them."""
    return [
        bytes(body).decode() for (body,) in memory(site, "SELECT body FROM bodies WHERE kind = 'message' AND opened")
    ]


def all_heard(sites: list[SiteProcess]) -> int:
    """Entries of their inboxes that the sites keep."""
    return sum(memory(site, "SELECT count(*) FROM entries")[0][0] for site in sites)


def memory(site: SiteProcess, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{site.path / 'state.sqlite'}?mode=ro", uri=True, timeout=10)) as state:
        return state.execute(query).fetchall()


def keys_of(site: SiteProcess) -> list[Any]:
    return site.client.site_keys(site.site_id)


def states_of(site: SiteProcess) -> set[tuple[int, str]]:
    return {(key.epoch, key.state) for key in keys_of(site)}


def logged(site: SiteProcess, what: str) -> bool:
    lines = (site.path / "agent.log").read_text().splitlines()
    return any(json.loads(line)["what"] == what for line in lines if line.startswith("{"))
