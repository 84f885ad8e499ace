"""What follows from a coordinator's reports: of Fedota's own, which reports late, twice, backwards and not at all."""

from __future__ import annotations

import pytest

from fedyard.sidecar.rounds import Stage, follow

NOW = 1000
S, C, R, D = Stage.SELECTION, Stage.CONFIGURATION, Stage.REPORTING, Stage.COMPLETED


def said(reports, each_s: int = 10):
    """What the hub is told, as (start, number, stage)."""
    seen, all_told = None, []
    for at, (number, stage) in enumerate(reports):
        seen, told = follow(seen, number, stage, NOW + at * each_s)
        all_told += [(one.start, one.number, one.stage) for one in told]
    return all_told


@pytest.mark.parametrize(
    ("reports", "told"),
    [
        # every stage, and the next round
        ([(0, S), (0, C), (0, R), (0, D), (1, S)], [(0, S), (0, C), (0, R), (0, D), (1, S)]),
        # COMPLETED is read when the next round has begun already, as it nearly always is
        ([(0, C), (0, R), (1, S), (1, C)], [(0, C), (0, R), (0, D), (1, S), (1, C)]),
        # ... or is lost altogether
        ([(0, C), (0, R), (1, C), (1, R)], [(0, C), (0, R), (0, D), (1, C), (1, R)]),
        # a late client has it say CONFIGURATION again
        ([(0, C), (0, R), (0, C), (0, C), (0, D)], [(0, C), (0, R), (0, D)]),
        # a repeat, and what arrives after what it was before
        ([(0, C), (0, C), (0, D), (0, R)], [(0, C), (0, D)]),
        ([(0, D), (1, C), (0, R), (0, D)], [(0, D), (1, C)]),
        # read while it is reset: the stage of the next round with the number of this one
        ([(0, R), (0, S), (1, C)], [(0, R), (0, D), (1, C)]),
        ([(0, D), (0, S), (1, C)], [(0, D), (1, C)]),
        # nobody listened for some rounds
        ([(0, R), (5, C)], [(0, R), (0, D), (4, D), (5, C)]),
        ([(0, D), (1, C)], [(0, D), (1, C)]),
        ([(3, C)], [(2, D), (3, C)]),
        ([(3, D)], [(2, D), (3, D)]),
    ],
)
def test_one_start_of_the_coordinator(reports, told) -> None:
    assert said(reports) == [(NOW, number, stage) for number, stage in told]


@pytest.mark.parametrize(
    ("reports", "told"),
    [
        ([(0, C), (0, D), (0, C)], [(NOW, 0, C), (NOW, 0, D), (NOW + 20, 0, C)]),
        ([(4, D), (0, C)], [(NOW, 3, D), (NOW, 4, D), (NOW + 10, 0, C)]),
        ([(4, R), (0, S), (0, C)], [(NOW, 3, D), (NOW, 4, R), (NOW + 10, 0, S), (NOW + 10, 0, C)]),
    ],
)
def test_a_coordinator_that_counts_from_0_again_was_started_again(reports, told) -> None:
    assert said(reports) == told


def test_a_start_that_is_seen_in_the_same_second_or_by_a_clock_that_went_back_is_a_later_one() -> None:
    assert said([(0, C), (0, D), (0, C)], each_s=0)[-1] == (NOW + 1, 0, C)
    assert said([(0, C), (0, D), (0, C)], each_s=-30)[-1] == (NOW + 1, 0, C)
