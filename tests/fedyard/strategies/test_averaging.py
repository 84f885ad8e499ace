"""Federated averaging and its proximal kin against what their papers say of them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from fedyard.tasks import TaskError, Unusable
from fedyard.tasks.strategies import CoordinateMedian, FedAdam, FedAvg, FedProx
from tests.fedyard.strategies.made import context, update

RANDOM = np.random.default_rng(7)


def test_it_is_the_mean_weighted_by_rows() -> None:
    result = FedAvg().aggregate(context(), [update("a", 1, w=[1.0, 2.0]), update("b", 3, w=[5.0, -2.0])])
    assert result.content["w"].tolist() == [4.0, -1.0]
    assert result.metrics == {"samples": 4.0, "sites": 2.0}
    alike = FedAvg(weighted_by=None).aggregate(context(), [update("a", None, w=[1.0]), update("b", None, w=[5.0])])
    assert (alike.content["w"].tolist(), alike.metrics) == ([3.0], {"sites": 2.0})


def test_with_one_step_over_all_rows_it_is_gradient_descent_on_the_pooled_rows() -> None:
    """McMahan et al. 2017, section 2: FedAvg with E = 1 and B = infinity is FedSGD, a step on all rows together."""
    parts = [(RANDOM.normal(size=(rows, 3)), RANDOM.normal(size=rows)) for rows in (5, 20, 11)]
    w, rate = RANDOM.normal(size=3), 0.05

    def stepped(x, y):
        return w - rate * 2 * x.T @ (x @ w - y) / len(y)

    updates = [update(f"s{seq}", len(y), w=stepped(x, y)) for seq, (x, y) in enumerate(parts)]
    x, y = (np.concatenate(all_) for all_ in zip(*parts, strict=True))
    np.testing.assert_allclose(FedAvg().aggregate(context(), updates).content["w"], stepped(x, y), rtol=1e-12)


def test_each_array_comes_back_in_its_type_and_counters_are_rounded() -> None:
    def made(site, samples, scale):
        return update(
            site,
            samples,
            half=np.float16([scale]),
            brain=np.array([scale], dtype=ml_dtypes.bfloat16),
            swapped=np.array([scale], dtype=">f4"),
            waves=np.array([scale * 1j]),
            none=np.zeros((0, 3)),
            steps=np.array(int(scale * 10)),
            classes=["no", "yes"],
            mask=[True, False],
            bins=[3, 4],
        )

    first = made("a", 1, 1.0)
    model = FedAvg().aggregate(context(), [first, made("b", 2, 2.0)]).content
    assert {name: array.dtype for name, array in model.items()} == {
        name: array.dtype for name, array in first.content.items()
    }
    assert {name: array.shape for name, array in model.items()} == {
        name: array.shape for name, array in first.content.items()
    }
    assert float(model["half"][0]) == pytest.approx(5 / 3, rel=1e-3)
    assert float(model["brain"][0]) == pytest.approx(5 / 3, rel=1e-2)
    assert complex(model["waves"][0]) == pytest.approx(5j / 3)
    assert int(model["steps"]) == 17
    assert model["classes"].tolist() == ["no", "yes"]


@pytest.mark.parametrize("strategy", [FedAvg(), FedProx(0.1), FedAdam(0.1), CoordinateMedian()])
@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (update("c", 1, b"bytes"), "it is bytes, and a strategy combines arrays"),
        (update("c", 1, {}), "it has no arrays"),
        (update("c", 1, w=[1.0, np.nan], k=["x"]), "its w has values that are no finite numbers"),
        (update("c", 1, w=[1.0], k=["x"]), "its w has the shape (1,), and at most sites (2,)"),
        (
            update("c", 1, w=[1.0, 2.0], k=["x"], more=1.0),
            "its arrays are others than those of most sites (more: more)",
        ),
        (update("c", 1, w=[1.0, 2.0]), "its arrays are others than those of most sites (not: k)"),
        (update("c", 1, w=[1, 2], k=["x"]), "its w is of another kind than at most sites, or holds other values that "),
        (update("c", 1, w=[1.0, 2.0], k=["y"]), "its k is of another kind than at most sites, or holds other values "),
    ],
)
def test_a_site_whose_update_is_unlike_most_is_left_out(strategy, odd, why) -> None:
    well = [update(site, 1, w=[1.0, 2.0], k=["x"]) for site in "ab"]
    with pytest.raises(Unusable) as raised:
        strategy.aggregate(context(), [*well, odd])
    ((site, said),) = raised.value.updates.items()
    assert (site, said.startswith(why)) == ("c", True), said


def test_of_two_kinds_of_as_many_sites_that_of_the_smallest_id_is_right() -> None:
    with pytest.raises(Unusable) as raised:
        FedAvg().aggregate(context(), [update("b", 1, v=[1.0]), update("a", 1, w=[1.0])])
    assert set(raised.value.updates) == {"b"}


@pytest.mark.parametrize("samples", [None, -1, float("nan"), float("inf"), 1e16])
def test_a_site_that_does_not_say_its_weight_is_left_out(samples) -> None:
    with pytest.raises(Unusable) as raised:
        FedAvg().aggregate(context(), [update("a", 1, w=[1.0]), update("b", samples, w=[1.0])])
    assert set(raised.value.updates) == {"b"}


def test_weights_that_nobody_gives_are_a_mistake_of_the_task() -> None:
    with pytest.raises(TaskError, match=r"no update has the metric 'samples'.*weighted_by=None"):
        FedAvg().aggregate(context(), [update("a", None, w=[1.0])])
    with pytest.raises(TaskError, match="0 at all sites"):
        FedAvg().aggregate(context(), [update("a", 0, w=[1.0])])
    with pytest.raises(TaskError, match="nobody has submitted"):
        FedAvg().aggregate(context(), [])


def test_the_proximal_gradient_is_that_of_the_penalty() -> None:
    strategy = FedProx(0.3)
    model = {"w": RANDOM.normal(size=(2, 3)).astype(np.float32), "classes": np.array(["a"])}
    weights = {"w": RANDOM.normal(size=(2, 3)).astype(np.float32), "classes": np.array(["a"])}
    gradient = strategy.gradient(weights, model)
    assert set(gradient) == {"w"}
    for place in np.ndindex(2, 3):
        ends = []
        for change in (1e-3, -1e-3):
            moved = weights["w"].astype(np.float64)
            moved[place] += change
            ends.append(strategy.penalty({"w": moved}, model))
        assert gradient["w"][place] == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=1e-6)
    assert strategy.penalty(weights, None) == 0.0
    assert not strategy.gradient(weights, None)["w"].any()


def test_a_site_that_minimises_with_it_ends_where_the_algebra_says() -> None:
    """Least squares with the proximal term have the minimum (X'X/n + mu I)^-1 (X'y/n + mu w_t)."""
    strategy, x, y = FedProx(0.5), RANDOM.normal(size=(30, 3)), RANDOM.normal(size=30)
    start = {"w": RANDOM.normal(size=3)}
    w = start["w"]
    for _ in range(2000):
        w = w - 0.1 * (x.T @ (x @ w - y) / len(y) + strategy.gradient({"w": w}, start)["w"])
    exact = np.linalg.solve(x.T @ x / len(y) + 0.5 * np.eye(3), x.T @ y / len(y) + 0.5 * start["w"])
    np.testing.assert_allclose(w, exact, rtol=1e-9)


def test_settings_that_mean_nothing_are_refused() -> None:
    for mu in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="mu is from 0 to 1e"):
            FedProx(mu)
