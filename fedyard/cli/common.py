"""What the commands of the command line have in common."""

from __future__ import annotations

import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from fedyard.actions.site import asking_hub
from fedyard.agent.site import Folder
from fedyard.client.client import Client
from fedyard.tasks import TaskError
from fedyard.wire import command_line
from fedyard.wire.times import SECOND

NOWHERE = Path()
FILE = click.Path(path_type=Path)
"""A file that a command looks after itself, with sentences of its own."""
LIVE = ("wanted", "starting", "running")
"""Of a workload."""


def client_of(folder: Folder) -> Client:
    return asking_hub(folder, complain)


def complain(sentence: str) -> None:
    """What people should know while they wait, on standard error."""
    print(f"fedyard: {sentence}", file=sys.stderr, flush=True)


def time_of(micros: int | None) -> str:
    return "" if micros is None else datetime.fromtimestamp(micros / SECOND, UTC).isoformat(timespec="seconds")


def state_told(state: str, stop_at: datetime | None) -> str:
    """Of a workload, and whether it is to go: what has gone is not stopping any more."""
    return state if stop_at is None or state not in LIVE else f"{state}, stopping"


def unexpected(error: Exception) -> tuple[int, str]:
    """Exit code and sentence for what no command has turned into one."""
    if isinstance(error, sqlite3.DatabaseError):
        return (
            2,
            f"an SQLite file of this folder cannot be used ({str(error)[:100]}): is the disk full, or is it damaged?",
        )
    if isinstance(error, msgspec.DecodeError):
        return (
            2,
            "a file of the site's folder (pins.json, hub-pin.json, state.sqlite) is damaged: restore it from a backup",
        )
    if isinstance(error, TaskError):
        return 1, str(error)
    return command_line.unexpected(error)
