"""How a bug is planted: something of production code is made wrong, from outside, for the time of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from domain.table import ROWS, TABLE
from tests.simulation.processes import DecidingProcess
from tests.simulation.world import World

Swap = tuple[Any, Any, Any]
"""Owner, attribute (or key of a table), the value that it has for the time of the simulation."""


@dataclass(frozen=True)
class Bug:
    """about: what is wrong, in a sentence. swaps: made anew for each world. shown_by: a seed that showed it once."""

    name: str
    about: str
    swaps: Callable[[World], list[Swap]]
    shown_by: int = 1


@contextmanager
def replaced(owner: Any, name: Any, value: Any) -> Iterator[None]:
    """Another value for an attribute (or the entry of a table), for the block."""
    absent = object()
    if isinstance(owner, dict):
        before = owner.get(name, absent)
        owner[name] = value
    else:
        if not _is_there(owner, name):
            raise AttributeError(f"{owner} has no {name} any more, so that nothing would be made wrong")
        before = owner.__dict__.get(name, absent)
        setattr(owner, name, value)
    try:
        yield
    finally:
        if isinstance(owner, dict):
            owner.pop(name)
            owner.update({} if before is absent else {name: before})
        elif before is absent:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _is_there(owner: Any, name: str) -> bool:
    """Also where only instances have it."""
    made_by = owner.__init__.__code__.co_names if isinstance(owner, type) and "__init__" in vars(owner) else ()
    return hasattr(owner, name) or name in made_by


@contextmanager
def planted(bug: Bug, world: World) -> Iterator[None]:
    """The bug is there for the block."""
    with ExitStack() as stack:
        for owner, name, value in bug.swaps(world):
            for swap in [*_rows(owner, name, value), (owner, name, value)]:
                stack.enter_context(replaced(*swap))
        yield


def _rows(owner: Any, name: Any, value: Any) -> list[Swap]:
    """The rows of the table of commands that hold a decision (or what it needs) which is to be another one."""
    if not isinstance(owner, ModuleType):
        return []
    before = vars(owner).get(name)
    fields = [(row, field) for row in ROWS for field in ("decision", "needs") if getattr(row, field) is before]
    return [] if before is None else [(TABLE, row.command, replace(row, **{field: value})) for row, field in fields]


BUGS: list[Bug] = []


def bug(about: str, shown_by: int = 1) -> Callable[[Callable[[World], list[Swap]]], Callable[[World], list[Swap]]]:
    """Onto the list, under the function's name."""

    def add(swaps: Callable[[World], list[Swap]]) -> Callable[[World], list[Swap]]:
        BUGS.append(Bug(swaps.__name__, about, swaps, shown_by))
        return swaps

    return add


def deciding(world: World) -> object:
    """The decider at work, another one after each start."""
    return next(one.thread for one in world.processes if isinstance(one, DecidingProcess) and one.busy)
