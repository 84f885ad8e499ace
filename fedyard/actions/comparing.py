"""Runs beside each other: what their last global models measured."""

from __future__ import annotations

from collections.abc import Sequence

from fedyard.wire.answers import Run

MAX_RUNS = 8
"""Beside each other."""


def metrics_of(runs: Sequence[Run]) -> dict[tuple[str, str], list[float | None]]:
    """(task, metric) -> what the last global model of each run measured; None where it did not."""
    last = [
        {
            (task.name, name): value
            for task in run.tasks
            for name, value in next((each.metrics for each in reversed(task.rounds) if each.metrics), {}).items()
        }
        for run in runs
    ]
    return {key: [one.get(key) for one in last] for key in dict.fromkeys(key for one in last for key in one)}
