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

from fedyard.tasks import Arrays, Content, Context, Metrics, Result, Stopped, Task, TaskError, Unusable, Update
from fedyard.tasks.reading.labelled import Floats, Labelled, read_labelled
from fedyard.wire.plurals import counted

MIN_ROUNDS = 2
SMALLEST_SCALE = 1e-12
"""A feature that does not vary is left as it is, instead of being divided by nothing."""
MAX_VALUES = {"sum": 1e120, "sum_of_squares": 1e240, "samples": 1e15}
"""Of one site's update, so that what is made of those of all sites are finite numbers."""


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a project may choose."""

    label: str = "label"
    features: Annotated[list[str], msgspec.Meta(min_length=1, max_length=10_000)] | None = None
    local_epochs: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=100)] = 0.5
    l2: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.001


class LogisticRegression(Task):
    """See the module's docstring. It compares updates itself, and says in what they differ."""

    alike = False
    finite = False

    def __init__(self) -> None:
        self.chosen = Parameters()
        self.training: Labelled | None = None
        self.testing: Labelled | None = None

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
        self.training = read_labelled(context.data["train"], self.chosen.label, self.chosen.features)
        self._read_test(context)

    def train(self, context: Context, model: Content | None) -> Result:
        table = self.training
        assert table is not None
        if model is None:
            context.log(f"sums of {counted(len(table.features), 'feature')} over {counted(len(table.rows), 'row')}")
            return Result(_moments(table), {"samples": len(table.rows), "features": len(table.features)})
        start, table = _model(model, table)
        rows = (table.rows - start["mean"]) / start["scale"]
        weights = np.append(start["weights"], start["intercept"])
        before = _loss(rows, table.labels, weights)
        for _ in range(self.chosen.local_epochs):
            if context.stopping():
                raise Stopped
            weights = weights - self.chosen.learning_rate * _gradient(rows, table.labels, weights, self.chosen.l2)
        steps, over = counted(self.chosen.local_epochs, "step"), counted(len(table.rows), "row")
        context.log(f"{steps} over {over}, from a loss of {before:.4f}")
        named = {"features": np.array(table.features)}
        own = {**start, "weights": weights[:-1], "intercept": weights[-1:]}
        metrics = {
            "samples": float(len(table.rows)),
            "features": float(len(table.features)),
            "loss": before,
            **{f"local_{name}": value for name, value in self.evaluate(context, {**own, **named}).items()},
            **{f"global_{name}": value for name, value in self.evaluate(context, {**start, **named}).items()},
        }
        update = {
            "weights": own["weights"],
            "intercept": own["intercept"],
            "samples": np.array([len(table.rows)], dtype=np.float64),
            **named,
            "mean": start["mean"],
            "scale": start["scale"],
        }
        return Result(update, metrics)

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:
        """Raises `Unusable` for updates that are none, or that are about other features or another model."""
        parts: dict[str, Arrays] = {}
        odd: dict[str, str] = {}
        for update in updates:
            try:
                parts[update.site_id] = _part(update.content)
            except TaskError as error:
                odd[update.site_id] = str(error)
        if not parts and not odd:
            raise TaskError("nobody has submitted anything to aggregate")
        odd |= _strangers(parts, context.site_id)
        if odd:
            raise Unusable(odd)
        vectors = [part for _, part in sorted(parts.items())]
        samples = np.array([float(part["samples"][0]) for part in vectors])
        model = _scaled(vectors, samples) if "sum" in vectors[0] else _averaged(vectors, samples)
        return Result(model, {"samples": float(samples.sum()), "sites": float(len(vectors))})

    def evaluate(self, context: Context, model: Content) -> Metrics:
        """Accuracy and loss on the test rows; {} without a test file, or before there are weights."""
        testing = self.testing or self._read_test(context)
        if testing is None:
            return {}
        arrays, testing = _model(model, testing)
        weights = np.append(arrays["weights"], arrays["intercept"])
        if not weights.any():
            return {}
        rows = (testing.rows - arrays["mean"]) / arrays["scale"]
        says = _scores(rows, weights) > 0
        return {
            "accuracy": float(np.mean(says == (testing.labels > 0))),
            "loss": _loss(rows, testing.labels, weights),
        }

    def _read_test(self, context: Context) -> Labelled | None:
        """The site's test rows, if it has some; a coordinator that does not train reads them when it evaluates."""
        if "test" not in context.data:
            return None
        self.testing = read_labelled(context.data["test"], self.chosen.label, self.chosen.features)
        if self.training is not None and self.testing.features != self.training.features:
            raise TaskError("the train and the test file have different features: name them in the task's parameters")
        return self.testing


