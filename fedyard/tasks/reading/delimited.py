"""A text file with a line of names as columns of a table: CSV, and what spreadsheets and statistics programs make.

UTF-8, or UTF-16 with its mark, or the encoding that the site names; gzip; fields parted by `,`, `;` or tabs, or as a
first line `sep=` or the site says; lines that end as on any system, with empty ones between.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from fedyard.tasks import TaskError
from fedyard.tasks.reading import text as t
from fedyard.tasks.reading.tables import Column, Written
from fedyard.tasks.sources import Reading

BLOCK = 16_384
"""Rows that are kept as one piece of text: a column takes the room that it takes in the file."""


def read_delimited(path: Path, reading: Reading) -> dict[str, Column]:
    """The columns by name. Raises `TaskError` with line, column and remedy, without values."""
    with ExitStack() as stack:
        lines = t.Lines(path.name, t.text_of(path, stack, reading.encoding))
        try:
            return _parsed(path.name, lines, reading)
        except UnicodeDecodeError as error:
            raise TaskError(
                f"{path.name} is no {error.encoding.upper()} text near line {lines.count + 1} (another encoding, such "
                "as Latin-1 or Windows-1252?): save it as CSV UTF-8, or name it in site.toml, in the [reading.NAME] of "
                'these data: encoding = "cp1252"'
            ) from None
        except csv.Error as error:
            raise TaskError(f"{path.name}, line {lines.count}: {t.quoting(error)}") from None


def _parsed(file: str, lines: t.Lines, reading: Reading) -> dict[str, Column]:
    content = iter(lines)
    separator, first = t.separator_of(file, content, None, reading.separator)
    rows = csv.reader(t.after(first, content), delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    names = [t.plain(name) for name in next(rows)]
    own = t.trimmed(names)
    _check_names(file, own)
    at = array("q")
    blocks: list[list[str]] = [[] for _ in own]
    for block in _blocks(_whole(file, rows, lines, len(names), len(own), separator), at):
        for cells, column in zip(blocks, zip(*block, strict=True), strict=False):  # without the columns of no name
            cells.append("\0".join(column))
    if not at:
        raise TaskError(f"{file} has no rows below its names")
    columns: dict[str, Column] = {}

    def commas() -> bool:
        """True if some number of the file has a comma that parts no thousands."""
        every = (cell.strip() for column in columns.values() if isinstance(column, Written) for cell in column.cells())
        return any("," in cell and t.WITH_COMMA.fullmatch(cell) and not t.GROUPS.fullmatch(cell) for cell in every)

    for name, cells in zip(own, blocks, strict=True):
        columns[name] = Written(
            name,
            cells,
            at,
            file=file,
            separator=separator,
            decimal=reading.decimal,
            missing=reading.missing,
            commas=commas,
        )
    return columns


def _check_names(file: str, names: Sequence[str]) -> None:
    if not names:
        raise TaskError(f"{file}, line 1 has no names of columns: put them there")
    if all(t.is_number(name) for name in names):
        raise TaskError(f"{file}: its first line holds numbers; put a line with the columns' names above it")
    for number, name in enumerate(names):
        if not name:
            raise TaskError(
                f"{file}, line 1: column {number + 1} has no name: name it, or remove it (pandas writes such a column "
                "without index=False)"
            )
        if name in names[:number]:
            raise TaskError(f"{file}, line 1: {t.shown_column(names, number)} is there twice: rename or remove one")


def _whole(
    file: str, rows: Iterator[list[str]], lines: t.Lines, width: int, named: int, separator: str
) -> Iterator[tuple[int, list[str]]]:
    """Rows with the lines that they end at. A row without anything in it is an empty line as a spreadsheet saves it."""
    for row in rows:
        if not any(row) or (len(row) == 1 and not row[0].strip()):
            continue
        if len(row) != width:
            raise TaskError(
                f"{file}, line {lines.count} has {len(row)} fields, the first line {width} names: each row needs one "
                f"field for each name ({t.said(separator)} parts them)"
            )
        if width > named and any(cell.strip() for cell in row[named:]):
            raise TaskError(f"{file}, line {lines.count} has a value in a column without a name: name it in line 1")
        yield lines.count, row


def _blocks(rows: Iterator[tuple[int, list[str]]], at: array[int]) -> Iterator[list[list[str]]]:
    block: list[list[str]] = []
    for line, row in rows:
        at.append(line)
        block.append(row)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block
