"""The way in and out: what opens a session, where one comes to, and what is said to who proves nothing."""

from __future__ import annotations

import re

import pytest

from config.processes import WORKERS
from domain.ids import sha256_hex
from fedyard.wire.times import SECOND
from storage.clocks import Reported, report_all
from tests.page.callers import Browser, signed_in
from tests.page.scenes import Scene
from tests.web.network import Caller
from web.page.rendering import SIGN_IN
from web.page.sessions import cookie_name
from web.page.ways import HOME, place
from web.serving.app import web_of

empty = pytest.mark.parametrize("scene", ["empty"], indirect=True)


def code(scene: Scene) -> str:
    return str(Caller(scene.net.app, scene.tokens["admin"]).ok("POST", "/v1/sign-ins", {})["token"])


def tell(browser: Browser, **form: str) -> tuple[int, str]:
    """Status, and where to or what is said at the field."""
    browser.get(SIGN_IN)
    answer = browser.post(SIGN_IN, form)
    said = re.search(r'id="f-token-error">.*?</svg>\s*(.*?)</p>', answer.get_data(as_text=True), re.DOTALL)
    return answer.status_code, said[1] if said else answer.headers["Location"]


@empty
def test_a_token_signs_in_and_the_page_says_who_one_is(scene: Scene) -> None:
    browser = Browser(scene.net.app)
    assert tell(browser, token=f" {scene.tokens['admin']}\n", next="/page/nowhere?a=1") == (303, "/page/nowhere?a=1")
    assert "Signed in as admin" in browser.get("/page/nowhere").get_data(as_text=True)
    assert browser.get("/").headers["Location"] == browser.get(SIGN_IN).headers["Location"] == HOME


@empty
def test_a_link_signs_in_once_and_is_not_used_up_by_looking(scene: Scene) -> None:
    link = f"{SIGN_IN}?code={code(scene)}"
    for browser, status in ((Browser(scene.net.app), 303), (Browser(scene.net.app), 401)):
        browser.get(link)
        browser.get(link)
        assert browser.post(SIGN_IN).status_code == status


@empty
def test_who_proves_nothing_is_told_why_and_what_was_pasted_is_not_shown(scene: Scene) -> None:
    status, said = tell(Browser(scene.net.app), token="fyd_wrong")
    assert (status, said) == (
        401,
        "the token or code is unknown, revoked, expired or used up; sign in with another",
    )
    assert tell(Browser(scene.net.app))[0] == 401
    answer = Browser(scene.net.app).post(SIGN_IN, {"token": "fyd_wrong"})
    assert "fyd_wrong" not in answer.get_data(as_text=True)
    assert "Set-Cookie" not in answer.headers


@empty
def test_who_cannot_sign_in_as_nobody_decides_is_told_what_is_down_and_where_to_look(scene: Scene) -> None:
    """With the right token: one who comes at night to see what hangs."""
    at = scene.clock.now()
    report_all(scene.net.database, [Reported(f"{role}@a:1", role, 0) for role in WORKERS if role != "decider"], at)
    report_all(scene.net.database, [Reported("decider@a:1", "decider", 0)], at - 31 * SECOND)
    scene.net.publisher.held = True
    try:
        status, said = tell(Browser(scene.net.app), token=scene.tokens["admin"])
    finally:
        scene.net.publisher.held = False
    assert status == 503
    assert "down: decider" in said
    assert "/v1/concerns" in said


@empty
def test_another_sites_page_signs_nobody_in(scene: Scene) -> None:
    client = Browser(scene.net.app).client
    form = {"token": scene.tokens["admin"]}
    answer = client.post(SIGN_IN, data=form, headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)


@empty
def test_signed_out_the_session_has_ended_also_for_who_kept_its_cookie(scene: Scene) -> None:
    browser = signed_in(scene.net.app, scene.tokens["admin"])
    browser.get("/page/nowhere")
    cookie = cookie_name(web_of(scene.net.app))
    kept = browser.client.get_cookie(cookie)
    assert kept is not None
    out = browser.post("/page/sign-out")
    assert (out.headers["Location"], out.headers["Clear-Site-Data"]) == ("/", '"cache"')
    assert browser.client.get_cookie(cookie) is None
    browser.client.set_cookie(cookie, kept.value)
    assert browser.get("/page/sign-out-everywhere").status_code in (404, 405)
    assert browser.get("/").status_code == 200


@empty
def test_signed_out_everywhere_no_other_browser_is_signed_in(scene: Scene) -> None:
    one, other = (signed_in(scene.net.app, scene.tokens["admin"], place) for place in range(2))
    one.get("/page/nowhere")
    assert other.get("/").headers["Location"] == HOME
    assert one.post("/page/sign-out-everywhere").status_code == 303
    assert other.get("/").status_code == 200


@empty
def test_a_read_only_session_can_sign_out(scene: Scene) -> None:
    admin = Caller(scene.net.app, scene.tokens["admin"])
    narrow = f"fyd_{sha256_hex(b'narrow')[:43]}"
    admin.ok("POST", "/v1/tokens", {"label": "r", "scopes": ["read"], "sha256": sha256_hex(narrow.encode())})
    browser = signed_in(scene.net.app, narrow)
    browser.get("/page/nowhere")
    browser.post("/page/sign-out")
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize(
    "where",
    [
        "",
        "/",
        "//evil.example",
        "/page/..//evil.example",
        "https://evil.example",
        "/page/\\evil",
        "/page/{id.x}",
        "/page/../v1/me",
        "/page/%2E%2e/v1/me",
        "/page/\n",
        "/pages/x",
    ],
)
def test_one_is_led_to_pages_of_this_hub_alone(where: str) -> None:
    assert place(where) == HOME
