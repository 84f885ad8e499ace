"""How times, spans, sizes and numbers read."""

from __future__ import annotations

import pytest

from fedyard.look.filters import NOTHING, ago, number, size, span
from fedyard.look.rendering import environment
from fedyard.wire.times import SECOND


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0.04 s"),
        (3.5, "3.5 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (90_000, "1 d 1 h"),
        (-65, "-1 min 5 s"),
        (None, NOTHING),
    ],
)
def test_a_span_is_said_in_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, '<data value="1024" title="1,024 bytes">1 KiB</data>'),
        (1_600_000, '<data value="1600000" title="1,600,000 bytes">1.5 MiB</data>'),
        (None, NOTHING),
    ],
)
def test_a_size_that_is_rounded_has_its_bytes_beside_it(count: int | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1_234_567, "1,234,567"), (0.1 + 0.2, "0.30000000000000004"), (None, NOTHING)]
)
def test_a_number_keeps_all_that_tells_it_apart(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("micros", "text"), [(60, "2 min ago"), (180, "now"), (300, "in 2 min")])
def test_a_time_is_so_long_ago(micros: int, text: str) -> None:
    assert ago(micros * SECOND, 180 * SECOND) == f' <span class="ago">({text})</span>'


@pytest.mark.parametrize("at", ["1970-01-01T00:01:00.5Z", 60 * SECOND + 500_000])
def test_a_time_is_shown_in_utc_and_carries_what_it_is_to_the_microsecond(at: int | str) -> None:
    template = environment([]).from_string("{{ at|when }}")
    shown = '<time datetime="1970-01-01T00:01:00.500000Z">1970-01-01 00:01:00 UTC</time>'
    assert template.render(at=at, now=None) == shown
    assert template.render(at=at, now=62 * SECOND) == f'{shown} <span class="ago">(2 s ago)</span>'
