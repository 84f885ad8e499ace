"""For people called at night: which runs live, and what one of them waits for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import msgspec

from domain.ids import Id
from domain.states import RUN_FINAL, SeatState, SiteState, TaskRunState, WorkloadState
from domain.values import Micros
from fedyard.wire import answers
from fedyard.wire.causes import OUT_EVENTS, TASK_FAILED, first_cause, said_of
from fedyard.wire.types import UUID_PATTERN
from fedyard.wire.waiting import Waits, own_word_remedies, waits_of
from ops import deployments, matches, workloads
from ops.accounts import AT_ONCE, OPERATOR
from ops.spans import ago, micros, span, until
from storage import history
from storage.database import Database
from storage.presence import heard, silent
from storage.views import events, projects, runs, sites
from storage.views import workloads as views
from storage.views.resources import Event, Round, Run, RunHead, Seat, Site, TaskRun
from storage.views.sight import every

MAX_MEANT = 10
"""Of the runs that a short name may mean."""
BEGINNING = 4
"""Characters that say an id in short, at least."""
_ID = re.compile(UUID_PATTERN)
_FIRST_ID, _LAST_ID = (f"{8 * digit}-{4 * digit}-{4 * digit}-{4 * digit}-{12 * digit}" for digit in "0f")

_NOT_BEGUN = (WorkloadState.WANTED, WorkloadState.STARTING)


def listed(database: Database, *, state: str | None) -> list[RunHead]:
    """Runs in a state, or all of them, from old to new."""
    return every(lambda paging: runs.runs(database, OPERATOR, paging, state=state, project=None), AT_ONCE)


def named(database: Database, said: str) -> list[RunHead]:
    """The runs that are meant by PROJECT/NUMBER (its last attempt, and the deployment that is called so, as `fedyard
    deployment` calls it), by an id, or by a beginning of one; ten at most."""
    name, slash, number = said.rpartition("/")
    if not slash:
        first, last = (said.lower() + rest[len(said) :] for rest in (_FIRST_ID, _LAST_ID))
        begins = len(said) >= BEGINNING and _ID.fullmatch(first) is not None
        return runs.between(database, OPERATOR, first, last, MAX_MEANT) if begins else []
    so_named = partial(projects.projects, database, OPERATOR, name=name, coordinator=None, member=None)
    for project in every(so_named, AT_ONCE):
        its_runs = every(partial(runs.runs, database, OPERATOR, state=None, project=project.id), AT_ONCE)
        attempts = [run for run in its_runs if str(run.number) == number]
        deployed = deployments.numbered(database, project.id, number)
        found = [max(attempts, key=lambda run: run.attempt)] if attempts else []
        return found + [run for run in its_runs if run.id == deployed and run not in found]
    return []


def line(database: Database, run: RunHead) -> str:
    """One run in one line."""
    project = projects.project(database, OPERATOR, run.project_id)
    name = project.name if project else run.project_id
    ended = f"{run.state} ({run.reason})" if run.reason else run.state
    return f"{run.id}  {name} #{run.number}.{run.attempt}  {ended}  since {run.started_at or run.created_at}"


def why(database: Database, ident: Id, now: Micros) -> list[str] | None:
    """What the run waits for, in lines of text; None if there is no such run."""
    run = runs.run(database, OPERATOR, ident, past=False)
    if run is None:
        return None
    return [line(database, run), *_silent(database, run, now), *_why(database, run, now), *_history(database, run, now)]


def _silent(database: Database, run: Run, now: Micros) -> Iterator[str]:
    """Workers that do not report, of a live run: what is said of sites is as old as their silence."""
    if run.state not in RUN_FINAL:
        for trouble in silent(heard(database), now, now).values():
            yield f"The hub is not well, which comes first: {trouble}."


def _history(database: Database, run: Run, now: Micros) -> Iterator[str]:
    """Of a live run from before the hub's history went back."""
    told = history.read_history(database)
    if run.state in RUN_FINAL or not told.changes or micros(run.created_at) > told.since:
        return
    done, known = history.recovered(database)
    yield (
        f"The hub's history went back {span(now - told.since)} ago ({told.reason}); "
        f"sites that have recovered: {done} of {known}. "
        "What a site reported since the backup it sends again when it recovers."
    )


def _why(database: Database, run: Run, now: Micros) -> Iterator[str]:
    if run.state in RUN_FINAL:
        reason = f"{run.reason or 'no reason given'}. {run.detail}".rstrip()
        seen, told = _as_answer(run), _outs(database, run)
        if (cause := first_cause(seen, told)) is not None:
            names = {seat.site_id: seat.site_name or seat.site_id for task in seen.tasks for seat in task.seats}
            yield f"First of all: {cause.sentence({run.coordinator_site_id: 'its own site', **names})}."
        yield f"It ended {ago(run.ended_at, now)}: {run.state}. {reason}"
        yield from _reasons(run, told)
        return
    yield f"It must end {until(run.deadline_at, now)}, or it fails."
    active = waits_of(_as_answer(run))
    federated = list(matches.why(database, run.id))
    deployed = list(deployments.why(database, run.id, now))
    yield from [*deployed, *federated]
    if deployed:
        return
    if not active and not federated:
        yield "No task is active: it waits for the decider to begin (is it running? see fedyard-hub dead-letters list)."
    for waits in active:
        yield from _task(database, run, waits, now)
    waiting = [task.name for task in run.tasks if task.state == "waiting"]
    if waiting:
        yield f"Tasks that come later: {', '.join(waiting)}."


