"""The web can carry a page: an operation chooses how its caller is found out, and the headers of its answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Request, Response
from werkzeug.test import Client

from domain.ids import HUB
from domain.values import Subject
from fedyard.wire.problems import ProblemType
from storage.views.people import Bearer
from tests.web.network import Caller, Network
from web.api.table import operations
from web.http.answers import PAGE, STATIC, answer
from web.http.auth import OPEN, PEOPLE, Authentication, still_reads
from web.http.bodies import Body
from web.http.calls import Call, Web
from web.http.openapi import document
from web.http.operations import Operation
from web.http.routing import routing_of
from web.problems import Refused

COOKIE, CSRF = "session=ada", "drawn-for-ada"
ADA = Bearer(
    Subject(kind="account", id=HUB, role="member"), frozenset({"read", "write"}), token_id=None, expires_at=None
)
API_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class Note(Body, frozen=True):
    text: str


def in_session(_: Web, request: Request) -> Bearer:
    """What a browser sends by itself names the caller; what only the page knows shows that it was meant."""
    if request.headers.get("Cookie") != COOKIE:
        raise Refused(ProblemType.NO_TOKEN, "log in")
    if request.method != "GET" and request.headers.get("X-CSRF-Token") != CSRF:
        raise Refused(ProblemType.FORBIDDEN, "another site's page sent this")
    return ADA


def page(call: Call) -> Response:
    return Response(f"<p>{call.caller.subject.kind}</p>", content_type="text/html; charset=utf-8")


def style(_: Call) -> Response:
    return Response("p { margin: 0 }", content_type="text/css; charset=utf-8")


def take(call: Call) -> Response:
    return answer({"text": call.body.text})


def live(call: Call) -> Response:
    return answer({"reads": still_reads(call) is call.caller})


SESSION = Authentication("session", in_session)
PAGES = (
    Operation(
        method="GET",
        path="/pages/sites",
        name="sites_page",
        about="A page",
        does=page,
        kind=PAGE,
        authentication=SESSION,
        who=PEOPLE,
        answers={200: None},
    ),
    Operation(
        method="POST",
        path="/pages/notes",
        name="take_note",
        about="What a page sends",
        does=take,
        authentication=SESSION,
        who=PEOPLE,
        scope="write",
        body=Note,
        answers={200: dict[str, str]},
    ),
    Operation(
        method="GET",
        path="/pages/live",
        name="live",
        about="What a page follows",
        does=live,
        authentication=SESSION,
        who=PEOPLE,
        answers={200: dict[str, bool]},
    ),
    Operation(
        method="GET",
        path="/static/page-3fa9.css",
        name="style",
        about="What a page loads",
        does=style,
        kind=STATIC,
        authentication=OPEN,
        answers={200: None},
    ),
)
ROUTING = routing_of((*operations(), *PAGES))


@pytest.fixture
def net(make_net: Callable[..., Network]) -> Network:
    return make_net(routing=ROUTING)


@pytest.fixture
def browser(net: Network) -> Client:
    return Client(net.app, use_cookies=False)


def test_a_page_has_a_policy_of_its_own_and_is_kept_by_nobody(browser: Client) -> None:
    response = browser.get("/pages/sites", headers={"Cookie": COOKIE})
    assert (response.status_code, response.get_data(as_text=True)) == (200, "<p>account</p>")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert API_HEADERS.items() <= dict(response.headers).items()


def test_what_a_page_loads_may_be_kept(browser: Client) -> None:
    response = browser.get("/static/page-3fa9.css")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_problem_of_a_page_is_a_problem(browser: Client) -> None:
    response = browser.get("/pages/sites")
    assert response.status_code == 401
    assert response.content_type == "application/problem+json"
    assert API_HEADERS.items() <= dict(response.headers).items()
    assert "Content-Security-Policy" not in response.headers


def test_a_bearer_token_is_no_session_and_a_session_is_no_bearer_token(net: Network, browser: Client) -> None:
    assert net.admin.get("/pages/sites").status_code == 401
    assert browser.get("/v1/me", headers={"Cookie": COOKIE}).status_code == 401


def test_a_session_is_believed_for_what_its_page_meant_to_send(browser: Client) -> None:
    forged = browser.post("/pages/notes", json={"text": "x"}, headers={"Cookie": COOKIE})
    assert (forged.status_code, forged.get_json()["type"]) == (403, "/problems/forbidden")
    meant = browser.post("/pages/notes", json={"text": "x"}, headers={"Cookie": COOKIE, "X-CSRF-Token": CSRF})
    assert (meant.status_code, meant.get_json()) == (200, {"text": "x"})


def test_calls_for_programs_answer_as_ever(net: Network) -> None:
    for caller in (net.admin, Caller(net.app, None)):
        for path in ("/v1/me", "/v1/inbox", "/healthz", "/nowhere"):
            headers = dict(caller.get(path).headers)
            assert API_HEADERS.items() <= headers.items()
            assert not headers.keys() & {"Content-Security-Policy", "Referrer-Policy", "Cross-Origin-Opener-Policy"}


def test_each_app_has_the_operations_of_its_own_table(net: Network, make_net: Callable[..., Network]) -> None:
    other = make_net()
    assert net.admin.get("/static/page-3fa9.css").status_code == 200
    assert other.admin.get("/static/page-3fa9.css").status_code == 404


def test_pages_are_no_part_of_the_description() -> None:
    paths = set(document(ROUTING.operations)["paths"])
    assert paths == {one.path for one in operations() if one.described}


def test_who_has_a_session_is_asked_for_it_again_while_an_answer_takes_long(browser: Client) -> None:
    assert browser.get("/pages/live", headers={"Cookie": COOKIE}).get_json() == {"reads": True}
