"""What is told of the sites that a run waits for, by example."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fedyard.actions.why import NAMED, Heard, WaitsFor, Why, why_lines

AT = datetime(2026, 3, 1, 12, 30, 5, 250_000, UTC)


def lines(sites: list[tuple[str, str, str]], heard: dict[str, Heard]) -> list[str]:
    waits = WaitsFor("train", 1, "selecting", sites, 0, 2, None, "fails", heard)
    why = Why("r", "running", "it waits", None, [waits], requests_waiting=0, lines=[])
    return [line for line in why_lines(why) if "waits for" in line or "more" in line]


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        (Heard("online", AT), "; last heard of at 2026-03-01T12:30:05+00:00"),
        (Heard("silent", AT), "; silent, last heard of at 2026-03-01T12:30:05+00:00"),
        (Heard("silent", None), "; never heard of"),
        (None, ""),  # who asks may not see it
    ],
)
def test_each_site_that_is_waited_for_is_told_with_when_it_was_heard_of(heard: Heard | None, told: str) -> None:
    found = lines([("s", "east", "invited")], {} if heard is None else {"s": heard})
    assert found == [f"  waits for east (s): invited{told}"]


def test_of_many_sites_some_are_told() -> None:
    found = lines([(str(number), "east", "invited") for number in range(NAMED + 3)], {})
    assert (len(found), found[-1]) == (NAMED + 1, "  and for 3 more")
