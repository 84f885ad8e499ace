"""A site's data as a table: columns by their names, read as numbers, text, categories or times when a task asks.

Nothing is dropped, cut or guessed. What a column is, the task says: `numbers("age")` of a column with text in it is a
`TaskError` with line, column and remedy, which never shows a value, since its sentence leaves the site. Missing values
stay missing: NaN, NaT, None, or the category -1.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import TaskError
from fedyard.tasks.reading import text as t

if TYPE_CHECKING:  # an extra
    import pandas as pd

Floats: TypeAlias = NDArray[np.float64]
Kind: TypeAlias = Literal["number", "truth", "time", "text", "empty"]

MISSING_TEXT = ("", "na", "n/a", "nan", "null")
"""What stands for a missing value among text, where the site does not say; a `none` or `-` may be a category."""
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0*")
_TRUTHS = ("true", "false")


class Column(ABC):
    """One column of one file, folder's part, or database. place: where a row stands, for a sentence."""

    name: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def place(self, row: int) -> str:
        """Where the row stands: `plain.csv, line 7`."""

    @abstractmethod
    def numbers(self) -> Floats:
        """NaN where a value is missing."""

    @abstractmethod
    def texts(self) -> list[str | None]:
        """None where a value is missing."""

    def times(self) -> NDArray[np.datetime64]:
        """NaT where a value is missing; with an offset they are made UTC."""
        read = [np.datetime64("NaT") if text is None else self._time(text, row) for row, text in _counted(self.texts())]
        return np.array(read, dtype="datetime64[us]")

    def kind(self) -> Kind:
        """As what it can be read, the narrowest first."""
        texts = {text for text in self.texts() if text is not None}
        if not texts:
            return "empty"
        if all(text.lower() in _TRUTHS for text in texts):
            return "truth"
        for kind, read in (("number", self.numbers), ("time", self.times)):
            try:
                read()
            except TaskError:
                continue
            return "number" if kind == "number" else "time"
        return "text"

    def _time(self, text: str, row: int) -> np.datetime64:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise TaskError(
                f"{self.place(row)}, column `{self.name[:60]}`: no time that can be read: write it as 2026-03-31 or "
                "2026-03-31T08:30:00"
            ) from None
        return np.datetime64(found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found, "us")


class Written(Column):
    """A column of text, as a file has it; parsed when it is asked for.

    cells: blocks of rows, in each the cells with a NUL between them. commas: called where only another column can tell
    what a comma before three digits is; True if some number of the file has a decimal comma.
    """

    def __init__(
        self,
        name: str,
        cells: Sequence[str],
        lines: Sequence[int],
        *,
        file: str,
        separator: str,
        decimal: str,
        missing: Collection[str] | None,
        commas: Callable[[], bool],
    ) -> None:
        self.name = name
        self._cells, self._lines, self._file = cells, lines, file
        self._separator, self._decimal, self._commas = separator, decimal, commas
        self._as_float = separator == "," and decimal != "," and missing is None
        named = None if missing is None else {text.strip().lower() for text in missing} | {""}
        self._missing_number = frozenset(t.MISSING if named is None else named)
        self._missing_text = frozenset(MISSING_TEXT if named is None else named)

    def __len__(self) -> int:
        return len(self._lines)

    def place(self, row: int) -> str:
        return f"{self._file}, line {self._lines[row]}"

    def cells(self) -> Iterator[str]:
        """As they are written."""
        for block in self._cells:
            yield from block.split("\0")

    def numbers(self) -> Floats:
        numbers = t.Numbers(self._file, self._separator, self._decimal, self._commas)
        found, row = np.empty(len(self)), 0
        for block in self._cells:
            cells = block.split("\0")
            found[row : row + len(cells)] = self._fast(block, cells) or [
                self._number(numbers, cell, row + at) for at, cell in enumerate(cells)
            ]
            row += len(cells)
        numbers.end()
        _bounded(self, found)
        return found

    def _fast(self, block: str, cells: list[str]) -> list[float] | None:
        """As float() reads them, where that says all there is to say."""
        if not self._as_float or "_" in block or not block.isascii():
            return None
        try:
            found = [*map(float, cells)]
        except ValueError:
            return None
        return found if np.isfinite(found).all() else None

    def _number(self, numbers: t.Numbers, cell: str, row: int) -> float:
        if cell.strip().lower() in self._missing_number:
            return np.nan
        return numbers.of(cell, f"line {self._lines[row]}, {t.shown_column([self.name], 0)}")

    def texts(self) -> list[str | None]:
        return [None if (cell := text.strip()).lower() in self._missing_text else cell for text in self.cells()]


