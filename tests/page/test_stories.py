"""What people do at a hub's page from the beginning to the end, in Chromium: with the keyboard alone, without a script,
two at once, in a session that ends, and while the run that they watch goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from csv import reader
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.browsing import Looker, served
from tests.page.callers import session_of
from tests.page.filling import SITE_NAMES
from tests.page.scenes import Scene, opened
from tests.web.network import Caller
from web.serving.app import web_of

A_RUN = re.compile(r"/page/runs/[0-9a-f-]{36}(?:\?|$)")
MAX_TABS = 120
SOON_MS = 600
"""Twice that is longer than a page waits before it asks again."""
SEEN_FOCUS = """() => {
    const one = document.activeElement, style = getComputedStyle(one)
    const box = one.getBoundingClientRect()
    const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1
    return one === document.body || (box.width > 0 && box.height > 0 && (ring || style.boxShadow !== 'none'))
}"""

WHERE_ONE_IS = "() => [document.querySelector('details.as-table').open, document.activeElement.textContent]"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """`small`, in which time goes on."""
    with opened("small", tmp_path, goes_on=True) as made:
        yield made


@pytest.fixture
def look(scene: Scene, chromium: Browser) -> Iterator[Callable[..., Looker]]:
    """Makes people who look at the hub; in the end the browser has found nothing wrong."""
    lookers: list[Looker] = []

    def make(who: str | None = None, **options: bool) -> Looker:
        """who: has signed in already."""
        looker = Looker(chromium, address, **options)
        lookers.append(looker)
        if who is not None:
            looker.carry(*session_of(scene.net.app, scene.tokens[who]))
        return looker

    with served(scene.net.app) as address:
        yield make
        wrong = [line for looker in lookers for line in looker.wrong()]
        for looker in lookers:
            looker.close()
    assert wrong == []


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what is called so has the focus, and see where it is each time."""
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        assert page.evaluate(SEEN_FOCUS), (
            f"where is the focus? {page.evaluate('document.activeElement.outerHTML')[:200]}"
        )
        if page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).innerText").startswith(name):
            return
    raise AssertionError(f"{name} cannot be reached with Tab from {page.url}")


def test_the_keyboard_alone_signs_in_and_stops_a_run(scene: Scene, look: Callable[..., Looker]) -> None:
    page = look().page
    page.goto("/")
    for name in ("Skip to the content", "Sign in"):
        tab_to(page, name)
    _enter(page)
    tab_to(page, "Token or code")
    page.keyboard.type(scene.tokens["coordinator"])
    _enter(page)
    for name in ("Runs", "Run\u00a04"):
        tab_to(page, name)
        _enter(page)
    tab_to(page, "Stop this run")
    page.keyboard.press("Enter")
    tab_to(page, "Why")
    page.keyboard.type("the scanner at east is broken")
    tab_to(page, "Yes: stop this run")
    page.keyboard.press("Enter")
    expect(page.locator(".headline .state")).to_have_text("cancelled")
    assert _run(scene)["state"] == "cancelled"
    assert "the scanner at east is broken" in page.inner_text("main")


def test_without_a_script_a_run_is_started_and_stopped(scene: Scene, look: Callable[..., Looker]) -> None:
    looker = look(script=False)
    page = looker.page
    looker.sign_in(scene.tokens["coordinator"])
    page.goto(f"/page/runs/{scene.names['run']}")
    page.get_by_text("Stop this run").first.click()
    page.get_by_role("button", name="Yes: stop this run").click()
    expect(page.locator(".headline .state")).to_have_text("cancelled")
    page.goto(f"/page/runs/start?project={scene.names['project_new']}")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".headline .state")).to_have_text("running")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(lambda url: "/page/" not in url)
    page.goto("/page/runs")
    assert "/page/sign-in?next=%2Fpage%2Fruns" in page.url


def test_who_watches_sees_what_happens_and_what_another_has_done(scene: Scene, look: Callable[..., Looker]) -> None:
    """Both have the same run before them, which a site reports to; then one of them stops it."""
    one, other = look("coordinator").page, look("admin").page
    for page in (one, other):
        page.goto(f"/page/runs/{scene.names['run']}")
        expect(page.locator(".headline .state")).to_have_text("running")
    _what_a_reader_did(one)
    _report(scene)
    for page in (one, other):
        expect(page.locator(".headline")).to_contain_text("waits for the global model")
    assert one.evaluate(WHERE_ONE_IS) == [True, "west"]
    one.get_by_text("Stop this run").first.click()
    one.get_by_label("Why").fill("a first reason")
    one.get_by_role("button", name="Yes: stop this run").click()
    expect(one.locator(".headline .state")).to_have_text("cancelled")
    expect(other.locator(".headline .state")).to_have_text("cancelled")
    expect(other.locator("main")).to_contain_text("a first reason")


