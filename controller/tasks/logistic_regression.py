"""Logistic regression by federated averaging (McMahan et al. 2017, arXiv:1602.05629), on binary labels.

Standardisation is federated, so that every site trains in the same space and no site's scale is imposed on the
others: in the first round (there is no model yet) a site sends the count, sum and sum of squares of every feature
over its TRAINING rows, and the coordinator adds them up to the mean and the standard deviation of all training
rows; the model that it hands out has them in it, with weights of zero. In every later round a site does
`local_epochs` steps of full-batch gradient descent from the global weights and sends its weights with its number
of training rows; the coordinator takes the mean weighted by these numbers. Test rows count nowhere, neither as
weight nor in the scale. No step draws random numbers, so a repeated round gives the same bits.

What leaves a site: sums over its training rows (first round), weights and the number of rows (later rounds), metrics.

Parameters: label (column, default "label"), features (columns and their order; default: all others),
local_epochs (10), learning_rate (0.5), l2 (0.001, on weights, not on the intercept).
Data of a site: `train` (a must to train), `test` (optional, for metrics).
Metrics of a submission: samples (training rows), features; from the second round on loss (of the global model
received, on the training rows), local_accuracy and local_loss (the site's own model after its local steps, on its
test rows), global_accuracy and global_loss (the global model received, on its test rows). Of an aggregate: samples,
sites, and accuracy and loss on the coordinator's test rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
import numpy as np

from controller.tasks import Arrays, Content, Context, Metrics, Result, Stopped, Task, TaskError, Update
from controller.tasks.tables import Floats, Table, read_table

MIN_ROUNDS = 2
SMALLEST_SCALE = 1e-12
"""A feature that does not vary is left as it is, instead of being divided by nothing."""


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a project may choose."""

    label: str = "label"
    features: Annotated[list[str], msgspec.Meta(min_length=1, max_length=10_000)] | None = None
    local_epochs: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=100)] = 0.5
    l2: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.001


class LogisticRegression(Task):
    """See the module's docstring."""

    def __init__(self) -> None:
        self.chosen = Parameters()
        self.training: Table | None = None
        self.testing: Table | None = None

    def validate(self, parameters: Mapping[str, object]) -> None:
        try:
            self.chosen = msgspec.convert(parameters, Parameters)
        except msgspec.ValidationError as error:
            raise TaskError(f"parameters of logistic_regression: {error}") from None

    def prepare(self, context: Context) -> None:
        if context.rounds < MIN_ROUNDS:
            raise TaskError("logistic_regression needs 2 rounds at least: the first one only finds the common scale")
        if "train" not in context.data:
            raise TaskError("this site has no train file in its site.toml")
        self.training = read_table(context.data["train"], self.chosen.label, self.chosen.features)
        self._read_test(context)

    def train(self, context: Context, model: Content | None) -> Result:
        table = self.training
        assert table is not None
        if model is None:
            context.log(f"sums of {len(table.features)} features over {len(table.rows)} rows")
            return Result(_moments(table), {"samples": len(table.rows), "features": len(table.features)})
        start = _model(model, table.features)
        rows = (table.rows - start["mean"]) / start["scale"]
        weights = np.append(start["weights"], start["intercept"])
        before = _loss(rows, table.labels, weights)
        for _ in range(self.chosen.local_epochs):
            if context.stopping():
                raise Stopped
            weights = weights - self.chosen.learning_rate * _gradient(rows, table.labels, weights, self.chosen.l2)
        context.log(f"{self.chosen.local_epochs} steps over {len(table.rows)} rows, from a loss of {before:.4f}")
        own = {**start, "weights": weights[:-1], "intercept": weights[-1:]}
        metrics = {
            "samples": float(len(table.rows)),
            "features": float(len(table.features)),
            "loss": before,
            **{f"local_{name}": value for name, value in self.evaluate(context, own).items()},
            **{f"global_{name}": value for name, value in self.evaluate(context, start).items()},
        }
        update = {
            "weights": own["weights"],
            "intercept": own["intercept"],
            "samples": np.array([len(table.rows)], dtype=np.float64),
            "features": np.array(table.features),
            "mean": start["mean"],
            "scale": start["scale"],
        }
        return Result(update, metrics)

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:  # noqa: ARG002 - a hook's signature
        parts = [_arrays(update.content) for update in updates]
        if not parts:
            raise TaskError("nobody has submitted anything to aggregate")
        samples = np.array([_samples(part) for part in parts])
        if any(not np.array_equal(part["features"], parts[0]["features"]) for part in parts):
            raise TaskError("the sites use different features, or in a different order: name them in the parameters")
        model = _scaled(parts, samples) if "sum" in parts[0] else _averaged(parts, samples)
        return Result(model, {"samples": float(samples.sum()), "sites": float(len(parts))})

    def evaluate(self, context: Context, model: Content) -> Metrics:
        """Accuracy and loss on the test rows; {} without a test file, or before there are weights."""
        testing = self.testing or self._read_test(context)
        if testing is None:
            return {}
        arrays = _model(model, testing.features)
        weights = np.append(arrays["weights"], arrays["intercept"])
        if not weights.any():
            return {}
        rows = (testing.rows - arrays["mean"]) / arrays["scale"]
        says = _scores(rows, weights) > 0
        return {
            "accuracy": float(np.mean(says == (testing.labels > 0))),
            "loss": _loss(rows, testing.labels, weights),
        }

    def _read_test(self, context: Context) -> Table | None:
        """The site's test rows, if it has some; a coordinator that does not train reads them when it evaluates."""
        if "test" not in context.data:
            return None
        self.testing = read_table(context.data["test"], self.chosen.label, self.chosen.features)
        if self.training is not None and self.testing.features != self.training.features:
            raise TaskError("the train and the test file have different features, or in a different order")
        return self.testing


