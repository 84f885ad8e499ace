from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from demo.hospitals import split
from fedyard.tasks import Content, Context, Result, Stopped, TaskError, Unusable, Update
from fedyard.tasks.arrays import pack, unpack
from fedyard.tasks.logistic_regression import LogisticRegression
from fedyard.tasks.reading.labelled import Labelled

PARAMETERS = {"local_epochs": 10}


def context(**changes: object) -> Context:
    given: dict[str, object] = {
        "site_id": "s",
        "run_id": "r",
        "task": "train",
        "round": 1,
        "rounds": 10,
        "parameters": PARAMETERS,
        "data": {},
        "folder": Path(),
    }
    return Context(**{**given, **changes})  # type: ignore[arg-type]


def task_of(training: Labelled, test: Labelled, parameters: Mapping[str, object] = PARAMETERS) -> LogisticRegression:
    task = LogisticRegression()
    task.validate(parameters)
    task.training, task.testing = training, test
    return task


def carried(content: Content) -> Content:
    """As it arrives at the other end."""
    return unpack(pack(content))


def federated(tables: Mapping[str, Labelled], test: Labelled, rounds: int) -> tuple[Content, list[dict[str, Result]]]:
    tasks = {name: task_of(table, test) for name, table in tables.items()}
    model: Content | None = None
    history = []
    for _ in range(rounds):
        results = {name: task.train(context(), model) for name, task in tasks.items()}
        updates = [Update(name, carried(result.content), result.metrics) for name, result in sorted(results.items())]
        model = carried(next(iter(tasks.values())).aggregate(context(), updates).content)
        history.append(results)
    assert model is not None
    return model, history


def accuracy(model: Content, test: Labelled) -> float:
    return task_of(test, test).evaluate(context(), model)["accuracy"]


def test_beats_the_mean_of_those_alone_on_a_skewed_split_of_real_records() -> None:
    records = split()
    shared, _ = federated(records.training, records.test, 10)
    alone = [accuracy(federated({n: t}, records.test, 10)[0], records.test) for n, t in records.training.items()]
    pooled, _ = federated({"all": records.pooled()}, records.test, 10)
    assert accuracy(shared, records.test) > sum(alone) / len(alone) + 0.01
    assert accuracy(shared, records.test) >= accuracy(pooled, records.test) - 0.02


def test_the_loss_falls_and_a_repeat_gives_the_same_bits() -> None:
    records = split()
    model, history = federated(records.training, records.test, 8)
    losses = [sum(r.metrics["loss"] * r.metrics["samples"] for r in round_.values()) for round_ in history[1:]]
    assert losses == sorted(losses, reverse=True)
    assert pack(model) == pack(federated(records.training, records.test, 8)[0])


def test_the_common_scale_is_that_of_all_training_rows() -> None:
    records = split()
    model, history = federated(records.training, records.test, 1)
    assert not isinstance(model, bytes)
    everybody = records.pooled().rows
    np.testing.assert_allclose(model["mean"], everybody.mean(axis=0))
    np.testing.assert_allclose(model["scale"], everybody.std(axis=0), rtol=1e-6)
    assert not model["weights"].any()
    assert {n: r.metrics["samples"] for n, r in history[0].items()} == {
        n: len(t.rows) for n, t in records.training.items()
    }


def test_one_site_alone_gives_the_same_as_all_records_in_one_gradient_step() -> None:
    """With one local step, the mean weighted by training rows IS the step over all rows."""
    records = split()
    step = {"local_epochs": 1}
    pooled = {"all": records.pooled()}
    results = []
    for tables in (records.training, pooled):
        tasks = {n: task_of(t, records.test, step) for n, t in tables.items()}
        model: Content | None = None
        for _ in range(4):
            updates = [Update(n, t.train(context(), model).content, {}) for n, t in sorted(tasks.items())]
            model = next(iter(tasks.values())).aggregate(context(), updates).content
        assert isinstance(model, dict)
        results.append(model)
    np.testing.assert_allclose(results[0]["weights"], results[1]["weights"], rtol=1e-6)
    np.testing.assert_allclose(results[0]["intercept"], results[1]["intercept"], rtol=1e-6)


def test_only_sums_weights_and_counts_leave_a_site() -> None:
    records = split()
    _, history = federated(records.training, records.test, 2)
    first, second = (set(round_["north"].content) for round_ in history)  # type: ignore[arg-type]
    assert first == {"samples", "sum", "sum_of_squares", "features"}
    assert second == {"samples", "weights", "intercept", "mean", "scale", "features"}


def test_a_site_that_comes_later_starts_from_the_model() -> None:
    records = split()
    model, _ = federated({n: t for n, t in records.training.items() if n != "south"}, records.test, 3)
    late = task_of(records.training["south"], records.test).train(context(round=4), model)
    assert set(late.metrics) == {
        "samples",
        "features",
        "loss",
        "local_accuracy",
        "local_loss",
        "global_accuracy",
        "global_loss",
    }


def test_stops_when_it_is_asked_to() -> None:
    records = split()
    model, _ = federated(records.training, records.test, 1)
    with pytest.raises(Stopped):
        task_of(records.training["north"], records.test).train(context(stopping=lambda: True), model)


