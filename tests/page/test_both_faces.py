"""The whole story in Chromium, with a real hub and real agents: what people do at the hub's page and at two sites'
portals, from the description to the file of a model."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, expect

from fedyard.portal.serving import Server
from fedyard.sealed.keys import fingerprint, words
from tests.fedyard.world import TASKS, SiteProcess, World
from tests.page.browsing import Looker

NAME, NOTES = "Tumours <b class=evil>", "300 patients <img class=evil src=x onerror=alert(1)>"
BEYOND_THE_FIRST = re.compile(r"[Rr]ound (?:[2-9]|\d\d+) of 500")


@contextmanager
def portal_of(site: SiteProcess, chromium: Browser) -> Iterator[Looker]:
    """Somebody at the site's machine, who has opened its link."""
    faults: list[str] = []
    server = Server(site.folder, None, faults.append)
    thread = threading.Thread(target=server.run)
    thread.start()
    link = server.link()
    looker = Looker(chromium, "/".join(link.split("/")[:3]))
    looker.page.goto(link)
    try:
        yield looker
    finally:
        looker.close()
        server.stop()
        thread.join()
    assert faults == []


def begun(hub: Page, north: SiteProcess) -> str:
    """A problem setter's wizard at the hub's page; the project's id."""
    hub.goto("/page/projects/new")
    hub.get_by_label("Name").fill(NAME)
    hub.get_by_label("Coordinator").select_option(north.site_id)
    press(hub, "Next: what is trained")
    hub.get_by_label("Model", exact=True).fill(f"{TASKS}:Gated")
    hub.get_by_label("Rounds", exact=True).fill("500")
    for name in ("what a round needs", "who takes part", "look at it once more"):
        press(hub, f"Next: {name}")
    press(hub, "Make the project")
    expect(hub.locator("h1")).to_have_text(f"Start a run of {NAME}")
    return hub.url.split("/")[5]


def joined(north: Page, east: Page, hub: Page, coordinator: SiteProcess, project: str) -> None:
    """The coordinator's own people serve it; east joins by the coordinator's words, and is let in."""
    north.goto(f"/projects/{project}")
    press(north, "Serve it")
    expect(north.locator("main")).to_contain_text("This site serves it")
    east.goto(f"/projects/{project}")
    east.get_by_label("What the coordinator's people told you").fill(
        words(fingerprint(coordinator.folder.keyring().identity_key))
    )
    east.get_by_label("Notes for the coordinator").fill(NOTES)
    press(east, "Join")
    expect(east.locator("main")).to_contain_text("waits to be let in")
    hub.goto(f"/page/projects/{project}/members?state=requested")
    expect(hub.locator("main")).to_contain_text(NOTES)
    press(hub, "Let it in")


def trained(hub: Page, north: Page, coordinator: SiteProcess, project: str) -> str:
    """Started at the hub's page, seen at both as it goes on, and stopped; the run's id."""
    coordinator.hold("train")
    hub.goto(f"/page/projects/{project}/first-run")
    press(hub, "Start the run")
    run = hub.url.split("/")[5].partition("?")[0]
    expect(hub.locator(".headline")).to_contain_text(coordinator.name)
    north.goto(f"/runs/{run}")
    expect(north.locator("#run")).to_contain_text(coordinator.name)
    coordinator.release("train")
    expect(hub.locator(".headline")).to_contain_text(BEYOND_THE_FIRST)
    expect(north.locator("#run")).to_contain_text(BEYOND_THE_FIRST)
    hub.get_by_text("Stop this run").first.click()
    hub.get_by_label("Why").fill("It is good enough.")
    press(hub, "Yes: stop this run")
    expect(hub.locator(".headline .state")).to_have_text("cancelled")
    expect(north.locator("#run")).to_contain_text("It is good enough.")
    return run


def downloaded(north: Page, project: str) -> None:
    """The model of the first round, opened at the site that may."""
    north.goto(f"/projects/{project}")
    with north.expect_download() as kept:
        north.get_by_role("link", name="Download version 1", exact=True).click()
    content = Path(kept.value.path()).read_bytes()
    assert np.load(io.BytesIO(content))["total"].tolist() == [1.0]


def press(page: Page, name: str) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name=name, exact=True).click()


def test_from_the_description_to_a_model_at_both_faces(hub_of_agents: World, chromium: Browser, tmp_path: Path) -> None:
    with ExitStack() as stack:
        sites = hub_of_agents.sites(tmp_path, "north", "east")
        for site in sites:
            site.start()
            stack.callback(site.kill)
        north, east = (stack.enter_context(portal_of(site, chromium)) for site in sites)
        hub = Looker(chromium, hub_of_agents.hub)
        stack.callback(hub.close)
        hub.sign_in(hub_of_agents.admin_token)
        project = begun(hub.page, sites[0])
        joined(north.page, east.page, hub.page, sites[0], project)
        run = trained(hub.page, north.page, sites[0], project)
        downloaded(north.page, project)
        north.page.goto(f"/left?run={run}")
        expect(north.page.locator("main")).to_contain_text("update")
        assert [line for one in (hub, north, east) for line in one.wrong()] == []
