"""Runs: waited for, explained, looked at round by round, drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from fedyard.actions.comparing import metrics_of
from fedyard.actions.logs import piece_opened
from fedyard.actions.site import UsageError, courier_of
from fedyard.actions.why import Why, why_of
from fedyard.agent.courier import Courier
from fedyard.client.client import MAX_LONG_POLL_S
from fedyard.client.listed import Listed, MissingExtra, frame_of
from fedyard.clock import micros_now
from fedyard.look.runs.shown import names_in
from fedyard.look.runs.words import headline
from fedyard.python.asking import bound, client_of
from fedyard.python.models import Model
from fedyard.python.rounds import RoundMade, frame_by_round, frame_by_site, rounds_of
from fedyard.sealed.errors import SealError
from fedyard.wire import answers as a
from fedyard.wire.comparing import Row, compared
from fedyard.wire.notebooks import escaped, table
from fedyard.wire.shown import MAX_LINE, shown
from fedyard.wire.times import SECOND

if TYPE_CHECKING:
    import pandas as pd

    from fedyard.python.drawing import Plot

MATPLOTLIB_MISSING = 'drawings need matplotlib: pip install "fedyard[notebook]"'


class LogLine(a.Answer, frozen=True, kw_only=True):
    """What a site's task said while it worked, opened. fault: why a piece could not be; then it has no text."""

    at: datetime
    site: str
    task: str
    round: int | None
    text: str
    fault: str = ""

    def __str__(self) -> str:
        """As it may be printed, whatever the task has written."""
        place = self.task if self.round is None else f"{self.task} round {self.round}"
        return shown(f"{self.at.isoformat(' ', 'seconds')} {self.site} {place}: {self.fault or self.text}", MAX_LINE)


class Run(a.Run, frozen=True, kw_only=True, dict=True):
    """A run as the hub showed it when it was asked; `refresh` and `wait` ask again. In lists it comes without its
    tasks, which are asked for where they are needed."""

    def refresh(self) -> Run:
        """As it is now."""
        asking = client_of(self)
        return bound(Run, asking.run(self.id), asking)

    def wait(self, timeout_s: float | None = None) -> Run:
        """As it is once nothing can happen to it any more. Raises `TimeoutError` after so many seconds."""
        asking, found = client_of(self), self.refresh()
        end = None if timeout_s is None else asking.monotonic() + timeout_s
        while not found.finished:
            left = MAX_LONG_POLL_S if end is None else min(MAX_LONG_POLL_S, int(end - asking.monotonic()) + 1)
            if end is not None and asking.monotonic() >= end:
                raise TimeoutError(
                    f"run {found.id} is {found.state} after {timeout_s:g} s: {found.why().sentence} It goes on; "
                    "wait() again, or stop() it"
                )
            found = bound(Run, asking.run(found.id, after=found.version, wait=left), asking)
        return found

    def stop(self, reason: str = "") -> a.Changed:
        """reason: for all who take part."""
        return client_of(self).stop_run(self.id, reason)

    def restart(self, start_from: Literal["reached", "start"] = "reached", *, model_version: int | None = None) -> Run:
        """A new attempt, with what this one had of its own. model_version: the task that made it begins with it."""
        asking = client_of(self)
        made = asking.restart_run(self.id, start_from, model_version=model_version)
        return bound(Run, asking.run(made.id), asking)

    def why(self) -> Why:
        """What the run waits for, or what it failed of first; `print` it for all of it."""
        asking, whole = client_of(self), self._whole()
        return why_of(asking, whole, asking.site_names(), asking.sees_as(whole))

    def rounds(self, task: str | None = None) -> Listed[RoundMade]:
        """Of a task, or of all of them, as far as they have come."""
        whole = self._whole()
        found = rounds_of(whole, names_in(whole))
        return found if task is None else Listed(one for one in found if one.task == task)

    def frame(self, by: Literal["round", "site"] = "round") -> pd.DataFrame:
        """A row for each round, or for each site in each round; a column for each metric.

        Raises `MissingExtra` without pandas.
        """
        if by not in ("round", "site"):
            raise ValueError(f"a frame is by 'round' or by 'site', not by {by!r}")
        return frame_by_site(self.rounds()) if by == "site" else frame_by_round(self.rounds())

    to_pandas = frame

    def plot(self, metrics: Sequence[str] | None = None) -> Plot:
        """Metrics by round, of the global model and of each site, and where the time went; a figure of matplotlib.

        metrics: these alone. Raises `MissingExtra` without matplotlib, `ValueError` for a metric that nobody has.
        """
        try:
            from fedyard.python.drawing import plot_of  # noqa: PLC0415 - an extra, and heavy
        except ImportError as error:
            if (error.name or "").partition(".")[0] != "matplotlib":
                raise
            raise MissingExtra(MATPLOTLIB_MISSING) from None
        whole = self._whole()
        return plot_of(whole, names_in(whole), datetime.fromtimestamp(micros_now() / SECOND, UTC), metrics)

    def models(self) -> Listed[Model]:
        """Versions of the project's model that this run made."""
        asking = client_of(self)
        found = asking.models(self.project_id)
        return Listed(bound(Model, one, asking, project_id=self.project_id) for one in found if one.run_id == self.id)

    def log(self, *, site: str | None = None, task: str | None = None) -> Listed[LogLine]:
        """What the sites' tasks said while they worked, opened. site: its name or id.

        Raises `NeedsFolder` without a site's folder, `UsageError` for a site that has no seat here.
        """
        folder, by = client_of(self).as_site("opening a run's log")
        whole = self._whole()
        names = names_in(whole)
        ids = [one for one, name in names.items() if site in (one, name)]
        if site is not None and len(ids) != 1:
            raise UsageError(f"{len(ids)} sites of run {self.id} are called {site!r}: say its id")
        tasks = {one.seq: one.name for one in whole.tasks}
        courier = courier_of(folder, by)
        found: Listed[LogLine] = Listed()
        place = 0
        while pieces := by.logs(self.id, site_id=ids[0] if site else None, after=place):
            place = pieces[-1].at
            for piece in pieces:
                name = tasks.get(piece.task_seq, str(piece.task_seq))
                if task in (None, name):
                    found += _lines(courier, whole, piece, names.get(piece.site_id, piece.site_id), name)
        return found

    def events(self) -> Listed[a.Event]:
        """All that happened to it, oldest first."""
        asking = client_of(self)
        found: Listed[a.Event] = Listed()
        while page := asking.events(self.id, after=found[-1].seq if found else 0):
            found += page
        return found

    def _whole(self) -> Run:
        return self if self.tasks else self.refresh()

    def _repr_html_(self) -> str:
        names = names_in(self)
        sentence = headline(self, names) if self.tasks or self.finished else f"It is {self.state}."
        about = f"<p><b>run {self.number}</b>, attempt {self.attempt}: {escaped(sentence)}</p>"
        rows = [
            (one.task, one.round, one.state, one.updates, one.seconds, one.metrics, one.score)
            for one in rounds_of(self, names)
        ]
        if not rows:
            return about
        return about + table(("task", "round", "state", "updates", "seconds", "metrics", "score"), rows)

    def __str__(self) -> str:
        """In a line: its rounds and seats are `rounds()` and `tasks`."""
        said = f"{self.state} ({self.reason})" if self.reason else self.state
        return shown(f"run {self.number}, attempt {self.attempt}: {said}; {self.id}")


