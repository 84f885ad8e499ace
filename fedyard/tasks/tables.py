"""A site's labelled rows from its own file, CSV with a line of names, or NPZ with X, y and features. They stay here.

Columns are taken by their names, and no value is dropped, cut or guessed: what cannot be read as it was meant is a
`TaskError` with line, column and remedy. It never shows a value, since its sentence leaves the site.

A CSV file may be what spreadsheets and statistics programs write: UTF-8 or UTF-16 with a byte order mark, gzip; lines
that end as on any system, with empty lines between; fields parted by `,`, `;` or tabs, or as a first line `sep=` says;
quotes and spaces around names and values; decimal commas where the fields are parted by something else; True and False.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import re
import unicodedata
import zipfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import TaskError

Floats = NDArray[np.float64]

FILE_LIMIT_BYTES = 1_073_741_824
"""Of the file as it is, and of what it unpacks to."""
MAX_LINE = 16_777_216
MAX_VALUE = 1e100
"""So that sums of squares over all rows of all sites stay finite numbers."""
MAX_EXACT = 2**53
"""Larger whole numbers change when they become floats."""
SEPARATORS = (",", ";", "\t")
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WITH_COMMA = re.compile(r"([+-]?[0-9]+),([0-9]+(?:[eE][+-]?[0-9]+)?)")
_GROUPS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
_TRUTH = {"true": 1.0, "false": 0.0}
_MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "?", ".")
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Table:
    """rows: one line a sample, one column a feature. labels: 0 or 1 for each row."""

    rows: Floats
    labels: Floats
    features: tuple[str, ...]

    def ordered(self, features: Sequence[str]) -> Table:
        """The same rows with their columns in this order; `features` are those of the table."""
        if tuple(features) == self.features:
            return self
        places = [self.features.index(name) for name in features]
        return Table(rows=self.rows[:, places], labels=self.labels, features=tuple(features))

    def __repr__(self) -> str:
        return f"Table({len(self.rows)} rows, {len(self.features)} features)"


def read_table(path: Path, label: str, features: Sequence[str] | None = None) -> Table:
    """The rows of a file; `features` picks and orders the columns, else all but the label's count, sorted by name.

    Sorted, so that sites whose files have the same columns in another order agree. Raises `TaskError` that names lines
    and columns, never values.
    """
    try:
        if not path.is_file():
            raise TaskError(f"there is no data file {path.name} at this site: name it in the [data] of site.toml")
        if path.stat().st_size > FILE_LIMIT_BYTES:
            raise TaskError(f"the data file {path.name} has more than {FILE_LIMIT_BYTES} bytes")
        wanted = None if features is None else [_plain(name) for name in features]
        read = _npz if path.suffix == ".npz" else _csv
        return _checked(path.name, read(path, _plain(label), wanted))
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


def _plain(name: str) -> str:
    """A column's name as it is compared: without the spaces around it, accents in one form."""
    return unicodedata.normalize("NFC", name.strip().lstrip("\ufeff").strip())


def _shown(names: Sequence[str], number: int) -> str:
    """A column for a sentence. A name that is a number may be a value of a file without a line of names."""
    name = names[number]
    telling = name and not _is_number(name) and not _WITH_COMMA.fullmatch(name)
    return f"column `{name[:60]}`" if telling else f"column {number + 1}"


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


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
            raise TaskError(f"{file}, line 1: {_shown(names, number)} is there twice: rename or remove one of them")
    wanted = sorted(set(names) - {label}) if features is None else list(features)
    if label in wanted:
        raise TaskError(f"the label `{label}` is among the features: name others in the parameters of the task")
    place = {name: number for number, name in enumerate(names)}
    lacking = [name for name in (label, *wanted) if name not in place]
    if lacking:
        raise TaskError(f"{file} lacks {_listed(lacking)}{_hint(names, lacking)}")
    if not wanted:
        raise TaskError(f"{file} has no columns but the label's: nothing to learn from")
    return wanted, [place[name] for name in (*wanted, label)]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    what = "column" if len(names) == 1 else "columns"
    return f"the {what} {', '.join(f'`{name[:60]}`' for name in names[:_NAMES_SHOWN])}{more}"


def _hint(names: Sequence[str], lacking: Sequence[str]) -> str:
    """What may have been meant; names alone are shown that are close to those that were asked for."""
    if all(_is_number(name) or _WITH_COMMA.fullmatch(name) for name in names):
        return ": its first line holds numbers; put a line with the columns' names above it"
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(lacking[0].casefold(), list(folded), n=1, cutoff=0.8)
    found = f"; it has `{folded[close[0]]}`, and names are compared letter by letter" if close else ""
    return f" (of {len(names)} in its first line{found}): rename it, or name others in the task's parameters"


# CSV


