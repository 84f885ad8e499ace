"""The processes in which tasks' hooks run, as a prepared program: for to load Python and numpy takes longer than what
most tasks of tests do. What is lost, that they are the agent's children, and how they come about, is for the tests that
start them as agents do (`test_child.py` where it makes a `Child` of its own, `test_own_modules.py`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fedyard.tasks import child
from tests.prepared import ROOT, Prepared, Running

HOOKS = Prepared(str(ROOT / "bin" / "lib"), ("tests.forked_hooks", "fedyard.tasks.hooks"))


def start(pipe: int, end: int, folder: Path, environment: Mapping[str, str]) -> Running:
    """As `fedyard.tasks.child.start_reaper`, in whose place it is put."""
    with open(2, "wb", closefd=False) as error:
        said = sys.stderr if sys.stderr is not None else error
        return HOOKS.start(output=said, error=error, environment=environment, folder=folder, descriptors=(pipe, end))


@contextmanager
def prepared() -> Iterator[None]:
    """Every `Child` that starts its process in the block does so by `start`."""
    before, child.start_reaper = child.start_reaper, start
    try:
        yield
    finally:
        child.start_reaper = before
