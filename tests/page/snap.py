"""`python -m tests.page.snap FOLDER [VIEW ...]`: pictures of views for whoever changes a page, day and night, wide and
narrow. `--scene busy` (or hostile) shows views of `small` in that scene."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.page.browsing import NARROW, WIDE, chromium
from tests.page.views import VIEWS
from tests.page.walk import Walk

WAYS = (("light", WIDE), ("dark", WIDE), ("light", NARROW), ("dark", NARROW))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.page.snap", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("views", nargs="*", metavar="VIEW")
    parser.add_argument("--scene", default="small")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    views = [view for view in VIEWS if not chosen.views or view.name in chosen.views]
    with tempfile.TemporaryDirectory() as folder, chromium() as browser, ExitStack() as stack:
        walk = Walk(browser, Path(folder), stack)
        for view in views:
            name = chosen.scene if view.scene == "small" else view.scene
            scene, _ = walk.hub(name)
            looker = walk.looker(name, view.who)
            looker.go(view.at(scene.names))
            for scheme, size in WAYS:
                looker.page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
                looker.page.set_viewport_size(size)
                path = chosen.folder / f"{view.name}-{scheme}-{size['width']}.png"
                looker.page.screenshot(path=path, full_page=True)
                print(path)
            for line in looker.wrong():
                print(f"{view.name}: {line}")


if __name__ == "__main__":
    main()
