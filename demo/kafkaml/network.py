"""What these programs train: a network of one hidden layer, by gradient descent, with numpy alone."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from demo.kafkaml.samples import Labels, Rows, Samples

Weights = list[NDArray[np.float32]]
"""Of each layer its matrix and its bias, as Keras lists them."""
Metrics = dict[str, list[float]]
"""By name; a number for each epoch."""
HIDDEN, CLASSES, SEED = 32, 10, 5
RATE, MOMENTUM = 0.1, 0.9
_FORM = 4


@dataclass(frozen=True)
class Shape:
    """inputs: numbers of a sample. hidden: units. outputs: classes."""

    inputs: int
    hidden: int = HIDDEN
    outputs: int = CLASSES


@dataclass(frozen=True)
class Trained:
    weights: Weights
    training: Metrics
    validation: Metrics


def begun(shape: Shape) -> Weights:
    """Small numbers, the same ones each time."""
    drawn = np.random.default_rng(SEED)
    sizes = (shape.inputs, shape.hidden, shape.outputs)
    found: Weights = []
    for before, after in pairwise(sizes):
        found.append(drawn.normal(0, np.sqrt(2 / before), (before, after)).astype(np.float32))
        found.append(np.zeros(after, dtype=np.float32))
    return found


def shape_of(weights: Sequence[NDArray[Any]]) -> Shape:
    return Shape(len(weights[0]), len(weights[1]), len(weights[3]))


def predicted(weights: Sequence[NDArray[Any]], rows: Rows) -> NDArray[np.float64]:
    """Of each row the probability of each class."""
    return _forward(weights, rows)[1]


def measured(weights: Sequence[NDArray[Any]], given: Samples, accuracy: str) -> dict[str, float]:
    """Loss (cross-entropy) and accuracy, the latter by the name that its framework gives it."""
    found = predicted(weights, given.rows)
    loss = -np.log(np.clip(found[np.arange(len(given)), given.labels], 1e-12, None)).mean()
    return {"loss": float(loss), accuracy: float((found.argmax(axis=1) == given.labels).mean())}


def trained(
    weights: Sequence[NDArray[Any]],
    given: Samples,
    checked: Samples,
    epochs: int,
    batch: int,
    accuracy: str,
    after_epoch: Callable[[Metrics, Metrics], None] = lambda _training, _validation: None,
) -> Trained:
    """After so many epochs; `checked` may be empty, and nothing is measured on it then.

    after_epoch: called with the metrics so far, of training and of validation.
    """
    now = [one.astype(np.float64) for one in weights]
    speed = [np.zeros_like(one) for one in now]
    training: Metrics = {}
    validation: Metrics = {}
    for _ in range(epochs):
        for at in range(0, len(given), batch):
            some = given.part(at, at + batch)
            for one, (old, slope) in enumerate(zip(speed, _slopes(now, some.rows, some.labels), strict=True)):
                speed[one] = MOMENTUM * old - RATE * slope
                now[one] = now[one] + speed[one]
        for where, samples in ((training, given), (validation, checked)):
            for name, value in measured(now, samples, accuracy).items() if len(samples) else ():
                where.setdefault(name, []).append(value)
        after_epoch(training, validation)
    return Trained([one.astype(np.float32) for one in now], training, validation)


def _forward(weights: Sequence[NDArray[Any]], rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, its_bias, second, the_bias = weights
    hidden = np.maximum(rows @ first + its_bias, 0)
    scores = hidden @ second + the_bias
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, powers / powers.sum(axis=1, keepdims=True)


def _slopes(weights: Sequence[NDArray[Any]], rows: Rows, labels: Labels) -> list[NDArray[np.float64]]:
    hidden, found = _forward(weights, rows)
    off = found
    off[np.arange(len(rows)), labels] -= 1
    off /= len(rows)
    back = (off @ weights[2].T) * (hidden > 0)
    return [rows.T @ back, back.sum(axis=0), hidden.T @ off, off.sum(axis=0)]


def packed(weights: Weights, sample: Sequence[int]) -> bytes:
    """An .npz of arrays `0` to `3`, and of `sample`: the shape that a sample has before it is flattened."""
    target = io.BytesIO()
    arrays = {str(number): one for number, one in enumerate(weights)}
    np.savez(target, sample=np.array(sample), **arrays)  # type: ignore[arg-type] # its names are ours
    return target.getvalue()


def unpacked(content: bytes) -> Weights:
    """`ValueError` if it is not the .npz of such a network; nothing in it is unpickled."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            return [found[str(number)].astype(np.float32) for number in range(_FORM)]
    except (OSError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(f"this is no model of these programs: {error}") from None


def sample_in(content: bytes) -> tuple[int, ...]:
    """The shape of a sample, of what `packed` has made."""
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        return tuple(int(one) for one in found["sample"])


def hidden_in(code: str) -> int:
    """Of a model's source, `HIDDEN = <number>`; its default if there is none. It is read, and never run."""
    for line in ast.parse(code).body:
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant):
            (target,) = line.targets
            if isinstance(target, ast.Name) and target.id == "HIDDEN" and isinstance(line.value.value, int):
                return line.value.value
    return HIDDEN


def architecture(shape: Shape) -> str:
    """The network in the words of Keras's `to_json`."""
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, shape.inputs], "name": "input"}},
        {"class_name": "Dense", "config": {"units": shape.hidden, "activation": "relu", "name": "hidden"}},
        {"class_name": "Dense", "config": {"units": shape.outputs, "activation": "softmax", "name": "output"}},
    ]
    return json.dumps({"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}})