def test_a_problem_setter_comes_from_a_description_to_a_model(scene: Scene, look: Callable[..., Looker]) -> None:
    """Sign in, the wizard with a mistake on the way, a site that asks to join, the run as it goes on, its model."""
    looker = look()
    page = looker.page
    looker.sign_in(scene.tokens["coordinator"])
    page.get_by_role("link", name="Projects", exact=True).click()
    page.locator("main").get_by_role("link", name="Begin").first.click()
    page.get_by_label("Name").fill("Sepsis ")
    page.get_by_label("Description").fill("Who will be septic tomorrow?")
    _press(page, "Next: what is trained")
    expect(page.locator("#f-name-error")).to_contain_text("no space at either end")
    expect(page.get_by_label("Name")).to_be_focused()
    expect(page).to_have_title(re.compile("^Error: Begin a project"))
    page.get_by_label("Name").fill("Sepsis")
    _press(page, "Next: what is trained")
    page.get_by_label("Model", exact=True).fill("logistic")
    for name in ("Next: what a round needs", "Next: who takes part"):
        _press(page, name)
    page.get_by_label("Payloads").select_option("optional")
    _press(page, "Next: look at it once more")
    expect(page.locator("main")).to_contain_text("Who will be septic tomorrow?")
    page.go_back()
    expect(page.locator("h1")).to_have_text("Begin a project: who takes part")
    page.go_back()
    expect(page.locator("h1")).to_have_text("Begin a project: what a round needs")
    page.go_forward()
    expect(page.get_by_label("Payloads")).to_have_value("optional")
    page.go_forward()
    _press(page, "Make the project")
    expect(page.locator("h1")).to_have_text("Start a run of Sepsis")
    expect(page.locator("main")).to_contain_text(f"fedyard project join {page.url.split('/')[5]}")
    project = page.url.split("/")[5]
    _as_site(scene, "east", "PUT", f"/v1/projects/{project}/members/{{site}}", {"notes": "We have 400 stays."})
    page.goto(f"/page/projects/{project}/members?state=requested")
    expect(page.locator("main")).to_contain_text("We have 400 stays.")
    _press(page, "Let it in")
    page.goto(f"/page/projects/{project}/first-run")
    _press(page, "Start the run")
    page.wait_for_url(A_RUN)
    run = page.url.split("/")[5].partition("?")[0]
    for event, seq in (("ready", 1), ("submit", 2)):
        for name in ("north", "east"):
            body = {"event": event, "seq": seq, "round": 1, "metrics": {"loss": 0.5}}
            _as_site(scene, name, "PUT", f"/v1/runs/{run}/tasks/1/seats/{{site}}", body)
    expect(page.locator(".headline")).to_contain_text("waits for the global model")
    body = {"model": "AAAA", "metrics": {"loss": 0.4}}
    _as_site(scene, "north", "POST", f"/v1/runs/{run}/tasks/1/rounds/1/aggregated", body)
    expect(page.locator(".headline .state")).to_have_text("succeeded")
    page.goto(f"/page/projects/{project}/models")
    expect(page.locator("main table")).to_contain_text("0.4")
    page.goto("/page/runs")
    page.get_by_label("State").select_option("succeeded")
    _press(page, "Show")
    expect(page.locator("main table")).to_contain_text("Sepsis")
    assert "state=succeeded" in page.url
    page.goto(f"/page/runs/{run}/restart")
    _press(page, "Restart it")
    page.wait_for_url(A_RUN)
    assert run not in page.url


def test_a_form_that_is_sent_twice_acts_once(scene: Scene, look: Callable[..., Looker]) -> None:
    page = look("coordinator").page
    page.goto(f"/page/runs/start?project={scene.names['project_new']}")
    page.get_by_role("button", name="Start").dblclick()
    page.wait_for_url(A_RUN)
    made = Caller(scene.net.app, scene.tokens["admin"]).ok("GET", f"/v1/runs?project={scene.names['project_new']}")
    assert [one["number"] for one in made["items"]] == [1]
    expect(page.locator("h1")).to_contain_text("Run 1")


