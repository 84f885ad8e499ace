"""The hub under faults, seed by seed; the seeds that once found something; and that a seed is a whole history."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.__main__ import failure
from tests.simulation.run import simulate

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS = range(1, 11)
"""`make sim` goes on from here."""
FOUND_SOMETHING = {
    60: "a message never expired where the ticker's clock was ahead of the decider's: its first outcome stood",
    0: "SQLite's own errors passed as bugs of the command: heartbeats and commands were buried, not kept waiting",
}
"""What a seed showed when it first failed. Its history may be another one by now."""


@pytest.mark.parametrize("seed", [*SEEDS, *FOUND_SOMETHING])
def test_every_invariant_holds(seed: int) -> None:
    result = simulate(seed)
    assert result.broken is None, failure(result)


@pytest.mark.parametrize(("seed", "hashes"), [(3, "1"), (3030, "2")])
def test_a_seed_is_a_whole_history(seed: int, hashes: str) -> None:
    """In another interpreter, with other hashes and nothing before it, it is the same to the last id and time."""
    here = [simulate(other).digest for other in (seed - 1, seed)][-1]
    command = [sys.executable, "-c", f"from tests.simulation.run import simulate; print(simulate({seed}).digest)"]
    environment = {"PYTHONHASHSEED": hashes, "PYTHONPATH": str(ROOT)}
    there = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here
