"""A form is the API's own call, in the name of who sends it; and what is wrong with it is said at its field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest
from flask import Request, Response
from werkzeug.test import TestResponse

from domain.ids import sha256_hex
from storage.views.people import Bearer
from tests.databases import fresh_sqlite
from tests.web.network import Caller, Network, network
from web.api import infrastructure, organisations, projects, runs
from web.api.table import operations
from web.http.auth import Authentication
from web.http.calls import Call, Web
from web.http.operations import Operation
from web.http.routing import routing_of
from web.page import commands
from web.page.acting import act, acted_or_shown
from web.page.forms import form_of
from web.page.rendering import page, shows, takes


def named(noun: Any, name: str) -> Operation:
    found: Operation = next(one for one in noun.OPERATIONS if one.name == name)
    return found


def create(call: Call) -> Response:
    acted = act(call, named(projects, "create_project"), body=form_of(call).body())
    return acted_or_shown(call, acted, to="/page/made/{id}", template="problem.html", remedy=f"field: {acted.field}")


def organise(call: Call) -> Response:
    acted = act(call, named(organisations, "create_organisation"), body=form_of(call).body())
    return acted_or_shown(call, acted, to="/page/made", template="problem.html", remedy="")


def stop(call: Call) -> Response:
    acted = act(call, named(runs, "stop_run"), {"run_id": call.id("run_id")}, form_of(call).body("reason"))
    return acted_or_shown(call, acted, to="/page/made", template="problem.html", remedy="")


def archive(call: Call) -> Response:
    acted = act(call, named(projects, "archive_project"), {"project_id": call.id("project_id")})
    return acted_or_shown(call, acted, to="/page/made", template="problem.html", remedy="")


def archive_named(call: Call) -> Response:
    acted = act(call, named(projects, "archive_project"), {"project_id": form_of(call).value("project")})
    return acted_or_shown(call, acted, to="/page/made", template="problem.html", remedy="")


def stop_parts(call: Call) -> Response:
    acted = act(call, named(infrastructure, "stop_infrastructure"), {"project_id": call.id("project_id")}, {})
    return acted_or_shown(call, acted, to="/page/made", template="problem.html", remedy="")


def show(call: Call) -> Response:
    return page(call, "problem.html", remedy="", problem={"title": "Made", "detail": ""})


@dataclass
class Person:
    """Somebody whose browser sends their token as a cookie."""

    net: Network
    token: str
    site: str = ""

    def get(self, path: str) -> TestResponse:
        return self._client().get(path)

    def post(self, path: str, **form: str) -> TestResponse:
        return self._client().post(path, data={"_key": str(uuid4()), **form})

    def _client(self) -> Any:
        client = self.net.app.test_client()
        client.set_cookie("token", self.token)
        return client


def _by_token(web: Web, request: Request) -> Bearer:
    return web.tokens.caller(f"Bearer {request.cookies.get('token', '')}")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    session = Authentication("session", _by_token)
    pages = [
        takes("made", "test_create", "A form", create),
        takes("organisations", "test_organise", "A form", organise),
        takes("runs/{run_id}/stop", "test_stop", "A button", stop),
        takes("projects/{project_id}/archive", "test_archive", "A button", archive),
        takes("projects/{project_id}/stop-parts", "test_stop_parts", "A button", stop_parts),
        takes("archive", "test_archive_named", "A form that names what it is about", archive_named),
        shows("made", "test_show", "What was made", show),
    ]
    pages += commands.OPERATIONS
    routing = routing_of([*operations(), *(replace(one, authentication=session) for one in pages)])
    folder = tmp_path_factory.mktemp("acting")
    made = network(fresh_sqlite(folder / "store.sqlite"), folder, routing=routing)
    yield made
    made.close()


@pytest.fixture(scope="module")
def member(net: Network) -> Person:
    organisation = net.organisation("oslo")
    site = net.site("oslo", organisation)
    token = net.account(organisation, "member").token
    assert token is not None
    return Person(net, token, site.id)


@pytest.fixture(scope="module")
def admin(net: Network) -> Person:
    assert net.admin.token is not None
    return Person(net, net.admin.token)


def project(member: Person, **more: str) -> dict[str, str]:
    """As a form has it: every value is text."""
    task = {"tasks.0.name": "train", "tasks.0.model": "logistic", "tasks.0.rounds": "2", "description": ""}
    return {**task, "tasks.0.contract.select_within_s": "600", "coordinator_site_id": member.site, **more}


def test_a_form_becomes_the_apis_command_in_the_persons_name(net: Network, member: Person) -> None:
    response = member.post("/page/made", **project(member, name="lung"))
    assert response.status_code == 303
    where, _, command = response.headers["Location"].partition("?command=")
    made = net.admin.ok("GET", f"/v1/projects/{where.removeprefix('/page/made/')}")
    assert (made["name"], made["tasks"][0]["rounds"], made["tasks"][0]["contract"]["select_within_s"]) == (
        "lung",
        2,
        600,
    )
    sent = net.admin.ok("GET", f"/v1/commands/{command}")
    assert (sent["kind"], sent["state"]) == ("create_project", "accepted")


def test_the_page_where_one_sees_it_says_what_became_of_it(net: Network, admin: Person, member: Person) -> None:
    where = admin.post("/page/organisations", name="bergen").headers["Location"]
    assert "Done: create organisation." in admin.get(where).get_data(as_text=True)
    assert "is not decided yet" in member.get(where).get_data(as_text=True)  # another's looks as if nobody had sent it


def test_a_form_that_is_sent_twice_acts_once_and_a_changed_one_again(net: Network, admin: Person) -> None:
    key = str(uuid4())
    first = admin.post("/page/organisations", _key=key, name="tromso").headers["Location"]
    again = admin.post("/page/organisations", _key=key, name="tromso").headers["Location"]
    changed = admin.post("/page/organisations", _key=key, name="bodo").headers["Location"]
    assert first == again != changed


def test_a_key_is_of_one_wish_about_one_thing(net: Network, admin: Person, member: Person) -> None:
    """All forms of a page carry the same key."""
    key, made = str(uuid4()), []
    for name in ("kidney", "liver"):
        where = member.post("/page/made", **project(member, name=name)).headers["Location"]
        made.append(where.partition("?")[0].removeprefix("/page/made/"))
    sent = [
        member.post(f"/page/projects/{ident}/{wish}", _key=key).headers["Location"]
        for ident in made
        for wish in ("archive", "stop-parts")
    ]
    assert len(set(sent)) == 4
    assert all(net.admin.ok("GET", f"/v1/projects/{ident}")["archived_at"] for ident in made)


def test_who_may_only_read_acts_by_no_form(net: Network, member: Person) -> None:
    account = Caller(net.app, member.token)
    narrow = "fyd_" + "r" * 43
    account.ok("POST", "/v1/tokens", {"label": "r", "scopes": ["read"], "sha256": sha256_hex(narrow.encode())})
    made = member.post("/page/made", **project(member, name="lymph")).headers["Location"]
    ident = made.partition("?")[0].removeprefix("/page/made/")
    reader = Person(net, narrow, member.site)
    assert reader.post("/page/made", **project(member, name="spleen")).status_code == 403
    assert reader.post(f"/page/projects/{ident}/archive").status_code == 403
    assert net.admin.ok("GET", f"/v1/projects/{ident}").get("archived_at") is None


def test_what_no_path_can_have_is_not_there(net: Network, member: Person) -> None:
    for wrong in ("", "oslo", "../" + "0" * 33, f"{uuid4()}\n"):
        assert member.post("/page/archive", project=wrong).status_code == 404, wrong


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"name": ""}, 400, "name"),
        ({"name": "x\x00"}, 400, "name"),
        ({"name": "\u043eslo"}, 422, "name"),  # a Cyrillic letter among Latin ones
        ({"name": "a", "tasks.0.rounds": "many"}, 400, "tasks.0.rounds"),
        ({"name": "b", "tasks.0.contract.quorum": "-1"}, 400, "tasks.0.contract.quorum"),
        ({"name": "c", "coordinator_site_id": "oslo"}, 400, "coordinator_site_id"),
        ({"name": "d", "colour": "red"}, 400, "None"),
    ],
)
def test_what_is_wrong_is_said_of_its_field(member: Person, change: dict[str, str], status: int, field: str) -> None:
    response = member.post("/page/made", **project(member, **change))
    text = response.get_data(as_text=True)
    assert response.status_code == status, text
    assert f"field: {field}<" in text


def test_what_the_decision_refuses_is_shown_as_it_says(net: Network, admin: Person) -> None:
    admin.post("/page/organisations", name="narvik")
    response = admin.post("/page/organisations", name="narvik")
    assert response.status_code == 409
    assert "Name taken" in response.get_data(as_text=True)


def test_who_may_not_is_told_so_as_by_the_api(net: Network, member: Person) -> None:
    response = member.post("/page/organisations", name="hammerfest")
    assert response.status_code == 403
    assert "<h1>" in response.get_data(as_text=True)
    assert member.post(f"/page/runs/{uuid4()}/stop").status_code == 404


def test_a_broker_that_is_away_is_said_and_nothing_is_lost(net: Network, admin: Person) -> None:
    net.publisher.down = True
    try:
        response = admin.post("/page/organisations", name="vardo")
    finally:
        net.publisher.down = False
    assert response.status_code == 503
    assert "The broker cannot be reached" in response.get_data(as_text=True)


def test_what_is_not_decided_in_time_is_looked_for_where_commands_are(net: Network, member: Person) -> None:
    """The hub stops while somebody waits: nobody knows the id of what will be made."""
    web = net.app.extensions["fedyard"]
    net.publisher.held, web.waiters.closing = True, True
    try:
        response = member.post("/page/made", **project(member, name="late"))
    finally:
        net.publisher.go_on()
        web.waiters.closing = False
    assert response.status_code == 303
    there = response.headers["Location"].partition("?")[0]
    assert there.startswith("/page/commands/")
    made = net.admin.ok("GET", "/v1/projects")["items"][-1]
    for path in (there, f"{there}/live"):
        text = member.get(path).get_data(as_text=True)
        assert f'<a href="/page/projects/{made["id"]}">See what was made</a>' in text
        assert "data-live" not in text


def test_a_command_that_was_refused_says_why(net: Network, admin: Person) -> None:
    admin.post("/page/organisations", name="alta")
    refused = net.admin.call("POST", "/v1/organisations", {"name": "alta"}).headers["Fedyard-Command"]
    text = admin.get(f"/page/commands/{refused}").get_data(as_text=True)
    assert "It was decided, and refused." in text
    assert "Name taken" in text


def test_who_is_not_signed_in_is_led_there_and_back(net: Network) -> None:
    nobody = Person(net, "nothing")
    response = nobody.get("/page/made?command=x")
    assert (response.status_code, response.headers["Location"]) == (
        303,
        "/page/sign-in?next=%2Fpage%2Fmade%3Fcommand%3Dx",
    )
    assert nobody.post("/page/made").headers["Location"] == "/page/sign-in"
    by_itself = net.app.test_client().get("/page/made", headers={"HX-Request": "true"})
    assert (by_itself.status_code, by_itself.mimetype) == (401, "text/html")
