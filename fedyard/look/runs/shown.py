"""All that is shown of a run, made once: the hub's page and a site's portal differ in who asks, not in what is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from fedyard.look.runs.curves import Chart, charts_of
from fedyard.look.runs.grid import Grid, grid_of
from fedyard.look.runs.spans import Timeline, timeline_of
from fedyard.look.runs.words import headline
from fedyard.wire.answers import Run, Seat, TaskRun
from fedyard.wire.causes import OUT_EVENTS, TASK_FAILED, Cause, Told, said_of
from fedyard.wire.waiting import Waits, own_word_remedies, waits_of

MAX_LATE = 20
"""Seats that are named of those that a round waits for."""
_LIVE_SITE = "online"
_NOT_BEGUN = frozenset({"waiting", "skipped"})
Whys: TypeAlias = Mapping[tuple[str, str | None, int], str]
"""By task, site and round, as events say it in words; of a task itself by None and 0."""


@dataclass(frozen=True)
class SiteAbout:
    """How a site is, as far as whoever looks may know. held_by: the state of the workload that holds the seat, where
    one does and has not begun."""

    state: str
    seen_at: datetime | None = None
    held_by: str = ""


@dataclass(frozen=True)
class Late:
    """A seat that is waited for."""

    seat: Seat
    name: str
    about: SiteAbout | None


@dataclass(frozen=True)
class Waiting:
    """What an active task waits for. more: how many late seats are not named. remedies: what people can do about it."""

    waits: Waits
    late: tuple[Late, ...]
    more: int
    remedies: tuple[str, ...]


@dataclass(frozen=True)
class Out:
    """A seat that is out of its task, or (`site_id` None) the task itself, and why in words. A seat that is `unscored`
    goes on: its site had no score of the last model that it was asked for."""

    task: str
    site_id: str | None
    name: str
    state: str
    round: int
    why: str


@dataclass(frozen=True)
class TaskShown:
    task: TaskRun
    grid: Grid
    timeline: Timeline | None
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class RunShown:
    """tasks: those that have begun, the active ones first. later: names of those that have not."""

    run: Run
    names: Mapping[str, str]
    headline: str
    waiting: tuple[Waiting, ...]
    outs: tuple[Out, ...]
    tasks: tuple[TaskShown, ...]
    later: tuple[str, ...]


def names_in(run: Run) -> dict[str, str]:
    """Site id -> name, of those that have a seat."""
    return {seat.site_id: seat.site_name for task in run.tasks for seat in task.seats if seat.site_name is not None}


def late_in(run: Run) -> list[str]:
    """Ids of the sites that are waited for and will be named: what is to be known of them is asked for first."""
    found: list[str] = []
    for waits in waits_of(run):
        found += [run.coordinator_site_id] if waits.coordinator else [seat.site_id for seat in waits.late[:MAX_LATE]]
    return found


def whys_of(events: Iterable[Told]) -> Whys:
    """What events say of why something is out: the newest word counts. events: the newest first."""
    found: dict[tuple[str, str | None, int], str] = {}
    for event in events:
        said = said_of(event)
        task, number = str(event.facts.get("task", "")), event.facts.get("round")
        if event.kind == TASK_FAILED:
            found.setdefault((task, None, 0), said)
        elif event.kind in OUT_EVENTS and event.site_id is not None and isinstance(number, int):
            found.setdefault((task, event.site_id, number), said)
    return found


def shown(
    run: Run,
    names: Mapping[str, str],
    *,
    now: datetime,
    sites: Mapping[str, SiteAbout],
    whys: Whys,
    whole: bool,
    cause: Cause | None = None,
    last: int | None = None,
    measured: Run | None = None,
) -> RunShown:
    """sites: by id, of those that `late_in` names. whole: False for who sees its own seat alone. cause: what it has
    failed of. last: the newest round that grids show. measured: the same run with the rounds and sites of its curves,
    where those are others."""
    names = {**names_in(run), **names}
    begun = [task for task in run.tasks if task.rounds or task.state not in _NOT_BEGUN]
    curves = {task.seq: task for task in (measured or run).tasks}
    return RunShown(
        run=run,
        names=names,
        headline=headline(run, names, whole=whole, cause=cause),
        waiting=tuple(_waiting(run, one, names, sites) for one in waits_of(run, whole=whole)),
        outs=tuple(_outs(run, names, whys)),
        tasks=tuple(_task(task, curves.get(task.seq, task), names, now, last) for task in sorted(begun, key=_first)),
        later=tuple(task.name for task in run.tasks if task not in begun),
    )


def _first(task: TaskRun) -> int:
    """What somebody looks for comes first."""
    return {"active": 0, "failed": 1}.get(task.state, 2)


def _task(task: TaskRun, measured: TaskRun, names: Mapping[str, str], now: datetime, last: int | None) -> TaskShown:
    grid = grid_of(task, names, last=last)
    return TaskShown(task, grid, timeline_of(grid, now), tuple(charts_of(measured, names)))


def _waiting(run: Run, waits: Waits, names: Mapping[str, str], sites: Mapping[str, SiteAbout]) -> Waiting:
    late = tuple(
        Late(seat, names.get(seat.site_id, seat.site_id), sites.get(seat.site_id)) for seat in waits.late[:MAX_LATE]
    )
    at_work = [one.seat.site_id for one in late if not one.seat.waits_for or _is_away(one.about)]
    asked = [run.coordinator_site_id] if waits.coordinator else at_work
    told = remedies([sites[s] for s in asked if s in sites])
    if not waits.coordinator:
        told += own_word_remedies(one.seat.waits_for for one in late)
    return Waiting(waits, late, len(waits.late) - len(late), tuple(told))


def _is_away(site: SiteAbout | None) -> bool:
    return site is not None and site.state != _LIVE_SITE


def remedies(sites: Sequence[SiteAbout]) -> list[str]:
    """What people can do about sites that are waited for."""
    begun = {site.state for site in sites if not site.held_by}
    found = []
    if _LIVE_SITE in begun:
        found.append(
            "What is online computes, or its task hangs: the log of its agent tells its people which. Nothing ends "
            "before the deadline by itself; the coordinator can stop the run."
        )
    if begun - {_LIVE_SITE}:
        found.append("What is not online does not call: its people look after its agent, which goes on where it was.")
    if any(site.held_by for site in sites):
        found.append("Where a workload holds the seat, the cluster that it runs on decides when it begins.")
    return found


def unscored(task: TaskRun) -> list[tuple[int, str, str]]:
    """Round, site and reason of those that had no score last time, by what they said themselves."""
    newest = {each.site_id: (here.number, each) for here in task.rounds for each in here.scores}
    return [(number, site, each.reason) for site, (number, each) in newest.items() if each.reason and not each.metrics]


def _outs(run: Run, names: Mapping[str, str], whys: Whys) -> list[Out]:
    found = []
    for task in run.tasks:
        if task.state == "failed":
            why = whys.get((task.name, None, 0)) or task.reason
            found.append(Out(task.name, None, "", "failed", task.round, why))
        for seat in task.seats:
            if seat.reason and seat.state in ("failed", "dropped"):
                why = whys.get((task.name, seat.site_id, seat.round)) or seat.reason
                name = names.get(seat.site_id, seat.site_id)
                found.append(Out(task.name, seat.site_id, name, seat.state, seat.round, why))
        for here in task.rounds:
            for each in here.submissions:
                if each.left_out:
                    name = names.get(each.site_id, each.site_id)
                    why = whys.get((task.name, each.site_id, here.number)) or each.left_out
                    found.append(Out(task.name, each.site_id, name, "left_out", here.number, why))
        for number, site_id, why in unscored(task):
            found.append(Out(task.name, site_id, names.get(site_id, site_id), "unscored", number, why))
    return found
