"""Hubs for looking at: what lies in each (tests/page/filling.py) is decided by the real decisions, at a fixed time and
under derived ids, so that a page of it is the same whenever it is drawn.

All but `empty` have the same things under the same names, which the paths of tests/page/views.py are written with.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.ids import Id
from fedyard.wire.times import SECOND
from storage.database import open_database
from tests.databases import fresh_sqlite
from tests.page.filling import Dress, Filling, fill_busy, fill_empty, fill_small, letters_of
from tests.streams import settings_file
from tests.web.network import Network, network

EVIL = """'"><img class=evil src=x onerror=alert(1)>{{7*7}}"""
"""What a text of somebody else's ends in, in the scene `hostile`: markup that would show that it was taken for such."""
SMALL = {"empty": fill_empty, "small": fill_small, "hostile": fill_small}
SCENES = (*SMALL, "busy")


class SceneClock:
    """It stands at the scene's end; or goes on from there as time does, for who waits."""

    def __init__(self, end: int, *, goes_on: bool) -> None:
        self._end = end
        self._began = time.monotonic() if goes_on else None

    def now(self) -> int:
        if self._began is None:
            return self._end
        return self._end + int((time.monotonic() - self._began) * SECOND)

    def put_on(self, seconds: float) -> None:
        """So much later, at once."""
        self._end += int(seconds * SECOND)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True)
class Scene:
    """A hub with something in it. names: ids of what is there; tokens: of accounts, by who has them."""

    net: Network
    clock: SceneClock
    folder: Path
    names: Mapping[str, Id]
    tokens: Mapping[str, str]


@contextmanager
def opened(name: str, folder: Path, *, goes_on: bool = False, **options: Any) -> Iterator[Scene]:
    """The hub of this name, with a copy of its store of its own. goes_on: its time does. options: settings."""
    filled = _filled(name)
    store = folder / f"{name}.sqlite"
    shutil.copyfile(filled.store, store)
    clock = SceneClock(filled.end, goes_on=goes_on)
    options.setdefault("streams", settings_file(folder))
    letters = letters_of(filled.end, _dress(name)) if name != "empty" else ()
    net = network(f"sqlite:///{store}", folder, clock, admin=filled.names["admin"], letters=letters, **options)
    net.publisher.forgetful = not goes_on
    try:
        yield Scene(net, clock, folder, filled.names, filled.tokens)
    finally:
        net.close()


@dataclass(frozen=True)
class _Filled:
    """A scene's store as it lies in a file. end: its time."""

    home: tempfile.TemporaryDirectory[str]
    store: Path
    end: int
    names: Mapping[str, Id]
    tokens: Mapping[str, str]


@functools.cache
def _filled(name: str) -> _Filled:
    home = tempfile.TemporaryDirectory(prefix="fedyard-scene-")
    store = Path(home.name, "store.sqlite")
    database = open_database(fresh_sqlite(store))
    try:
        database.hold()
        filling = Filling(database, _dress(name))
        SMALL.get(name, fill_busy)(filling)
    finally:
        database.close()
    return _Filled(home, store, filling.hub.clock.now(), filling.names, filling.tokens)


def _dress(name: str) -> Dress:
    return _evil if name == "hostile" else str


def _evil(text: str) -> str:
    """As long as a name may be at most."""
    return f"{text[: 100 - len(EVIL)].strip()}{EVIL}"
