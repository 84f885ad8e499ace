"""What scores and metrics of rounds come to: their mean, a task's best model, and when it is not worth going on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from domain import records as r
from domain import values as v
from fedyard.wire.plurals import counted

SAMPLES: Final = "samples"
"""The metric that says of how many rows the others are."""
MAX_METRICS: Final = 64
"""Of a mean, as of what any site says; the first by name."""
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
    """Is the model of this round scored: of every so many, and of the last one? Round 0 is nobody's work."""
    every = spec.score_every
    return every > 0 and number > 0 and (number % every == 0 or number == spec.rounds)


def mean(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each metric the mean over the sites that gave it, weighted by their `samples` where each of them said how many
    it has, and else with the same weight for all. `samples` itself is the sum."""
    found: dict[str, float] = {}
    for name in sorted({name for one in scores for name in one}):
        given = [one for one in scores if name in one]
        value = _sum(one[name] for one in given) if name == SAMPLES else _mean(name, given)
        if math.isfinite(value):
            found[name] = value
    return dict(list(found.items())[:MAX_METRICS])


def _mean(name: str, given: Sequence[Mapping[str, float]]) -> float:
    weights = [one.get(SAMPLES, 0.0) for one in given]
    if not all(weight > 0 for weight in weights):
        weights = [1.0] * len(given)
    largest = max(weights)
    parts = [weight / largest for weight in weights]  # so that no sum of them is out of range
    return _sum(part / _sum(parts) * one[name] for part, one in zip(parts, given, strict=True))


def _sum(values: Iterable[float]) -> float:
    """Whatever the order; infinite where it is out of range."""
    try:
        return math.fsum(values)
    except OverflowError:
        return math.inf


def followed(task: r.TaskRun, spec: v.TaskSpec, outcome: Outcome) -> r.TaskRun:
    """The task after this round: which model is its best one, and for how long there was no better round."""
    if spec.best is not None and outcome.version is not None:
        value = _value(spec.best.metric, outcome)
        if value is not None and _better(spec.best.mode, value, task.best_value):
            task = msgspec.structs.replace(
                task, best_round=outcome.number, best_version=outcome.version, best_value=value
            )
    if spec.stop_early is not None:
        value = _value(spec.stop_early.metric, outcome)
        if value is not None:
            stop = spec.stop_early
            better = _better(stop.mode, value, task.watched_value, stop.min_delta)
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


def _value(metric: str, outcome: Outcome) -> float | None:
    if metric.startswith(v.OF_SCORES):
        return outcome.score.get(metric.removeprefix(v.OF_SCORES))
    return outcome.metrics.get(metric)


def _better(mode: str, value: float, than: float | None, by: float = 0.0) -> bool:
    """The first value is better than none."""
    if than is None:
        return True
    return value > than + by if mode == "max" else value < than - by
