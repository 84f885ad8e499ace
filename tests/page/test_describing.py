"""The API as people read and try it: a form makes the very call that a program would."""

from __future__ import annotations

import html
import re
import time

import pytest

from fedyard.wire.version import __version__
from tests.page.callers import Browser, signed_in
from tests.page.goldens import Looking
from tests.page.scenes import Scene
from web.page.schemas import beginning, field, kind, types_of

COMPONENTS = {
    "a.Task": {
        "description": "One task.\n\n    name: of it.",
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 9, "minLength": 1},
            "next": {"$ref": "#/components/schemas/a.Task"},
        },
        "required": ["name"],
    }
}
TASKS = {"type": "array", "items": {"$ref": "#/components/schemas/a.Task"}, "minItems": 1}


def answer_of(browser: Browser) -> str:
    found = re.search(r'class="copyable block"><code data-copied>(.*?)</code><button', browser.shown, re.DOTALL)
    assert found is not None, browser.shown
    return html.unescape(found[1])


def test_schemas_are_read_in_words() -> None:
    assert kind(TASKS) == "list of Task"
    (task,) = types_of(TASKS, COMPONENTS)
    assert (task.name, task.about) == ("a.Task", "One task.\n\nname: of it.")
    name, _ = task.fields
    assert (name.name, name.kind, name.required, name.limits) == ("name", "text", True, "1 to 9 characters")
    either = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 3}, {"type": "null"}], "default": None}
    said = field("count", either, required=False)
    assert (said.kind, said.limits, said.default) == ("whole number or null", "1 to 3", "null")
    assert beginning(TASKS, COMPONENTS) == [{"name": ""}]


@pytest.mark.parametrize(
    "call", ["read_me", "create_project", "list_run_events", "put_chunk", "healthz", "report_seat"]
)
def test_each_call_is_described(look: Looking, call: str) -> None:
    browser = look.browser("small", "admin")
    assert browser.get(f"/page/api/{call}").status_code == 200
    assert "From a program" in browser.shown


def test_a_call_is_made_in_ones_own_name(browser_caller: Browser, scene: Scene) -> None:
    browser_caller.get("/page/api/create_organisation")
    response = browser_caller.post("/page/api/create_organisation", {"body": '{"name": "Haukeland"}'})
    assert response.status_code == 200
    assert "It answered 201" in browser_caller.shown
    made = re.search(r'"id": "([0-9a-f-]{36})"', answer_of(browser_caller))
    assert made is not None
    browser_caller.get("/page/api/read_organisation")
    browser_caller.post("/page/api/read_organisation", {"path.organisation_id": made[1]})
    assert '"name": "Haukeland"' in answer_of(browser_caller)
    browser_caller.get("/page/api/list_runs")
    browser_caller.post("/page/api/list_runs", {"query.limit": "1", "query.state": ""})
    assert "It answered 200" in browser_caller.shown
    browser_caller.get("/page/api/read_run")
    began = time.monotonic()
    form = {"path.run_id": scene.names["run"], "query.wait": "30", "query.after": "999999999"}
    browser_caller.post("/page/api/read_run", form)
    assert time.monotonic() - began < 10  # nothing is held open


def test_what_cannot_be_read_is_said_at_its_field(look: Looking) -> None:
    browser = look.browser("small", "admin")
    for form, wrong in (
        ({"path.project_id": "oslo", "body": "{}"}, "this is not an id"),
        ({"path.project_id": "0" * 8, "body": "{"}, "this is no JSON"),
        ({"path.project_id": "0" * 8, "body": "[]"}, "this is no JSON object"),
    ):
        browser.get("/page/api/update_project")
        response = browser.post("/page/api/update_project", form)
        assert (response.status_code, wrong in browser.shown) == (400, True)
    browser.get("/page/api/revoke_site_key")
    response = browser.post("/page/api/revoke_site_key", {"path.site_id": "0" * 8, "path.epoch": "9" * 5000})
    assert (response.status_code, "this is not a whole number" in browser.shown) == (400, True)


def test_what_the_caller_may_not_do_is_refused_as_to_a_program(scene: Scene) -> None:
    member = signed_in(scene.net.app, scene.tokens["member"])
    member.get("/page/api/create_organisation")
    member.post("/page/api/create_organisation", {"body": '{"name": "Haukeland"}'})
    assert "It answered 403" in member.shown
    assert '"type": "/problems/forbidden"' in answer_of(member)
    member.get("/page/api/create_project")
    member.post(
        "/page/api/create_project", {"body": '{"name": "x", "tasks": [{"name": "a", "model": "b", "rounds": "2"}]}'}
    )
    assert "Expected `int`" in answer_of(member)  # as from a program: a number is no text


def test_there_is_no_form_for_files_and_no_page_for_what_is_not_there(look: Looking) -> None:
    browser = look.browser("small", "admin")
    browser.get("/page/api")
    assert browser.post("/page/api/put_chunk").status_code == 404
    assert browser.get("/page/api/nothing").status_code == 404
    assert browser.get("/page/api/page_api").status_code == 404
    assert __version__ in browser.shown
