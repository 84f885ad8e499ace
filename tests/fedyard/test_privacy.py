"""The filter on updates: how large clipped ones are, how the noise is distributed, and what it costs by other ways."""

from __future__ import annotations

import math

import dp_accounting
import mpmath
import numpy as np
import pytest
from dp_accounting import pld, rdp
from scipy import stats

from fedyard.tasks import TaskError
from fedyard.tasks.privacy import Filter, Privacy, Released, may_leave, noise
from fedyard.tasks.privacy.accounting import ROUNDING, BudgetSpent, epsilon_of, is_spent, spent_with, updates_within
from fedyard.tasks.privacy.noise import clipped, factor_of, filtered, grain_of, normals

FEW = Privacy(clip=1.0, noise=4.0, epsilon=8.0, delta=1e-6)


def delta_of(mu: float, epsilon: float) -> mpmath.mpf:
    """What N(0, 1) against N(mu, 1) is at this epsilon, with 60 digits: theorem 8 of Balle and Wang."""
    with mpmath.workdps(60):
        m, e = mpmath.mpf(mu), mpmath.mpf(epsilon)
        return mpmath.ncdf(-e / m + m / 2) - mpmath.exp(e) * mpmath.ncdf(-e / m - m / 2)


@pytest.mark.parametrize("delta", [1e-5, 1e-9])
@pytest.mark.parametrize(
    "released",
    [[(4.0, 1)], [(4.0, 100)], [(0.5, 1)], [(2.0, 3), (5.0, 7), (40.0, 1000)], [(1000.0, 5)], [(0.1, 4)]],
)
def test_epsilon_is_that_of_gaussians_that_move_by_twice_the_clip(released, delta) -> None:
    mu = math.sqrt(sum(count * (2 / noise) ** 2 for noise, count in released))
    found = epsilon_of([Released(*one) for one in released], delta)
    at_least = found / (1 + ROUNDING) - 2 * ROUNDING
    assert delta_of(mu, found) <= delta
    assert at_least <= 0 or delta_of(mu, at_least) >= delta * (1 - 1e-6)


def test_epsilon_is_the_one_that_tables_of_the_normal_distribution_give() -> None:
    """One update with noise 2 moves by one standard deviation: delta(1) = Phi(-0.5) - e Phi(-1.5)."""
    from_tables = 0.3085375387 - 2.7182818285 * 0.0668072013
    assert epsilon_of([Released(2.0, 1)], from_tables) == pytest.approx(1.0, abs=1e-8)
    assert epsilon_of([Released(4.0, 4)], from_tables) == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("released", [[(4.0, 10)], [(3.0, 2), (8.0, 5)]])
def test_other_accountants_find_the_same_or_a_little_more(released) -> None:
    found = epsilon_of([Released(*one) for one in released], 1e-6)
    by_renyi, by_distribution = (
        rdp.RdpAccountant(),
        pld.privacy_loss_distribution.identity(value_discretization_interval=1e-3),
    )
    for size, count in released:
        by_renyi.compose(dp_accounting.GaussianDpEvent(size / 2), count)
        one = pld.privacy_loss_distribution.from_gaussian_mechanism(size / 2, value_discretization_interval=1e-3)
        by_distribution = by_distribution.compose(one.self_compose(count))
    assert found <= by_renyi.get_epsilon(1e-6) <= 1.15 * found
    assert found <= by_distribution.get_epsilon_for_delta(1e-6) <= 1.01 * found


def test_nothing_costs_nothing() -> None:
    assert epsilon_of([], 1e-6) == 0.0


def test_the_budget_lets_so_many_updates_go_and_no_more() -> None:
    count = updates_within(FEW)
    spent = spent_with(Filter(FEW, [Released(4.0, count - 1)]))
    assert count > 5
    assert (spent.epsilon <= 8.0, spent.delta) == (True, 1e-6)
    assert spent.epsilon == epsilon_of([Released(4.0, count)], 1e-6)
    with pytest.raises(BudgetSpent, match="budget"):
        spent_with(Filter(FEW, [Released(4.0, count)]))
    assert updates_within(FEW, [Released(4.0, count)]) == 0
    assert updates_within(FEW, [Released(4.0, 3)]) == count - 3


def test_a_budget_of_just_what_an_update_costs_lets_it_go_and_a_little_less_does_not() -> None:
    cost = epsilon_of([Released(4.0, 3)], 1e-6)
    for epsilon, left in ((cost, 3), (cost * (1 - 1e-6), 2)):
        privacy = Privacy(clip=1.0, noise=4.0, epsilon=epsilon, delta=1e-6)
        assert updates_within(privacy) == left
        spent_with(Filter(privacy, [Released(4.0, left - 1)]))
        with pytest.raises(BudgetSpent):
            spent_with(Filter(privacy, [Released(4.0, left)]))


