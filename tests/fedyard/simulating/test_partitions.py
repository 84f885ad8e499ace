"""Every row at one site, none without a row, and the same parts for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from fedyard.simulating.partitions import partition
from fedyard.tasks import TaskError

LABELS = [row % 4 for row in range(400)]


def parts(split, *, sites=7, alpha=0.5, seed=3, labels=LABELS):
    return partition(split, labels, len(labels), sites, alpha=alpha, seed=seed)


@pytest.mark.parametrize("split", ["iid", "label", "quantity"])
@pytest.mark.parametrize("alpha", [1e-6, 0.05, 1.0, 1e5])
@pytest.mark.parametrize("sites", [1, 7, 400])
def test_every_row_is_at_one_site_and_every_site_has_one(split, alpha, sites) -> None:
    found = parts(split, sites=sites, alpha=alpha)
    assert len(found) == sites
    assert sorted(np.concatenate(found).tolist()) == list(range(400))
    assert min(map(len, found)) >= 1


@pytest.mark.parametrize("split", ["iid", "label", "quantity"])
def test_a_seed_gives_its_parts_and_another_one_others(split) -> None:
    first, again, other = parts(split), parts(split), parts(split, seed=4)
    assert [one.tolist() for one in first] == [one.tolist() for one in again]
    assert [one.tolist() for one in first] != [one.tolist() for one in other]


def test_iid_parts_differ_by_one_row_at_most() -> None:
    assert {len(part) for part in parts("iid")} == {57, 58}


def labels_at(part) -> int:
    return len({LABELS[row] for row in part})


def test_a_small_alpha_gives_a_site_few_labels_and_a_large_one_all_in_equal_shares() -> None:
    few, all_of_them = parts("label", sites=4, alpha=0.01), parts("label", sites=4, alpha=1e5)
    assert sum(map(labels_at, few)) < 10
    counts = [[sum(LABELS[row] == label for row in part) for label in range(4)] for part in all_of_them]
    assert all(24 <= count <= 26 for row in counts for count in row)


def test_a_small_alpha_gives_few_sites_most_rows_and_a_large_one_as_many_to_each() -> None:
    assert max(map(len, parts("quantity", alpha=0.05))) > 150
    assert {len(part) for part in parts("quantity", alpha=1e6)} <= {56, 57, 58}


def test_shares_of_labels_are_those_of_the_distribution() -> None:
    """The mean share of a site is 1/sites, its variance that of a symmetric Dirichlet distribution."""
    alpha, sites = 0.5, 4
    shares = [
        len(parts("label", sites=sites, alpha=alpha, seed=seed, labels=[0] * 1000)[0]) / 1000 for seed in range(300)
    ]
    mean = 1 / sites
    assert np.mean(shares) == pytest.approx(mean, abs=0.05)
    assert np.var(shares) == pytest.approx(mean * (1 - mean) / (sites * alpha + 1), rel=0.25)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sites": 0}, "0 sites"),
        ({"sites": 401}, "cannot be divided among 401 sites"),
        ({"sites": 5000}, "5000 sites"),
        ({"alpha": 0.0}, "alpha is 0"),
        ({"alpha": float("nan")}, "alpha is nan"),
    ],
)
def test_what_cannot_be_divided_is_said(changes, said) -> None:
    with pytest.raises(TaskError, match=said):
        parts("label", **changes)
