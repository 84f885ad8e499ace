"""Adaptive steps of the coordinator (Reddi et al. 2021, arXiv:2003.00295, Algorithm 2): FedAdagrad, FedAdam, FedYogi.

The weighted mean of the sites' models, minus the round's model, is taken for a gradient:

    delta = mean - x                       (a counter or an array of `averaged` is taken from the mean as it is)
    m     = beta_1 m + (1 - beta_1) delta                                        from 0
    v     = v + delta^2                                           FedAdagrad     from tau^2
    v     = beta_2 v + (1 - beta_2) delta^2                       FedAdam
    v     = v - (1 - beta_2) delta^2 sign(v - delta^2)            FedYogi
    x     = x + learning_rate m / (sqrt(v) + tau)

There is no correction of m and v for their beginning, as in the paper. m and v lie in `context.keep`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from fedyard.tasks import Arrays, Content, Context, Result, TaskError, Update
from fedyard.tasks.strategies.averaging import FedAvg
from fedyard.tasks.strategies.combining import Array, checked, is_float, narrow, wide
from fedyard.tasks.strategies.keeping import Kept, Moments

MAX_RATE = 1e6
MAX_DELTA = 1e17
"""Of one number in one round, so that its squares are numbers of single precision: else no step would be made again."""
RUNNING = ("*running_mean", "*running_var")
"""PyTorch's names of what batch normalisation has seen: no weights, and a variance must not be stepped below zero."""


class _Adaptive(FedAvg):
    """A step from the round's model towards the sites' mean. Where there is no model yet, the mean is the model; so it
    is in round 1 where that began with a model of other arrays, which is that of the task before.

    averaged: patterns of names (as of files) whose arrays are averaged and no more. weighted_by: as of `FedAvg`.
    """

    def __init__(
        self,
        learning_rate: float,
        *,
        beta_1: float,
        beta_2: float,
        tau: float,
        averaged: Sequence[str],
        weighted_by: str | None,
    ) -> None:
        super().__init__(weighted_by=weighted_by)
        self.learning_rate = checked("learning_rate", learning_rate, 0, MAX_RATE, with_low=False, with_high=True)
        self.beta_1 = checked("beta_1", beta_1, 0, 1)
        self.beta_2 = checked("beta_2", beta_2, 0, 1)
        self.tau = checked("tau", tau, 0, 1, with_low=False, with_high=True)
        self.averaged = tuple(averaged)

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:
        """Raises `Unusable` for updates that cannot be combined, `TaskError` for a model unlike them."""
        result = super().aggregate(context, updates)
        mean, start = result.content, context.model
        assert not isinstance(mean, bytes)
        names = [name for name in sorted(mean) if self._steps(name, mean[name])]
        if start is None:
            return result
        if refusal := _unlike(start, mean, names):
            if context.round > 1:
                raise TaskError(refusal)
            context.log(f"{type(self).__name__}: the sites' mean is the first model: {refusal}")
            return result
        assert not isinstance(start, bytes)
        kept = Kept(context, type(self).__name__.lower())
        before = kept.before(start, names) or Moments(
            {name: np.zeros(mean[name].shape) for name in names},
            {name: np.full(mean[name].shape, self.tau**2) for name in names},
        )
        model, m, v = dict(mean), {}, {}
        for name in names:
            here = wide(np.asarray(start[name]))
            delta = wide(mean[name]) - here
            if (np.abs(delta) > MAX_DELTA).any():
                raise TaskError(f"the sites' mean of {name} is more than {MAX_DELTA:g} away from the round's model")
            m[name] = self.beta_1 * before.m[name] + (1 - self.beta_1) * delta
            v[name] = self._second(before.v[name], delta**2)
            step = self.learning_rate * m[name] / (np.sqrt(v[name]) + self.tau)
            model[name] = narrow(here + step, mean[name])
        kept.keep(Moments(m, v), model)
        return Result(model, result.metrics)

    def _steps(self, name: str, array: Array) -> bool:
        return is_float(array) and not any(fnmatchcase(name, pattern) for pattern in self.averaged)

    @abstractmethod
    def _second(self, v: Array, squares: Array) -> Array:
        """v of this round."""


class FedAdagrad(_Adaptive):
    """See the module's docstring; beta_1 is 0, as in the paper's experiments."""

    def __init__(
        self,
        learning_rate: float,
        *,
        beta_1: float = 0.0,
        tau: float = 1e-3,
        averaged: Sequence[str] = RUNNING,
        weighted_by: str | None = "samples",
    ) -> None:
        super().__init__(learning_rate, beta_1=beta_1, beta_2=0.0, tau=tau, averaged=averaged, weighted_by=weighted_by)

    def _second(self, v: Array, squares: Array) -> Array:
        return v + squares


class FedAdam(_Adaptive):
    """See the module's docstring."""

    def __init__(
        self,
        learning_rate: float,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        tau: float = 1e-3,
        averaged: Sequence[str] = RUNNING,
        weighted_by: str | None = "samples",
    ) -> None:
        super().__init__(
            learning_rate, beta_1=beta_1, beta_2=beta_2, tau=tau, averaged=averaged, weighted_by=weighted_by
        )

    def _second(self, v: Array, squares: Array) -> Array:
        return self.beta_2 * v + (1 - self.beta_2) * squares


class FedYogi(FedAdam):
    """See the module's docstring: v grows and shrinks by no more than the squares of one round."""

    def _second(self, v: Array, squares: Array) -> Array:
        return np.asarray(v - (1 - self.beta_2) * squares * np.sign(v - squares))


def _unlike(start: Content, mean: Arrays, names: Sequence[str]) -> str:
    """Why no step can be made from this model; empty if one can."""
    if isinstance(start, bytes):
        return "the model that the round began with is bytes, and the updates are arrays"
    for name in names:
        if name not in start or np.asarray(start[name]).shape != mean[name].shape:
            return (
                f"the updates have an array {name!r} of shape {mean[name].shape}, and the model that the round began "
                "with has none of that name and shape"
            )
        if np.asarray(start[name]).dtype.kind == "c" or mean[name].dtype.kind == "c":
            raise TaskError(f"array {name!r} has complex numbers: adaptive steps are for real ones")
    return ""
