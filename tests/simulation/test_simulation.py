"""The hub under faults, seed by seed, and the seeds that once found something."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import failure
from tests.simulation.run import simulate

SEEDS = (1, 2, 3, 5, 6)
"""Those of the first ten with the shortest histories; the others are drills (`test_more_seeds.py`)."""
SCORING = (74,)
"""In which tasks draw seats, score models and stop early; a tenth of all do."""
WITH_EXPERIMENTS = 40
"""A world whose people give runs parameters, rounds and first models of their own."""
FOUND_SOMETHING = {
    60: "a message never expired where the ticker's clock was ahead of the decider's: its first outcome stood",
    139: "in a shared control topic data that were announced before the deployment were read, and others named",
    0: "SQLite's own errors passed as bugs of the command: heartbeats and commands were buried, not kept waiting",
}
"""What a seed showed when it first failed. Its history may be another one by now."""


@pytest.mark.parametrize("seed", [*SEEDS, *SCORING, WITH_EXPERIMENTS, *FOUND_SOMETHING])
def test_every_invariant_holds(seed: int) -> None:
    invariants_hold(seed)


def invariants_hold(seed: int) -> None:
    result = simulate(seed)
    assert result.broken is None, failure(result)
