"""Linear estimators of scikit-learn as arrays: `coef`, `intercept`, and a classifier's `classes`.

For what has `coef_` and `intercept_`: LogisticRegression, SGDClassifier, Perceptron, LinearRegression, Ridge,
SGDRegressor, LinearSVC and their kind. Nothing of scikit-learn is imported here. Trees: fedyard/tasks/forests.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedyard.tasks import Content, TaskError
from fedyard.tasks.strategies.combining import Array


def arrays_of(estimator: Any) -> dict[str, Array]:
    """What a fitted estimator has learned. Raises `TaskError` for one that is not fitted, or not linear."""
    name = type(estimator).__name__
    if not hasattr(estimator, "coef_"):
        raise TaskError(f"a {name} without coef_ is not fitted, or is no linear estimator")
    arrays = {"coef": np.array(estimator.coef_), "intercept": np.array(getattr(estimator, "intercept_", 0.0))}
    if hasattr(estimator, "classes_"):
        arrays["classes"] = np.array(estimator.classes_)
    return arrays


def load(estimator: Any, model: Content) -> Any:
    """The estimator with a model's coefficients: it predicts, and where it can it goes on from them (`partial_fit`, or
    `fit` with `warm_start`). Raises `TaskError` for a model that is none of a linear estimator.

    A classifier that was fitted or loaded before has to have the same classes.
    """
    if isinstance(model, bytes) or not {"coef", "intercept"} <= set(model):
        raise TaskError("the model has no coef and intercept, as those of linear estimators have")
    coef, intercept = np.array(model["coef"]), np.array(model["intercept"])
    if not 1 <= coef.ndim <= 2 or intercept.shape not in ((), coef.shape[:1] if coef.ndim == 2 else (1,)):
        raise TaskError(f"the model's coef of shape {coef.shape} and intercept of shape {intercept.shape} do not fit")
    if "classes" in model:
        classes, known = np.array(model["classes"]), getattr(estimator, "classes_", None)
        if known is not None and not np.array_equal(known, classes):
            raise TaskError(f"the model's classes are {_some(classes)}, and this estimator's {_some(known)}")
        lines = 1 if len(classes) == 2 else len(classes)
        if coef.shape[0] != lines:
            raise TaskError(f"a model of {len(classes)} classes has {lines} lines of coef, and not {coef.shape[0]}")
        estimator.classes_ = classes
    estimator.coef_ = coef
    estimator.intercept_ = intercept if intercept.ndim else float(intercept)
    estimator.n_features_in_ = coef.shape[-1]
    return estimator


def _some(classes: Any) -> str:
    return ", ".join(map(str, list(classes)[:5]))