def _moments(table: Labelled) -> Arrays:
    return {
        "samples": np.array([len(table.rows)], dtype=np.float64),
        "sum": table.rows.sum(axis=0),
        "sum_of_squares": (table.rows**2).sum(axis=0),
        "features": np.array(table.features),
    }


_FIRST, _LATER = ("sum", "sum_of_squares"), ("weights", "mean", "scale")


def _part(content: Content) -> Arrays:
    """An update, checked by itself. Raises `TaskError`."""
    part = _arrays(content)
    features = part.get("features")
    if features is None or features.ndim != 1 or features.dtype.kind != "U":
        raise TaskError("it is no update of logistic_regression")
    count = len(features)
    lengths = {"samples": 1}
    lengths |= dict.fromkeys(_FIRST, count) if "sum" in part else {**dict.fromkeys(_LATER, count), "intercept": 1}
    for name, length in lengths.items():
        values = _stacked([part], name, length)
        if name in MAX_VALUES and (np.abs(values) > MAX_VALUES[name]).any():
            raise TaskError(f"its {name} is beyond {MAX_VALUES[name]:g}: a value of its data is far too large")
    if part["samples"][0] < 1:
        raise TaskError("its number of samples is not positive")
    return part


def _strangers(parts: Mapping[str, Arrays], own: str) -> dict[str, str]:
    """Sites whose updates are of another kind than most: other features, another stage, or another model.

    Where as many are of one kind as of another, the coordinator's own is the right one; where it takes no part, the
    one of more rows.
    """
    kinds: dict[tuple[object, ...], list[str]] = {}
    for site_id, part in sorted(parts.items()):
        kinds.setdefault(_kind(part), []).append(site_id)
    if len(kinds) <= 1:
        return {}

    def weight(kind: tuple[object, ...]) -> tuple[int, bool, float]:
        sites = kinds[kind]
        return len(sites), own in sites, sum(float(parts[site_id]["samples"][0]) for site_id in sites)

    right = max(kinds, key=weight)
    return {s: _difference(kind, right) for kind, sites in kinds.items() if kind != right for s in sites}


def _kind(part: Arrays) -> tuple[object, ...]:
    """What updates must agree in: features, stage, and the model that they started from."""
    model = () if "sum" in part else (part["mean"].tobytes(), part["scale"].tobytes())
    return tuple(map(str, part["features"])), "sum" in part, model


def _difference(kind: tuple[object, ...], right: tuple[object, ...]) -> str:
    features, wanted = kind[0], right[0]
    assert isinstance(features, tuple)
    assert isinstance(wanted, tuple)
    more, less = sorted(set(features) - set(wanted)), sorted(set(wanted) - set(features))
    if more or less:
        said = [f"{word} {', '.join(names[:5])}" for word, names in (("more:", more), ("not:", less)) if names]
        remedy = "name the features in the task's parameters"
        return f"its features are others than those of most sites ({'; '.join(said)[:100]}): {remedy}"
    if features != wanted:
        return "its features stand in another order than those of most sites: name them in the task's parameters"
    return "it was not trained from the same model as those of most sites"


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
        raise TaskError(f"its {name} are not {length} finite numbers")
    return np.stack(vectors).astype(np.float64)  # type: ignore[arg-type]


def _arrays(content: Content) -> Arrays:
    if isinstance(content, bytes):
        raise TaskError("bytes where logistic_regression expects arrays")
    return content


def _model(content: Content, table: Labelled) -> tuple[dict[str, Floats], Labelled]:
    """The model's vectors, and the table with its columns in the model's order. Raises `TaskError`."""
    arrays = _arrays(content)
    features = [*map(str, arrays.get("features", table.features))]
    if sorted(features) != sorted(table.features):
        more, less = sorted(set(table.features) - set(features)), sorted(set(features) - set(table.features))
        said = f" (not in the model: {', '.join(more[:5])}; not in the file: {', '.join(less[:5])})"
        raise TaskError(f"the model was made for other features{said[:200]}")
    lengths = {"mean": len(features), "scale": len(features), "weights": len(features), "intercept": 1}
    return {name: _stacked([arrays], name, length)[0] for name, length in lengths.items()}, table.ordered(features)


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
