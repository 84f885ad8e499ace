"""Who sees what: a participant never another's seat, submissions or messages; strangers nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from domain.values import Subject
from storage.views.people import names_seen
from tests.web.network import TASKS, Caller, Network
from tests.web.test_refusals import NOBODY, slug

BODY = base64.b64encode(b"payload").decode()


@dataclass
class World:
    """A project by invitation: oslo coordinates, bergen and tromso take part, a round is submitted. bodo is outside."""

    net: Network
    people: dict[str, Caller]
    project: str
    run: str
    to_bergen: str
    from_bergen: str

    def __getitem__(self, name: str) -> Caller:
        return self.people[name]


EVERYBODY = (
    "admin",
    "auditor",
    "oslo",
    "member of oslo",
    "bergen",
    "member of bergen",
    "tromso",
    "member of tromso",
    "bodo",
    "member of bodo",
)
COORDINATOR = {"oslo", "member of oslo"}
BERGEN = {"bergen", "member of bergen"}
TROMSO = {"tromso", "member of tromso"}
BODO = {"bodo", "member of bodo"}
OPERATORS = {"admin", "auditor"}
MEMBERS = COORDINATOR | BERGEN | TROMSO


def build(net: Network) -> World:
    people = {"admin": net.admin, "auditor": net.account(net.organisation("audit"), "auditor")}
    for name in ("oslo", "bergen", "tromso", "bodo"):
        organisation = net.organisation(name)
        people[name] = net.site(name, organisation)
        people[f"member of {name}"] = net.account(organisation, "member")
    oslo, bergen, tromso = people["oslo"], people["bergen"], people["tromso"]
    project = net.project(oslo, joining="invitation")
    for site in (bergen, tromso):
        oslo.ok("PUT", f"/v1/projects/{project}/members/{site.id}", {})
        site.ok("PUT", f"/v1/projects/{project}/members/{site.id}", {})
    run = net.run(oslo, project)
    for site in (oslo, bergen, tromso):
        assert net.report(site, run, "ready", 1).status_code == 200
    for site in (oslo, bergen, tromso):
        assert net.report(site, run, "submit", 2, update=BODY, metrics={"loss": 0.5}).status_code == 200
    to_bergen = {"project_id": project, "to": [bergen.id], "body": BODY}
    from_bergen = {"project_id": project, "to": "coordinator", "body": BODY}
    sent = oslo.ok("POST", "/v1/messages", {"messages": [to_bergen]})["ids"][0]
    received = bergen.ok("POST", "/v1/messages", {"messages": [from_bergen]})["ids"][0]
    return World(net, people, project, run, sent, received)


@pytest.fixture(scope="module")
def world(shared: Network) -> World:
    return build(shared)


def who_gets(world: World, path: str) -> set[str]:
    """Those to whom the path is there."""
    seen = set()
    for name in EVERYBODY:
        response = world[name].get(path)
        assert response.status_code in (200, 403, 404), response.get_data(as_text=True)
        if response.status_code == 200:
            seen.add(name)
    return seen


def who_lists(world: World, path: str, ident: str) -> set[str]:
    """Those in whose list it is."""
    seen = set()
    for name in EVERYBODY:
        response = world[name].get(f"{path}{'&' if '?' in path else '?'}limit=200")
        if response.status_code == 200 and ident in [item["id"] for item in response.get_json()["items"]]:
            seen.add(name)
    return seen


def test_organisations(world: World) -> None:
    organisation = world["bergen"].ok("GET", "/v1/me")["organisation_id"]
    assert who_gets(world, f"/v1/organisations/{organisation}") == OPERATORS | BERGEN
    assert who_lists(world, "/v1/organisations", organisation) == OPERATORS | BERGEN


def test_accounts(world: World) -> None:
    account = world["member of bergen"].id
    assert who_gets(world, f"/v1/accounts/{account}") == OPERATORS | {"member of bergen"}
    assert who_lists(world, "/v1/accounts", account) == OPERATORS | {"member of bergen"}


def test_tokens(world: World) -> None:
    issued = world["bergen"].ok("POST", "/v1/tokens", {"label": "second", "sha256": "b" * 64})["id"]
    assert who_lists(world, "/v1/tokens", issued) == OPERATORS | BERGEN
    of_account = world["member of bergen"].ok("POST", "/v1/tokens", {"label": "mine", "sha256": "c" * 64})["id"]
    assert who_lists(world, "/v1/tokens", of_account) == OPERATORS | {"member of bergen"}
    listed = world["admin"].ok("GET", f"/v1/tokens?owner={world['bergen'].id}")["items"]
    assert {token["owner_id"] for token in listed} == {world["bergen"].id}
    assert len(listed) == 2
    assert all("sha256" not in token for token in listed)


def test_sites(world: World) -> None:
    assert who_gets(world, f"/v1/sites/{world['bergen'].id}") == OPERATORS | MEMBERS
    assert who_lists(world, "/v1/sites", world["bergen"].id) == OPERATORS | MEMBERS
    assert who_gets(world, f"/v1/sites/{world['bodo'].id}") == OPERATORS | BODO
    assert who_gets(world, f"/v1/sites/{world['bergen'].id}/events") == OPERATORS | BERGEN


def who_is_shown(world: World, path: str, field: str) -> set[str]:
    """Whose answer has something in this field."""
    return {who for who in who_gets(world, path) if world[who].ok("GET", path)[field] is not None}


def test_how_a_site_is_doing_is_for_who_acts_for_it(world: World) -> None:
    assert who_is_shown(world, f"/v1/sites/{world['bergen'].id}", "health") == OPERATORS | BERGEN
    assert all(one["health"] is None for one in world["admin"].ok("GET", "/v1/sites")["items"])


def test_what_a_projects_artifacts_take_is_for_its_members(world: World) -> None:
    project = world.net.project(world["oslo"], joining="open", name="seen by all")
    assert who_is_shown(world, f"/v1/projects/{project}", "room") == OPERATORS | COORDINATOR


def test_the_coordinator_sees_who_asks_to_join(world: World) -> None:
    oslo, bodo = world["oslo"], world["bodo"]
    project = world.net.project(oslo, joining="approval", name="by approval")
    assert bodo.ok("PUT", f"/v1/projects/{project}/members/{bodo.id}", {"notes": "please"})["state"] == "requested"
    assert oslo.get(f"/v1/sites/{bodo.id}").status_code == 200
    assert bodo.get(f"/v1/sites/{oslo.id}").status_code == 404
    asking = [m for m in oslo.ok("GET", f"/v1/projects/{project}/members")["items"] if m["state"] == "requested"]
    assert [(m["site_name"], m["notes"], m["role"]) for m in asking] == [("bodo", "please", "participant")]
    assert slug(bodo.get(f"/v1/projects/{project}/members"), 404) == "not_found"
    bodo.ok("DELETE", f"/v1/projects/{project}/members/{bodo.id}")


def test_a_filter_tells_nothing_of_a_project_that_one_may_not_see(world: World) -> None:
    """The coordinator of one project and a member of it share another, which its third member is not in."""
    oslo, bergen, bodo = world["oslo"], world["bergen"], world["bodo"]
    shared = world.net.project(oslo, bergen, bodo, name="shared with bodo")
    assert bergen.id in [one["id"] for one in bodo.ok("GET", f"/v1/sites?project={shared}")["items"]]
    assert bodo.ok("GET", f"/v1/sites?project={world.project}")["items"] == []
    assert bodo.ok("GET", f"/v1/projects?member={bergen.id}&name=shared with bodo")["items"][0]["id"] == shared
    for path in ("/v1/projects?member=", "/v1/projects?coordinator="):
        found = [one["id"] for one in bodo.ok("GET", f"{path}{oslo.id}")["items"]]
        assert world.project not in found
    for path in ("/v1/runs?project=", "/v1/artifacts?project="):
        assert bodo.ok("GET", f"{path}{world.project}")["items"] == []
    member = who_lists(world, f"/v1/sites?project={world.project}", bergen.id)
    assert member == OPERATORS | MEMBERS


def test_projects(world: World) -> None:
    path = f"/v1/projects/{world.project}"
    assert who_gets(world, path) == OPERATORS | MEMBERS
    assert who_lists(world, "/v1/projects", world.project) == OPERATORS | MEMBERS
    assert who_gets(world, f"{path}/members") == OPERATORS | MEMBERS
    assert who_gets(world, f"{path}/events") == OPERATORS | COORDINATOR
    assert who_gets(world, f"{path}/runs") == OPERATORS | MEMBERS
    by_member = f"/v1/projects?member={world['bergen'].id}"
    assert who_lists(world, by_member, world.project) == OPERATORS | MEMBERS


def test_open_projects_are_for_all(world: World) -> None:
    project = world.net.project(world["oslo"], joining="open", name="an open one")
    assert who_gets(world, f"/v1/projects/{project}") == set(EVERYBODY)
    assert who_gets(world, f"/v1/projects/{project}/members") == OPERATORS | COORDINATOR


def test_runs(world: World) -> None:
    path = f"/v1/runs/{world.run}"
    assert who_gets(world, path) == OPERATORS | MEMBERS
    assert who_lists(world, "/v1/runs", world.run) == OPERATORS | MEMBERS
    assert who_lists(world, f"/v1/projects/{world.project}/runs", world.run) == OPERATORS | MEMBERS
    assert who_gets(world, f"{path}/events") == OPERATORS | MEMBERS
    of_bergen = f"/v1/runs?site={world['bergen'].id}"
    assert who_lists(world, of_bergen, world.run) == OPERATORS | COORDINATOR | BERGEN
    assert who_lists(world, f"/v1/runs?site={world['bodo'].id}", world.run) == set()


@pytest.mark.parametrize("name", EVERYBODY)
def test_seats_and_submissions(world: World, name: str) -> None:
    if name in BODO:
        assert world[name].get(f"/v1/runs/{world.run}").status_code == 404
        return
    task = world[name].ok("GET", f"/v1/runs/{world.run}")["tasks"][0]
    everything = {world[site].id for site in ("oslo", "bergen", "tromso")}
    own = {world[name.removeprefix("member of ")].id} if name in BERGEN | TROMSO else everything
    assert {seat["site_id"] for seat in task["seats"]} == own
    assert {each["site_id"] for each in task["rounds"][0]["submissions"]} == own


@pytest.mark.parametrize("name", sorted(MEMBERS | OPERATORS))
def test_events_of_a_run(world: World, name: str) -> None:
    events = world[name].ok("GET", f"/v1/runs/{world.run}/events?limit=200")["items"]
    concerned = {event["site_id"] for event in events} - {None}
    everything = {world[site].id for site in ("oslo", "bergen", "tromso")}
    own = {world[name.removeprefix("member of ")].id} if name in BERGEN | TROMSO else everything
    assert concerned == own


def test_messages(world: World) -> None:
    assert who_gets(world, f"/v1/messages/{world.to_bergen}") == COORDINATOR | BERGEN
    assert who_gets(world, f"/v1/messages/{world.from_bergen}") == COORDINATOR | BERGEN
    task = world["oslo"].ok("GET", f"/v1/runs/{world.run}")["tasks"][0]
    updates = {seat["site_id"]: seat["update_message_id"] for seat in task["seats"]}
    assert who_gets(world, f"/v1/messages/{updates[world['bergen'].id]}") == COORDINATOR | BERGEN
    assert who_gets(world, f"/v1/messages/{updates[world['tromso'].id]}") == COORDINATOR | TROMSO


def test_deliveries_are_the_senders(world: World) -> None:
    path = f"/v1/messages/{world.to_bergen}"
    sent = world["oslo"].ok("GET", path)
    assert [each["site_id"] for each in sent["deliveries"]] == [world["bergen"].id]
    assert world["bergen"].ok("GET", path)["deliveries"] is None
    assert base64.b64decode(sent["body"]) == b"payload"


def test_inboxes_hold_ones_own(world: World) -> None:
    def senders(name: str) -> set[Any]:
        items = world[name].ok("GET", "/v1/inbox?after=0&limit=200")["items"]
        return {entry["message"]["sender_site_id"] for entry in items if entry["kind"] == "message"}

    sites = {name: world[name].id for name in ("oslo", "bergen", "tromso")}
    assert senders("bergen") == {sites["oslo"]}
    assert senders("tromso") == set()
    assert senders("oslo") == set(sites.values())


def test_commands(world: World) -> None:
    sent = world["bergen"].call("POST", "/v1/tokens", {"label": "x", "sha256": "d" * 64})
    ident = sent.headers["Fedyard-Command"]
    for name in EVERYBODY:
        shown = world[name].ok("GET", f"/v1/commands/{ident}")
        nobodys = {**world[name].ok("GET", f"/v1/commands/{NOBODY}"), "id": ident}
        assert (shown["state"] == "accepted") == (name in {"admin", "bergen"})
        assert name in {"admin", "bergen"} or shown == nobodys


def test_me(world: World) -> None:
    me = world["member of oslo"].ok("GET", "/v1/me")
    assert (me["kind"], me["role"], me["scopes"]) == ("account", "member", ["read", "write"])
    site = world["oslo"].ok("GET", "/v1/me")
    assert (site["kind"], site["name"], site["role"]) == ("site", "oslo", None)
    assert site["organisation_id"] == me["organisation_id"]


def test_notes_are_for_the_coordinator(world: World) -> None:
    oslo, bergen, bodo = world["oslo"], world["bergen"], world["bodo"]
    project = world.net.project(oslo, joining="approval", name="with notes")
    for site in (bergen, bodo):
        site.ok("PUT", f"/v1/projects/{project}/members/{site.id}", {"notes": f"from {site.id}"})
    oslo.ok("PUT", f"/v1/projects/{project}/members/{bergen.id}", {})
    path = f"/v1/projects/{project}/members"
    auditor = world.net.account(oslo.ok("GET", "/v1/me")["organisation_id"], "auditor")

    def notes(caller: Caller) -> set[str]:
        return {one["notes"] for one in caller.ok("GET", path)["items"]} - {None, ""}

    everybodys = {f"from {bergen.id}", f"from {bodo.id}"}
    for reader in (oslo, world["member of oslo"]):
        assert notes(reader) == everybodys
    for reader in (bergen, world["member of bergen"]):
        assert notes(reader) == {f"from {bergen.id}"}
    for reader in (world["admin"], auditor):
        assert notes(reader) == set()


class TestWhoHasLeft:
    """A former member keeps sight of the runs that it had a seat in: of its own seat, its log and what it was told."""

    def scene(self, net: Network) -> tuple[Caller, Caller, Caller, str]:
        oslo, bergen, tromso = net.site("of oslo"), net.site("of bergen"), net.site("of tromso")
        project = net.project(oslo, bergen, tromso, joining="open", name="left behind")
        run = net.run(oslo, project)
        for site in (oslo, bergen, tromso):
            assert net.report(site, run, "ready", 1).status_code == 200
        for site in (oslo, bergen, tromso):
            assert net.report(site, run, "submit", 2, update=BODY).status_code == 200
        pieces = {"seq": 1, "pieces": [BODY]}
        for site in (bergen, tromso):
            site.ok("POST", f"/v1/runs/{run}/tasks/1/logs/{site.id}", pieces)
        bergen.ok("GET", f"/v1/runs/{run}")
        bergen.ok("DELETE", f"/v1/projects/{project}/members/{bergen.id}")
        oslo.ok("POST", f"/v1/runs/{run}/tasks/1/rounds/1/aggregated", {"model": BODY, "metrics": {"accuracy": 0.5}})
        return oslo, bergen, tromso, run

    def test_sees_its_own_part(self, make_net: Callable[..., Network]) -> None:
        net = make_net()
        _, bergen, tromso, run = self.scene(net)
        assert run in [one["id"] for one in bergen.ok("GET", "/v1/runs")["items"]]
        task = bergen.ok("GET", f"/v1/runs/{run}")["tasks"][0]
        assert [seat["site_id"] for seat in task["seats"]] == [bergen.id]
        assert [one["number"] for one in task["rounds"]] == [1]
        assert (task["round"], task["model_message_id"]) == (1, None)
        pieces = bergen.ok("GET", f"/v1/runs/{run}/logs")["items"]
        assert [one["site_id"] for one in pieces] == [bergen.id]
        events = bergen.ok("GET", f"/v1/runs/{run}/events?limit=200")["items"]
        assert {one["site_id"] for one in events} == {bergen.id}
        assert tromso.id not in bergen.get(f"/v1/runs/{run}").get_data(as_text=True)

    @pytest.mark.parametrize(("left_after", "seen"), [(0, None), (1, None), (2, 3)])
    def test_sees_no_best_model_that_was_made_since(
        self, make_net: Callable[..., Network], left_after: int, seen: int | None
    ) -> None:
        net = make_net()
        oslo, bergen = net.site("of oslo"), net.site("of bergen")
        contract = {**TASKS[0].get("contract", {}), "quorum": 1, "quorum_of": "count"}
        task = {**TASKS[0], "rounds": 3, "contract": contract, "best": {"metric": "accuracy", "mode": "max"}}
        run = net.run(oslo, net.project(oslo, bergen, name="best since", tasks=[task]))
        member = True
        for number in (1, 2, 3):
            sites = [oslo, bergen] if member else [oslo]
            for seq, event, more in ((2 * number - 1, "ready", {}), (2 * number, "submit", {"update": BODY})):
                for site in sites:
                    assert net.report(site, run, event, seq, number, **more).status_code == 200
            if number == left_after + 1:
                project = oslo.ok("GET", f"/v1/runs/{run}")["project_id"]
                bergen.ok("DELETE", f"/v1/projects/{project}/members/{bergen.id}")
                member = False
            made = {"model": BODY, "metrics": {"accuracy": number / 10}}
            oslo.ok("POST", f"/v1/runs/{run}/tasks/1/rounds/{number}/aggregated", made)
        best = {site.id: site.ok("GET", f"/v1/runs/{run}")["tasks"][0]["best"] for site in (oslo, bergen)}
        assert best[oslo.id]["round"] == 3
        assert (best[bergen.id] and best[bergen.id]["round"]) == seen

    def test_sees_no_other_run_of_the_project(self, make_net: Callable[..., Network]) -> None:
        net = make_net()
        oslo, bergen, _, run = self.scene(net)
        project = oslo.ok("GET", f"/v1/runs/{run}")["project_id"]
        later = net.run(oslo, project)
        assert slug(bergen.get(f"/v1/runs/{later}"), 404) == "not_found"
        assert slug(bergen.get(f"/v1/projects/{project}/runs"), 404) == "not_found"
        assert [one["id"] for one in bergen.ok("GET", "/v1/runs")["items"]] == [run]


def test_an_auditor_reads_no_body(world: World) -> None:
    """That of the organisation whose site it is neither."""
    for site, message in (("bergen", world.to_bergen), ("oslo", world.from_bergen)):
        own = world.net.account(world[site].ok("GET", "/v1/me")["organisation_id"], "auditor")
        assert slug(own.get(f"/v1/messages/{message}"), 404) == "not_found"
        assert own.get(f"/v1/runs/{world.run}").status_code == 200


def test_names_are_told_of_whom_one_may_know(world: World) -> None:
    """At the page, of ids that stand in events: the API would answer 404 of the others."""
    house = world.net.organisation("stavanger")
    site, member = world.net.site("stavanger", house), world.net.account(house, "member")
    ids = [*(caller.id for caller in world.people.values()), world.project, site.id, member.id]
    told = {
        who: set(names_seen(world.net.database, subject, ids))
        for who, subject in (
            ("admin", Subject(kind="account", id=world["admin"].id, role="admin")),
            ("site", Subject(kind="site", id=site.id, organisation_id=house)),
        )
    }
    assert told == {"admin": set(ids), "site": {site.id, member.id}}
