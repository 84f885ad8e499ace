"""What scores and metrics of rounds come to: their mean, a task's best model, and when it is not worth going on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from domain import records as r
from domain import values as v
from fedyard.wire import scoring
from fedyard.wire.plurals import counted

_metrics = msgspec.json.Decoder(dict[str, float])


@dataclass(frozen=True)
class Outcome:
    """What a round has come to. version: of its model, if it has one. score: the mean of the sites' scores."""

    number: int
    version: int | None
    metrics: Mapping[str, float]
    score: Mapping[str, float]


def metrics_of(text: str) -> dict[str, float]:
    return _metrics.decode(text)


def wanted(spec: v.TaskSpec, number: int) -> bool:
    """Is the model of this round scored?"""
    return scoring.wanted(spec.score_every, spec.rounds, number)


def followed(task: r.TaskRun, spec: v.TaskSpec, outcome: Outcome) -> r.TaskRun:
    """The task after this round: which model is its best one, and for how long there was no better round."""
    if spec.best is not None and outcome.version is not None:
        value = scoring.value_of(spec.best.metric, outcome.metrics, outcome.score)
        if value is not None and scoring.better(spec.best.mode, value, task.best_value):
            task = msgspec.structs.replace(
                task, best_round=outcome.number, best_version=outcome.version, best_value=value
            )
    if spec.stop_early is not None:
        value = scoring.value_of(spec.stop_early.metric, outcome.metrics, outcome.score)
        if value is not None:
            stop = spec.stop_early
            better = scoring.better(stop.mode, value, task.watched_value, stop.min_delta)
            task = msgspec.structs.replace(
                task,
                watched_value=value if better else task.watched_value,
                rounds_without=0 if better else task.rounds_without + 1,
            )
    return task


def why_stopped(stop: v.StopEarly, task: r.TaskRun, number: int) -> str:
    word = "above" if stop.mode == "max" else "below"
    by = f" by more than {stop.min_delta:g}" if stop.min_delta else ""
    value = 0.0 if task.watched_value is None else task.watched_value
    return (
        f"{counted(task.rounds_without, 'round')} up to round {number} had a {stop.metric!r}, and none was {word} "
        f"{value:g}{by}"
    )
