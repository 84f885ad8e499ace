"""Tables for people: what they copy is whole at any width, and a pipe gets all of it."""

from __future__ import annotations

import io
from unicodedata import normalize

import pytest
from rich.console import Console

from fedyard.cli.listing import PIPE_WIDTH, Listing, terminal

ID = "0b6f6f0e-3a0f-4e39-9d0e-3b0f3a1f6f0e"
HEADINGS = ("project", "id", "served", "coordinator", "joining", "runs", "tasks")
ROW = ("breast cancer, early stages", ID, "yes", "Oslo universitetssykehus", "approval", "12", "train (x, 5 rounds)")


def printed(width: int, *rows: tuple[str, ...], headings: tuple[str, ...] = HEADINGS) -> str:
    table, out = Listing(*headings, ids=("id",)), io.StringIO()
    for row in rows:
        table.add_row(*row)
    table.print(Console(file=out, width=width, markup=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 37, 50, 60, 80, 120, 200])
def test_an_id_is_in_one_piece_at_any_width(width: int) -> None:
    shown = printed(width, ROW)
    assert ID in shown
    assert all(len(line) <= max(width, 60) for line in shown.splitlines() if ID in line)


def test_columns_leave_from_the_last_one_on_and_are_named() -> None:
    assert "no room for: coordinator, joining, runs, tasks;" in printed(70, ROW)
    assert "no room for: joining, runs, tasks;" in printed(80, ROW)
    assert "no room" not in printed(200, ROW)


def test_wide_characters_count_as_wide() -> None:
    shown = printed(60, (normalize("NFC", "京都大学医学部附属病院") * 3, ID, *ROW[2:]))
    assert ID in shown


def test_a_pipe_gets_everything_a_row_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal().width == PIPE_WIDTH
    table = Listing(*HEADINGS, ids=("id",))
    table.add_row(*ROW)
    table.print()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if ID in line]
    assert all(cell in line for cell in ROW)
