"""How many rows a table of the site's has, counted before any code of a task is there that could say something else."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from fedyard.tasks import TaskError
from fedyard.tasks.reading.text import SEPARATORS, text_of

_ARCHIVE = (".npz",)
_TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")


def check_rows(data: Mapping[str, str], least: int) -> int | None:
    """The rows of the smallest table among a task's data; None if none of them is one.

    Raises `TaskError` if that has fewer than `least`; of how many there are it says nothing.
    """
    counts = {name: count for name, file in data.items() if (count := count_rows(Path(file))) is not None}
    small = sorted(name for name, count in counts.items() if count < least)
    if small:
        raise TaskError(
            f"policy_min_rows: this site takes part with {least} rows at least, and {', '.join(small)} has fewer"
        )
    return min(counts.values(), default=None)


def count_rows(path: Path) -> int | None:
    """Lines under the line of names that are not empty, or the entries of the longest array; None for anything else."""
    if not path.is_file():
        return None
    try:
        if path.name.endswith(_ARCHIVE):
            with np.load(path, allow_pickle=False) as arrays:
                return max((len(arrays[name]) for name in arrays.files if arrays[name].ndim), default=0)
        if path.name.endswith(_TEXT):
            with ExitStack() as stack:
                return sum(1 for _ in _rows(iter(text_of(path, stack))))
    except (OSError, ValueError, csv.Error) as error:
        raise TaskError(f"the rows of {path.name} cannot be counted: {type(error).__name__}") from None
    return None


def _rows(lines: Iterator[str]) -> Iterator[list[str]]:
    """What stands under the line of names."""
    names = next(
        (line for line in lines if line.strip() and not line.lstrip("\ufeff").startswith(("sep=", '"sep='))), ""
    )
    mark = max(SEPARATORS, key=names.count)
    yield from (row for row in csv.reader(lines, delimiter=mark) if any(cell.strip() for cell in row))
