"""`make screenshots`: the pictures in docs/pictures, of a demo as `make demo LOOK=1` runs it.

The demo trains; whoever looks has signed in by then, and sees the run as it goes on. A picture is drawn with a palette,
so that the docs stay light.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.page.browsing import Looker, chromium

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docs" / "pictures"
COLOURS = 96
RUN_WITHIN_S = 180.0
FIRST = "main tbody tr:first-child th a"
_LINK = re.compile(r"http://[\w.:-]+/(?:page/sign-in|enter)\?\S+")


@dataclass(frozen=True)
class Picture:
    """One file. first: of what the first row of the path's table leads to."""

    name: str
    path: str
    first: bool = False
    scheme: str = "light"
    width: int = 1280
    height: int = 860


LIVE = Picture("run-live", "/page/runs", first=True, height=1100)
"""Taken while it trains."""
PICTURES = (
    Picture("now", "/page/now"),
    Picture("project", "/page/projects", first=True),
    Picture("wizard", "/page/projects/new"),
    Picture("run", "/page/runs", first=True, height=1400),
    Picture("run-dark", "/page/runs", first=True, scheme="dark"),
    Picture("run-narrow", "/page/runs", first=True, width=360, height=740),
    Picture("sites", "/page/sites"),
    Picture("audit", "/page/audit"),
)
PORTAL = (
    Picture("portal-now", "/"),
    Picture("portal-left", "/left"),
    Picture("portal-run", "/runs", first=True, height=1100),
)
"""Of the hospital that coordinates."""
ALL = (LIVE, *PICTURES, *PORTAL)


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fedyard-pictures-") as folder, chromium() as browser:
        with started("demo", "--look", "--data", f"{folder}/demo") as said:
            hub = _signed_in(browser, next(said))
            _await_run(hub.page)
            _take(hub.page, LIVE)
            next(said)
            for one in PICTURES:
                _take(hub.page, one)
            with started("fedyard.cli.main", "--folder", f"{folder}/demo/north", "site", "portal") as link:
                portal = _entered(browser, next(link))
                for one in PORTAL:
                    _take(portal.page, one)
        wrong = hub.wrong() + portal.wrong()
    print("".join(f"{line}\n" for line in wrong), end="", file=sys.stderr)
    return 1 if wrong else 0


@contextmanager
def started(program: str, *arguments: str) -> Iterator[Iterator[str]]:
    """A program of ours, for the block: the links that it names, as it names them. The demo names one before it trains,
    and one when it has."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", program, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield _links_of(process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _links_of(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        found = _LINK.search(line)
        if found is not None:
            yield found[0]
    raise SystemExit(f"it has ended, and is not to be looked at any more:\n{said}")


def _signed_in(browser: Browser, link: str) -> Looker:
    looker = Looker(browser, re.sub(r"(//[^/]+).*", r"\1", link))
    looker.page.goto(link)
    looker.page.get_by_role("button", name="Sign in").click()
    looker.page.wait_for_url("**/page/now")
    return looker


def _entered(browser: Browser, link: str) -> Looker:
    looker = Looker(browser, re.sub(r"(//[^/]+).*", r"\1", link))
    looker.page.goto(link)
    return looker


def _await_run(page: Page) -> None:
    """Until one has made its first model."""
    end = time.monotonic() + RUN_WITHIN_S
    while time.monotonic() < end:
        page.goto("/page/runs")
        if page.locator(FIRST).count():
            page.goto(str(page.locator(FIRST).get_attribute("href")))
            expect(page.locator(".headline")).to_contain_text("Round 4", timeout=60_000)
            return
        time.sleep(0.2)
    raise SystemExit("no run has begun")


def _take(page: Page, one: Picture) -> None:
    page.set_viewport_size({"width": one.width, "height": one.height})
    page.emulate_media(color_scheme="dark" if one.scheme == "dark" else "light")
    page.goto(one.path)
    if one.first:
        page.goto(str(page.locator(FIRST).get_attribute("href")))
    drawn = Image.open(io.BytesIO(page.screenshot()))
    path = FOLDER / f"{one.name}.png"
    drawn.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    sys.exit(main())
