"""What people do on the pages of projects and sites: each is the API's command, in their name."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest

from domain.commands import ScaleSelectors, StartInfrastructure, StopInfrastructure
from domain.ids import derive
from storage.views.projects import Counted
from tests.page.callers import Browser, signed_in
from tests.page.scenes import Scene
from tests.web.network import Caller
from web.page.projects import Members, members_of


@pytest.fixture
def api(scene: Scene) -> Caller:
    """The admin, as a program."""
    return Caller(scene.net.app, scene.tokens["admin"])


@pytest.fixture
def at(scene: Scene) -> Callable[[str, str], Browser]:
    """Somebody who looks at a page."""

    def look(who: str, path: str) -> Browser:
        browser = signed_in(scene.net.app, scene.tokens[who])
        assert browser.get(path.format_map(scene.names)).status_code == 200
        return browser

    return look


Looks = Callable[[str, str], Browser]


def members(api: Caller, project: str) -> dict[str, str]:
    return {one["site_id"]: one["state"] for one in api.ok("GET", f"/v1/projects/{project}/members?limit=200")["items"]}


def shown_error(page: str, field: str) -> str:
    """What stands at a field."""
    found = re.search(rf'id="f-{field}-error">(.*?)</p>', page, re.DOTALL)
    return re.sub(r"<.*?>", "", found[1]).strip() if found else ""


@pytest.mark.parametrize(("answer", "state"), [("admit", "active"), ("decline", "left")])
def test_a_request_to_join_is_answered_by_one_button(
    scene: Scene, at: Looks, api: Caller, answer: str, state: str
) -> None:
    project, asking = scene.names["project"], scene.names["site_islands"]
    browser = at("coordinator", "/page/projects/{project}")
    assert "A small hospital" in browser.shown
    response = browser.post(f"/page/projects/{project}/members/{asking}/{answer}")
    assert (response.status_code, response.location.partition("?")[0]) == (303, f"/page/projects/{project}")
    assert members(api, project)[asking] == state
    assert "Done: " in browser.get(response.location).get_data(as_text=True)


def test_who_does_not_coordinate_lets_nobody_in(scene: Scene, at: Looks, api: Caller) -> None:
    project, asking = scene.names["project"], scene.names["site_islands"]
    browser = at("admin", "/page/projects/{project}")
    assert "Let it in" not in browser.shown
    refused = browser.post(f"/page/projects/{project}/members/{asking}/admit")
    assert (refused.status_code, "Not yours to do" in browser.shown) == (403, True)
    assert members(api, project)[asking] == "requested"


def test_a_site_is_invited_by_its_id_and_a_wrong_one_is_said_at_the_field(scene: Scene, at: Looks, api: Caller) -> None:
    project, site = scene.names["project_new"], scene.names["site_west"]
    browser = at("coordinator", "/page/projects/{project_new}")
    path = f"/page/projects/{project}/invite"
    assert browser.post(path, {"site_id": derive("nobody")}).status_code == 404
    assert "there is no site" in shown_error(browser.shown, "site_id")
    sent = len(scene.net.publisher.sent)
    assert browser.post(path, {"site_id": "no id"}).status_code == 404
    assert "is not written as one is" in shown_error(browser.shown, "site_id")
    assert len(scene.net.publisher.sent) == sent
    assert browser.post(path, {"site_id": site}).status_code == 303
    assert members(api, project)[site] == "invited"


def test_a_project_is_changed_and_what_is_wrong_stands_at_its_field(scene: Scene, at: Looks, api: Caller) -> None:
    project = scene.names["project_new"]
    browser = at("coordinator", "/page/projects/{project_new}/change")
    path = f"/page/projects/{project}/change"
    before = api.ok("GET", f"/v1/projects/{project}")
    kept = {"name": before["name"], "joining": "open", "sealed": "optional", "max_live_runs": "3"}
    tasks = '[{"name": "train", "model": "m", "after": ["other"]}]'
    refused = browser.post(path, {**kept, "tasks": tasks})
    assert refused.status_code == 422
    assert "comes after" in shown_error(browser.shown, "tasks")
    assert browser.post(path, {**kept, "tasks": "[{"}).status_code == 422
    assert "JSON" in shown_error(browser.shown, "tasks")
    taken = browser.post(path, {**kept, "name": "Chest X-ray triage", "tasks": '[{"name": "train", "model": "m"}]'})
    assert (taken.status_code, "exists" in shown_error(browser.shown, "name")) == (409, True)
    done = browser.post(path, {**kept, "description": "New", "tasks": '[{"name": "train", "model": "m", "rounds": 2}]'})
    assert done.status_code == 303
    after = api.ok("GET", f"/v1/projects/{project}")
    assert (after["description"], after["joining"], after["max_live_runs"]) == ("New", "open", 3)
    assert after["tasks"][0]["rounds"] == 2


def test_a_project_is_archived(scene: Scene, at: Looks, api: Caller) -> None:
    browser = at("coordinator", "/page/projects/{project_new}")
    project = scene.names["project_new"]
    assert browser.post(f"/page/projects/{project}/archive").status_code == 303
    assert api.ok("GET", f"/v1/projects/{project}")["archived_at"] is not None
    live = scene.names["project"]
    browser.get(f"/page/projects/{live}")
    assert browser.post(f"/page/projects/{live}/archive").status_code == 409
    assert "A run lives" in browser.shown


def test_workloads_that_hold_seats_are_not_counted_as_members() -> None:
    numbers = [
        Counted("active", "coordinator", 1),
        Counted("active", "participant", 3),
        Counted("requested", "participant", 2),
        Counted("active", "workload", 5),
    ]
    assert members_of(numbers) == Members(active=4, participants=3, asking=2)


def test_each_button_of_a_projects_parts_is_its_own_command(scene: Scene, at: Looks) -> None:
    """This project has none: they are asked for all the same, and the decision says so."""
    project = scene.names["project"]
    browser = at("coordinator", "/page/projects/{project}")
    parts = f"/page/projects/{project}/infrastructure"
    for wish, form in (("start", {}), ("stop", {"reason": "night"}), ("selectors", {"selectors": "2"})):
        browser.post(f"{parts}/{wish}", form)
    asked = (StartInfrastructure, StopInfrastructure, ScaleSelectors)
    assert [one.command for one in scene.net.publisher.sent if isinstance(one.command, asked)] == [
        StartInfrastructure(project_id=project),
        StopInfrastructure(project_id=project, reason="night"),
        ScaleSelectors(project_id=project, selectors=2),
    ]
    assert browser.post(f"{parts}/selectors", {"selectors": "x"}).status_code == 400


# the wizard


def step(browser: Browser, go: str = "next", **typed: object) -> str:
    """Fill in what the page shown last asks for, and go on. The answer's page."""
    path = "/page/projects/new"
    response = browser.post(path, {**{name.replace("__", "."): value for name, value in typed.items()}, "_go": go})
    assert response.status_code in (200, 409, 422), response.get_data(as_text=True)
    return browser.shown


