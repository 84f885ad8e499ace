"""Which worker of a run gets which tests: a file's tests stay together, for they share what they have set up; those of
a few long files, which share nothing, go one by one to whoever is free."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

SPREAD = (
    "tests/simulation/test_planted_bugs.py",
    "tests/simulation/test_simulation.py",
    "tests/simulation/test_more_seeds.py",
    "tests/fedyard/test_agent.py",
    "tests/fedyard/test_sealed.py",
    "tests/ops/test_backups.py",
    "tests/ops/test_embedded.py",
)
"""Every test in them makes all that it needs, or takes it from a fixture of the session."""


class Spreading(LoadFileScheduling):
    """By file, but test by test for files in `SPREAD`."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return nodeid if file in SPREAD else file
