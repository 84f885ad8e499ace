"""What a run has of its own: parameters, rounds and first models that hold for it alone, instead of its project's.

The hub makes the run's tasks by this, and a coordinator's people tell their agent by this which tasks to expect.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from fedyard.wire.parameters import check_written
from fedyard.wire.shown import shown

NAME_SHOWN = 64


class _Task(Protocol):
    """As hub and site have it."""

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> dict[str, object]: ...
    @property
    def rounds(self) -> int: ...
    @property
    def aggregate(self) -> bool: ...
    @property
    def initial(self) -> bool: ...


T = TypeVar("T", bound=_Task)


def tasks_of_run(
    tasks: Sequence[T],
    parameters: Mapping[str, Mapping[str, object]],
    rounds: Mapping[str, int],
    initial: Collection[str] = (),
) -> list[T]:
    """The tasks as a run has them that was started so. A parameter takes the place of the one of its name, whole.

    Raises `ValueError` with what is wrong: a task that the project has not, a first model of a task that aggregates
    none, or parameters that could not be handed to every site.
    """
    known = [task.name for task in tasks]
    for name in [*parameters, *rounds, *initial]:
        if name not in known:
            raise ValueError(
                f"there is no task {shown(name, NAME_SHOWN)!r} in this project; its tasks: {', '.join(known)}"
            )
    return [_own(task, parameters.get(task.name), rounds.get(task.name), task.name in initial) for task in tasks]


def _own(task: T, parameters: Mapping[str, object] | None, rounds: int | None, initial: bool) -> T:
    changed: dict[str, object] = {}
    if parameters:
        whole = {**task.parameters, **parameters}
        try:
            check_written(whole)
        except ValueError as error:
            raise ValueError(f"task {task.name!r}: {error}") from None
        changed["parameters"] = whole
    if rounds is not None:
        changed["rounds"] = rounds
    if initial and not task.initial:
        if not task.aggregate:
            raise ValueError(f"task {task.name!r} aggregates nothing, so it has no first model")
        changed["initial"] = True
    return msgspec.structs.replace(task, **changed) if changed else task  # type: ignore[type-var]
