"""How many rows a table of the site's has, counted before any code of a task is there that could say something else."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedyard.tasks import TaskError
from fedyard.tasks.jobs import FEW_ROWS
from fedyard.tasks.reading import read
from fedyard.tasks.sources import Source, is_url

_ARCHIVE = ".npz"


def check_rows(sources: Mapping[str, Source], least: int) -> int | None:
    """The rows of the smallest table among a task's data; None if none of them is one.

    Raises `TaskError` if that has fewer than `least`; of how many there are it says nothing.
    """
    counts = {name: count for name, source in sources.items() if (count := count_rows(source)) is not None}
    small = sorted(name for name, count in counts.items() if count < least)
    if small:
        raise TaskError(f"{FEW_ROWS} this site takes part with {least} rows at least, not so {', '.join(small)}")
    return min(counts.values(), default=None)


def count_rows(source: Source) -> int | None:
    """As `context.table` has them, or of the longest array in an archive of arrays; None of what is no table."""
    if not is_url(source.where) and source.where.endswith(_ARCHIVE):
        return _longest(Path(source.where))
    try:
        return len(read(source))
    except TaskError:
        return None


def _longest(path: Path) -> int | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return max((len(arrays[name]) for name in arrays.files if arrays[name].ndim), default=0)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
