"""Pauses grow from the first to the longest, and stay there."""

from __future__ import annotations

import pytest

from fedyard.wire.backoff import Backoff


@pytest.mark.parametrize(
    ("first", "most", "pauses"),
    [
        (0.2, 10.0, [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]),
        (2.0, 300.0, [0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0]),
        (200, 30_000, [0, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]),
        (5.0, 5.0, [0.0, 5.0, 5.0]),
        (7.0, 5.0, [0.0, 5.0, 5.0]),
    ],
)
def test_pauses_double_and_have_an_end(first: float, most: float, pauses: list[float]) -> None:
    assert [Backoff(first, most).after(failures) for failures in range(len(pauses))] == pauses


@pytest.mark.parametrize("failures", [65, 1_000, 10**9])
def test_however_many_failures_make_a_pause(failures: int) -> None:
    assert Backoff(0.2, 10.0).after(failures) == 10.0


def test_less_than_no_failure_is_none() -> None:
    assert Backoff(0.2, 10.0).after(-1) == 0.0
