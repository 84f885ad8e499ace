"""Every path that is made from an id or a name of the hub's, or of another site's, is made here."""

from __future__ import annotations

import os
from pathlib import Path

MAX_PART_BYTES = 200


class Outside(ValueError):
    """A path that would not lie under its folder."""


def agents_own(runs: Path, run_id: str, task_seq: int) -> Path:
    """Where this agent's own files of a task run lie: beside the folder of its hooks, which may put links there."""
    return under(runs, run_id, f"{task_seq}-agent")


def under(base: Path, *parts: str) -> Path:
    """`base` / parts, each of which is one plain name. Raises `Outside` for anything else.

    Types of wire.py rule such names out before; this holds even where one was forgotten.
    """
    path = base
    for part in parts:
        plain = part not in ("", ".", "..") and not set(part) & {"/", "\\", "\0"}
        if not plain or len(os.fsencode(part)) > MAX_PART_BYTES:
            raise Outside(f"{part[:50]!r} is not the name of a file under {base}")
        path /= part
    return path
