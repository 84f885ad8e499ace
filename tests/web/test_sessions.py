"""Sessions at the page: the cookie, what a browser sends by itself and what it was meant to, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Response
from werkzeug.test import Client, TestResponse

from config.clock import SystemClock, draw_id
from domain import commands as c
from domain.codec import envelope_of
from domain.ids import sha256_hex
from domain.values import Subject
from fedyard.wire.times import SECOND
from tests.waiting import until
from tests.web.network import Caller, Network
from web.api.table import operations
from web.http.auth import PEOPLE
from web.http.calls import Call
from web.http.operations import Operation
from web.http.routing import routing_of
from web.page.sessions import SESSION, begun, cookie_name, csrf_of, ended, kept
from web.serving.app import close, create_app, web_of

SECRET = "fyd_session"


def shown(call: Call) -> Response:
    return kept(call, Response(csrf_of(call)))


def changed(call: Call) -> Response:
    return ended(call.web, Response(call.caller.subject.id))


def tried(method: str, does: Callable[[Call], Response]) -> Operation:
    return Operation(
        method=method,
        path="/tried",
        name=f"tried_{method}",
        about="What a page shows, or sends",
        does=does,
        authentication=SESSION,
        who=PEOPLE,
        answers={200: None},
    )


ROUTING = routing_of((*operations(), tried("GET", shown), tried("POST", changed)))


class Later(SystemClock):
    """A clock that a test puts on."""

    def __init__(self) -> None:
        self.by_s = 0.0

    def now(self) -> int:
        return super().now() + round(self.by_s * SECOND)


class Browser:
    """One that has signed in as this account."""

    def __init__(self, net: Network, account: Caller) -> None:
        self.client = Client(net.app, use_cookies=False)
        assert account.token is not None
        command = c.OpenSession(account.id, sha256_hex(SECRET.encode()), sha256_hex(account.token.encode()))
        by = Subject(kind="account", id=account.id)
        net.publisher.send([envelope_of(command, id=draw_id(), by=by, at=SystemClock().now())])
        self.written = begun(web_of(net.app), Response(), SECRET).headers["Set-Cookie"]
        self.cookie = self.written.split(";")[0]

    def get(self, **headers: str) -> TestResponse:
        return self.client.get("/tried", headers={"Cookie": self.cookie, **headers})

    def post(self, csrf: str | None = None, **headers: str) -> TestResponse:
        form = {} if csrf is None else {"_csrf": csrf}
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/tried", data=form, headers={"Cookie": self.cookie, **sent})

    @property
    def csrf(self) -> str:
        return self.get().get_data(as_text=True)


@pytest.fixture
def clock() -> Later:
    return Later()


@pytest.fixture
def net(make_net: Callable[..., Network], clock: Later) -> Network:
    return make_net(routing=ROUTING, clock=clock)


@pytest.fixture
def ada(net: Network) -> Caller:
    return net.account(net.organisation("one"), "member", "Ada")


@pytest.fixture
def browser(net: Network, ada: Caller) -> Browser:
    return Browser(net, ada)


def test_the_cookie_is_for_this_hub_alone_and_no_script_reads_it(browser: Browser) -> None:
    words = {word.strip() for word in browser.written.split(";")[1:]}
    assert words == {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"}
    name, _, value = browser.cookie.partition("=")
    assert (name[:7], name[-9], value.partition(".")[0]) == ("__Host-", "-", SECRET)


def test_two_hubs_at_one_host_keep_their_cookies_apart(
    net: Network, browser: Browser, make_net: Callable[..., Network], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = make_net(webhook_key_file=str(tmp_path / "other" / "webhook.key"))
    assert cookie_name(web_of(other.app)) != cookie_name(web_of(net.app)) == browser.cookie.partition("=")[0]


def test_a_session_is_its_account_and_no_bearer_token(net: Network, ada: Caller, browser: Browser) -> None:
    assert browser.post(browser.csrf).get_data(as_text=True) == ada.id
    assert Caller(net.app, SECRET).get("/v1/me").status_code == 401
    browser.cookie = f"{cookie_name(web_of(net.app))}={ada.token}"
    assert browser.get().status_code == 401


def test_nothing_changes_without_what_only_the_page_knows(browser: Browser) -> None:
    csrf = browser.csrf
    for refused in (browser.post(), browser.post(csrf[:-1] + "?"), browser.post(X_CSRF_Token="x")):
        assert (refused.status_code, refused.get_json()["type"]) == (403, "/problems/forbidden")
    assert browser.post(X_CSRF_Token=csrf).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "same-origin", "Origin": "null"}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
    ],
)
def test_what_another_sites_page_sends_is_refused_even_with_it(
    browser: Browser, headers: dict[str, str], status: int
) -> None:
    assert browser.post(browser.csrf, **headers).status_code == status


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
        ("same-site", "navigate", 200),
        ("same-site", "no-cors", 403),
        ("cross-site", "cors", 403),
    ],
)
def test_another_sites_page_may_lead_here_and_asks_for_nothing(
    browser: Browser, site: str, mode: str, status: int
) -> None:
    assert browser.get(**{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}).status_code == status


def test_a_session_ends_when_no_page_is_asked_for(clock: Later, browser: Browser) -> None:
    assert "Set-Cookie" not in browser.get().headers
    clock.by_s = 29 * 60
    first = browser.cookie
    browser.cookie = browser.get().headers["Set-Cookie"].split(";")[0]
    clock.by_s = 58 * 60
    assert browser.get().status_code == 200
    browser.cookie = first
    assert browser.get().status_code == 401


def test_what_a_page_asks_for_by_itself_keeps_no_session_alive(clock: Later, browser: Browser) -> None:
    clock.by_s = 29 * 60
    polled = browser.client.get("/tried", headers={"Cookie": browser.cookie, "HX-Request": "true"})
    assert polled.status_code == 200
    assert "Set-Cookie" not in polled.headers


def test_nobody_but_the_hub_says_when_a_page_was_asked_for(clock: Later, browser: Browser) -> None:
    clock.by_s = 31 * 60
    secret, seen, signature = browser.cookie.split(".")
    for forged in (f"{secret}.{int(seen) + 1800}.{signature}", f"{secret}.{seen}.", secret, f"{secret}.x.{signature}"):
        browser.cookie = forged
        assert browser.get().status_code == 401


def test_it_ends_after_some_hours_however_busy_it_is(clock: Later, net: Network, browser: Browser) -> None:
    clock.by_s = 12 * 3600 + 1
    browser.cookie = begun(web_of(net.app), Response(), SECRET).headers["Set-Cookie"].split(";")[0]
    assert browser.get().status_code == 401


def test_it_ends_at_once_when_it_is_revoked(ada: Caller, browser: Browser) -> None:
    (session,) = [one for one in ada.get("/v1/tokens").get_json()["items"] if one["kind"] == "session"]
    csrf = browser.csrf
    ada.ok("DELETE", f"/v1/tokens/{session['id']}")
    assert browser.get().status_code == 401
    assert browser.post(csrf).status_code == 401


def test_it_holds_at_every_web_process_and_ends_at_each(net: Network, ada: Caller, browser: Browser) -> None:
    other = create_app(web_of(net.app).hub, ROUTING)
    try:
        csrf = browser.csrf
        browser.client = Client(other, use_cookies=False)
        assert browser.csrf == csrf
        assert browser.post(csrf).status_code == 200
        ada.ok("DELETE", f"/v1/accounts/{ada.id}/sessions")
        until(lambda: browser.get().status_code == 401)
    finally:
        close(other)


def test_signed_out_everywhere_it_ends_and_tokens_stay(ada: Caller, browser: Browser) -> None:
    assert ada.ok("DELETE", f"/v1/accounts/{ada.id}/sessions")["ended_count"] == 1
    assert browser.get().status_code == 401
    assert ada.get("/v1/me").status_code == 200


def test_a_code_is_no_bearer_token(net: Network, ada: Caller) -> None:
    made = ada.ok("POST", "/v1/sign-ins", {})
    assert (made["account_id"], made["token"][:4]) == (ada.id, "fyd_")
    assert Caller(net.app, made["token"]).get("/v1/me").status_code == 401
