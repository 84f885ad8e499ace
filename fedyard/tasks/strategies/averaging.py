"""The weighted mean of the sites' models: federated averaging, and its proximal kin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedyard.tasks import Arrays, Context, Result, Update
from fedyard.tasks.strategies.combining import Array, checked, fitting, is_float, mean_of, weights_of, wide

MAX_MU = 1e6


class FedAvg:
    """Federated averaging (McMahan et al. 2017, arXiv:1602.05629, Algorithm 1): the mean of the sites' models.

    weighted_by: the metric of `train` that says how much an update counts, by custom the number of training rows; None:
    all sites alike. The result's metrics are the sum of it, and `sites`.
    """

    def __init__(self, *, weighted_by: str | None = "samples") -> None:
        self.weighted_by = weighted_by

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:  # noqa: ARG002 - as all strategies
        """Raises `Unusable` for updates that cannot be combined."""
        fitting(updates)
        weights = weights_of(updates, self.weighted_by)
        metrics = {"sites": float(len(updates))}
        if self.weighted_by is not None:
            metrics[self.weighted_by] = sum(weights)
        return Result(mean_of(updates, weights), metrics)


class FedProx(FedAvg):
    """FedProx (Li et al. 2020, arXiv:1812.06127): sites minimise their loss plus mu/2 times the squared distance to the
    round's model, which holds sites of different data together; the coordinator averages as FedAvg does.

    In `train`, add `gradient(weights, model)` to the gradients, or `penalty(weights, model)` to the loss. For PyTorch
    there is `fedyard.tasks.pytorch.proximal`.
    """

    def __init__(self, mu: float, *, weighted_by: str | None = "samples") -> None:
        super().__init__(weighted_by=weighted_by)
        self.mu = checked("mu", mu, 0, MAX_MU, with_high=True)

    def penalty(self, weights: Arrays, model: Arrays | None) -> float:
        """mu/2 times the squared distance; 0 where there is no model yet."""
        return 0.5 * self.mu * sum(float(np.vdot(part, part).real) for part in _apart(weights, model).values())

    def gradient(self, weights: Arrays, model: Arrays | None) -> dict[str, Array]:
        """The gradient of `penalty` by the weights, in double precision; zeros where there is no model yet."""
        return {name: self.mu * part for name, part in _apart(weights, model).items()}


def _apart(weights: Arrays, model: Arrays | None) -> dict[str, Array]:
    """How far the floats have gone."""
    floats = {name: np.asarray(array) for name, array in weights.items() if is_float(np.asarray(array))}
    if model is None:
        return {name: np.zeros(array.shape) for name, array in floats.items()}
    return {name: wide(array) - wide(np.asarray(model[name])) for name, array in floats.items()}
