"""What is done at the pages of webhooks."""

from __future__ import annotations

import re

import pytest

from tests.page.callers import Browser, signed_in
from tests.page.scenes import Scene
from tests.web.network import Caller


@pytest.fixture
def ada(scene: Scene) -> Browser:
    """Who coordinates the scene's project."""
    return signed_in(scene.net.app, scene.tokens["coordinator"])


def test_a_webhook_is_made_and_its_secret_is_shown_once(scene: Scene, ada: Browser) -> None:
    page = ada.get("/page/webhooks/new").get_data(as_text=True)
    assert f'<option value="{scene.names["project"]}">the project' in page
    form = {"url": "https://a.example/x", "owner": scene.names["project"], "kinds": ["site.silent", "run.ended"]}
    answer = ada.post("/page/webhooks/new", form).get_data(as_text=True)
    secret = re.search(r"<code data-copied>(whsec_[^<]+)</code>", answer)
    href = re.search(r'href="(/page/webhooks/[0-9a-f-]{36})"', answer)
    assert secret is not None
    assert href is not None
    (made,) = [
        one
        for one in Caller(scene.net.app, scene.tokens["coordinator"]).get("/v1/webhooks").get_json()["items"]
        if one["url"] == "https://a.example/x"
    ]
    assert (made["owner_kind"], made["kinds"]) == ("project", ["run.ended", "site.silent"])
    assert secret[1] not in ada.get(href[1]).get_data(as_text=True)
    other = ada.post(f"{href[1]}/rotate").get_data(as_text=True)
    assert "whsec_" in other
    assert secret[1] not in other
    ada.get(href[1])
    assert ada.post(f"{href[1]}/delete").status_code == 303
    assert ada.get(href[1]).status_code == 404


@pytest.mark.parametrize(("change", "field"), [({"url": "ftp://a"}, "url"), ({"kinds": []}, "kinds")])
def test_what_is_wrong_is_said_there(scene: Scene, ada: Browser, change: dict[str, object], field: str) -> None:
    ada.get("/page/webhooks/new")
    form = {"url": "https://a.example", "owner": scene.names["organisation"], "kinds": ["run.ended"], **change}
    answer = ada.post("/page/webhooks/new", form)
    assert answer.status_code == 400
    place = answer.get_data(as_text=True).partition(f'name="{field}"')[2]
    assert 'class="error"' in place


def test_what_failed_is_told_again(scene: Scene, ada: Browser) -> None:
    here = f"/page/webhooks/{scene.names['webhook']}"
    ada.get(here)
    wrong = ada.post(f"{here}/redeliver", {"since": "soon"})
    assert (wrong.status_code, "f-since-error" in wrong.get_data(as_text=True)) == (400, True)
    answer = ada.post(f"{here}/redeliver", {"since": "2027-01-01T00:00"})
    assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (303, here)


def test_nobody_sees_or_changes_anothers(scene: Scene) -> None:
    grace = signed_in(scene.net.app, scene.tokens["member"])
    here = f"/page/webhooks/{scene.names['webhook']}"
    assert scene.names["webhook"] not in grace.get("/page/webhooks").get_data(as_text=True)
    assert grace.get(here).status_code == 404
    assert grace.post(f"{here}/delete").status_code == 404
    auditor = signed_in(scene.net.app, scene.tokens["auditor"])
    page = auditor.get(here).get_data(as_text=True)
    assert "9c4f6a1e" not in page
    assert auditor.post(f"{here}/delete").status_code == 403
