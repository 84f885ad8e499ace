"""Counts of people that are too small to leave a site: they are put together with others, or stay.

A cell of 1 to `least` - 1 people may show who they are. It is never sent, and what is sent never tells it by taking one
sum from another: cells are put together until each has nobody or `least` at least, and sums are those of what is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEW: Final = 3
"""Different numbers in a column: count, mean and sum of squares of so few tell how often each of them occurs."""
RARE: Final = "(rare)"
"""The label of what was put together."""
WITH_NEXT: Final = -1.0
"""In a row of cells: counted with the one behind it."""


def small(count: float, least: int) -> bool:
    """True for a count that stays here."""
    return 0 < count < least


def put_together(cells: Mapping[str, int], least: int) -> dict[str, int]:
    """Labels with their counts; the rare ones under `RARE`, with the next smallest if they are too few by themselves.

    Empty if all of them are too few.
    """
    kept = {label: count for label, count in cells.items() if count and not small(count, least)}
    rare = sum(count for label, count in cells.items() if label not in kept)
    while small(rare, least) and kept:
        smallest = min(sorted(kept), key=lambda label: kept[label])
        rare += kept.pop(smallest)
    if small(rare, least):
        return {}
    return {**kept, RARE: rare} if rare else kept


def joined(cells: Floats, least: int) -> Floats | None:
    """A row of cells with neighbours put together: a small one is `WITH_NEXT`, and its people count in the one behind.

    None if all of them are too few.
    """
    sent, waiting = np.zeros(len(cells)), 0.0
    for at, count in enumerate(cells):
        waiting += count
        if small(waiting, least):
            sent[at] = WITH_NEXT
        else:
            sent[at], waiting = waiting, 0.0
    if not waiting:
        return sent
    before = np.flatnonzero(sent > 0)
    if not len(before):
        return None
    last = int(before[-1])
    waiting += sent[last]
    sent[last:-1], sent[-1] = WITH_NEXT, waiting
    return sent


def spread(sent: Floats) -> Floats:
    """The cells again; what was put together is spread evenly over its places."""
    cells, begin = np.zeros(len(sent)), 0
    for at, count in enumerate(sent):
        if count == WITH_NEXT:
            continue
        cells[begin : at + 1] = count / (at + 1 - begin)
        begin = at + 1
    return cells