class Typed(Column):
    """A column whose values have a type: of a parquet file, an array, a database.

    values: numbers, booleans, datetime64, or objects that are text, numbers, times or None. missing: for each row.
    """

    def __init__(self, name: str, values: NDArray[Any], missing: NDArray[np.bool_], where: str) -> None:
        self.name = name
        self._values, self._missing, self._where = values, missing, where

    def __len__(self) -> int:
        return len(self._values)

    def place(self, row: int) -> str:
        return f"{self._where}, row {row + 1}"

    def numbers(self) -> Floats:
        values, column = self._values, f"column `{self.name[:60]}`"
        if values.dtype.kind not in "biufO":
            raise TaskError(f"{self._where}, {column}: {_said_type(values)}, no numbers: {_REMEDY}")
        if values.dtype.kind in "iu" and values.size and (values.max() > t.MAX_EXACT or values.min() < -t.MAX_EXACT):
            raise TaskError(f"{self._where}, {column}: whole numbers beyond 2^53, which floats do not hold exactly")
        if values.dtype.kind == "O":
            found = np.array([self._number(value, row) for row, value in enumerate(values)], dtype=np.float64)
        else:
            found = values.astype(np.float64)
        found[self._missing] = np.nan
        _bounded(self, found)
        return found

    def _number(self, value: object, row: int) -> float:
        if self._missing[row]:
            return np.nan
        if isinstance(value, str):
            if value.strip().lower() in t.MISSING:
                return np.nan
            where = f"row {row + 1}, column `{self.name[:60]}`"
            return t.Numbers(self._where, ",").of(value, where)
        try:
            return float(value)  # type: ignore[arg-type] # a database's Decimal, and what else is a number
        except (TypeError, ValueError):
            raise TaskError(f"{self.place(row)}, column `{self.name[:60]}`: no number: {_REMEDY}") from None

    def texts(self) -> list[str | None]:
        return [None if gone else _text_of(value) for value, gone in zip(self._values, self._missing, strict=True)]


_REMEDY = "leave the column out by naming others in the task's parameters"


def _said_type(values: NDArray[Any]) -> str:
    return "times" if values.dtype.kind in "Mm" else f"values of the type {values.dtype}"


