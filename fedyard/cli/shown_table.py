"""Others' text in a table at a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from fedyard.wire.shown import shown


class ShownTable(Table):
    """A table whose cells are others' text: no markup, no control characters."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """One row; a cell that is text is shown as it is."""
        super().add_row(*(Text(shown(cell)) if isinstance(cell, str) else cell for cell in cells), **options)
