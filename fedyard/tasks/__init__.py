"""What a task is: up to seven hooks, called in a process of their own at the site.

Write a class with these hooks (subclass `Task`; only `train` is a must), hand over numpy arrays or bytes, and
never think of networks, retries or restarts. The hooks of one task run are called one after the other. After a
crash the agent calls `prepare` again and repeats the hook whose result was not yet on disk: a hook may run twice,
so it must leave nothing behind but its return value and files in `context.folder` and `context.keep`; the latter is
then as the hook found it first.

    validate(parameters)            the task's parameters as the project has them; raise TaskError for what is wrong
    prepare(context)                read and check this site's data; TaskError if it cannot be used
    train(context, model)           -> Result: the update for the coordinator; model is None where there is none yet
    aggregate(context, updates)     -> Result: the new global model (coordinator only, perhaps without data)
    evaluate(context, model)        -> metrics of a global model, {} where there is nothing to test it on
    initial(context)                -> Result: the model that round 1 begins with (coordinator only, as above)
    score(context, model)           -> metrics of a global model on this site's data, in rounds that score
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:  # numpy is heavy, and the agent itself has no use for it: only the hooks' processes load it
    from numpy.typing import NDArray

    from fedyard.tasks.reading.tables import Table
    from fedyard.tasks.sources import Source

Arrays: TypeAlias = "Mapping[str, NDArray[Any]]"
Content: TypeAlias = "Arrays | bytes"
Metrics: TypeAlias = Mapping[str, float]


class TaskError(Exception):
    """The task cannot go on. Its sentence travels to the coordinator: facts, counts and names, never data."""


class Unusable(TaskError):
    """Raised by `aggregate` for updates that do not fit with the others: `Unusable({site id: a sentence why})`.

    Their sites are left out, named, and told; `aggregate` is called again with the other updates.
    """

    def __init__(self, updates: Mapping[str, str]) -> None:
        self.updates = dict(updates)
        super().__init__("; ".join(f"the update of site {site_id}: {why}" for site_id, why in self.updates.items()))


class Stopped(Exception):
    """Raised by a hook that saw `context.stopping()`; its result is not wanted any more."""


@dataclass(frozen=True)
class Result:
    """What a hook hands over. content: arrays (numbers or text, no objects) or bytes.

    metrics: finite numbers; what is none is left out, and the log says so: metrics tell about work, they are not it.
    """

    content: Content
    metrics: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """A site's submission as the coordinator gets it; the agent hands them over sorted by site id."""

    site_id: str
    content: Content
    metrics: Metrics


def _never() -> bool:
    return False


def _nowhere(_text: str) -> None:
    """Log nothing."""


def _no_model() -> None:
    """There is no model yet."""


@dataclass(frozen=True)
class Context:
    """Where a hook runs. data: name -> file or folder, from the site's configuration; `table` reads databases as
    well. folder: private, kept for the run.

    project_id: empty where there is no project. keep: private, outlives runs: one folder for each project and task,
    a copy of what there was; what is left in it counts with the hook's result alone.
    results: by name, the models of the tasks that this one comes after; each is unpacked when it is asked for.
    min_count: the smallest count of people that this site lets a ready task tell.
    seed: for what all sites must draw alike: the same at every site, for the same task run and round.
    site_seed: for what each must draw for itself: another at every site. Both are the same again when a hook is
    repeated, and neither is secret: noise that shall protect somebody is drawn from `secrets`.
    stopping: True once the result is not wanted; ask it in every loop and raise `Stopped`.
    log: say something to the coordinator and to this site's people; it is sealed and sent while the hook works, and
    never fails.
    """

    site_id: str
    run_id: str
    task: str
    round: int
    rounds: int
    parameters: Mapping[str, object]
    data: Mapping[str, Path]
    folder: Path
    seed: int = 0
    site_seed: int = 0
    stopping: Callable[[], bool] = _never
    log: Callable[[str], None] = _nowhere
    project_id: str = ""
    keep: Path = Path()
    results: Mapping[str, Content] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    min_count: int = 5
    start: Callable[[], Content | None] = _no_model

    @property
    def model(self) -> Content | None:
        """The model that the round began with: what `train` is given, and what the updates of `aggregate` were made
        from. None where there is none yet.

        It is got when it is asked for; at a hub's coordinator the hook is called anew with it then. A hook that trains
        the arrays of its argument in place finds those of the round's beginning here.
        """
        return self.start()

    @property
    def common_seed(self) -> int:
        """`seed`, by the name that says what it is: common to all sites of the round."""
        return self.seed

    def table(self, name: str) -> Table:
        """This site's data of that name as a table, whatever they lie in: a file, a folder, a database.

        Raises `TaskError` with line, column and remedy.
        """
        from fedyard.tasks.reading import read  # noqa: PLC0415 - numpy is heavy, and the agent has no use for it
        from fedyard.tasks.sources import Source  # noqa: PLC0415 - as above

        if name in self.sources:
            return read(self.sources[name])
        if name in self.data:
            return read(Source(str(self.data[name])))
        raise TaskError(f"this site has no data {name!r}: name it in the [data] of site.toml")


class Task(ABC):
    """A task's hooks. One instance for each task run and process.

    alike: updates have the same names and shapes of arrays at every site; one that differs from most leaves its site
    out. finite: their numbers, and the model's, are finite; an update with others leaves its site out.
    """

    alike: ClassVar[bool] = True
    finite: ClassVar[bool] = True

    def validate(self, parameters: Mapping[str, object]) -> None:  # noqa: B027 - a hook that may be left out
        """Raise `TaskError` for parameters that the task cannot work with."""

    def prepare(self, context: Context) -> None:  # noqa: B027 - a hook that may be left out
        """Read and check this site's data."""

    @abstractmethod
    def train(self, context: Context, model: Content | None) -> Result:
        """Train from `model` on this site's data; the update."""

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:  # noqa: ARG002 - for who overrides it
        """The new global model out of at least one update. Raises `Unusable` for updates that cannot be combined."""
        raise TaskError(f"{type(self).__name__} does not aggregate: set aggregate to false in the task")

    def evaluate(self, context: Context, model: Content) -> Metrics:  # noqa: ARG002 - a hook that may be left out
        """Metrics of a global model on this site's test data."""
        return {}

    def initial(self, context: Context) -> Result:  # noqa: ARG002 - for who overrides it
        """The model that round 1 begins with; called at the coordinator, for a task with `initial`."""
        raise TaskError(f"{type(self).__name__} makes no first model: give one with the run, or set initial to false")

    def score(self, context: Context, model: Content) -> Metrics:
        """Metrics of a global model on this site's data, in rounds that score; by default those of `evaluate`."""
        return self.evaluate(context, model)
