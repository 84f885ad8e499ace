"""What a run has of its own: parameters, rounds and first models that hold for it alone, instead of its project's.

The hub makes the run's tasks by this, and a coordinator's people tell their agent by this which tasks to expect.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from fedyard.wire.parameters import MAX_NESTED, check_written
from fedyard.wire.shown import shown

NAME_SHOWN = 64
MAX_ROUNDS_DIGITS = 6
_ONLY_JSON = ("{", "[", '"')


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


def parameters_said(said: Sequence[str], tasks: Sequence[T]) -> dict[str, dict[str, object]]:
    """`train.learning_rate=0.1` as `tasks_of_run` takes it: TASK.NAME=VALUE, where a project of one task needs none.

    VALUE: JSON, or else a text; what begins as only JSON does (`{`, `[`, `"`) and is none is a mistake. NAME: with dots
    for one within another, of which the rest stays as it is. Raises `ValueError` with what is wrong.
    """
    found: dict[str, dict[str, object]] = {}
    for one in said:
        path, equals, text = one.partition("=")
        if not equals or not path.strip():
            raise ValueError(f"{shown(one, NAME_SHOWN)!r}: say TASK.NAME=VALUE, as in train.learning_rate=0.1")
        task, name = _addressed(path.strip(), tasks)
        own, value = found.setdefault(task.name, {}), _value(text.strip(), path)
        if name in task.parameters or "." not in name:
            own[name] = value
        else:
            top, *rest = _steps(name, path)
            own[top] = _within(own.get(top, task.parameters.get(top, {})), rest, value, path)
    return found


def rounds_said(said: Sequence[str], tasks: Sequence[T]) -> dict[str, int]:
    """`train=20`, or `20` where it is clear which task is meant. Raises `ValueError` with what is wrong."""
    found: dict[str, int] = {}
    for one in said:
        name, equals, number = one.rpartition("=")
        number = number.strip()
        if not number.isdecimal() or len(number) > MAX_ROUNDS_DIGITS or int(number) < 1:
            raise ValueError(f"{shown(one, NAME_SHOWN)!r}: say how many rounds, as in 20 or train=20")
        found[name.strip() if equals else meant_by_none([task for task in tasks if task.rounds > 1] or tasks)] = int(
            number
        )
    return found


def meant_by_none(tasks: Sequence[T]) -> str:
    """The task that is meant where none is named. Raises `ValueError` where that is not clear."""
    if len(tasks) != 1:
        raise ValueError(
            f"say which task, as in {tasks[0].name}=...; there are {', '.join(task.name for task in tasks)}"
        )
    return tasks[0].name


def unheard_of(parameters: Mapping[str, Mapping[str, object]], tasks: Sequence[T]) -> list[str]:
    """Names that the project's tasks have not had so far, in a sentence each: a typing error, or something new."""
    had = {task.name: task.parameters for task in tasks}
    return [
        f"task {task!r} has had no parameter {shown(name, NAME_SHOWN)!r} so far; it has "
        + (", ".join(shown(one, NAME_SHOWN) for one in sorted(had[task])) or "none")
        for task, own in parameters.items()
        for name in own
        if task in had and name not in had[task]
    ]


def _addressed(path: str, tasks: Sequence[T]) -> tuple[T, str]:
    """The task whose name the path begins with, the longest one; the only one where none does."""
    named = [task for task in tasks if path.startswith(f"{task.name}.") and len(path) > len(task.name) + 1]
    if named:
        task = max(named, key=lambda task: len(task.name))
        return task, path[len(task.name) + 1 :]
    if len(tasks) == 1:
        return tasks[0], path
    raise ValueError(
        f"{shown(path, NAME_SHOWN)!r} begins with no task of this project; its tasks: "
        f"{', '.join(task.name for task in tasks)}"
    )


def _within(whole: object, path: Sequence[str], value: object, said: str) -> object:
    """A copy of an object with one value in it changed."""
    if not path:
        return value
    if not isinstance(whole, dict):
        raise ValueError(f"{shown(said, NAME_SHOWN)!r} lies in something that holds no names")  # noqa: TRY004 - a caller's word
    return {**whole, path[0]: _within(whole.get(path[0], {}), path[1:], value, said)}


def _steps(name: str, said: str) -> Sequence[str]:
    """The names between dots. Raises `ValueError` where one is empty, or there are more than a task can be handed."""
    steps = name.split(".")
    if not all(steps):
        raise ValueError(f"{shown(said, NAME_SHOWN)!r}: a name between its dots is missing")
    if len(steps) > MAX_NESTED:
        raise ValueError(f"{shown(said, NAME_SHOWN)!r}: parameters may be nested {MAX_NESTED} levels deep")
    return steps


def _value(text: str, said: str) -> object:
    try:
        return msgspec.json.decode(text.encode(errors="surrogatepass"))
    except msgspec.ValidationError:  # the one thing that JSON without a type can be wrong in
        raise ValueError(f"{shown(said, NAME_SHOWN)!r}: its number is too large") from None
    except RecursionError:
        raise ValueError(f"{shown(said, NAME_SHOWN)!r}: parameters may be nested {MAX_NESTED} levels deep") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        if text.startswith(_ONLY_JSON):
            raise ValueError(
                f"{shown(said, NAME_SHOWN)!r}: its value begins as JSON, and is none ({error}); a text that begins so "
                "is written in double quotes, and a \\ before those inside"
            ) from None
        return text
