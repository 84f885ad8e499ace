"""The audit trail at the page: found by name, taken along, verified; and what a session did stands in it."""

from __future__ import annotations

import json
import re

from tests.page.callers import Browser, signed_in
from tests.page.scenes import Scene
from tests.web.network import Caller


def test_what_was_done_at_the_page_stands_there_in_its_name(scene: Scene, browser_caller: Browser) -> None:
    browser_caller.get("/page/organisations/new")
    browser_caller.post("/page/organisations/new", {"name": "Latecomers"})
    exported = browser_caller.get("/page/audit/export?actor=admin&kind=organisation_created")
    assert exported.headers["Content-Disposition"] == 'attachment; filename="events.ndjson"'
    newest = json.loads(exported.get_data(as_text=True).splitlines()[0])
    assert (newest["subject"], newest["facts"]["name"]) == (
        {"kind": "account", "id": scene.names["admin"]},
        "Latecomers",
    )


def test_who_sees_less_is_shown_less(scene: Scene) -> None:
    grace = signed_in(scene.net.app, scene.tokens["member"])
    lines = grace.get("/page/audit/export?since=2027-01-01T00:00").get_data(as_text=True).splitlines()
    assert {json.loads(line)["stream_id"] for line in lines} == {scene.names["site_east"]}
    assert grace.get("/page/audit/verification").status_code == 404
    assert grace.get("/page/audit?actor=NHS+Lothian").status_code == 400


def test_a_broken_chain_is_said_and_the_walk_stops(scene: Scene, browser_caller: Browser) -> None:
    assert "nothing was changed" in browser_caller.get("/page/audit/verification").get_data(as_text=True)
    with scene.net.database.connection():
        changed = "UPDATE events SET kind = 'run_failed' WHERE stream_id = %s AND seq = 3 RETURNING 1"
        scene.net.database.all(changed, scene.names["project"])
    page = browser_caller.get("/page/audit/verification").get_data(as_text=True)
    assert f"stream {scene.names['project']}: event 3 was changed" in page
    assert "data-live" not in page


def test_a_long_walk_goes_on_by_itself_and_by_a_link(scene: Scene, browser_caller: Browser) -> None:
    before = f"/page/audit/verification/part?after=1-{scene.names['project']}&streams=2&events=7&faults=0"
    text = browser_caller.get(before).get_data(as_text=True)
    assert text.lstrip().startswith('<div id="walk"')
    assert browser_caller.get("/page/audit/verification?after=x").status_code == 400


def test_what_others_did_at_ones_site_names_nobody_whom_one_may_not_know(scene: Scene) -> None:
    """As the API, which says the id, and of the account that there is none."""
    retired = Caller(scene.net.app, scene.tokens["admin"]).ok("DELETE", f"/v1/sites/{scene.names['site_east']}")
    assert retired["state"] == "retired"
    grace = signed_in(scene.net.app, scene.tokens["member"])
    who = re.search(r'<td data-label="Who">(.*?)</td>', grace.get("/page/audit").get_data(as_text=True), re.DOTALL)
    assert who is not None
    assert who[1] == scene.names["admin"]
