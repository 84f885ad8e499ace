"""Whoever walks through scenes with a browser."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser

from tests.page.browsing import Looker, served
from tests.page.callers import session_of
from tests.page.scenes import Scene, opened
from tests.page.views import Who


class Walk:
    """Scenes and whoever looks at them, made when first asked for."""

    def __init__(self, browser: Browser, folder: Path, stack: ExitStack) -> None:
        self._browser = browser
        self._folder = folder
        self._stack = stack
        self._hubs: dict[str, tuple[Scene, str]] = {}
        self._lookers: dict[tuple[str, Who | None], Looker] = {}

    def hub(self, name: str) -> tuple[Scene, str]:
        if name not in self._hubs:
            folder = self._folder / name
            folder.mkdir()
            scene = self._stack.enter_context(opened(name, folder, goes_on=True))
            self._hubs[name] = scene, self._stack.enter_context(served(scene.net.app))
        return self._hubs[name]

    def looker(self, name: str, who: Who | None) -> Looker:
        if (name, who) not in self._lookers:
            self._lookers[name, who] = self.newcomer(name, who)
        return self._lookers[name, who]

    def newcomer(self, name: str, who: Who | None) -> Looker:
        """Whose browser has seen nothing of it."""
        scene, address = self.hub(name)
        looker = Looker(self._browser, address)
        self._stack.callback(looker.close)
        if who is not None:
            looker.carry(*session_of(scene.net.app, scene.tokens[who]))
        return looker
