"""Which images the simulated registry has."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SHELL = "fedyard.test/sh:1"
PAUSE = "fedyard.test/pause:1"
DONE = "fedyard.test/done:1"
OURS = "fedyard.test/fedyard:1"

_NAME = re.compile(
    r"^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@[a-z0-9]+:[0-9a-f]{32,})?$"
)


@dataclass(frozen=True)
class Image:
    """runs: as a process of this machine, or not at all: it waits to be told to stop, or is over at once.
    user: of its Dockerfile. environment: its ENV. entrypoint, command: its ENTRYPOINT and CMD."""

    runs: Literal["process", "pause", "nothing"] = "process"
    user: int = 0
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ("sh",)
    environment: dict[str, str] = field(default_factory=dict)


def usual() -> dict[str, Image]:
    """`sh:1` has what this machine has in PATH, its python among it; `fedyard:1` has Fedyard besides; `pause:1` costs
    nothing and catches SIGTERM; `done:1` costs nothing and succeeds."""
    path = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        SHELL: Image(environment={"PATH": path}),
        OURS: Image(environment={"PATH": path, "PYTHONPATH": str(Path(__file__).parents[3])}),
        PAUSE: Image(runs="pause", user=65535, command=(), entrypoint=("/pause",)),
        DONE: Image(runs="nothing", user=65535, command=(), entrypoint=("/done",)),
    }


def is_name(image: str) -> bool:
    return bool(_NAME.match(image))
