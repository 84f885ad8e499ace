"""A run round by round and site by site: as rows, and as data frames."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from fedyard.client.listed import Listed, frame_of
from fedyard.look.runs.grid import seconds_of
from fedyard.wire import answers as a
from fedyard.wire.scoring import OF_SCORES

if TYPE_CHECKING:
    import pandas as pd


class SiteRound(a.Answer, frozen=True, kw_only=True):
    """A site in a round. seconds: from the call to train until its update had arrived; None: no update came.

    metrics: that it told. score: of the round's model on its data. left_out: why its update was not used.
    """

    task: str
    round: int
    site: str
    site_id: str
    seconds: float | None = None
    left_out: str = ""
    metrics: Mapping[str, float] = {}
    score: Mapping[str, float] = {}


class RoundMade(a.Answer, frozen=True, kw_only=True):
    """A round. metrics: of its global model. score: the mean of the sites' scores. seconds: from its beginning to its
    end, None while it goes on. updates: how many came, also those that were left out."""

    task: str
    round: int
    state: str
    reason: str = ""
    started_at: datetime | None = None
    seconds: float | None = None
    updates: int = 0
    model_version: int | None = None
    metrics: Mapping[str, float] = {}
    score: Mapping[str, float] = {}
    sites: tuple[SiteRound, ...] = ()


def rounds_of(run: a.Run, names: Mapping[str, str]) -> Listed[RoundMade]:
    """Of all tasks of the run, each from its first round on. names: of sites, by id."""
    return Listed(_round(task, here, names) for task in run.tasks for here in task.rounds)


def _round(task: a.TaskRun, here: a.Round, names: Mapping[str, str]) -> RoundMade:
    took = None
    if here.started_at is not None and here.ended_at is not None:
        took = (here.ended_at - here.started_at).total_seconds()
    return RoundMade(
        task=task.name,
        round=here.number,
        state=here.state,
        reason=here.reason,
        started_at=here.started_at,
        seconds=took,
        updates=len(here.submissions),
        model_version=here.model_version,
        metrics=here.metrics,
        score=here.score,
        sites=tuple(_sites(task, here, names)),
    )


def _sites(task: a.TaskRun, here: a.Round, names: Mapping[str, str]) -> list[SiteRound]:
    came = {one.site_id: one for one in here.submissions}
    scores = {one.site_id: one.metrics for one in here.scores}
    found = []
    for site_id in sorted({*came, *scores}, key=lambda one: (names.get(one, one), one)):
        sent = came.get(site_id)
        found.append(
            SiteRound(
                task=task.name,
                round=here.number,
                site=names.get(site_id, site_id),
                site_id=site_id,
                seconds=None if sent is None else seconds_of(sent),
                left_out="" if sent is None else sent.left_out or "",
                metrics={} if sent is None else sent.metrics,
                score=scores.get(site_id, {}),
            )
        )
    return found


_BY_ROUND = ["task", "round", "state", "reason", "started_at", "seconds", "updates", "model_version"]
_BY_SITE = ["task", "round", "site", "site_id", "seconds", "left_out"]


def frame_by_round(rounds: Listed[RoundMade]) -> pd.DataFrame:
    """A row for each round; a column for each metric, those of scores with `score.` before the name."""
    return _frame(rounds, _BY_ROUND)


def frame_by_site(rounds: Listed[RoundMade]) -> pd.DataFrame:
    """A row for each site in each round, with columns as `frame_by_round` has them."""
    return _frame([site for one in rounds for site in one.sites], _BY_SITE)


def _frame(items: list[RoundMade] | list[SiteRound], names: list[str]) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    measured: dict[str, None] = {}
    for one in items:
        # A metric that has the name of a column is told apart from it.
        metrics = {f"metric.{name}" if name in names else name: value for name, value in one.metrics.items()}
        metrics |= {OF_SCORES + name: value for name, value in one.score.items()}
        measured |= dict.fromkeys(metrics)
        rows.append({name: getattr(one, name) for name in names} | metrics)
    return frame_of(rows, [*names, *measured])
