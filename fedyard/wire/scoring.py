"""What scores of a model come to, and which round is better. The hub decides by it, and so do simulations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

SAMPLES: Final = "samples"
"""The metric that says of how many rows the others are."""
OF_SCORES: Final = "score."
"""Before a metric's name: the sites' mean of it, in place of the coordinator's."""
MAX_METRICS: Final = 64
"""Of a mean, as of what any site says; the first by name."""


def wanted(score_every: int, rounds: int, number: int) -> bool:
    """Is the model of this round scored: of every so many, and of the last one? Round 0 is nobody's work."""
    return score_every > 0 and number > 0 and (number % score_every == 0 or number == rounds)


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


def value_of(metric: str, metrics: Mapping[str, float], score: Mapping[str, float]) -> float | None:
    """A round's value of a named metric: of the coordinator's metrics, or with `score.` of the sites' mean."""
    if metric.startswith(OF_SCORES):
        return score.get(metric.removeprefix(OF_SCORES))
    return metrics.get(metric)


def better(mode: str, value: float, than: float | None, by: float = 0.0) -> bool:
    """Is it better by more than that? mode: "max" or "min". The first value is better than none."""
    if than is None:
        return True
    return value > than + by if mode == "max" else value < than - by


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
