"""A model's arrays as tables for people: arrays `name.column` of one length are the columns of the table `name`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fedyard.tasks import Arrays

FEW = 5
"""Values of an array beside the tables that are shown one by one."""


@dataclass(frozen=True)
class Tabular:
    """tables: by name, lines with a cell for each column. others: what is in no table: name, what it is."""

    tables: dict[str, list[dict[str, object]]]
    others: dict[str, str]


def tabular(arrays: Arrays) -> Tabular:
    """A column without a table, or of another length than the rest of its table, is among the others."""
    columns: dict[str, dict[str, NDArray[Any]]] = {}
    for name, values in arrays.items():
        table, _, column = name.rpartition(".")
        if table and column and values.ndim == 1 and values.dtype.kind in "biufU":
            columns.setdefault(table, {})[column] = values
    whole = {table: cells for table, cells in columns.items() if len({len(v) for v in cells.values()}) == 1}
    inside = {f"{table}.{column}" for table, cells in whole.items() for column in cells}
    return Tabular(
        tables={table: list(_lines(cells)) for table, cells in whole.items()},
        others={name: _said(values) for name, values in arrays.items() if name not in inside},
    )


def shown_cell(cell: object) -> str:
    """For people to read: six digits of a number; JSON and the file have all of them."""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def _lines(cells: dict[str, NDArray[Any]]) -> Iterator[dict[str, object]]:
    cells = dict(sorted(cells.items(), key=lambda cell: cell[1].dtype.kind != "U"))  # what a line is about comes first
    for line in zip(*(values.tolist() for values in cells.values()), strict=True):
        yield dict(zip(cells, line, strict=True))


def _said(values: NDArray[Any]) -> str:
    if values.size <= FEW and values.dtype.kind in "biufU":
        return ", ".join(shown_cell(value) for value in values.ravel().tolist())
    return f"{' x '.join(map(str, values.shape)) or '1'} of {values.dtype}"