def test_from_a_description_to_a_first_run(scene: Scene, at: Looks, api: Caller) -> None:
    browser = at("coordinator", "/page/projects/new")
    north, west = scene.names["site_north"], scene.names["site_west"]
    assert "it is needed" in step(browser, name="", coordinator_site_id=north)
    shown = step(
        browser, name="Chest X-ray triage", description="Two\nlines", data_format="", coordinator_site_id=north
    )
    assert "What is trained" in shown
    task = {"tasks__0__name": "train", "tasks__0__rounds": "1", "tasks__0__who": "all", "tasks__0__aggregate": "true"}
    assert "it is needed" in step(browser, **task)
    assert "What a round needs" in step(browser, tasks__0__model="logistic", **task)
    contract = {"quorum": "1", "quorum_of": "fraction", "select_within_s": "60", "train_within_s": "60"}
    contract |= {"aggregate_within_s": "60", "silent_within_s": "600", "late": "drop", "too_few": "fail"}
    assert "Who takes part" in step(browser, **{f"contract__{name}": value for name, value in contract.items()})
    shown = step(browser, joining="open", sealed="optional", max_live_runs="1", invite=[west])
    assert "1 round of the model logistic" in shown
    assert "A site that misses a deadline is out of the task." in shown

    shown = step(browser, go="create")
    assert "exists; choose another name" in shown_error(shown, "name")
    again = {"name": "Triage, once more", "description": "Two\nlines", "coordinator_site_id": north}
    made = browser.post("/page/projects/new", {**again, "_go": "create"})
    assert made.status_code == 303, browser.shown
    project = made.location.split("/")[3]
    said = api.ok("GET", f"/v1/projects/{project}")
    assert (said["name"], said["description"], said["tasks"][0]["contract"]["late"]) == (
        "Triage, once more",
        "Two\nlines",
        "drop",
    )
    assert members(api, project) == {north: "active", west: "invited"}

    browser.get(made.location)
    assert "1 invited site has not answered." in browser.shown
    started = browser.post(f"/page/projects/{project}/first-run")
    assert (started.status_code, started.location.startswith("/page/runs/")) == (303, True)
    assert api.ok("GET", f"/v1/projects/{project}/runs")["items"][0]["state"] == "running"
    browser.get(f"/page/projects/{project}/first-run")
    again = browser.post(f"/page/projects/{project}/first-run")
    assert (again.status_code, "A run lives" in browser.shown) == (409, True)
    queued = browser.post(f"/page/projects/{project}/first-run", {"queue": "true"})
    assert queued.status_code == 303
    runs = api.ok("GET", f"/v1/projects/{project}/runs")["items"]
    assert sorted(one["state"] for one in runs) == ["created", "running"]


