"""`make screenshots`: the pictures in docs/pictures, of a demo as `make demo LOOK=1` runs it.

The demo trains; whoever looks has signed in by then, and sees the run as it goes on. A picture is drawn with a palette,
so that the docs stay light.
"""

from __future__ import annotations

import io
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
from playwright.sync_api import Browser, Page

from tests.page.browsing import Looker, chromium

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docs" / "pictures"
COLOURS = 96
LINK_WITHIN_S = 180.0
_LINK = re.compile(r"http://[\w.:-]+/page/sign-in\?code=\S+")


@dataclass(frozen=True)
class Picture:
    """One file. ways: what is clicked from the page of `path` on, by the beginning of each link's address."""

    name: str
    path: str
    ways: tuple[str, ...] = ()
    scheme: str = "light"
    width: int = 1280
    height: int = 860


PICTURES = (
    Picture("now", "/page/now"),
    Picture("projects", "/page/projects"),
    Picture("project", "/page/projects", ("/page/projects/",)),
    Picture("wizard", "/page/projects/new"),
    Picture("runs", "/page/runs"),
    Picture("run", "/page/runs", ("/page/runs/",), height=1400),
    Picture("run-dark", "/page/runs", ("/page/runs/",), scheme="dark"),
    Picture("run-narrow", "/page/runs", ("/page/runs/",), width=360, height=740),
    Picture("sites", "/page/sites"),
    Picture("audit", "/page/audit"),
)


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    with demo() as link, chromium() as browser:
        looker = _signed_in(browser, link)
        for one in PICTURES:
            _take(looker.page, one)
        wrong = looker.wrong()
    print("".join(f"{line}\n" for line in wrong), end="", file=sys.stderr)
    return 1 if wrong else 0


@contextmanager
def demo() -> Iterator[str]:
    """The link with which one signs in to a demo's hub, which has trained and stays until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="fedyard-pictures-") as folder:
        command = [sys.executable, "-m", "demo", "--look", "--data", f"{folder}/demo"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            yield _link_of(process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def _link_of(process: subprocess.Popen[str]) -> str:
    """The last one that it says before it waits for people to look."""
    assert process.stdout is not None
    end, said = time.monotonic() + LINK_WITHIN_S, ""
    while time.monotonic() < end:
        line = process.stdout.readline()
        if not line:
            break
        said += line
        found = _LINK.search(line)
        if found is not None:
            return found[0]
    raise SystemExit(f"the demo named no link to look at:\n{said}")


def _signed_in(browser: Browser, link: str) -> Looker:
    looker = Looker(browser, re.sub(r"(//[^/]+).*", r"\1", link))
    looker.page.goto(link)
    looker.page.get_by_role("button", name="Sign in").click()
    looker.page.wait_for_url("**/page/now")
    return looker


def _take(page: Page, one: Picture) -> None:
    page.set_viewport_size({"width": one.width, "height": one.height})
    page.emulate_media(color_scheme="dark" if one.scheme == "dark" else "light")
    page.goto(one.path)
    for way in one.ways:
        page.locator(f"main a[href^='{way}']").first.click()
        page.wait_for_load_state()
    drawn = Image.open(io.BytesIO(page.screenshot()))
    path = FOLDER / f"{one.name}.png"
    drawn.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    sys.exit(main())
