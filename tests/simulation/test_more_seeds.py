"""More seeds than `make test` has time for, and that a seed is a whole history."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.run import simulate
from tests.simulation.test_simulation import SEEDS, invariants_hold

ROOT = Path(__file__).resolve().parent.parent.parent
MORE = [*(seed for seed in range(1, 11) if seed not in SEEDS), 28, 41]
"""`make sim` goes on from here. The last two draw seats and score models."""


@pytest.mark.parametrize("seed", MORE)
def test_every_invariant_holds(seed: int) -> None:
    invariants_hold(seed)


@pytest.mark.parametrize(("seed", "hashes"), [(3, "1"), (3030, "2")])
def test_a_seed_is_a_whole_history(seed: int, hashes: str) -> None:
    """In another interpreter, with other hashes and nothing before it, it is the same to the last id and time."""
    here = [simulate(other).digest for other in (seed - 1, seed)][-1]
    command = [sys.executable, "-c", f"from tests.simulation.run import simulate; print(simulate({seed}).digest)"]
    environment = {"PYTHONHASHSEED": hashes, "PYTHONPATH": str(ROOT)}
    there = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here
