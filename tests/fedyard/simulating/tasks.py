"""Tasks that are simulated: what they do is said by their parameters."""

from __future__ import annotations

import random

import ml_dtypes
import numpy as np

from fedyard.tasks import Result, Task, TaskError, Unusable


def number(context) -> float:
    return float(context.data["train"].read_text())


class Sum(Task):
    """Adds up the sites' numbers to the model."""

    def prepare(self, context) -> None:
        if context.parameters.get("unready") == context.site_id:
            raise TaskError("no data here")

    def train(self, context, model) -> Result:
        context.log(f"round {context.round}")
        if context.parameters.get("fails") == [context.site_id, context.round]:
            raise ZeroDivisionError("of this site's own numbers")
        start = 0.0 if model is None else float(model["total"][0])
        content = {"total": np.array([start + number(context)])}
        if context.parameters.get("odd") == context.site_id:
            content = b"no arrays"
        return Result(content, {"samples": 1.0, "started": start})

    def aggregate(self, context, updates) -> Result:
        odd = {update.site_id: "bytes" for update in updates if isinstance(update.content, bytes)}
        if odd:
            raise Unusable(odd)
        return Result({"total": sum(update.content["total"] for update in updates)}, {"sites": len(updates)})

    def evaluate(self, context, model) -> dict[str, float]:
        return {"test": number_of(context.data["test"])} if "test" in context.data else {}


def number_of(path) -> float:
    return float(path.read_text())


class Product(Sum):
    """After `sum`: what that made, times the number of sites."""

    def train(self, context, model) -> Result:
        return Result({"total": context.results["sum"]["total"]}, {})


class Drawn(Task):
    """What a hook draws, from every generator that it may use."""

    def train(self, context, model) -> Result:
        own = np.random.default_rng(context.site_seed).random()
        return Result({"drawn": np.array([random.random(), np.random.random(), own, context.seed])}, {})

    def aggregate(self, context, updates) -> Result:
        return Result({update.site_id: update.content["drawn"] for update in updates}, {})


class Keeping(Task):
    """Counts its calls at its site in the folder that outlives runs."""

    def train(self, context, model) -> Result:
        file = context.keep / "count"
        count = int(file.read_text()) + 1 if file.exists() else 1
        file.write_text(str(count))
        return Result({"count": np.array([count])}, {"count": count})

    def aggregate(self, context, updates) -> Result:
        return Result({"count": sum(update.content["count"] for update in updates)}, {})


class Beginning(Sum):
    """Has a first model."""

    def initial(self, context) -> Result:
        return Result({"total": np.array([100.0])}, {"made": 1.0})


class Scored(Sum):
    """Is worth as much as its round's number, up to the fourth."""

    def score(self, context, model) -> dict[str, float]:
        if context.parameters.get("scoreless") == context.site_id:
            raise TaskError("no score here")
        return {"good": float(context.round if context.round < 5 else 1), "samples": number(context)}


class Layers(Task):
    """Hands over arrays of many kinds, and looks whether they arrive as they left."""

    def train(self, context, model) -> Result:
        made = layers()
        return Result(made, {"as_before": float(model is None or same(model, made))})

    def aggregate(self, context, updates) -> Result:
        return Result(layers(), {"same": float(all(same(update.content, layers()) for update in updates))})


def layers() -> dict[str, np.ndarray]:
    return {
        **{f"layer{number}.weight": np.full(2, number, dtype=np.float32) for number in range(2000)},
        "scalar": np.array(1.5),
        "empty": np.zeros((0, 3)),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"),
        "mask": np.array([True, False]),
        "half": np.array([1.0, 65504.0], dtype=np.float16),
        "brain": np.array([[1.0, -2.0]], dtype=ml_dtypes.bfloat16),
    }


def same(one, other) -> bool:
    return {name: (array.dtype, array.shape, array.tolist()) for name, array in one.items()} == {
        name: (array.dtype, array.shape, array.tolist()) for name, array in other.items()
    }
