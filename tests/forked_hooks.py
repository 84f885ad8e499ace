"""`python -P -m fedyard.tasks.reaper` as a program that can be forked. It loads nothing of the tests: a task may give
its own modules their names."""

from __future__ import annotations

import os
import sys

from fedyard.tasks import reaper

_WITH_ALL = os.environ["PYTHONPATH"].split(os.pathsep)
_PYTHONS = [path for path in sys.path if path not in _WITH_ALL]
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
"""Read when numpy is loaded, which comes next; threads would be lost in a fork."""


def main() -> None:
    """In the fork."""
    os.setsid()
    _, *paths = os.environ["PYTHONPATH"].split(os.pathsep)  # without this program's own
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    sys.path[:] = [*paths, *_PYTHONS]
    assert reaper.__file__ is not None
    sys.argv[0] = reaper.__file__
    _, pipe, end = sys.argv
    reaper.main(int(pipe), int(end))