@pytest.mark.parametrize("noise", [0.5, 2.0, 8.0])
@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 1e-9), (3.0, 1e-6), (80.0, 1e-5), (1000.0, 1e-15)])
def test_a_spent_budget_is_known_without_the_accounting(noise, epsilon, delta) -> None:
    privacy = Privacy(clip=1.0, noise=noise, epsilon=epsilon, delta=delta)
    count = updates_within(privacy)
    assert is_spent(privacy, [Released(noise, count)])
    assert not count or not is_spent(privacy, [Released(noise, count - 1)])


def test_what_left_with_less_noise_counts_with_that_noise() -> None:
    assert spent_with(Filter(FEW, [Released(2.0, 1)])).epsilon == spent_with(Filter(FEW, [Released(4.0, 4)])).epsilon


# ---------------------------------------------------------------- clipping

ODD = [
    np.array([3.0, 4.0]),
    np.array([0.6, 0.8]),
    np.array([0.6, 0.8 + 1e-15]),
    np.array([1e140, 1e-140, -7.0]),
    np.array([1.0 - 1e-16] * 7),
    np.full(100_000, 1e-3),
    np.full(100_001, np.nextafter(1 / math.sqrt(100_001), 1.0)),
    np.array([1e-300] * 3),
    np.array([5e-324]),
    np.array([np.nextafter(1.0, 2.0)]),
    np.array([1.0]),
    -np.geomspace(1e-12, 1e12, 50_000),
]


@pytest.mark.parametrize("clip", [1.0, 0.1, 1e-7, 12345.678])
@pytest.mark.parametrize("which", range(len(ODD)))
def test_no_clipped_update_is_longer_than_the_clip_by_exact_arithmetic(which, clip) -> None:
    values = ODD[which]
    grain = grain_of(clip * 4.0)
    whole = clipped(
        values, factor_of(float(np.linalg.norm(values / np.max(np.abs(values))) * np.max(np.abs(values))), clip), grain
    )
    squares = sum(int(one) ** 2 for one in whole)
    assert squares <= (mpmath.mpf(clip) / mpmath.mpf(grain)) ** 2
    assert all(float(one).is_integer() for one in whole[:100])


def test_a_short_update_is_not_scaled() -> None:
    assert factor_of(0.999, 1.0) == 1.0
    assert factor_of(2.0, 1.0) == pytest.approx(0.5)
    for norm in (1 - 1e-10, 1.0, 1 + 1e-12, 1 + 1e-6, 1.001):
        assert factor_of(norm, 1.0) * norm <= 1.0


def test_the_norm_is_that_of_all_blocks_whatever_block_is_the_largest() -> None:
    parts = [np.full(noise.BLOCK, value) for value in (1.0, 3.0, 2.0)]
    made = filtered({"w": np.concatenate(parts), "zero": np.zeros(3)}, None, FEW)
    assert made.unclipped == pytest.approx(math.sqrt(noise.BLOCK * (1 + 9 + 4)))


# ---------------------------------------------------------------- noise


def seeded(seed: int):
    return np.random.default_rng(seed).bytes


def test_noise_is_normal() -> None:
    drawn = normals(1_000_001, seeded(1))
    assert len(drawn) == 1_000_001
    assert stats.kstest(drawn, "norm").pvalue > 0.001
    assert abs(drawn.mean()) < 0.005
    assert abs(drawn.var() - 1) < 0.01
    assert abs(stats.kurtosis(drawn)) < 0.03
    expected = 2 * stats.norm.sf(3.5) * len(drawn)
    assert abs((np.abs(drawn) > 3.5).sum() - expected) < 5 * math.sqrt(expected)


def test_noise_of_one_number_says_nothing_of_another() -> None:
    drawn = normals(400_000, seeded(2))
    half = len(drawn) // 2
    for shift in (1, 2, half - 1, half, half + 1):  # the two of a pair lie half apart
        assert abs(np.corrcoef(drawn[shift:], drawn[: len(drawn) - shift])[0, 1]) < 0.02
        assert abs(np.corrcoef(drawn[shift:] ** 2, drawn[: len(drawn) - shift] ** 2)[0, 1]) < 0.02


def test_the_ends_of_the_generator_are_finite() -> None:
    assert np.isfinite(normals(2, lambda count: b"\x00" * count)).all()
    assert np.isfinite(normals(2, lambda count: b"\xff" * count)).all()
    assert 9.4 < np.max(np.abs(normals(2, lambda count: b"\x00" * count))) < 9.5


def test_noise_is_drawn_anew_each_time() -> None:
    assert (normals(1000) != normals(1000)).all()


def test_an_update_is_its_clipped_self_and_noise_of_the_size_that_is_counted() -> None:
    """Two updates as far apart as may be: projected on their difference they are 2C apart, with noise of C * noise."""
    privacy = Privacy(clip=3.0, noise=2.0, epsilon=100.0)
    one, rows = np.full(200, 1000.0), range(4000)
    ways = [
        np.array([filtered({"w": sign * one}, None, privacy).arrays["w"].sum() / math.sqrt(200) for _ in rows])
        for sign in (1, -1)
    ]
    assert abs(ways[0].mean() - 3.0) < 0.5
    assert abs(ways[1].mean() + 3.0) < 0.5
    for way in ways:
        assert abs(way.std() / 6.0 - 1) < 0.06
        assert stats.kstest((way - way.mean()) / 6.0, "norm").pvalue > 1e-6


