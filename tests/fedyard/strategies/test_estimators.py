"""Linear estimators of scikit-learn as arrays, and back."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier, SGDRegressor

from fedyard.tasks import TaskError, Unusable
from fedyard.tasks.arrays import pack, unpack
from fedyard.tasks.estimators import arrays_of, load
from fedyard.tasks.strategies import FedAvg
from tests.fedyard.strategies.made import context, update

RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(60, 3))
TWO = np.where(X[:, 0] > 0, "sick", "well")
THREE = (X[:, 0] > 0) + 1 * (X[:, 1] > 0.5)
TARGET = X @ [1.0, -2.0, 0.5] + 3


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        (LogisticRegression, TWO),
        (LogisticRegression, THREE),
        (SGDClassifier, TWO),
        (SGDClassifier, THREE),
        (LinearRegression, TARGET),
        (Ridge, np.stack([TARGET, -TARGET], axis=1)),
        (SGDRegressor, TARGET),
    ],
)
def test_one_that_is_loaded_says_what_the_fitted_one_says(kind, labels) -> None:
    fitted = kind().fit(X, labels)
    loaded = load(kind(), unpack(pack(arrays_of(fitted))))
    assert np.array_equal(loaded.predict(X), fitted.predict(X))


def test_without_an_intercept_too() -> None:
    fitted = LinearRegression(fit_intercept=False).fit(X, TARGET)
    assert np.array_equal(load(LinearRegression(), arrays_of(fitted)).predict(X), fitted.predict(X))


@pytest.mark.parametrize("kind", [SGDClassifier, SGDRegressor])
def test_one_that_is_loaded_goes_on_from_there(kind) -> None:
    labels, more = (TWO, {"classes": np.unique(TWO)}) if kind is SGDClassifier else (TARGET, {})
    begun = kind(random_state=0, learning_rate="constant", eta0=0.01).partial_fit(X, labels, **more)
    loaded = load(kind(random_state=0, learning_rate="constant", eta0=0.01), arrays_of(begun))
    np.testing.assert_allclose(
        loaded.partial_fit(X, labels, **more).coef_, begun.partial_fit(X, labels).coef_, rtol=1e-12
    )


def test_the_mean_of_two_sites_is_that_of_their_coefficients_and_classes_have_to_agree() -> None:
    north, east, odd = (LogisticRegression().fit(X, labels) for labels in (TWO, TWO[::-1], THREE > 0))
    sent = [update(site, 1, arrays_of(one)) for site, one in (("a", north), ("b", east))]
    model = FedAvg().aggregate(context(), sent).content
    np.testing.assert_allclose(load(LogisticRegression(), model).coef_, (north.coef_ + east.coef_) / 2, rtol=1e-12)
    with pytest.raises(Unusable) as raised:
        FedAvg().aggregate(context(), [*sent, update("c", 1, arrays_of(odd))])
    assert set(raised.value.updates) == {"c"}


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (b"bytes", "no coef and intercept"),
        ({"coef": np.zeros((1, 3))}, "no coef and intercept"),
        ({"coef": np.zeros((2, 3)), "intercept": np.zeros(3)}, "do not fit"),
        (
            {"coef": np.zeros((2, 3)), "intercept": np.zeros(2), "classes": np.array(["sick", "well"])},
            "has 1 lines of coef",
        ),
        (
            {"coef": np.zeros((1, 3)), "intercept": np.zeros(1), "classes": np.array(["a", "b"])},
            "estimator's sick, well",
        ),
    ],
)
def test_a_model_that_is_none_is_refused(model, why) -> None:
    with pytest.raises(TaskError, match=why):
        load(LogisticRegression().fit(X, TWO), model)


def test_what_is_not_linear_or_not_fitted_is_refused() -> None:
    for estimator in (LogisticRegression(), RandomForestClassifier(2).fit(X, TWO)):
        with pytest.raises(TaskError, match="not fitted, or is no linear estimator"):
            arrays_of(estimator)
