"""Strategies: how a coordinator makes one model of the sites' updates, for any task whose updates are arrays.

    class MyTask(Task):
        strategy = FedAdam(learning_rate=0.1)

        def aggregate(self, context, updates):
            return self.strategy.aggregate(context, updates)

A strategy has no state but what it writes to `context.keep`, so one object may serve all runs, and a repeated call
gives the same. All names, shapes and kinds of arrays are those of most updates; sites of others are left out
(`Unusable`). Floats are combined in double precision and come back in the first update's type. Whole numbers without a
dimension (counters) are combined and rounded; other whole numbers, booleans and text (classes, names of features) have
to be equal at all sites.
"""

from __future__ import annotations

from fedyard.tasks.strategies.adaptive import FedAdagrad, FedAdam, FedYogi
from fedyard.tasks.strategies.averaging import FedAvg, FedProx
from fedyard.tasks.strategies.bagging import BaggedTrees
from fedyard.tasks.strategies.robust import CoordinateMedian, TrimmedMean

__all__ = [
    "BaggedTrees",
    "CoordinateMedian",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedProx",
    "FedYogi",
    "TrimmedMean",
]
