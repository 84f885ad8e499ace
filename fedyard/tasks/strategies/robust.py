"""Combinations that a few odd sites cannot carry away (Yin et al. 2018, arXiv:1803.01498); all sites weigh alike."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from fedyard.tasks import Context, Result, TaskError, Update
from fedyard.tasks.strategies.combining import Array, arrays_of, checked, fitting, is_combined, narrow, wide

_ROUNDING = 1e-9


class _Robust(ABC):
    """Each number of the model from the sites' numbers at its place. The updates are in memory all at once."""

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:  # noqa: ARG002 - as all strategies
        """Raises `Unusable` for updates that cannot be combined."""
        fitting(updates)
        contents = [arrays_of(update) for update in updates]
        model = {}
        for name, first in contents[0].items():
            model[name] = first
            if is_combined(first):
                if first.dtype.kind == "c":
                    raise TaskError(f"{name} has complex numbers, which have no order")
                model[name] = narrow(self._combined(np.stack([wide(content[name]) for content in contents])), first)
        return Result(model, {"sites": float(len(contents))})

    @abstractmethod
    def _combined(self, stack: Array) -> Array:
        """Out of one line for each site."""


class CoordinateMedian(_Robust):
    """The median of each coordinate (Yin et al. 2018, Definition 1, Algorithm 1, Option I).

    It stands as long as fewer than half of the sites are odd. Of an even number of sites it is the mean of the middle
    two.
    """

    def _combined(self, stack: Array) -> Array:
        return np.asarray(np.median(stack, axis=0))


class TrimmedMean(_Robust):
    """The mean of each coordinate without its smallest and its largest values (Yin et al. 2018, Definition 2, Algorithm
    1, Option II).

    share: of the sites, what is cut off at each end, below one half; a part of a site counts as a whole one, so that as
    many odd sites as that do no harm.
    """

    def __init__(self, share: float = 0.1) -> None:
        self.share = checked("share", share, 0, 0.5)

    def _combined(self, stack: Array) -> Array:
        count = len(stack)
        cut = math.ceil(self.share * count - _ROUNDING)
        if 2 * cut >= count:
            raise TaskError(f"of {count} updates {cut} are cut off at each end, which leaves none: lower the share")
        return np.asarray(np.sort(stack, axis=0)[cut : count - cut].mean(axis=0))
