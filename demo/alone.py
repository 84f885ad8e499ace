"""What the same task reaches without a federation: the same code, steps and measure, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedyard.tasks import Content, Context, Update
from fedyard.tasks.logistic_regression import LogisticRegression
from fedyard.tasks.reading.labelled import Labelled


def trained(table: Labelled, test: Labelled, parameters: Mapping[str, object], rounds: int) -> float:
    """Accuracy on `test` of a model trained on `table` only, for as many rounds."""
    task, context = _task(test, parameters), _context(parameters, rounds)
    task.training = table
    model: Content | None = None
    for _ in range(rounds):
        result = task.train(context, model)
        model = task.aggregate(context, [Update("alone", result.content, result.metrics)]).content
    assert model is not None
    return task.evaluate(context, model)["accuracy"]


def accuracy(model: Content, test: Labelled, parameters: Mapping[str, object]) -> float:
    """Accuracy on `test` of a given model."""
    return _task(test, parameters).evaluate(_context(parameters, 2), model)["accuracy"]


def _task(test: Labelled, parameters: Mapping[str, object]) -> LogisticRegression:
    task = LogisticRegression()
    task.validate(parameters)
    task.testing = test
    return task


def _context(parameters: Mapping[str, object], rounds: int) -> Context:
    return Context(
        site_id="",
        run_id="",
        task="alone",
        round=1,
        rounds=rounds,
        parameters=parameters,
        data={},
        folder=Path(),
    )
