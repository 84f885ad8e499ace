"""A site's labelled rows from its own file, CSV with a line of names, or NPZ with X, y and features. They stay here.

Columns are taken by their names, and no value is dropped, cut or guessed: what cannot be read as it was meant is a
`TaskError` with line, column and remedy. It never shows a value, since its sentence leaves the site.

A CSV file may be what spreadsheets and statistics programs write: UTF-8 or UTF-16 with a byte order mark, gzip; lines
that end as on any system, with empty lines between; fields parted by `,`, `;` or tabs, or as a first line `sep=` says;
quotes and spaces around names and values; decimal commas where the fields are parted by something else; True and False.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import TaskError
from fedyard.tasks.reading import text as t
from fedyard.tasks.reading.arrays import opened_npz

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """rows: one line a sample, one column a feature. labels: 0 or 1 for each row."""

    rows: Floats
    labels: Floats
    features: tuple[str, ...]

    def ordered(self, features: Sequence[str]) -> Labelled:
        """The same rows with their columns in this order; `features` are those of the table."""
        if tuple(features) == self.features:
            return self
        places = [self.features.index(name) for name in features]
        return Labelled(rows=self.rows[:, places], labels=self.labels, features=tuple(features))

    def __repr__(self) -> str:
        return f"Labelled({len(self.rows)} rows, {len(self.features)} features)"


def read_labelled(path: Path, label: str, features: Sequence[str] | None = None) -> Labelled:
    """The rows of a file; `features` picks and orders the columns, else all but the label's count, sorted by name.

    Sorted, so that sites whose files have the same columns in another order agree. Raises `TaskError` that names lines
    and columns, never values.
    """
    try:
        if not path.is_file():
            raise TaskError(f"there is no data file {path.name} at this site: name it in the [data] of site.toml")
        if path.stat().st_size > t.FILE_LIMIT_BYTES:
            raise TaskError(f"the data file {path.name} has more than {t.FILE_LIMIT_BYTES} bytes")
        wanted = None if features is None else [t.plain(name) for name in features]
        read = _npz if path.suffix == ".npz" else _csv
        return _checked(path.name, read(path, t.plain(label), wanted))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise TaskError(f"{path.name} is cut off or damaged: it cannot be unpacked to its end") from None
    except OSError as error:
        raise TaskError(f"{path.name} cannot be read by this site's agent ({error.strerror})") from None


@dataclass(frozen=True)
class _Columns:
    """What was read. lines: where each row stands in the file; empty where rows have no lines."""

    features: tuple[str, ...]
    label: str
    rows: Floats
    labels: Floats
    lines: Sequence[int]

    def place(self, row: int) -> str:
        return f"line {self.lines[row]}" if len(self.lines) else f"row {row + 1} of X"


# which columns


def _picked(file: str, names: Sequence[str], label: str, features: Sequence[str] | None) -> tuple[list[str], list[int]]:
    """The features in their order, and the places of these and, behind them, of the label."""
    for number, name in enumerate(names):
        if not name:
            raise TaskError(
                f"{file}, line 1: column {number + 1} has no name: name it, or remove it (pandas writes such a column "
                "without index=False)"
            )
        if name in names[:number]:
            raise TaskError(
                f"{file}, line 1: {t.shown_column(names, number)} is there twice: rename or remove one of them"
            )
    wanted = sorted(set(names) - {label}) if features is None else list(features)
    if label in wanted:
        raise TaskError(f"the label `{label}` is among the features: name others in the parameters of the task")
    place = {name: number for number, name in enumerate(names)}
    lacking = [name for name in (label, *wanted) if name not in place]
    if lacking:
        raise TaskError(f"{file} lacks {t.listed(lacking)}{t.hint(names, lacking)}")
    if not wanted:
        raise TaskError(f"{file} has no columns but the label's: nothing to learn from")
    return wanted, [place[name] for name in (*wanted, label)]


# CSV


def _csv(path: Path, label: str, features: Sequence[str] | None) -> _Columns:
    file = path.name
    with ExitStack() as stack:
        lines = t.Lines(file, t.text_of(path, stack))
        try:
            return _parsed(file, lines, label, features)
        except UnicodeDecodeError as error:
            raise TaskError(
                f"{file} is no {error.encoding.upper()} text near line {lines.count + 1} (another encoding, such as "
                "Latin-1 or Windows-1252?): save it as CSV UTF-8"
            ) from None
        except csv.Error as error:
            raise TaskError(f"{file}, line {lines.count}: {t.quoting(error)}") from None


def _parsed(file: str, lines: t.Lines, label: str, features: Sequence[str] | None) -> _Columns:
    content = iter(lines)
    separator, first = t.separator_of(file, content, label)
    reader = csv.reader(t.after(first, content), delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    names = [t.plain(name) for name in next(reader)]
    blank = len(names) - len(t.trimmed(names))
    chosen, places = _picked(file, names[: len(names) - blank], label, features)
    numbers, pick = t.Numbers(file, separator), itemgetter(*places)
    values, at = array("d"), array("q")
    exact = separator == ","  # then float() says all there is to say; else a decimal mark has to be looked at
    lines.odd = False
    for row in reader:
        if not row or (len(row) == 1 and not row[0].strip()):
            continue
        line = lines.count
        if len(row) != len(names):
            raise TaskError(
                f"{file}, line {line} has {len(row)} fields, the first line {len(names)} names: each row needs one "
                f"field for each name ({t.said(separator)} parts them)"
            )
        if blank and any(cell.strip() for cell in row[-blank:]):
            raise TaskError(f"{file}, line {line} has a value in a column without a name: name it in the first line")
        found = _fast(pick(row)) if exact and not lines.odd else None
        if found is None:
            found = [numbers.of(row[place], f"line {line}, {t.shown_column(names, place)}") for place in places]
        lines.odd = False
        values.extend(found)
        at.append(line)
    numbers.end()
    table = np.frombuffer(values, dtype=np.float64).reshape(-1, len(places))
    return _Columns(tuple(chosen), label, table[:, :-1], table[:, -1], at)


def _fast(cells: Sequence[str]) -> list[float] | None:
    try:
        return [*map(float, cells)]
    except ValueError:
        return None


# NPZ


def _npz(path: Path, label: str, features: Sequence[str] | None) -> _Columns:
    """X (rows by features), y (a label for each row) and features (a name for each column of X)."""
    needs = f"{path.name} needs the arrays X (rows by features), y and features, without objects"
    with opened_npz(path, needs) as arrays:
        more = sorted(set(arrays) - {"X", "y", "features"})
        if more:
            raise TaskError(f"{needs}, and has {t.listed(more).replace('column', 'array')} as well: remove it")
        rows, labels, named = arrays["X"], arrays["y"], arrays["features"]
    names = [t.plain(name.decode(errors="replace") if isinstance(name, bytes) else str(name)) for name in named.flat]
    if rows.ndim != 2 or labels.ndim != 1 or len(labels) != len(rows):
        raise TaskError(f"{needs}: X has the shape {rows.shape} and y {labels.shape}")
    if named.ndim != 1 or named.dtype.kind not in "US" or len(names) != rows.shape[1]:
        raise TaskError(f"{path.name}: X has {rows.shape[1]} columns, features names {named.size}: name each of them")
    for which, values in (("X", rows), ("y", labels)):
        _exact(path.name, which, values)
    chosen, places = _picked(path.name, [*names, label], label, features)
    return _Columns(tuple(chosen), label, rows[:, places[:-1]].astype(np.float64), labels.astype(np.float64), ())


def _exact(file: str, which: str, values: NDArray[Any]) -> None:
    """Raises `TaskError` for values that are no numbers, or would be others as floats."""
    if values.dtype.kind not in "biuf":
        raise TaskError(f"{file}: {which} holds values of the type {values.dtype}: save it as real numbers")
    if values.dtype.kind in "iu" and values.size and (values.max() > t.MAX_EXACT or values.min() < -t.MAX_EXACT):
        raise TaskError(f"{file}: {which} holds whole numbers beyond 2^53, which floats do not hold exactly")


# what both must be


def _checked(file: str, columns: _Columns) -> Labelled:
    rows, labels = columns.rows, columns.labels
    if not len(rows):
        raise TaskError(f"{file} has no rows below its names: nothing to learn from")
    _none(file, columns, ~np.isfinite(rows), "a missing or infinite value: fill it in, or remove the row")
    _none(
        file,
        columns,
        np.abs(rows) > t.MAX_VALUE,
        f"a value beyond {t.MAX_VALUE:g}, whose square cannot be added up: correct it, or remove the row",
    )
    odd = ~np.isin(labels, (0.0, 1.0))
    if odd.any():
        where, count = columns.place(int(np.argmax(odd))), int(np.count_nonzero(odd))
        raise TaskError(f"{file}, {where}, label `{columns.label}`: neither 0 nor 1{t.times(count)}: code it so")
    return Labelled(rows=rows, labels=labels, features=columns.features)


def _none(file: str, columns: _Columns, odd: NDArray[np.bool_], fault: str) -> None:
    if not odd.any():
        return
    row, column = divmod(int(np.argmax(odd)), odd.shape[1])
    count = int(np.count_nonzero(odd))
    raise TaskError(f"{file}, {columns.place(row)}, column `{columns.features[column]}`: {fault}{t.times(count)}")
