"""Tables of others' text at a terminal, in which an id that people copy is never cut.

Where there is no room, other columns become narrow, then leave, the last one first; what is left out is named. Through
a pipe nothing is left out, and every row is one line.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from fedyard.wire.shown import Plain, shown

if TYPE_CHECKING:  # rich is heavy, and an agent has no use for it
    from rich.console import Console

PIPE_WIDTH = 20_000
"""Columns of a "terminal" that is none."""
NARROWEST = 8
"""Columns that a cell is folded into before another one leaves."""
_FRAME = 3
"""What the table's lines and padding take for each column."""


def terminal() -> Console:
    """The console for tables; text is printed to it through `shown`, without markup."""
    from rich.console import Console  # noqa: PLC0415 - see above

    stream = sys.stdout
    raw = stream.raw if isinstance(stream, Plain) else stream
    return Console(file=raw, markup=False, emoji=False, width=None if raw.isatty() else PIPE_WIDTH)


class Listing:
    """Rows under headings. ids: the headings of what people copy into commands."""

    def __init__(self, *headings: str, ids: Collection[str] = ()) -> None:
        self._headings, self._ids = headings, frozenset(ids)
        self._rows: list[list[str]] = []

    def add_row(self, *cells: str) -> None:
        self._rows.append([shown(cell) for cell in cells])

    def print(self, console: Console | None = None) -> None:
        """To the terminal, or to `console`."""
        from rich.table import Table  # noqa: PLC0415 - see above
        from rich.text import Text  # noqa: PLC0415 - rich, for a terminal alone

        console = console or terminal()
        kept = self._kept(console.width)
        if self._width(kept) > console.width:
            self._print_lines(console)
            return
        table = Table()
        for number in kept:
            whole = self._headings[number] in self._ids
            table.add_column(self._headings[number], overflow="fold", no_wrap=whole)
        for row in self._rows:
            table.add_row(*(Text(row[number]) for number in kept))
        console.print(table)
        left_out = [heading for number, heading in enumerate(self._headings) if number not in kept]
        if left_out:
            console.print(
                f"no room for: {', '.join(left_out)}; through a pipe (| cat) all is shown",
                soft_wrap=True,
                highlight=False,
            )

    def _kept(self, width: int) -> list[int]:
        """The columns that have room: the first one and the ids, and of the others as many as fit."""
        kept = list(range(len(self._headings)))
        for number in reversed(range(1, len(self._headings))):
            if self._width(kept) <= width:
                break
            if self._headings[number] not in self._ids:
                kept.remove(number)
        return kept

    def _width(self, columns: Collection[int]) -> int:
        return 1 + sum(self._least(number) + _FRAME for number in columns)

    def _least(self, number: int) -> int:
        from rich.cells import cell_len  # noqa: PLC0415 - see above

        longest = max(cell_len(text) for text in [self._headings[number], *(row[number] for row in self._rows)])
        return longest if self._headings[number] in self._ids else min(longest, NARROWEST)

    def _print_lines(self, console: Console) -> None:
        """Not even the ids fit beside each other: a line for each cell."""
        for row in self._rows:
            for heading, cell in zip(self._headings, row, strict=True):
                console.print(f"{heading}: {cell}", soft_wrap=True, markup=False, highlight=False)
            console.print()