class _Lines:
    """A file's lines, one by one, within limits. odd: a line since it was reset holds what float() reads too kindly."""

    def __init__(self, file: str, stream: IO[str]) -> None:
        self._file, self._stream = file, stream
        self._size = 0
        self.count = 0
        self.odd = False

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(MAX_LINE):
            self.count += 1
            self._size += len(line)
            if len(line) == MAX_LINE:
                raise TaskError(f"{self._file}, line {self.count} has more than {MAX_LINE} characters")
            if self._size > FILE_LIMIT_BYTES:
                raise TaskError(f"{self._file} unpacks to more than {FILE_LIMIT_BYTES} characters")
            if "_" in line or not line.isascii():
                self.odd = True
            if "\0" in line:
                raise TaskError(
                    f"{self._file}, line {self.count} holds NUL characters: UTF-16 without its mark, or no text; "
                    "save it as CSV UTF-8"
                )
            yield line


class _Numbers:
    """Cells as numbers, where they are beyond what float() takes, or where float() takes more than was meant."""

    def __init__(self, file: str, separator: str) -> None:
        self._file, self._separator = file, separator
        self._points = self._commas = self._groups = ""

    def of(self, cell: str, where: str) -> float:
        """The number. Raises `TaskError`: where, what and remedy."""
        text = cell.strip()
        if _is_number(text):
            if "." in text:
                self._points = self._points or where
                self._one_mark()
            return float(text)
        if text.lower() in _TRUTH:
            return _TRUTH[text.lower()]
        if self._separator != "," and _WITH_COMMA.fullmatch(text):
            if _GROUPS.fullmatch(text):
                self._groups = self._groups or where
            else:
                self._commas = self._commas or where
            self._one_mark()
            return float(text.replace(",", "."))
        raise TaskError(f"{self._file}, {where}: {_fault(text)}")

    def end(self) -> None:
        """Called behind the last cell, when it is clear what the commas were."""
        if self._groups and not self._commas:
            raise TaskError(
                f"{self._file}, {self._groups}: a comma before three digits may be a decimal comma or part thousands, "
                "and no other number of the file tells: write decimal points, or no commas"
            )

    def _one_mark(self) -> None:
        if self._points and (self._commas or self._groups):
            raise TaskError(
                f"{self._file}: a decimal point in {self._points}, a comma in {self._commas or self._groups}: "
                "write all numbers with one decimal mark, and thousands without one"
            )


def _fault(text: str) -> str:
    """What is wrong with a cell, without the cell."""
    if text.lower() in _MISSING:
        return "the value is missing: fill it in, or remove the row"
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return "an infinite value: put a number there, or remove the row"
    if text.startswith("#"):
        return "no number: it begins with `#`; rows are never left out as comments, remove it or the mark"
    if "#" in text:
        return "no number: `#` and what stands behind it are not left out as a comment, remove them"
    if "," in text:
        return "no number: it has a comma; write a decimal point, and thousands without a mark"
    return "no number: put one there, or leave the column out by naming the features in the task's parameters"


def _csv(path: Path, label: str, features: Sequence[str] | None) -> _Columns:
    file = path.name
    with ExitStack() as stack:
        lines = _Lines(file, _text(path, stack))
        try:
            return _parsed(file, lines, label, features)
        except UnicodeDecodeError as error:
            raise TaskError(
                f"{file} is no {error.encoding.upper()} text near line {lines.count + 1} (another encoding, such as "
                "Latin-1 or Windows-1252?): save it as CSV UTF-8"
            ) from None
        except csv.Error as error:
            raise TaskError(f"{file}, line {lines.count}: {_quoting(error)}") from None


def _quoting(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"a field has more than {csv.field_size_limit()} characters: is there a quote that is never closed?"
    return "its quotes do not close, or text stands beside them: put quotes around whole fields"


def _text(path: Path, stack: ExitStack) -> IO[str]:
    """The file as text: unpacked, decoded as its mark says or as UTF-8, line ends made one."""
    raw: IO[bytes] = stack.enter_context(path.open("rb"))
    if raw.read(2) == _GZIP:
        raw.seek(0)
        raw = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=raw)))
    else:
        raw.seek(0)
    start = raw.read(4)
    raw.seek(0)
    if start == _ZIP:
        raise TaskError(f"{path.name} is an Excel workbook or a zip archive: save it as CSV UTF-8")
    encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")
    return stack.enter_context(io.TextIOWrapper(raw, encoding=encoding, newline=None))


