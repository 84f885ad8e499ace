"""The site's program, as one whose tasks' hooks are prepared, too (`tests/prepared.py`)."""

from __future__ import annotations

from fedyard.cli.main import main
from fedyard.tasks import child
from tests import hooks

__all__ = ["main"]

child.start_reaper = hooks.start
hooks.HOOKS.load()  # here, so that every agent that is forked from this process asks the same one