def test_each_array_has_the_noise_of_the_whole_update() -> None:
    privacy = Privacy(clip=2.0, noise=1.5, epsilon=100.0)
    made = filtered({"a": np.zeros((300, 1000)), "b": np.zeros(300_000, np.float32)}, None, privacy).arrays
    for array in made.values():
        assert abs(float(np.std(array.astype(float))) / 3.0 - 1) < 0.02
    assert abs(np.corrcoef(made["a"].reshape(-1), made["b"].astype(float))[0, 1]) < 0.02


def test_what_leaves_are_whole_multiples_of_the_grain() -> None:
    privacy = Privacy(clip=1.0, noise=1.0, epsilon=100.0)
    grain = grain_of(1.0)
    for values in (np.array([0.1, 1 / 3]), np.array([1e-30, 0.7])):
        made = filtered({"w": values}, None, privacy).arrays["w"]
        assert (made / grain == np.rint(made / grain)).all()


def test_a_zero_does_not_tell_of_which_sign_its_parts_were() -> None:
    parts = np.array([0.0, -0.0])
    sums = noise.added(np.repeat(parts, 2), np.tile(parts, 2))
    assert not np.signbit(sums).any()


def test_a_blocks_end_is_no_end() -> None:
    privacy = Privacy(clip=1e3, noise=0.01, epsilon=1000.0)
    model = np.arange(float(noise.BLOCK + 3)) * 1e5
    values = model.copy()
    values[-4:] += 400.0
    made = filtered({"w": values}, {"w": model}, privacy).arrays["w"]
    assert np.abs(made - values).max() < 100  # ten standard deviations


# ---------------------------------------------------------------- what it takes, and what it keeps

STILL = Privacy(clip=1e6, noise=0.01, epsilon=1000.0)


def test_what_differs_from_the_model_is_clipped_and_the_model_is_added_again() -> None:
    privacy = Privacy(clip=1.0, noise=0.01, epsilon=1000.0)
    model = {"w": np.full(3, 5000.0)}
    made = filtered({"w": np.array([5003.0, 5004.0, 5000.0])}, model, privacy).arrays["w"]
    assert np.abs(made - np.array([5000.6, 5000.8, 5000.0])).max() < 0.1
    whole = filtered(
        {"w": np.array([3.0, 4.0, 0.0])}, model, Privacy(clip=1.0, noise=0.01, epsilon=1e3, from_model=False)
    )
    assert whole.unclipped == 5.0
    assert np.abs(whole.arrays["w"] - np.array([0.6, 0.8, 0.0])).max() < 0.1


@pytest.mark.parametrize(
    "model", [None, b"bytes", {}, {"w": np.zeros(4)}, {"w": np.array(["a", "b"])}, {"w": np.array([np.nan, 1])}]
)
def test_where_the_model_has_no_such_array_it_is_measured_from_zero(model) -> None:
    made = filtered({"w": np.array([3.0, 4.0])}, model, Privacy(clip=1.0, noise=0.01, epsilon=1e3)).arrays["w"]
    assert np.abs(made - np.array([0.6, 0.8])).max() < 0.1


@pytest.mark.parametrize(
    ("array", "kept"),
    [
        (np.zeros((2, 3), np.float32), np.float32),
        (np.zeros((), np.float16), np.float16),
        (np.zeros((0, 3)), np.float64),
        (np.asfortranarray(np.ones((3, 2))), np.float64),
        (np.ones(3, ">f8"), np.dtype(">f8")),
        (np.arange(4), np.float64),
        (np.array([True, False]), np.float64),
    ],
)
def test_arrays_keep_names_shapes_and_floating_types(array, kept) -> None:
    made = filtered({"odd": array}, None, FEW).arrays
    assert list(made) == ["odd"]
    assert (made["odd"].shape, made["odd"].dtype) == (array.shape, np.dtype(kept))


def test_half_precision_ends_where_it_ends() -> None:
    made = filtered({"w": np.full(100, 6e4, np.float16)}, None, STILL).arrays["w"]
    assert np.isfinite(made).all()


@pytest.mark.parametrize(
    "content",
    [
        b"bytes",
        {"w": np.array(["text"])},
        {"w": np.array([1j])},
        {"w": np.array([1.0, np.nan])},
        {"w": np.array([np.inf])},
        {"w": np.array([1e200])},
        {"w": np.ma.masked_array([1.0, 104.0], [False, True])},
    ],
)
def test_what_cannot_be_clipped_does_not_leave(content) -> None:
    with pytest.raises(TaskError):
        filtered(content, None, FEW)


def test_metrics_leave_that_are_named() -> None:
    metrics = {"samples": 3.0, "loss": 0.1}
    assert may_leave(metrics, None) == metrics
    assert may_leave(metrics, FEW) == {}
    assert may_leave(metrics, Privacy(clip=1.0, noise=1.0, epsilon=1.0, metrics=["samples"])) == {"samples": 3.0}
