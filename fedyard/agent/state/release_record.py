"""`privacy.json` in a site's folder: how many updates were kept with noise, told a second time beside the memory.

Whoever puts an older state.sqlite back takes what came since out of the budget's count; this file, which is written
before an update can leave, still tells of it. It is one line for each project and size of noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from fedyard.wire.durable import write_whole
from fedyard.wire.types import Micros

NAME = "privacy.json"
MAX_COUNT = 1_000_000
"""Of updates in a line; no site makes as many, and each is a row of the memory where that has fewer."""


class Count(msgspec.Struct, frozen=True):
    """Updates of a project that were kept with noise of this size. clip, epsilon, delta, at: of the newest of them."""

    project_id: str
    noise: Annotated[float, msgspec.Meta(gt=0)]
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
    clip: float
    epsilon: float
    delta: float
    at: Micros

    @property
    def key(self) -> tuple[str, float]:
        return self.project_id, self.noise


Counts = dict[tuple[str, float], Count]


class Damaged(Exception):
    """There is something in the file's place that cannot be read."""


class Record:
    """The file beside a memory. Its owner holds the memory's lock."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def read(self) -> Counts | None:
        """None if there is no file. Raises `Damaged`; what cannot be read has another name then, if it can have one."""
        try:
            lines = msgspec.json.decode(self._path.read_bytes(), type=list[Count])
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise Damaged(f"{NAME} cannot be read ({error}){self._set_aside()}") from None
        return {one.key: one for one in lines}

    def write(self, counts: Counts) -> None:
        """Raises `OSError`."""
        write_whole(self._path, msgspec.json.format(msgspec.json.encode(sorted(counts.values(), key=lambda x: x.key))))

    def _set_aside(self) -> str:
        aside = self._path.with_name(f"{NAME}.damaged")
        try:
            self._path.replace(aside)
        except OSError:
            return ""
        return f" and lies as {aside.name} now"


def greater(one: Counts, other: Counts) -> Counts:
    """Of each line the one that tells of more."""
    return {**other, **{key: mine for key, mine in one.items() if key not in other or mine.count >= other[key].count}}
