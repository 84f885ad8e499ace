"""What a simulation has made, round by round and site by site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fedyard.client.listed import frame_of
from fedyard.tasks import Content, TaskError
from fedyard.tasks.arrays import pack
from fedyard.tasks.packed import save
from fedyard.wire.notebooks import escaped, table
from fedyard.wire.scoring import OF_SCORES

if TYPE_CHECKING:
    import pandas as pd

Outcome: TypeAlias = Literal["submitted", "left_out", "failed", "dropped", "late", "resting", "out"]
"""Of a site in a round: `left_out`: its update could not be used; `failed`: its hook failed, and the site is out of the
task from then on, as one that is left out; `dropped`: gone for this round; `late`: its update came too late;
`resting`: it was not drawn; `out`: it had failed before."""


@dataclass(frozen=True)
class SiteRound:
    """A site in a round. size_bytes, norm: of its update, packed. trace: the whole traceback, if its hook failed.

    score: what it says of the round's model, in rounds that score; score_reason: why it says nothing.
    """

    site: str
    outcome: Outcome
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    size_bytes: int = 0
    norm: float | None = None
    log: Sequence[str] = ()
    trace: str = ""
    score: Mapping[str, float] = field(default_factory=dict)
    score_reason: str = ""


@dataclass(frozen=True)
class Round:
    """A round as it ended. metrics: of the model. score: the mean of the sites' scores, in rounds that score.

    seconds: for all hooks.
    """

    task: str
    number: int
    state: Literal["completed", "failed"]
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    score: Mapping[str, float] = field(default_factory=dict)
    sites: Sequence[SiteRound] = ()
    seconds: float = 0.0
    log: Sequence[str] = ()
    size_bytes: int = 0
    trace: str = ""


@dataclass(frozen=True)
class TaskRun:
    """A task as it ended. model: the last one that it made, or None. best, best_model: of the best round, if asked."""

    name: str
    state: Literal["succeeded", "failed", "skipped"]
    reason: str = ""
    rounds: Sequence[Round] = ()
    model: Content | None = None
    best: int | None = None
    best_model: Content | None = None

    def __repr__(self) -> str:
        return f"TaskRun({self.name!r}, {self.state}, {len(self.rounds)} rounds)"


@dataclass(frozen=True)
class Simulated:
    """A simulated run. sites: names with the files of their data, by the names that the task knows them by."""

    state: Literal["succeeded", "failed"]
    reason: str
    seed: int
    sites: Mapping[str, Mapping[str, str]]
    tasks: Sequence[TaskRun]

    @property
    def model(self) -> Content:
        """The last model of the last task that made one. Raises `TaskError` if none did."""
        made = [task.model for task in self.tasks if task.model is not None]
        if not made:
            raise TaskError(f"the simulation made no model: {self.reason or 'its tasks aggregate nothing'}")
        return made[-1]

    @property
    def rounds(self) -> Sequence[Round]:
        """Of all tasks, one after the other."""
        return [one for task in self.tasks for one in task.rounds]

    @property
    def metrics(self) -> Mapping[str, float]:
        """Of the last model."""
        return next((one.metrics for one in reversed(self.rounds) if one.state == "completed"), {})

    def task(self, name: str) -> TaskRun:
        """The task of that name. Raises `KeyError`."""
        for one in self.tasks:
            if one.name == name:
                return one
        raise KeyError(name)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each round and site, and one for each round's model, whose `site` is empty."""
        found: list[dict[str, Any]] = []
        for one in self.rounds:
            found.append(
                {"task": one.task, "round": one.number, "site": "", "outcome": one.state, "seconds": one.seconds}
                | {**one.metrics, **_scores(one.score)}
            )
            for site in one.sites:
                about = {"task": one.task, "round": one.number, "site": site.site, "outcome": site.outcome}
                found.append({**about, "seconds": site.seconds, **site.metrics, **_scores(site.score)})
        return found

    def frame(self, by: Literal["round", "site"] = "round") -> pd.DataFrame:
        """A data frame as a run's has it: a row for each round, or for each site in each round; a column for each
        metric, those of scores with `score.` before the name. Raises `MissingExtra` without pandas."""
        if by not in ("round", "site"):
            raise ValueError(f"a frame is by 'round' or by 'site', not by {by!r}")
        rows = [row for row in self.rows() if bool(row["site"]) == (by == "site")]
        if by == "round":
            rows = [{name: value for name, value in row.items() if name != "site"} for row in rows]
        return frame_of(rows)

    to_pandas = frame

    def _repr_html_(self) -> str:
        rows = [(one.task, one.number, one.state, one.metrics, _scores(one.score), one.reason) for one in self.rounds]
        return f"<p>{escaped(repr(self))}</p>" + table(("task", "round", "state", "metrics", "score", "reason"), rows)

    def save(self, folder: Path | str) -> list[Path]:
        """Write the last model of every task as a file: arrays as .npz, anything else as .bin. The files' paths."""
        where = Path(folder)
        where.mkdir(parents=True, exist_ok=True)
        return [save(pack(task.model, 2**62), where / task.name) for task in self.tasks if task.model is not None]

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"Simulated({self.state}{why}, {len(self.sites)} sites, {len(self.rounds)} rounds)"


def _scores(score: Mapping[str, float]) -> dict[str, float]:
    """By the names that `best` and `stop_early` have for them."""
    return {f"{OF_SCORES}{name}": value for name, value in score.items()}