def _lines(courier: Courier, run: a.Run, piece: a.LogPiece, site: str, task: str) -> list[LogLine]:
    try:
        opened = piece_opened(courier, run, piece)
    except SealError as error:
        fault = f"{error.slug}: {error}"
        return [LogLine(at=piece.created_at, site=site, task=task, round=piece.round, text="", fault=fault)]
    at = datetime.fromtimestamp(opened.at / SECOND, UTC)
    lines = opened.text.splitlines()
    return [LogLine(at=at, site=site, task=task, round=piece.round, text=line) for line in lines]


class Comparison:
    """Runs beside each other: in what their tasks differ, and what their last global models measured.

    settings: what differs, a value for each run. metrics: by task and metric, a value for each run, None without one.
    """

    def __init__(self, runs: Sequence[a.Run], *, everything: bool = False) -> None:
        self.runs = runs
        rows = compared([[task.spec for task in run.tasks] for run in runs])
        self.settings: Sequence[Row] = [row for row in rows if everything or row.differs]
        self.metrics: Mapping[tuple[str, str], Sequence[float | None]] = metrics_of(runs)

    @property
    def names(self) -> list[str]:
        return [f"run {run.number}" + (f".{run.attempt}" if run.attempt > 1 else "") for run in self.runs]

    def frame(self) -> pd.DataFrame:
        """A row for each setting and metric, a column for each run. Raises `MissingExtra` without pandas."""
        return frame_of([dict(zip(["", *self.names], row, strict=True)) for row in self._rows()])

    to_pandas = frame

    def _rows(self) -> Iterator[Sequence[object]]:
        yield ["state", *(run.state for run in self.runs)]
        yield from ([row.text, *row.values] for row in self.settings)
        yield from ([f"{task}: {name}", *values] for (task, name), values in self.metrics.items())

    def _repr_html_(self) -> str:
        return table(["", *self.names], [*self._rows()])

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.names)}; {len(self.settings)} settings differ)"