def test_a_table_is_taken_by_the_names_of_the_models_features() -> None:
    """As of a model that was made before features were sorted: same metrics, same update, in the model's order."""
    records = split()
    model, _ = federated(records.training, records.test, 3)
    table, test = records.training["north"], records.test
    backwards = table.features[::-1]
    there = task_of(table, test).train(context(), model)
    here = task_of(table.ordered(backwards), test.ordered(backwards)).train(context(), model)
    assert here.metrics == pytest.approx(there.metrics)
    assert isinstance(here.content, dict)
    assert isinstance(there.content, dict)
    assert list(here.content["features"]) == list(table.features)
    np.testing.assert_allclose(here.content["weights"], there.content["weights"])
    fewer = Labelled(rows=table.rows[:, 1:], labels=table.labels, features=table.features[1:])
    with pytest.raises(TaskError, match=f"not in the file: {table.features[0]}"):
        task_of(fewer, test).train(context(), model)


def test_a_feature_that_never_varies_does_no_harm() -> None:
    rows = np.column_stack([np.arange(10.0), np.full(10, 7.0)])
    table = Labelled(rows=rows, labels=(rows[:, 0] > 4).astype(float), features=("a", "b"))
    model, _ = federated({"one": table}, table, 6)
    assert not isinstance(model, bytes)
    assert np.isfinite(model["weights"]).all()
    assert accuracy(model, table) >= 0.9


@pytest.mark.parametrize("parameters", [{"local_epochs": 0}, {"learning_rate": "fast"}, {"epochs": 1}, {"l2": -1}])
def test_refuses_parameters_that_it_does_not_know(parameters: dict[str, object]) -> None:
    with pytest.raises(TaskError, match="parameters"):
        LogisticRegression().validate(parameters)


def good_update() -> dict[str, np.ndarray]:
    return {
        "samples": np.array([2.0]),
        "weights": np.zeros(2),
        "intercept": np.zeros(1),
        "mean": np.zeros(2),
        "scale": np.ones(2),
        "features": np.array(["a", "b"]),
    }


@pytest.mark.parametrize(
    "change",
    [
        {"weights": np.array([np.nan, 1.0])},
        {"weights": np.zeros(3)},
        {"weights": np.array(["a", "b"])},
        {"samples": np.array([0.0])},
        {"samples": np.array([np.inf])},
        {"samples": np.array([-5.0])},
        {"features": np.array(["b", "a"])},
        {"mean": np.ones(2)},
    ],
)
def test_an_odd_update_is_refused_and_does_not_spoil_the_model(change: dict[str, np.ndarray]) -> None:
    updates = [Update("a", good_update(), {}), Update("b", {**good_update(), **change}, {})]
    with pytest.raises(TaskError):
        LogisticRegression().aggregate(context(), updates)


@pytest.mark.parametrize("updates", [[], [Update("a", b"bytes", {})], [Update("a", {"x": np.zeros(1)}, {})]])
def test_nothing_or_something_else_is_not_aggregated(updates: list[Update]) -> None:
    with pytest.raises(TaskError):
        LogisticRegression().aggregate(context(), updates)


def sums(*features: str, value: float = 1.0) -> dict[str, np.ndarray]:
    count = len(features)
    return {
        "samples": np.array([4.0]),
        "sum": np.full(count, value),
        "sum_of_squares": np.full(count, np.minimum(value, 1e100) ** 2),
        "features": np.array(features),
    }


@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        (sums("age", "bmi", "smoker"), "its features are others than those of most sites .more: smoker."),
        (sums("age"), "its features are others than those of most sites .not: bmi."),
        (sums("bmi", "age"), "another order"),
        (sums("age", "bmi", value=1e200), "its sum is beyond 1e.120"),
        (sums("age", "bmi", value=np.inf), "its sum are not 2 finite numbers"),
        ({**sums("age", "bmi"), "samples": np.array([1e300])}, "its samples is beyond"),
        ({**good_update(), "features": np.array(["age", "bmi"])}, "it was not trained from the same model"),
        (b"bytes", "bytes where logistic_regression expects arrays"),
    ],
)
def test_the_one_odd_site_is_named_and_the_model_is_made_of_the_others(odd: Content, sentence: str) -> None:
    """Also if it is the coordinator's own, and if it comes first."""
    updates = [Update("a", odd, {}), Update("b", sums("age", "bmi"), {}), Update("c", sums("age", "bmi"), {})]
    for own in ("a", "b", "x"):
        with pytest.raises(Unusable) as caught:
            LogisticRegression().aggregate(context(site_id=own), updates)
        assert list(caught.value.updates) == ["a"]
        assert re.search(sentence, caught.value.updates["a"])
    model = LogisticRegression().aggregate(context(), updates[1:]).content
    assert not isinstance(model, bytes)
    assert np.isfinite(model["mean"]).all()


def test_of_two_sites_that_differ_the_coordinators_own_goes_on() -> None:
    updates = [Update("a", sums("age", "bmi"), {}), Update("b", sums("age"), {})]
    for own, other in (("a", "b"), ("b", "a")):
        with pytest.raises(Unusable) as caught:
            LogisticRegression().aggregate(context(site_id=own), updates)
        assert list(caught.value.updates) == [other]


def test_the_largest_values_that_a_table_may_have_make_a_finite_model() -> None:
    rows = np.array([[1e100, 1.0], [-1e100, 2.0], [1e100, 3.0]])
    table = Labelled(rows=rows, labels=np.array([0.0, 1.0, 0.0]), features=("a", "b"))
    model, _ = federated({str(number): table for number in range(3)}, table, 3)
    assert not isinstance(model, bytes)
    assert all(np.isfinite(model[name]).all() for name in ("mean", "scale", "weights"))


def test_needs_two_rounds_and_a_file() -> None:
    with pytest.raises(TaskError, match="2 rounds"):
        LogisticRegression().prepare(context(rounds=1))
    with pytest.raises(TaskError, match=r"site\.toml"):
        LogisticRegression().prepare(context())
