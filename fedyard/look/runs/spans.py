"""When which seat was at work: spans of time for a timeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from fedyard.look.runs.grid import Grid
from fedyard.wire.answers import Round, TaskRun
from fedyard.wire.waiting import SCORING

COORDINATOR = "coordinator"
MAX_SPANS = 240
"""Of a timeline, about: with many sites it shows fewer rounds, the newest."""


@dataclass(frozen=True)
class Span:
    """state: what it did meanwhile; live: it still does."""

    round: int
    state: str
    begin: datetime
    end: datetime
    live: bool = False


@dataclass(frozen=True)
class Line:
    """A site, or the coordinator who aggregates (site_id None), and what it did when."""

    site_id: str | None
    name: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Timeline:
    """begin, end: of all spans. A seat that never began to train has none."""

    begin: datetime
    end: datetime
    lines: tuple[Line, ...]


def timeline_of(grid: Grid, now: datetime) -> Timeline | None:
    """Of the grid's sites and its newest rounds; None where nothing has begun. now: when live spans end."""
    many = max(1, MAX_SPANS // max(1, len(grid.rows)))
    grid = replace(grid, rounds=grid.rounds[-many:])
    lines = [
        Line(None, COORDINATOR, tuple(_aggregating(grid.task, grid.rounds, now))),
        *(Line(row.site_id, row.name, tuple(_of_site(grid, row.site_id, now))) for row in grid.rows),
    ]
    spans = [span for line in lines for span in line.spans]
    if not spans:
        return None
    begin = min(span.begin for span in spans)
    return Timeline(begin, max(span.end for span in spans), tuple(line for line in lines if line.spans))


def _of_site(grid: Grid, site_id: str, now: datetime) -> Iterator[Span]:
    seats: Mapping[str, tuple[int, str, datetime | None]] = {
        seat.site_id: (seat.round, seat.state, seat.state_at) for seat in grid.task.seats
    }
    for here in grid.rounds:
        came = next((s for s in here.submissions if s.site_id == site_id), None)
        if came is not None and came.started_at is not None and came.submitted_at is not None:
            state = "left_out" if came.left_out else "submitted"
            yield Span(here.number, state, came.started_at, max(came.started_at, came.submitted_at))
        yield from _scoring(here, site_id, grid.task, now)
        if came is not None:
            continue
        number, state, since = seats.get(site_id, (0, "", None))
        if number != here.number or since is None:
            continue
        if state in ("invited", "preparing", "ready", "training", "uploading"):
            yield Span(here.number, state, since, max(since, now), live=True)
        elif state in ("failed", "dropped", "cancelled") and here.started_at is not None:
            yield Span(here.number, state, here.started_at, max(here.started_at, since))


def _scoring(here: Round, site_id: str, task: TaskRun, now: datetime) -> Iterator[Span]:
    """What a site had to do with the round's model, from the call on."""
    said = next((one for one in here.scores if one.site_id == site_id), None)
    if here.stage_at is None:
        return
    if said is not None and said.scored_at is not None:
        state = "scored" if said.metrics else "unscored"
        yield Span(here.number, state, here.stage_at, max(here.stage_at, said.scored_at))
    elif any((s.site_id, s.round, s.state) == (site_id, here.number, "scoring") for s in task.seats):
        yield Span(here.number, "scoring", here.stage_at, max(here.stage_at, now), live=True)


def _aggregating(task: TaskRun, rounds: tuple[Round, ...], now: datetime) -> Iterator[Span]:
    if not task.spec.aggregate:
        return
    for here in rounds:
        if here.stage_at is None:
            continue
        if here.state == SCORING or here.scores:  # then the stage is that of scoring, and before it came the model
            came = [s.submitted_at for s in here.submissions if s.submitted_at is not None]
            if came:
                yield Span(here.number, "aggregated", max(came), max(*came, here.stage_at))
        elif here.state == "aggregating":
            yield Span(here.number, "aggregating", here.stage_at, max(here.stage_at, now), live=True)
        elif here.state == "completed" and here.ended_at is not None:
            yield Span(here.number, "aggregated", here.stage_at, max(here.stage_at, here.ended_at))
