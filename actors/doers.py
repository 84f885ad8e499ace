"""Which function carries out which command: the doing actors of the hub, one for each row of kind `done`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from actors.doing import Doing
from config.clock import Clock
from config.settings import Settings
from domain.commands import Command
from storage.database import Database


@dataclass(frozen=True)
class Tools:
    """What a doing function may be made of. database: to be read alone."""

    settings: Settings
    database: Database
    clock: Clock


def doing_functions(tools: Tools) -> Mapping[type[Command], Doing]:  # noqa: ARG001 - the first doing actor takes them
    """By class of command; a test compares them with the table of commands."""
    return {}