def test_a_session_that_nobody_used_ends_and_one_comes_back_to_where_one_was(
    scene: Scene, look: Callable[..., Looker]
) -> None:
    looker = look("coordinator")
    page = looker.page
    page.goto(f"/page/runs/{scene.names['run']}")
    scene.clock.put_on(31 * 60)
    _report(scene)
    expect(page.locator("#status")).to_contain_text("session has ended")
    page.reload()
    page.wait_for_url("**/page/sign-in?next=**")
    page.get_by_label("Token or code").fill(scene.tokens["coordinator"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**/page/runs/{scene.names['run']}")


def test_a_page_that_is_open_says_that_the_database_is_away_and_that_it_shows_what_was(
    scene: Scene, look: Callable[..., Looker]
) -> None:
    """What it says of the hub stands there all the while: it must not look as if it were so now."""
    page = look("admin").page
    page.goto("/page/now")
    _rename(scene, "process_clocks", "away")
    web_of(scene.net.app).watchers.release()
    expect(page.locator("#status")).to_contain_text("The database cannot be reached: what you see may be old")
    expect(page.locator("#now")).to_have_class("old")
    _rename(scene, "away", "process_clocks")
    expect(page.locator("#status")).to_be_empty()
    expect(page.locator("#now")).not_to_have_class("old")


def _rename(scene: Scene, table: str, to: str) -> None:
    with scene.net.database.connection():
        scene.net.database.execute(f"ALTER TABLE {table} RENAME TO {to}")


def test_nothing_is_asked_for_while_nobody_looks(scene: Scene, look: Callable[..., Looker]) -> None:
    page = look("coordinator").page
    asked: list[str] = []
    page.goto(f"/page/runs/{scene.names['run']}")
    page.on("request", lambda request: asked.append(request.url))
    _hide(page, hidden=True)
    page.wait_for_timeout(SOON_MS)
    asked.clear()
    _report(scene)
    page.wait_for_timeout(SOON_MS)
    assert asked == []
    with page.expect_response("**/live?**") as answered:
        _hide(page, hidden=False)
    assert answered.value.status == 200


def test_a_curve_is_hidden_and_shown_with_the_keyboard(scene: Scene, look: Callable[..., Looker]) -> None:
    page = look("admin").page
    page.goto(f"/page/runs/{scene.names['run_succeeded']}")
    north = page.locator(".curves .u-series .u-label", has_text="north").first
    north.focus()
    for key, shown in (("Enter", "false"), (" ", "true")):
        page.keyboard.press(key)
        expect(north).to_have_attribute("aria-pressed", shown)


def _what_a_reader_did(page: Page) -> None:
    """Open the first table that is shut, and move the focus to a site."""
    page.locator("details.as-table > summary").first.click()
    page.locator(".matrix a", has_text="west").first.focus()
    assert page.evaluate(WHERE_ONE_IS) == [True, "west"]


def _press(page: Page, name: str) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name=name, exact=True).click()


def _enter(page: Page) -> None:
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_a_hub_that_does_not_answer_is_told_of_until_it_does(scene: Scene, look: Callable[..., Looker]) -> None:
    looker = look("coordinator")
    page = looker.page
    page.goto(f"/page/runs/{scene.names['run']}")
    looker.context.set_offline(True)
    _hide(page, hidden=True)
    _hide(page, hidden=False)
    expect(page.locator("#status")).to_contain_text("does not answer")
    _report(scene)
    looker.context.set_offline(False)
    expect(page.locator(".headline")).to_contain_text("waits for the global model")
    expect(page.locator("#status")).to_have_text("")
    assert all("INTERNET_DISCONNECTED" in line or "htmx:sendError" in line for line in looker.wrong())


def test_curves_can_be_taken_along(scene: Scene, look: Callable[..., Looker]) -> None:
    page = look("admin").page
    page.goto(f"/page/runs/{scene.names['run_succeeded']}")
    chart = page.locator("[data-curves]", has_text="loss").first
    expect(chart.locator("canvas")).to_be_visible()
    chart.get_by_label("log scale").check()
    chart.get_by_label("smoothing").fill("0.5")
    with page.expect_download() as taken:
        chart.get_by_role("button", name="CSV").click()
    rows = list(reader(Path(taken.value.path()).read_text().splitlines()))
    assert [row[:2] for row in rows][:2] == [["round", "global model"], ["1", "0.85"]]
    assert len(rows) == 4
    with page.expect_download() as png:
        chart.get_by_role("button", name="PNG").click()
    assert Path(png.value.path()).read_bytes().startswith(b"\x89PNG")


def _hide(page: Page, *, hidden: bool) -> None:
    """As if another tab were looked at, or this one again."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden})
            document.dispatchEvent(new Event('visibilitychange'))
        }""",
        hidden,
    )


def _run(scene: Scene) -> dict[str, str]:
    found: dict[str, str] = Caller(scene.net.app, scene.tokens["admin"]).ok("GET", f"/v1/runs/{scene.names['run']}")
    return found


def _report(scene: Scene) -> None:
    """What the live run waits for: the update of its last site."""
    body = {"event": "submit", "seq": 5, "round": 2, "update": "AAAA", "metrics": {"loss": 0.57, "auroc": 0.86}}
    _as_site(scene, "east", "PUT", f"/v1/runs/{scene.names['run']}/tasks/2/seats/{{site}}", body)


def _as_site(scene: Scene, name: str, method: str, path: str, body: dict[str, object]) -> None:
    """What the agent there would send. path: with its id as {site}."""
    where = path.format(site=scene.names[f"site_{name}"])
    Caller(scene.net.app, scene.tokens[SITE_NAMES[name]]).ok(method, where, body)