def test_a_form_that_is_sent_twice_makes_one_project(scene: Scene, at: Looks, api: Caller) -> None:
    browser = at("coordinator", "/page/projects/new")
    form = {
        "_step": "review",
        "_go": "create",
        "name": "Once",
        "coordinator_site_id": scene.names["site_north"],
        "tasks.0.name": "train",
        "tasks.0.model": "m",
        "tasks.0.rounds": "1",
        "contract.quorum": "1",
        "contract.quorum_of": "fraction",
        "contract.select_within_s": "60",
        "contract.train_within_s": "60",
        "contract.aggregate_within_s": "60",
        "contract.silent_within_s": "60",
        "contract.late": "drop",
        "contract.too_few": "fail",
        "joining": "open",
        "sealed": "optional",
        "max_live_runs": "1",
    }
    first = browser.post("/page/projects/new", form)
    second = browser.post("/page/projects/new", form)
    assert first.status_code == second.status_code == 303
    assert first.location == second.location


# sites


def test_a_token_for_a_site_is_shown_once(scene: Scene, at: Looks, api: Caller) -> None:
    browser = at("admin", "/page/sites/enrol")
    form = {"organisation_id": scene.names["organisation_west"], "note": "basement", "expires_in_s": "604800"}
    sent = browser.post("/page/sites/enrol", form)
    token = re.search(
        r"SITE_ENROLMENT_TOKEN=(fyd_[\w-]+) fedyard site init --hub http://localhost --name NAME", browser.shown
    )
    assert (sent.status_code, token is not None, "<svg viewBox" in browser.shown) == (200, True, True)
    assert api.ok("GET", "/v1/enrolments?limit=200")["items"][-1]["note"] == "basement"
    with_nothing = browser.post("/page/sites/enrol", {**form, "organisation_id": ""})
    assert with_nothing.status_code == 400
    assert "an id" in shown_error(browser.shown, "organisation_id")


def test_an_organisation_is_named_where_there_are_too_many_to_choose_from(scene: Scene, at: Looks, api: Caller) -> None:
    browser = at("admin", "/page/sites/enrol")
    assert '<select id="f-organisation_id"' in browser.shown
    for number in range(50):
        api.ok("POST", "/v1/organisations", {"name": f"Clinic {number}"})
    browser.get("/page/sites/enrol")
    assert '<select id="f-organisation_id"' not in browser.shown
    assert browser.post("/page/sites/enrol", {"organisation_id": "Clinic 49", "note": "far"}).status_code == 200
    last = api.ok("GET", "/v1/enrolments?limit=200")["items"][-1]
    assert api.ok("GET", f"/v1/organisations/{last['organisation_id']}")["name"] == "Clinic 49"
    assert browser.get("/page/sites").status_code == 200


