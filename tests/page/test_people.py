"""What is done at the pages of people: the same commands as by the API, and secrets that are shown once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

import pytest

from fedyard.wire.times import DAY_S
from tests.page.callers import Browser, signed_in
from tests.page.scenes import Scene
from tests.web.network import Caller

_SHOWN = re.compile(r"<code data-copied>([^<]+)</code>")


def shown_in(page: str) -> str:
    found = _SHOWN.search(page)
    assert found is not None, page
    return found[1]


def seconds_of(token: Mapping[str, str]) -> int:
    """How long it is good for."""
    begin, end = (datetime.fromisoformat(token[name]) for name in ("created_at", "expires_at"))
    return round((end - begin).total_seconds())


def test_an_account_is_made_and_its_token_is_shown_once(scene: Scene, browser_caller: Browser) -> None:
    browser_caller.get("/page/people/new")
    form = {"name": "Edith", "organisation_id": scene.names["organisation"], "role": "member"}
    made = browser_caller.post("/page/people/new", form)
    token = shown_in(made.get_data(as_text=True))
    me = Caller(scene.net.app, token).ok("GET", "/v1/me")
    assert (made.status_code, me["name"], me["role"]) == (200, "Edith", "member")
    again = browser_caller.post("/page/people/new", form).get_data(as_text=True)
    assert token not in again
    assert token not in browser_caller.get(f"/page/people/{me['id']}").get_data(as_text=True)


def test_an_organisation_may_be_named_where_there_are_many(scene: Scene, browser_caller: Browser) -> None:
    browser_caller.get("/page/people/new")
    form = {"name": "Edith", "organisation_id": "NHS Lothian", "role": "member"}
    token = shown_in(browser_caller.post("/page/people/new", form).get_data(as_text=True))
    me = Caller(scene.net.app, token).ok("GET", "/v1/me")
    assert me["organisation_id"] == scene.names["organisation_west"]
    browser_caller.get("/page/people/new")
    wrong = browser_caller.post("/page/people/new", {**form, "organisation_id": "NHS"})
    assert (wrong.status_code, 'id="f-organisation_id-error"' in wrong.get_data(as_text=True)) == (400, True)


def test_what_is_wrong_is_said_at_the_field_and_what_was_typed_stays(scene: Scene, browser_caller: Browser) -> None:
    browser_caller.get("/page/people/new")
    form = {"name": " x", "organisation_id": scene.names["organisation"], "role": "auditor"}
    answer = browser_caller.post("/page/people/new", form)
    page = answer.get_data(as_text=True)
    assert answer.status_code in (400, 422)
    assert 'id="f-name-error"' in page
    assert '<option value="auditor" selected>' in page


@pytest.mark.parametrize("days", ["99999", "999999999999", "9" * 5000, "-1", "\N{SUPERSCRIPT TWO}"])
def test_days_that_no_time_has_are_refused_and_no_fault_of_the_hub(
    scene: Scene, browser_caller: Browser, days: str
) -> None:
    browser_caller.get(f"/page/people/{scene.names['member']}")
    form = {"label": "x", "scopes": "read", "days": days}
    answer = browser_caller.post(f"/page/people/{scene.names['member']}/tokens", form)
    assert answer.status_code in ((200,) if days == "99999" else (400, 422))


def test_a_link_signs_its_account_in(scene: Scene, browser_caller: Browser) -> None:
    href = f"/page/people/{scene.names['member']}"
    browser_caller.get(href)
    link = shown_in(browser_caller.post(f"{href}/sign-in").get_data(as_text=True))
    other = Browser(scene.net.app)
    other.get(link.removeprefix("http://localhost"))
    assert other.post("/page/sign-in").status_code == 303
    assert "Your account" in other.get("/page/sessions").get_data(as_text=True)
    browser_caller.get(href)
    admin = Caller(scene.net.app, scene.tokens["admin"])
    listed = [one for one in admin.ok("GET", "/v1/tokens?limit=200")["items"] if one["kind"] == "sign_in"]
    assert [seconds_of(one) for one in listed] == [600]
    assert browser_caller.post(f"{href}/sign-out").status_code == 303
    assert admin.ok("GET", f"/v1/accounts/{scene.names['member']}")["disabled_at"] is None
    assert other.get("/page/sessions").headers["Location"].startswith("/page/sign-in")


def test_a_token_that_is_issued_in_a_session_outlives_it(scene: Scene) -> None:
    browser = signed_in(scene.net.app, scene.tokens["coordinator"])
    href = f"/page/people/{scene.names['coordinator']}"
    browser.get("/page/sessions")
    answer = browser.post(f"{href}/tokens", {"label": "cron", "scopes": "read", "days": "30"})
    token = Caller(scene.net.app, shown_in(answer.get_data(as_text=True)))
    (listed,) = [one for one in token.get("/v1/tokens").get_json()["items"] if one["label"] == "cron"]
    assert listed["scopes"] == ["read"]
    assert seconds_of(listed) == 30 * DAY_S
    browser.get("/page/sessions")
    browser.post("/page/sign-out")
    assert token.get("/v1/me").status_code == 200


def test_a_site_gets_a_second_token_and_is_told(scene: Scene) -> None:
    browser = signed_in(scene.net.app, scene.tokens["coordinator"])
    site = scene.names["site_north"]
    browser.get(f"/page/tokens?owner={site}")
    answer = browser.post(f"/page/sites/{site}/tokens", {"label": "spare", "scopes": "read write", "days": "90"})
    spare = Caller(scene.net.app, shown_in(answer.get_data(as_text=True)))
    assert spare.ok("GET", "/v1/me")["id"] == site
    browser.get(f"/page/tokens?owner={site}")
    wrong = browser.post(f"/page/sites/{site}/tokens", {"label": "", "scopes": "read", "days": "90"})
    assert (wrong.status_code, 'id="f-label-error"' in wrong.get_data(as_text=True)) == (400, True)
    assert browser.post(f"/page/sites/{scene.names['site_islands']}/tokens", {"label": "x"}).status_code in (403, 404)


def test_an_auditor_ends_sessions_of_its_own_and_is_told_what_it_cannot_do(scene: Scene) -> None:
    browser, other = (signed_in(scene.net.app, scene.tokens["auditor"], place) for place in range(2))
    page = browser.get("/page/sessions").get_data(as_text=True)
    end = re.search(r'>A session</th>.*?action="(/page/sessions/[0-9a-f-]+/end)"', page, re.DOTALL)
    assert end is not None
    assert "Issue a token" not in page
    assert browser.post(f"/page/people/{scene.names['auditor']}/tokens", {"label": "x"}).status_code == 403
    browser.get("/page/sessions")
    assert browser.post(end[1]).status_code == 303
    assert other.get("/page/sessions").status_code == 303
    assert browser.get("/page/sessions").status_code == 200


def test_nobody_is_disabled_by_who_may_not(scene: Scene) -> None:
    browser = signed_in(scene.net.app, scene.tokens["coordinator"])
    browser.get("/page/sessions")
    assert browser.post(f"/page/people/{scene.names['coordinator']}/disable").status_code == 403
    assert browser.post(f"/page/people/{scene.names['member']}/disable").status_code == 404
    assert browser.get(f"/page/people/{scene.names['member']}").status_code == 404


def test_a_revoked_token_leads_back_to_where_one_was(scene: Scene, browser_caller: Browser) -> None:
    browser_caller.get("/page/people")
    answer = browser_caller.post(f"/page/tokens/{scene.names['token']}/revoke", {"next": "https://evil.example"})
    assert answer.headers["Location"].startswith("/page/tokens?command=")
    shown = browser_caller.get(answer.headers["Location"]).get_data(as_text=True)
    assert "Done: revoke token." in shown
    assert scene.names["token"] not in shown