def _moments(table: Table) -> Arrays:
    return {
        "samples": np.array([len(table.rows)], dtype=np.float64),
        "sum": table.rows.sum(axis=0),
        "sum_of_squares": (table.rows**2).sum(axis=0),
        "features": np.array(table.features),
    }


def _scaled(parts: Sequence[Arrays], samples: Floats) -> Arrays:
    """The first model: mean and scale of all training rows, weights of zero."""
    features = parts[0]["features"]
    sums, squares = _stacked(parts, "sum", len(features)), _stacked(parts, "sum_of_squares", len(features))
    mean = sums.sum(axis=0) / samples.sum()
    spread = np.sqrt(np.maximum(squares.sum(axis=0) / samples.sum() - mean**2, 0.0))
    scale = np.where(spread > SMALLEST_SCALE * np.maximum(np.abs(mean), 1.0), spread, 1.0)
    return {
        "mean": mean,
        "scale": scale,
        "weights": np.zeros(len(features)),
        "intercept": np.zeros(1),
        "features": features,
    }


def _averaged(parts: Sequence[Arrays], samples: Floats) -> Arrays:
    first = parts[0]
    count = len(first["features"])
    missing = np.zeros(0)
    of_model = ("mean", "scale")
    if any(not np.array_equal(part.get(n, missing), first.get(n, missing)) for part in parts for n in of_model):
        raise TaskError("the updates were not trained from the same model")
    share = samples / samples.sum()
    return {
        "mean": _stacked(parts[:1], "mean", count)[0],
        "scale": _stacked(parts[:1], "scale", count)[0],
        "weights": share @ _stacked(parts, "weights", count),
        "intercept": share @ _stacked(parts, "intercept", 1),
        "features": first["features"],
    }


def _stacked(parts: Sequence[Arrays], name: str, length: int) -> Floats:
    """One line for each update, if all are finite vectors of that length."""
    vectors = [part.get(name) for part in parts]
    if any(v is None or v.shape != (length,) or v.dtype.kind != "f" or not np.isfinite(v).all() for v in vectors):
        raise TaskError(f"an update's {name} are not {length} finite numbers")
    return np.stack(vectors).astype(np.float64)  # type: ignore[arg-type]


def _samples(part: Arrays) -> float:
    count = part.get("samples")
    if "features" not in part or count is None or count.shape != (1,) or count.dtype.kind != "f":
        raise TaskError("an update is not of logistic_regression")
    if not (np.isfinite(count[0]) and count[0] >= 1):
        raise TaskError("an update's number of samples is not positive")
    return float(count[0])


def _arrays(content: Content) -> Arrays:
    if isinstance(content, bytes):
        raise TaskError("bytes where logistic_regression expects arrays")
    return content


def _model(content: Content, features: Sequence[str]) -> dict[str, Floats]:
    arrays = _arrays(content)
    if [*map(str, arrays.get("features", ()))] not in ([], list(features)):
        raise TaskError("the model was made for other features, or in a different order")
    lengths = {"mean": len(features), "scale": len(features), "weights": len(features), "intercept": 1}
    return {name: _stacked([arrays], name, length)[0] for name, length in lengths.items()}


def _scores(rows: Floats, weights: Floats) -> Floats:
    scores: Floats = rows @ weights[:-1] + weights[-1]
    return scores


def _loss(rows: Floats, labels: Floats, weights: Floats) -> float:
    """Mean logistic loss: log(1 + exp(-z)) for label 1, log(1 + exp(z)) for 0, without overflow."""
    scores = _scores(rows, weights)
    return float(np.mean(np.logaddexp(0.0, scores) - labels * scores))


def _gradient(rows: Floats, labels: Floats, weights: Floats, l2: float) -> Floats:
    errors = 0.5 * (1.0 + np.tanh(0.5 * _scores(rows, weights))) - labels
    return np.append(rows.T @ errors / len(rows) + l2 * weights[:-1], errors.mean())