def test_a_token_for_a_site_is_revoked_as_long_as_none_has_used_it(scene: Scene, at: Looks, api: Caller) -> None:
    browser = at("admin", "/page/sites/enrol")
    waiting = scene.names["enrolment"]
    assert browser.post(f"/page/sites/enrol/{waiting}/revoke").status_code == 303
    every = api.ok("GET", "/v1/enrolments?limit=200")["items"]
    assert [one["site_id"] for one in every if one["id"] == waiting and one["used_at"]] == [None]
    used = next(one["id"] for one in every if one["site_id"])
    browser.get("/page/sites/enrol")
    assert browser.post(f"/page/sites/enrol/{used}/revoke").status_code == 409
    assert "Enrolment used" in browser.shown


def test_only_an_admin_makes_tokens_for_sites(at: Looks, scene: Scene) -> None:
    browser = at("member", "/page/sites/enrol")
    assert "Make a token" not in browser.shown
    refused = browser.post("/page/sites/enrol", {"organisation_id": scene.names["organisation_west"]})
    assert (refused.status_code, "token" in browser.shown.lower(), "fyd_" in browser.shown) == (403, True, False)


def test_a_site_is_described_its_key_revoked_and_it_retires(scene: Scene, at: Looks, api: Caller) -> None:
    site = scene.names["site_east"]
    browser = at("member", "/page/sites/{site_east}")
    assert browser.post(f"/page/sites/{site}/describe", {"description": "Two scanners"}).status_code == 303
    assert api.ok("GET", f"/v1/sites/{site}")["description"] == "Two scanners"
    browser.get(f"/page/sites/{site}")
    assert browser.post(f"/page/sites/{site}/describe", {"description": "x\u202ey"}).status_code == 422
    assert "U+202E" in shown_error(browser.shown, "description")
    assert browser.post(f"/page/sites/{site}/keys/2/revoke").status_code == 303
    assert api.ok("GET", f"/v1/sites/{site}")["health"]["key_epoch"] is None
    browser.get(f"/page/sites/{site}")
    assert browser.post(f"/page/sites/{site}/retire").status_code == 303
    assert api.ok("GET", f"/v1/sites/{site}")["state"] == "retired"


def test_a_stranger_changes_no_site(scene: Scene, at: Looks, api: Caller) -> None:
    site = scene.names["site_north"]
    browser = at("member", "/page/sites/{site_north}")
    assert "Retire the site" not in browser.shown
    assert browser.post(f"/page/sites/{site}/retire").status_code == 404
    assert api.ok("GET", f"/v1/sites/{site}")["state"] == "online"


def test_what_is_not_ones_to_see_is_not_there(scene: Scene, at: Looks) -> None:
    browser = at("member", "/page/projects")
    for path in ("/page/sites/{site_old}", "/page/projects/{site}", "/page/projects/{project_new}/members"):
        assert browser.get(path.format_map(scene.names)).status_code == 404
    assert browser.get("/page/projects/{project_new}".format_map(scene.names)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/page/sites?state=&organisation=&project=", 200),
        ("/page/sites?state=silent&organisation={organisation}&project={project}", 200),
        ("/page/sites?organisation=nobody", 400),
        ("/page/sites?state=asleep", 400),
        ("/page/projects?name=", 200),
        ("/page/projects/{project}/members?state=", 200),
        ("/page/projects/{project}/members?state=active&limit=1", 200),
        ("/page/projects/{project}/models?limit=3", 200),
    ],
)
def test_lists_are_asked_for_a_part(scene: Scene, at: Looks, path: str, status: int) -> None:
    browser = at("admin", "/page/projects")
    assert browser.get(path.format_map(scene.names)).status_code == status


def test_a_long_list_goes_on_at_its_next_page(scene: Scene, at: Looks) -> None:
    browser = at("admin", "/page/projects/{project}/models")
    every = re.findall(r'<tr id="model-(\d+)">', browser.shown)
    seen, path = [], f"/page/projects/{scene.names['project']}/models?limit=3"
    while path:
        browser.get(path)
        seen += re.findall(r'<tr id="model-(\d+)">', browser.shown)
        following = re.search(r'<a href="([^"]*)" rel="next">', browser.shown)
        path = html.unescape(following[1]) if following else ""
    assert seen == every
