"""Rounds and sites of a task as a grid: what became of each seat in each round, and who held the others up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fedyard.wire.answers import Round, Seat, Submission, TaskRun
from fedyard.wire.waiting import NOT_ASKED, SCORING

ROUND_OVER: Final = frozenset({"completed", "failed", "cancelled"})
MAX_ROUNDS = 16
"""Columns of a grid, the newest: more can't be read on any screen. Everything is in the file of metrics."""
MAX_SITES = 120
"""Rows of a grid; those that are waited for and those with trouble first, if there are more."""
MIN_COMPARED = 3
"""Submissions of a round, from which on one of them can be called slow."""
SLOW = 1.5
"""Times the median of its round's seconds, from which on the slowest site is its straggler."""
_TROUBLE = {
    **dict.fromkeys(("training", "uploading", "scoring", "preparing", "invited"), 0),
    "failed": 1,
    "dropped": 1,
    "left_out": 2,
}


@dataclass(frozen=True)
class Cell:
    """A seat in a round. state: of the seat, or `left_out` (its update was not used), or `out` (it had no part).

    seconds: from the call to train until its update had arrived. since: of a live seat, how long it is in this state.
    why: a code, where there is one.
    """

    state: str
    seconds: float | None = None
    since: datetime | None = None
    straggler: bool = False
    why: str = ""
    update_message_id: str | None = None


@dataclass(frozen=True)
class Row:
    """A site: its cells in the order of the grid's rounds."""

    site_id: str
    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    """rounds: from old to new. earlier: how many older rounds there are. hidden: how many sites have no row here."""

    task: TaskRun
    rounds: tuple[Round, ...]
    rows: tuple[Row, ...]
    earlier: int
    hidden: int


def grid_of(
    task: TaskRun,
    names: Mapping[str, str],
    *,
    last: int | None = None,
    rounds: int = MAX_ROUNDS,
    sites: int = MAX_SITES,
) -> Grid:
    """last: the newest round that is shown, else the newest of all. names: of sites, by id."""
    known = [each for each in task.rounds if last is None or each.number <= last]
    shown = known[-rounds:]
    columns = [_column(task, each) for each in shown]
    ids = {seat.site_id for seat in task.seats} | {site for column in columns for site in column}
    found = [
        Row(site, names.get(site, site), tuple(column.get(site, Cell("out")) for column in columns)) for site in ids
    ]
    kept = sorted(found, key=_by_name)
    if len(kept) > sites:
        kept = sorted(sorted(kept, key=_by_trouble)[:sites], key=_by_name)
    first = shown[0].number if shown else task.first_round
    return Grid(task, tuple(shown), tuple(kept), max(0, first - task.first_round), len(found) - len(kept))


def _by_name(row: Row) -> tuple[str, str]:
    return row.name.casefold(), row.site_id


def _by_trouble(row: Row) -> int:
    return _TROUBLE.get(row.cells[-1].state, 9) if row.cells else 9


def _column(task: TaskRun, here: Round) -> dict[str, Cell]:
    """Site id -> its cell in this round. While one is waited for, that one is slower than any that has come."""
    took = {s.site_id: seconds for s in here.submissions if (seconds := seconds_of(s)) is not None}
    cells = {seat.site_id: _without_update(seat, here) for seat in task.seats}
    waits = any(cell.since is not None for site, cell in cells.items() if site not in took)
    slow = frozenset[str]() if waits else stragglers(took)
    scoring = {seat.site_id: seat for seat in task.seats if _scores(seat, here)}
    for s in here.submissions:
        state = "left_out" if s.left_out else "submitted"
        if not s.left_out and s.site_id in scoring:
            state = scoring[s.site_id].state
        cells[s.site_id] = Cell(
            state,
            seconds=took.get(s.site_id),
            straggler=s.site_id in slow,
            why=s.left_out or s.missing_receipt or "",
            update_message_id=s.update_message_id,
        )
    return cells


def _without_update(seat: Seat, here: Round) -> Cell:
    """The cell of a seat from which nothing came in this round."""
    if seat.round != here.number:
        return Cell("out")
    if seat.state in ("failed", "dropped", "cancelled"):
        return Cell(seat.state, why=seat.reason)
    if here.state in ROUND_OVER:
        return Cell("out")
    return Cell(seat.state, since=None if seat.state in NOT_ASKED or _scores(seat, here) else seat.state_at)


def _scores(seat: Seat, here: Round) -> bool:
    """Is it asked what the round's model is worth on its data?"""
    return here.state == SCORING and seat.round == here.number and seat.state in ("scoring", "scored")


def seconds_of(submission: Submission) -> float | None:
    """From the call to train until the update had arrived; None where the hub does not say."""
    if submission.started_at is None or submission.submitted_at is None:
        return None
    return (submission.submitted_at - submission.started_at).total_seconds()


def stragglers(took: Mapping[str, float]) -> frozenset[str]:
    """The slowest of a round, where it took much longer than most: seconds by site."""
    if len(took) < MIN_COMPARED:
        return frozenset()
    every = sorted(took.values())
    slowest, middle = every[-1], (every[(len(every) - 1) // 2] + every[len(every) // 2]) / 2  # the median
    if slowest == middle or slowest < SLOW * middle:
        return frozenset()
    return frozenset(site for site, seconds in took.items() if seconds == slowest)
