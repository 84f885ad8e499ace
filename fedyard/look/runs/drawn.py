"""A run's grid and timeline, drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from fedyard.look.drawing import matrix, timeline
from fedyard.look.filters import span
from fedyard.look.runs.grid import Cell, Grid
from fedyard.look.runs.spans import Timeline
from fedyard.wire.answers import Round
from fedyard.wire.times import SECOND


def nowhere(_: str) -> str:
    """Where no site has a page of its own."""
    return ""


def grid_drawn(
    grid: Grid, *, models: Mapping[int, tuple[str, str]] = {}, site_href: Callable[[str], str] = nowhere
) -> str:
    """models: by round, the word for the model that it made, and where that is. site_href: of a site, by its id."""
    columns = [
        matrix.Heading(str(each.number), about=models[each.number][0], href=models[each.number][1])
        if each.number in models
        else matrix.Heading(str(each.number))
        for each in grid.rounds
    ]
    rows: list[tuple[matrix.Heading, list[matrix.Cell | None]]] = [
        (matrix.Heading("the whole round"), [_whole(each) for each in grid.rounds])
    ]
    for row in grid.rows:
        heading = matrix.Heading(row.name, href=site_href(row.site_id))
        rows.append((heading, [_cell(one) for one in row.cells]))
    return matrix.matrix(f"Rounds of {grid.task.name}", columns, rows, corner="Site", more=_more(grid))


def _more(grid: Grid) -> str:
    said = ["how long each site took, from the call to train until its update had arrived"]
    if grid.hidden:
        said.append(f"{grid.hidden} more sites have no row: those that are waited for and those with trouble have one")
    return "; ".join(said)


def _whole(here: Round) -> matrix.Cell:
    took = None
    if here.started_at is not None and here.ended_at is not None:
        took = (here.ended_at - here.started_at).total_seconds()
    reason = here.reason.replace("_", " ")
    return matrix.Cell(here.state, text="" if took is None else str(span(took)), about=reason)


def _cell(cell: Cell) -> matrix.Cell | None:
    if cell.state == "out":
        return None
    text = "" if cell.seconds is None else str(span(cell.seconds))
    return matrix.Cell(cell.state, text=text, about=cell.why.replace("_", " "), straggler=cell.straggler)


def timeline_drawn(shown: Timeline, task: str, *, site_href: Callable[[str], str] = nowhere) -> str:
    """When each seat of a task was at work. task: its name, which is a part of an id."""
    lines = [
        timeline.Line(
            line.name,
            [
                timeline.Span(_micros(one.begin), _micros(one.end), one.state, f"round {one.round}")
                for one in line.spans
            ],
            href="" if line.site_id is None else site_href(line.site_id),
        )
        for line in shown.lines
    ]
    return timeline.timeline(f"Seats of {task}", lines, id=f"timeline-{task}")


def _micros(at: datetime) -> int:
    return round(at.timestamp() * SECOND)
