"""Median and trimmed mean of coordinates against other people's implementations."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from scipy import stats

from fedyard.tasks import TaskError
from fedyard.tasks.strategies import CoordinateMedian, TrimmedMean
from tests.fedyard.strategies.made import context, update

RANDOM = np.random.default_rng(11)


def updates_of(sites: int):
    return [update(f"s{seq}", w=RANDOM.normal(size=(4, 3)), steps=np.array(seq)) for seq in range(sites)]


@pytest.mark.parametrize("sites", [1, 2, 5, 8])
def test_the_median_is_that_of_each_coordinate(sites: int) -> None:
    updates = updates_of(sites)
    result = CoordinateMedian().aggregate(context(), updates)
    for place in np.ndindex(4, 3):
        values = [float(one.content["w"][place]) for one in updates]
        assert result.content["w"][place] == pytest.approx(statistics.median(values), rel=1e-15)
    assert result.metrics == {"sites": float(sites)}
    assert result.content["steps"] == round(statistics.median(range(sites)))


@pytest.mark.parametrize(("sites", "share"), [(5, 0.0), (5, 0.2), (10, 0.3), (10, 0.1), (30, 0.1)])
def test_the_trimmed_mean_is_that_of_scipy(sites: int, share: float) -> None:
    updates = updates_of(sites)
    expected = stats.trim_mean(np.stack([one.content["w"] for one in updates]), share, axis=0)
    model = TrimmedMean(share).aggregate(context(), updates).content
    np.testing.assert_allclose(model["w"], expected, rtol=1e-12, atol=1e-15)


def test_a_part_of_a_site_is_cut_off_as_a_whole_one() -> None:
    updates = [update(f"s{seq}", w=[value]) for seq, value in enumerate((1.0, 2.0, 3.0, 1e9))]
    assert TrimmedMean(0.1).aggregate(context(), updates).content["w"].tolist() == [2.5]
    with pytest.raises(TaskError, match="of 2 updates 1 are cut off at each end"):
        TrimmedMean(0.1).aggregate(context(), updates[:2])


def test_a_minority_of_liars_does_not_move_them_beyond_the_honest() -> None:
    honest = [update(f"h{seq}", w=[value]) for seq, value in enumerate((1.0, 1.1, 0.9))]
    liars = [update(f"l{seq}", w=[1e30]) for seq in range(2)]
    assert CoordinateMedian().aggregate(context(), [*honest, *liars]).content["w"].tolist() == [1.1]
    trimmed = TrimmedMean(0.4).aggregate(context(), [*honest, *liars]).content
    assert 0.9 <= trimmed["w"][0] <= 1.1


def test_what_has_no_order_is_refused() -> None:
    with pytest.raises(TaskError, match="w has complex numbers"):
        CoordinateMedian().aggregate(context(), [update("a", w=[1j])])
    for share in (0.5, -0.1):
        with pytest.raises(ValueError, match=r"share is from 0 to less than 0\.5"):
            TrimmedMean(share)