def _as_answer(run: Run) -> answers.Run:
    """The run as a site reads it."""
    return msgspec.json.decode(msgspec.json.encode(run), type=answers.Run)


def _reasons(run: Run, events: list[Event]) -> Iterator[str]:
    """Why its tasks have failed, and why seats are out of it."""
    told = _told(events)
    for task in run.tasks:
        why = told.get((task.name, None), "")
        if why not in ("", task.reason):  # `run.detail` has the bare reason
            yield f"  task {task.name}: failed in round {task.round}: {why}"
        for seat in task.seats:
            if seat.reason and seat.state in (SeatState.FAILED, SeatState.DROPPED):
                why = told.get((task.name, seat.site_id)) or seat.reason
                yield f"  task {task.name}: {seat.site_name} {seat.state} in round {seat.round}: {why}"


def _outs(database: Database, run: Run) -> list[Event]:
    """The events that say why something is out of it. None are read where nothing is."""
    found: list[Event] = []
    if not any(task.state == TaskRunState.FAILED or any(seat.reason for seat in task.seats) for task in run.tasks):
        return found
    after: str | None = "0"
    while after is not None:
        page = events.of_run(database, OPERATOR, run.id, after=int(after), limit=AT_ONCE)
        after = page.next
        found += [event for event in page.items if event.kind in (TASK_FAILED, *OUT_EVENTS)]
    return found


def _told(outs: list[Event]) -> dict[tuple[str, Id | None], str]:
    """Their newest word: task and site -> why its seat is out, task and None -> why the task failed."""
    return {
        (str(event.facts.get("task", "")), None if event.kind == TASK_FAILED else event.site_id): said_of(event)
        for event in outs
    }


def _task(database: Database, run: Run, waits: Waits, now: Micros) -> Iterator[str]:
    task = _shown(run, waits)
    current = next((each for each in task.rounds if each.number == task.round), None)
    if current is None:
        yield f"Task {task.name}: round {task.round} of {task.spec.rounds} was not opened yet."
        return
    yield (
        f"Task {task.name}, round {current.number} of {task.spec.rounds}: {current.state} since "
        f"{ago(current.stage_at, now)}, deadline {until(current.deadline_at, now)}."
    )
    if waits.coordinator:
        yield f"  waits for the coordinator's model: {_site(database, run.coordinator_site_id, now)}"
        yield from _remedies(database, [run.coordinator_site_id])
        yield "  At the deadline the run fails."
        return
    yield from _seats(database, run, waits, current, now)


def _shown(run: Run, waits: Waits) -> TaskRun:
    return next(task for task in run.tasks if task.seq == waits.task.seq)


def _seats(database: Database, run: Run, waits: Waits, current: Round, now: Micros) -> Iterator[str]:
    task = _shown(run, waits)
    seats = {seat.site_id: seat for seat in task.seats}
    missing, out = ([seats[each.site_id] for each in some] for some in (waits.late, waits.out))
    yield f"  {waits.there} {waits.wanted} of {waits.there + len(missing)}, quorum {current.quorum}"
    begun = []
    for seat in missing:
        holder = views.holding(database, seat.site_id)
        if holder is not None and holder.state in _NOT_BEGUN:
            yield f"  waits for {_seat(seat, now)}; a workload holds it, and has not begun:"
            yield from (f"    {told}" for told in workloads.why(database, holder, now))
            continue
        yield f"  waits for {_seat(seat, now)}; {_site(database, seat.site_id, now)}"
        if not seat.waits_for or _is_away(database, seat.site_id):
            begun.append(seat.site_id)
    if begun:
        yield from _remedies(database, begun)
    yield from (f"  {told}" for told in own_word_remedies(seat.waits_for for seat in missing))
    if missing:
        yield "  At the deadline the round goes on without them if its quorum is there; if not, the run fails."
    told = _told(_outs(database, run)) if out else {}
    for seat in out:
        why = told.get((task.name, seat.site_id)) or seat.reason
        yield f"  out: {_seat(seat, now)}{f', {why}' if why else ''}"


def _remedies(database: Database, waited_for: list[Id]) -> Iterator[str]:
    """What people can do about the sites that a round waits for."""
    states = {site.state for site in (sites.site(database, OPERATOR, ident) for ident in waited_for) if site}
    if SiteState.ONLINE in states:
        yield (
            "  What is online computes, or its task hangs: the log of its agent tells its people which. The hub ends "
            "no hook before the deadline; the coordinator can: fedyard run stop."
        )
    if states - {SiteState.ONLINE}:
        yield "  What is not online does not call: its people look after its agent, which goes on where it was."


def _is_away(database: Database, ident: Id) -> bool:
    site = sites.site(database, OPERATOR, ident)
    return site is not None and site.state != SiteState.ONLINE


def _seat(seat: Seat, now: Micros) -> str:
    waits = f", waits for {seat.waits_for}" if seat.waits_for else ""
    return f"{seat.site_name}: {seat.state} since {ago(seat.state_at, now)}{waits}"


def _site(database: Database, ident: Id, now: Micros) -> str:
    site: Site | None = sites.site(database, OPERATOR, ident)
    if site is None:
        return f"site {ident}, which is gone"
    heard = f"last heard of {ago(site.seen_at, now)}" if site.seen_at else "never heard of"
    return f"site {site.name} is {site.state}, {heard}"
