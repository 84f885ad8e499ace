"""Every planted bug must be noticed within so many seeds. A simulation that misses one proves nothing."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import BUGS, Bug
from tests.simulation.run import simulate

WITHIN = 60
"""Seeds; `make sim BUGS=` counts how many each needs."""


def test_there_are_enough() -> None:
    names = [bug.name for bug in BUGS]
    assert len(set(names)) == len(names) >= 12


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_noticed(bug: Bug) -> None:
    first = bug.shown_by
    for tried, seed in enumerate((first, *range(1, WITHIN)), start=1):
        if (broken := simulate(seed, bug).broken) is not None:
            print(f"{bug.name}: noticed by seed {seed}, the {tried}. tried: {broken}")
            return
    pytest.fail(f"{bug.about}: not noticed by {WITHIN} seeds")
