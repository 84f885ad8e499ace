"""Trees as arrays against scikit-learn's own answers, and bagged ones against those of all its trees together."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier

from fedyard.tasks import TaskError, Unusable
from fedyard.tasks.arrays import pack, unpack
from fedyard.tasks.forests import Forest
from fedyard.tasks.strategies import BaggedTrees
from tests.fedyard.strategies.made import context, update

RANDOM = np.random.default_rng(5)
ROWS = RANDOM.normal(size=(90, 4))
ROWS[::7, 1] = np.nan
LABELS = np.where(np.nan_to_num(ROWS[:, 1]) + ROWS[:, 0] > 0, "sick", np.where(ROWS[:, 2] > 0.5, "well", "unclear"))
ASKED = RANDOM.normal(size=(50, 4))
ASKED[::5, 1] = np.nan


def forest(rows, labels, trees: int = 4, seed: int = 0) -> RandomForestClassifier:
    return RandomForestClassifier(trees, min_samples_leaf=2, random_state=seed).fit(rows, labels)


def sent(site: str, estimator):
    return update(site, 1, Forest.of(estimator).arrays)


@pytest.mark.parametrize("estimator", [forest(ROWS, LABELS), DecisionTreeClassifier(max_depth=3).fit(ROWS, LABELS)])
def test_a_classifier_says_what_scikit_learn_says(estimator) -> None:
    made = Forest(unpack(pack(Forest.of(estimator).arrays)))
    np.testing.assert_allclose(made.predict_proba(ASKED), estimator.predict_proba(ASKED), rtol=1e-12, atol=1e-15)
    assert made.predict(ASKED).tolist() == estimator.predict(ASKED).tolist()


@pytest.mark.parametrize("kind", [RandomForestRegressor, ExtraTreesRegressor])
def test_so_does_a_regression(kind) -> None:
    estimator = kind(5, random_state=0).fit(np.nan_to_num(ROWS), ROWS[:, 0] * 3)
    made = Forest.of(estimator)
    np.testing.assert_allclose(made.predict(np.nan_to_num(ASKED)), estimator.predict(np.nan_to_num(ASKED)), rtol=1e-12)
    with pytest.raises(TaskError, match="no classes"):
        made.predict_proba(ASKED)


def test_the_sites_trees_vote_as_if_they_were_of_one_forest() -> None:
    """One site has never seen a class, and each has another number of trees."""
    seen = LABELS != "unclear"
    north, east = forest(ROWS[:45], LABELS[:45], 3), forest(ROWS[seen], LABELS[seen], 5, 1)
    result = BaggedTrees().aggregate(context(), [sent("a", north), sent("b", east)])
    assert result.metrics == {"sites": 2.0, "trees": 8.0}
    expected = np.zeros((len(ASKED), 3))
    for estimator in (north, east):
        for tree in estimator.estimators_:
            chances = tree.predict_proba(ASKED)
            for place, label in enumerate(estimator.classes_):
                expected[:, ["sick", "unclear", "well"].index(label)] += chances[:, place] / 8
    made = Forest(unpack(pack(result.content)))
    np.testing.assert_allclose(made.predict_proba(ASKED), expected, rtol=1e-12, atol=1e-15)


def test_estimators_whose_trees_do_not_vote_alike_are_refused() -> None:
    rows, two = np.nan_to_num(ROWS), LABELS == "sick"
    for estimator in (
        GradientBoostingClassifier(n_estimators=2).fit(rows, two),
        BaggingClassifier(n_estimators=2).fit(rows, two),
        RandomForestClassifier(2),
        object(),
    ):
        with pytest.raises(TaskError, match=r"no fitted tree or forest|columns of their own"):
            Forest.of(estimator)
    with pytest.raises(TaskError, match="several targets"):
        Forest.of(RandomForestRegressor(2).fit(rows, rows[:, :2]))


def broken(**changes):
    arrays = {name: array.copy() for name, array in Forest.of(forest(ROWS, LABELS, 2)).arrays.items()}
    for name, change in changes.items():
        arrays[name] = change(arrays[name]) if callable(change) else change
    return arrays


def placed(place, value):
    def change(array):
        array[place] = value
        return array

    return change


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"bytes", "it is bytes"),
        ({"w": np.zeros(1)}, "its arrays are no forest"),
        (broken(left=lambda a: a.astype(float)), "its arrays are no forest"),
        (broken(right=lambda a: a[:-1]), "not the shapes of a forest"),
        (broken(roots=np.array([], dtype=int)), "not the shapes of a forest"),
        (broken(left=placed(0, 0)), "children that are none"),  # round and round
        (broken(left=placed(0, 10**6)), "children that are none"),
        (broken(right=placed(0, -1)), "children that are none"),
        (broken(feature=placed(0, 4)), "a feature that is none"),
        (broken(threshold=placed(0, np.nan)), "a feature that is none"),
        (broken(value=placed((0, 0), np.inf)), "no finite number"),
        (broken(value=placed((0, 0), -1.0)), "are not 1 together"),
        (broken(roots=np.array([0, 0])), "one after the other"),
        (broken(roots=np.array([0, 10**6])), "one after the other"),
        (broken(classes=np.array(["a", "a", "b"])), "not one for each share"),
    ],
)
def test_a_site_whose_trees_are_none_is_left_out(content, why) -> None:
    with pytest.raises(Unusable) as raised:
        BaggedTrees().aggregate(context(), [sent("a", forest(ROWS, LABELS)), update("b", 1, content)])
    ((site, said),) = raised.value.updates.items()
    assert (site, why in said) == ("b", True), said


def test_trees_of_another_kind_than_most_are_left_out() -> None:
    numbers = RandomForestClassifier(2).fit(ROWS, LABELS == "sick")
    fewer = forest(ROWS[:, :3], LABELS)
    for odd in (numbers, fewer, RandomForestRegressor(2).fit(ROWS, ROWS[:, 0])):
        with pytest.raises(Unusable) as raised:
            BaggedTrees().aggregate(context(), [*(sent(s, forest(ROWS, LABELS)) for s in "ab"), sent("c", odd)])
        assert set(raised.value.updates) == {"c"}
    with pytest.raises(TaskError, match="rows of 4 features are asked for"):
        Forest.of(numbers).predict(ROWS[:, :3])