def _text_of(value: object) -> str | None:
    """As a CSV file would have it. A database's NaN, and text that stands for a missing value, are none."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if not np.isfinite(number):
            return None
        return str(int(number)) if number.is_integer() and abs(number) < t.MAX_EXACT else repr(number)
    if isinstance(value, (date, time)):  # a datetime is a date
        return value.isoformat()
    text = str(value).strip()
    return None if text.lower() in MISSING_TEXT else text


def _counted(texts: Sequence[str | None]) -> Iterator[tuple[int, str | None]]:
    return iter(enumerate(texts))


def _bounded(column: Column, found: Floats) -> None:
    """Raises `TaskError` for what no sum over all sites survives."""
    odd = np.isinf(found) | (np.abs(np.nan_to_num(found, posinf=0.0, neginf=0.0)) > t.MAX_VALUE)
    if odd.any():
        fault = f"infinite, or beyond {t.MAX_VALUE:g}, whose square cannot be added up: correct it, or remove the row"
        times = t.times(int(np.count_nonzero(odd)))
        raise TaskError(f"{column.place(int(np.argmax(odd)))}, column `{column.name[:60]}`: {fault}{times}")


class Table:
    """Columns of the same number of rows. A folder's files stand one below the other, in the order of their names."""

    def __init__(self, parts: Sequence[Mapping[str, Column]], title: str) -> None:
        self._parts, self._title = parts, title
        self.names: tuple[str, ...] = tuple(parts[0])
        self._rows = sum(len(part[self.names[0]]) for part in parts)

    def __len__(self) -> int:
        """Rows."""
        return self._rows

    def __contains__(self, name: object) -> bool:
        return name in self._parts[0]

    def __iter__(self) -> Iterator[str]:
        """The columns' names, in the order of the file."""
        return iter(self.names)

    def numbers(self, name: str) -> Floats:
        """The column as numbers, [rows]; NaN where a value is missing; True and False are 1 and 0."""
        return np.concatenate([column.numbers() for column in self._columns(name)])

    def matrix(self, names: Sequence[str]) -> Floats:
        """Columns as numbers, [rows, columns]."""
        self.need(names)
        return np.column_stack([self.numbers(name) for name in names]) if names else np.empty((len(self), 0))

    def texts(self, name: str) -> list[str | None]:
        """The column as text, without spaces around it; None where a value is missing."""
        return [text for column in self._columns(name) for text in column.texts()]

    def labels(self, name: str) -> list[str | None]:
        """The column as text in which files of several forms agree: 1.0 is `1`, TRUE in a column of such is `true`."""
        texts = self.texts(name)
        found = {text for text in texts if text is not None}
        truths = all(text.lower() in _TRUTHS for text in found)
        as_label = {
            text: text.lower() if truths else whole[1] if (whole := _WHOLE.fullmatch(text)) else text for text in found
        }
        return [None if text is None else as_label[text] for text in texts]

    def categories(self, name: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """The labels that occur, sorted, and for each row the number of its label; -1 where it is missing."""
        labels = self.labels(name)
        levels = tuple(sorted({label for label in labels if label is not None}))
        number: dict[str | None, int] = {level: at for at, level in enumerate(levels)}
        return levels, np.array([number.get(label, -1) for label in labels], dtype=np.int64)

    def times(self, name: str) -> NDArray[np.datetime64]:
        """The column as times, datetime64[us]; NaT where a value is missing; with an offset they are made UTC."""
        return np.concatenate([column.times() for column in self._columns(name)])

    def kind(self, name: str) -> Kind:
        """As what the whole column can be read, the narrowest first."""
        kinds = {column.kind() for column in self._columns(name)} - {"empty"}
        if not kinds:
            return "empty"
        return kinds.pop() if len(kinds) == 1 else "number" if kinds == {"number", "truth"} else "text"

    def missing(self, name: str) -> NDArray[np.bool_]:
        """True where the column has no value."""
        return np.array([text is None for text in self.texts(name)], dtype=np.bool_)

    def place(self, row: int) -> str:
        """Where a row stands, for a sentence: `train.csv, line 7`."""
        for part in self._parts:
            column = part[self.names[0]]
            if row < len(column):
                return column.place(row)
            row -= len(column)
        raise IndexError(row)

    def need(self, names: Sequence[str]) -> None:
        """Raises `TaskError` that names what of these columns is not there."""
        lacking = [name for name in names if t.plain(name) not in self._parts[0]]
        if lacking:
            raise TaskError(f"{self._title} lacks {t.listed(lacking)}{t.hint(self.names, lacking)}")

    def to_pandas(self) -> pd.DataFrame:
        """As a data frame: numbers, booleans, times and text. Raises `TaskError` without the extra `tables`."""
        try:
            import pandas as pd  # noqa: PLC0415 - an extra, and heavy
        except ImportError:
            raise TaskError('tables as data frames need pandas: pip install "fedyard[tables]"') from None
        return pd.DataFrame({name: self._natural(name) for name in self.names})

    def _natural(self, name: str) -> NDArray[Any] | list[Any]:
        kind = self.kind(name)
        if kind == "number":
            return self.numbers(name)
        if kind == "time":
            return self.times(name)
        if kind == "truth":
            return [None if text is None else text.lower() == "true" for text in self.texts(name)]
        return self.texts(name)

    def _columns(self, name: str) -> list[Column]:
        self.need([name])
        return [part[t.plain(name)] for part in self._parts]

    def __repr__(self) -> str:
        return f"Table({len(self)} rows, {len(self.names)} columns)"
