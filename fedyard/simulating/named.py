"""Which task is meant: a class, a file with one, a module's, a built-in one, or a file of a project's tasks."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import msgspec

from fedyard.tasks import Task, TaskError
from fedyard.tasks.reasons import reason_of, text_of
from fedyard.tasks.registry import BUILT_IN
from fedyard.wire.answers import Best, Contract, StopEarly, TaskSpec

Meant: TypeAlias = "str | Path | type[Task] | Sequence[Mapping[str, Any]]"
"""A task's class; `file.py:Class`, `package.module:Class` or a built-in name; a tasks.json, or its content."""
STAND_IN = "fedyard_simulated"
"""A module that is there while classes are simulated that no module has under their name."""
_HERE = Path()


@dataclass(frozen=True)
class Named:
    """Tasks of a project, and how a process finds them. folder: first on the path. files: the modules in it that are
    loaded anew. classes: those that were handed over, by their names. single: one task, which the caller describes."""

    specs: Sequence[TaskSpec]
    folder: Path = _HERE
    files: Collection[str] = ()
    classes: Mapping[str, type[Task]] = field(default_factory=dict)
    single: bool = True

    @property
    def allowed(self) -> list[str]:
        """As a site's `tasks.allow`: what is simulated is allowed by being named."""
        return sorted({spec.model for spec in self.specs} - set(BUILT_IN))


def named(task: Meant) -> Named:
    """Raises `TaskError` if there is no such task."""
    if isinstance(task, type):
        return _of_class(task)
    if isinstance(task, Task):
        raise TaskError(f"an object of {type(task).__name__} is no task to simulate: give its class, without ()")
    if isinstance(task, (str, Path)):
        text = str(task)
        if text.endswith(".json"):
            return _of_file(Path(text))
        if ".py:" in text or text.endswith(".py"):
            return _of_module(text)
        if text in BUILT_IN:
            return Named([_spec(text, text)])
        if ":" not in text:
            raise TaskError(
                f"{text!r} is no task: name file.py:Class, package.module:Class, a tasks.json, or "
                f"{', '.join(sorted(BUILT_IN))}"
            )
        return Named([_spec(text.partition(":")[2], text)], Path.cwd())
    return Named(_specs(msgspec.json.encode(list(task)), "the tasks"), Path.cwd(), single=False)


def _of_class(task: type) -> Named:
    if not issubclass(task, Task):
        raise TaskError(f"{task.__name__} is no fedyard.Task: let it have Task as its base class")
    for name, built_in in BUILT_IN.items():
        if built_in is task:
            return Named([_spec(name, name)])
    return Named([_spec(task.__name__, f"{STAND_IN}:{task.__name__}")], classes={task.__name__: task})


def _of_module(text: str) -> Named:
    where, _, name = text.partition(":")
    path = Path(where)
    if not path.is_file():
        raise TaskError(f"there is no file {where}")
    if not path.stem.isidentifier():
        raise TaskError(f"{path.name} cannot be imported: give it a name of letters, digits and _")
    folder, stem = path.absolute().parent, path.stem
    found = _classes_of(path)
    if not found:
        raise TaskError(f"{where} has no task: a class with fedyard.Task as its base class")
    if not name:
        if len(found) != 1:
            raise TaskError(f"say which class of {where} is meant, as in {where}:{found[0]}")
        (name,) = found
    elif name not in found:
        raise TaskError(f"{where} has no task {name!r}: it has {', '.join(found)}")
    return Named([_spec(name, f"{stem}:{name}")], folder, {stem})


def _classes_of(path: Path) -> list[str]:
    """The tasks that the file has: those that it defines itself, else those that it imports.

    Raises `TaskError` for one that cannot be imported, with the line that is at fault.
    """
    with importable(Named([], path.absolute().parent, {path.stem})):
        try:
            module = importlib.import_module(path.stem)
        except Exception as error:
            raise TaskError(f"{path.name} cannot be imported: {_fault(error)}") from error
    named_ = {name: one for name, one in vars(module).items() if isinstance(one, type) and issubclass(one, Task)}
    own = [name for name, one in named_.items() if one.__module__ == path.stem]
    return own or [name for name, one in named_.items() if one is not Task]


def _fault(error: Exception) -> str:
    """What is wrong with a file of one's own, and where."""
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or '').name}, line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if not one.filename.startswith("<frozen") and "importlib" not in one.filename]
    where = f"{Path(own[-1].filename).name}, line {own[-1].lineno}: " if own else ""
    if isinstance(error, ModuleNotFoundError):
        return f"{where}there is no module {error.name!r}: install its package, or lay its file beside"
    return f"{where}{text_of(error)}{reason_of(error, '')}"


def _of_file(path: Path) -> Named:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise TaskError(f"there is no file {path}") from None
    specs = _specs(content, path.name)
    folder = path.absolute().parent
    files = {spec.model.partition(":")[0] for spec in specs if spec.model not in BUILT_IN}
    return Named(specs, folder, {name for name in files if (folder / f"{name}.py").is_file()}, single=False)


def _specs(content: bytes, what: str) -> list[TaskSpec]:
    try:
        specs = msgspec.json.decode(content, type=list[TaskSpec])
        written = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise TaskError(f"{what}: {error}") from None
    for task in written:
        for place, kind in _FIELDS.items():
            own = task.get(place) if place else task
            if unknown := sorted(set(own or {}) - set(kind.__struct_fields__)):
                raise TaskError(
                    f"{what}: {place or 'task'} of {task['name']!r} has a field {unknown[0]!r}, and there is none of "
                    f"that name: it may have {', '.join(kind.__struct_fields__)}"
                )
    if not specs:
        raise TaskError(f"{what}: there is no task in it")
    return specs


_FIELDS: Mapping[str, type[msgspec.Struct]] = {
    "": TaskSpec,
    "contract": Contract,
    "best": Best,
    "stop_early": StopEarly,
}
"""What people may write of a task, and of what is in it."""


def _spec(name: str, model: str) -> TaskSpec:
    plain = "".join(one if one.isascii() and (one.isalnum() or one in "_-") else "-" for one in name.lower())
    return TaskSpec(name=plain[:60] or "task", model=model)


@contextmanager
def importable(tasks: Named) -> Iterator[None]:
    """While the block runs, the tasks' modules are found, as they are now; afterwards all is as before."""
    path = list(sys.path)
    before = {name: sys.modules.pop(name) for name in [*_modules_in(tasks), STAND_IN] if name in sys.modules}
    if tasks.classes:
        stand_in = ModuleType(STAND_IN)
        vars(stand_in).update(tasks.classes)
        sys.modules[STAND_IN] = stand_in
    if tasks.folder != _HERE:
        sys.path.insert(0, str(tasks.folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [*_modules_in(tasks), STAND_IN]:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def _modules_in(tasks: Named) -> list[str]:
    """The loaded modules that are files of the tasks' folder, beside the tasks' own."""
    if not tasks.files:
        return []
    folder = str(tasks.folder)
    beside = [
        name
        for name, module in list(sys.modules.items())
        if "." not in name and name != "__main__" and _folder_of(module) == folder
    ]
    return sorted({*beside, *tasks.files} & set(sys.modules))


def _folder_of(module: ModuleType | None) -> str:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return ""
    path = Path(file).absolute()
    return str(path.parent) if path.name != "__init__.py" else ""