def _parsed(file: str, lines: _Lines, label: str, features: Sequence[str] | None) -> _Columns:
    content = iter(lines)
    separator, first = _separator(file, content, label)
    reader = csv.reader(_after(first, content), delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    names = [_plain(name) for name in next(reader)]
    blank = len(names) - len(_trimmed(names))
    chosen, places = _picked(file, names[: len(names) - blank], label, features)
    numbers, pick = _Numbers(file, separator), itemgetter(*places)
    values, at = array("d"), array("q")
    plain = separator == ","  # then float() says all there is to say; else a decimal mark has to be looked at
    lines.odd = False
    for row in reader:
        if not row or (len(row) == 1 and not row[0].strip()):
            continue
        line = lines.count
        if len(row) != len(names):
            raise TaskError(
                f"{file}, line {line} has {len(row)} fields, the first line {len(names)} names: each row needs one "
                f"field for each name ({_said(separator)} parts them)"
            )
        if blank and any(cell.strip() for cell in row[-blank:]):
            raise TaskError(f"{file}, line {line} has a value in a column without a name: name it in the first line")
        found = _fast(pick(row)) if plain and not lines.odd else None
        if found is None:
            found = [numbers.of(row[place], f"line {line}, {_shown(names, place)}") for place in places]
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


def _after(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _trimmed(names: list[str]) -> list[str]:
    """Without the empty names at the end, which a trailing separator makes."""
    count = len(names)
    while count and not names[count - 1]:
        count -= 1
    return names[:count]


def _separator(file: str, lines: Iterator[str], label: str) -> tuple[str, str]:
    """What parts the fields, and the line of names: as a line `sep=` says, or as the label is found among the names."""
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise TaskError(f"{file} is empty: it needs a line with the columns' names, and rows")
    said = re.fullmatch(r"\"?sep=(.)\"?\s*", first.lstrip("\ufeff"))
    if said:
        first = next((line for line in lines if line.strip()), None)
        if first is None:
            raise TaskError(f"{file} has nothing but a line `sep=`: it needs the columns' names, and rows")
        return said[1], first
    found = [mark for mark in SEPARATORS if label in _fields(first, mark)]
    if len(found) == 1:
        return found[0], first
    marks = [mark for mark in SEPARATORS if mark in first]
    if found or not marks:
        return ",", first
    return max(marks, key=first.count), first


def _fields(line: str, separator: str) -> list[str]:
    try:
        row = next(csv.reader([line], delimiter=separator, skipinitialspace=separator != "\t", strict=True))
    except (csv.Error, StopIteration):
        return []
    return [_plain(name) for name in row]


def _said(separator: str) -> str:
    return "a tab" if separator == "\t" else f"`{separator}`"


# NPZ


def _npz(path: Path, label: str, features: Sequence[str] | None) -> _Columns:
    """X (rows by features), y (a label for each row) and features (a name for each column of X)."""
    needs = f"{path.name} needs the arrays X (rows by features), y and features, without objects"
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > FILE_LIMIT_BYTES:
                raise TaskError(f"{path.name} unpacks to more than {FILE_LIMIT_BYTES} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            more = sorted(set(arrays) - {"X", "y", "features"})
            if more:
                raise TaskError(f"{needs}, and has {_listed(more).replace('column', 'array')} as well: remove it")
            rows, labels, named = arrays["X"], arrays["y"], arrays["features"]
    except (ValueError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        raise TaskError(needs) from None
    names = [_plain(name.decode(errors="replace") if isinstance(name, bytes) else str(name)) for name in named.flat]
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
    if values.dtype.kind in "iu" and values.size and (values.max() > MAX_EXACT or values.min() < -MAX_EXACT):
        raise TaskError(f"{file}: {which} holds whole numbers beyond 2^53, which floats do not hold exactly")


# what both must be


def _checked(file: str, columns: _Columns) -> Table:
    rows, labels = columns.rows, columns.labels
    if not len(rows):
        raise TaskError(f"{file} has no rows below its names: nothing to learn from")
    _none(file, columns, ~np.isfinite(rows), "a missing or infinite value: fill it in, or remove the row")
    _none(
        file,
        columns,
        np.abs(rows) > MAX_VALUE,
        f"a value beyond {MAX_VALUE:g}, whose square cannot be added up: correct it, or remove the row",
    )
    odd = ~np.isin(labels, (0.0, 1.0))
    if odd.any():
        where, count = columns.place(int(np.argmax(odd))), int(np.count_nonzero(odd))
        raise TaskError(f"{file}, {where}, label `{columns.label}`: neither 0 nor 1{_times(count)}: code it so")
    return Table(rows=rows, labels=labels, features=columns.features)


def _none(file: str, columns: _Columns, odd: NDArray[np.bool_], fault: str) -> None:
    if not odd.any():
        return
    row, column = divmod(int(np.argmax(odd)), odd.shape[1])
    count = int(np.count_nonzero(odd))
    raise TaskError(f"{file}, {columns.place(row)}, column `{columns.features[column]}`: {fault}{_times(count)}")


def _times(count: int) -> str:
    return f" ({count} of them)" if count > 1 else ""
