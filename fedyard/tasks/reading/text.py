"""Delimited text as people's programs write it: lines, names and numbers, with a sentence on each fault.

Sentences name lines and columns, never values, since they leave the site.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, cast

from fedyard.tasks import TaskError

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
WITH_COMMA = re.compile(r"([+-]?[0-9]+),([0-9]+(?:[eE][+-]?[0-9]+)?)")
GROUPS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
_TRUTH = {"true": 1.0, "false": 0.0}
MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "?", ".")
_NAMES_SHOWN = 5


def plain(name: str) -> str:
    """A column's name as it is compared: without the spaces around it, accents in one form."""
    return unicodedata.normalize("NFC", name.strip().lstrip("\ufeff").strip())


def shown_column(names: Sequence[str], number: int) -> str:
    """A column for a sentence. A name that is a number may be a value of a file without a line of names."""
    name = names[number]
    telling = name and not is_number(name) and not WITH_COMMA.fullmatch(name)
    return f"column `{name[:60]}`" if telling else f"column {number + 1}"


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    what = "column" if len(names) == 1 else "columns"
    return f"the {what} {', '.join(f'`{name[:60]}`' for name in names[:_NAMES_SHOWN])}{more}"


def hint(names: Sequence[str], lacking: Sequence[str]) -> str:
    """What may have been meant; names alone are shown that are close to those that were asked for."""
    if all(is_number(name) or WITH_COMMA.fullmatch(name) for name in names):
        return ": its first line holds numbers; put a line with the columns' names above it"
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(lacking[0].casefold(), list(folded), n=1, cutoff=0.8)
    found = f"; it has `{folded[close[0]]}`, and names are compared letter by letter" if close else ""
    return f" (of {len(names)} in its first line{found}): rename it, or name others in the task's parameters"


class Lines:
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


def _no() -> bool:
    return False


class Numbers:
    """Cells as numbers, where they are beyond what float() takes, or where float() takes more than was meant.

    separator: what parts the fields; a comma that does is no decimal mark. decimal: the mark, where people have said
    it. commas: True if another column shows that commas are decimal marks.
    """

    def __init__(self, file: str, separator: str, decimal: str = "", commas: Callable[[], bool] = _no) -> None:
        self._file, self._separator, self._decimal, self._commas_elsewhere = file, separator, decimal, commas
        self._points = self._commas = self._groups = ""

    def of(self, cell: str, where: str) -> float:
        """The number. Raises `TaskError`: where, what and remedy."""
        text = cell.strip()
        if is_number(text):
            if "." in text and self._decimal != ".":
                self._points = self._points or where
                self._one_mark()
            return float(text)
        if text.lower() in _TRUTH:
            return _TRUTH[text.lower()]
        if self._decimal == "," and WITH_COMMA.fullmatch(text):
            return float(text.replace(",", "."))
        if self._separator != "," and not self._decimal and WITH_COMMA.fullmatch(text):
            if GROUPS.fullmatch(text):
                self._groups = self._groups or where
            else:
                self._commas = self._commas or where
            self._one_mark()
            return float(text.replace(",", "."))
        raise TaskError(f"{self._file}, {where}: {fault(text)}")

    def end(self) -> None:
        """Called behind the last cell, when it is clear what the commas were."""
        if self._groups and not self._commas and not self._commas_elsewhere():
            raise TaskError(
                f"{self._file}, {self._groups}: a comma before three digits may be a decimal comma or part thousands, "
                "and no other number of the file tells: write decimal points, or no commas"
            )

    def _one_mark(self) -> None:
        if self._points and self._decimal == ",":
            raise TaskError(f"{self._file}, {self._points}: a decimal point, where site.toml says decimal = `,`")
        if self._points and (self._commas or self._groups):
            raise TaskError(
                f"{self._file}: a decimal point in {self._points}, a comma in {self._commas or self._groups}: "
                "write all numbers with one decimal mark, and thousands without one"
            )


def fault(text: str) -> str:
    """What is wrong with a cell, without the cell."""
    if text.lower() in MISSING:
        return "the value is missing: fill it in, or remove the row"
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return "an infinite value: put a number there, or remove the row"
    if text.startswith("#"):
        return "no number: it begins with `#`; rows are never left out as comments, remove it or the mark"
    if "#" in text:
        return "no number: `#` and what stands behind it are not left out as a comment, remove them"
    if "," in text and "." in text:
        return "no number: it has both a comma and a point; write thousands without a mark"
    if "," in text:
        return "no number: it has a comma; write a decimal point, and thousands without a mark"
    return "no number: put one there, or leave the column out by naming the features in the task's parameters"


def quoting(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"a field has more than {csv.field_size_limit()} characters: is there a quote that is never closed?"
    return "its quotes do not close, or text stands beside them: put quotes around whole fields"


def text_of(path: Path, stack: ExitStack, encoding: str = "") -> IO[str]:
    """The file as text: unpacked, decoded as its mark says, else as `encoding` or UTF-8; line ends made one."""
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
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError:
        raise TaskError(f"site.toml names an encoding for {path.name} that Python does not know") from None
    encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), encoding or "utf-8")
    return stack.enter_context(io.TextIOWrapper(raw, encoding=encoding, newline=None))


def after(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def trimmed(names: list[str]) -> list[str]:
    """Without the empty names at the end, which a trailing separator makes."""
    count = len(names)
    while count and not names[count - 1]:
        count -= 1
    return names[:count]


def separator_of(file: str, lines: Iterator[str], label: str | None, named: str = "") -> tuple[str, str]:
    """What parts the fields, and the line of names.

    As `named` or a line `sep=` says, or as the label is found among the names; without either what makes most names.
    """
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise TaskError(f"{file} is empty: it needs a line with the columns' names, and rows")
    told = re.fullmatch(r"\"?sep=(.)\"?\s*", first.lstrip("\ufeff"))
    if told:
        first = next((line for line in lines if line.strip()), None)
        if first is None:
            raise TaskError(f"{file} has nothing but a line `sep=`: it needs the columns' names, and rows")
        return told[1], first
    if named:
        return named, first
    if label is None:
        return max(SEPARATORS, key=lambda mark: len(_fields(first, mark))), first
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
    return [plain(name) for name in row]


def said(separator: str) -> str:
    return "a tab" if separator == "\t" else f"`{separator}`"


def times(count: int) -> str:
    return f" ({count} of them)" if count > 1 else ""
