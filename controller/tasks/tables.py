"""A site's labelled rows from its own file, CSV with a header, or NPZ with X, y and features. They stay at the site."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controller.tasks import TaskError

Floats = NDArray[np.float64]

FILE_LIMIT_BYTES = 1_073_741_824


@dataclass(frozen=True)
class Table:
    """rows: one line a sample, one column a feature. labels: 0 or 1 for each row."""

    rows: Floats
    labels: Floats
    features: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Table({len(self.rows)} rows, {len(self.features)} features)"


def read_table(path: Path, label: str, features: Sequence[str] | None = None) -> Table:
    """The rows of a file; `features` picks and orders the columns, else all but the label's count, in file order.

    Raises `TaskError` that names columns and counts, never values.
    """
    if not path.is_file():
        raise TaskError(f"there is no data file {path.name} at this site")
    if path.stat().st_size > FILE_LIMIT_BYTES:
        raise TaskError(f"the data file {path.name} has more than {FILE_LIMIT_BYTES} bytes")
    names, columns = _npz(path, label) if path.suffix == ".npz" else _csv(path, label)
    table = _picked(path, names, columns, label, features)
    _check(path, table)
    return table


def _picked(path: Path, names: list[str], columns: Floats, label: str, features: Sequence[str] | None) -> Table:
    wanted = [name for name in names if name != label] if features is None else list(features)
    missing = sorted({label, *wanted} - set(names))
    if missing:
        raise TaskError(f"{path.name} lacks the columns {', '.join(missing)[:300]}")
    place = {name: number for number, name in enumerate(names)}
    rows = columns[:, [place[name] for name in wanted]]
    return Table(rows=rows, labels=columns[:, place[label]], features=tuple(wanted))


def _csv(path: Path, label: str) -> tuple[list[str], Floats]:
    with path.open(newline="", encoding="utf-8") as stream:
        names = next(csv.reader(stream), [])
        if label not in names or len(set(names)) != len(names):
            raise TaskError(f"{path.name} needs a first line with different column names, {label} among them")
        first = stream.readline()
        if not first.strip():
            raise TaskError(f"{path.name} has no rows below its first line")
        try:
            columns = np.loadtxt(chain([first], stream), delimiter=",", ndmin=2, dtype=np.float64)
        except ValueError:
            raise TaskError(f"{path.name} holds something that is no number, or rows of different length") from None
    if columns.shape[1:] != (len(names),):
        raise TaskError(f"{path.name} has {len(names)} names in its first line, but not as many columns")
    return names, columns


def _npz(path: Path, label: str) -> tuple[list[str], Floats]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            rows, labels, features = arrays["X"], arrays["y"], arrays["features"]
            columns = np.column_stack([rows, labels]).astype(np.float64)
    except (ValueError, KeyError, OSError):
        raise TaskError(f"{path.name} needs the arrays X (rows by features), y and features, without objects") from None
    return [*map(str, features), label], columns


def _check(path: Path, table: Table) -> None:
    if not len(table.rows) or not table.features:
        raise TaskError(f"{path.name} has {len(table.rows)} rows and {len(table.features)} features: nothing to learn")
    broken = int(np.count_nonzero(~np.isfinite(table.rows).all(axis=1)))
    if broken:
        raise TaskError(f"{path.name} has {broken} rows with missing or infinite values")
    if not np.isin(table.labels, (0.0, 1.0)).all():
        raise TaskError(f"{path.name} has labels other than 0 and 1")
