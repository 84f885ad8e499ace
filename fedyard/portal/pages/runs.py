"""Runs: a list; one of them as rounds by sites, its metrics as curves, its logs opened; stopped and begun again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import msgspec

from fedyard.actions.logs import piece_opened
from fedyard.actions.runs import Differing, differing_tasks
from fedyard.actions.runs import accept as agree
from fedyard.actions.site import UsageError, courier_of
from fedyard.agent.contract import task_digest
from fedyard.agent.state import Egress
from fedyard.client.client import Client
from fedyard.look.runs import drawn
from fedyard.look.runs.shown import RunShown, whys_of
from fedyard.look.runs.shown import shown as run_shown
from fedyard.portal.desk import Answer, Done, Page, Unchanged, Visit
from fedyard.sealed.errors import SealError
from fedyard.wire.answers import Event, Round, Run, Submission, TaskRun
from fedyard.wire.causes import first_cause
from fedyard.wire.comparing import Row, run_settings
from fedyard.wire.shown import MAX_LINE, shown
from fedyard.wire.times import SECOND

SHOWN = 200
"""Of a list of runs, and of a run's events."""
HOLD_S = 20
"""How long a part of the page waits at the hub for something new."""
PIECES = 50


@dataclass(frozen=True)
class RunHere:
    """One run as this site sees it. own: this site coordinates it. left: what this site has sent for it.

    settings: what its tasks have, beside what the project has now. unknown: tasks that this site, which coordinates it,
    has not given.
    """

    run: Run
    project: str
    own: bool
    seen: RunShown
    left: Sequence[Egress]
    names: Mapping[str, str]
    settings: Sequence[Row] = ()
    unknown: Sequence[Differing] = ()


@dataclass(frozen=True)
class LogLine:
    """A piece of a log, opened, or why it is not shown."""

    at: int | None
    site: str
    task_seq: int
    round: int | None
    text: str
    problem: str = ""


def index(visit: Visit) -> Answer:
    desk = visit.desk
    state = visit.query.get("state", "")
    found, trouble = desk.asked(lambda client: (client.runs(state=state or None), client.projects()))
    runs, projects = found if found is not None else ([], [])
    names = {**desk.projects(), **{one.id: one.name for one in projects}}
    runs = sorted(runs, key=lambda run: (run.finished, -(run.created_at.timestamp() if run.created_at else 0)))
    return Page(
        "runs.html",
        {"runs": runs[:SHOWN], "more": max(0, len(runs) - SHOWN), "names": names, "trouble": trouble, "state": state},
    )


def show(visit: Visit) -> Answer:
    client = visit.desk.client()
    run = client.run(visit.path["run_id"])
    events = client.newest_events(run.id)
    return Page(
        "run.html",
        {"shown": _shown(visit, client, run, events), "events": events, "event_words": event_words, "drawn": drawn},
    )


def live(visit: Visit) -> Answer:
    """The part that renews itself, once the run has a newer version."""
    client, after = visit.desk.client(), visit.query.get("after", "")
    version = int(after) if after.isdecimal() and len(after) < 18 else 0
    run = client.run(visit.path["run_id"], after=version, wait=HOLD_S)
    if run.version <= version and not run.finished:
        return Unchanged()
    return Page("run_live.html", {"shown": _shown(visit, client, run, client.newest_events(run.id)), "drawn": drawn})


def _shown(visit: Visit, client: Client, run: Run, events: Sequence[Event]) -> RunHere:
    desk = visit.desk
    names = desk.names()
    left = desk.state().egress.latest(SHOWN, run_id=run.id)
    project = client.project(run.project_id)
    here = run_here(run, project.name, names, events, left, desk.folder.site_id(), desk.now())
    return replace(
        here,
        settings=run_settings([task.spec for task in run.tasks], project.tasks),
        unknown=differing_tasks(run, project, desk.state().runs.own_tasks(run.project_id)) if here.own else [],
    )


def run_here(
    run: Run,
    project: str,
    names: Mapping[str, str],
    events: Sequence[Event],
    left: Sequence[Egress],
    own_id: str,
    now: int,
) -> RunHere:
    """events: the newest first. left: what has left this site for the run. now: microseconds."""
    own = run.coordinator_site_id == own_id
    seen = run_shown(
        run,
        names,
        now=datetime.fromtimestamp(now / SECOND, UTC),
        sites={},
        whys=whys_of(events),
        whole=own,
        cause=first_cause(run, events),
        measured=with_own(run, left, own_id),
    )
    return RunHere(run=run, project=project, own=own, seen=seen, left=left[:10], names=seen.names)


def with_own(run: Run, left: Sequence[Egress], own_id: str) -> Run:
    """The same with what this site has on record of its own metrics, where the hub does not show them."""
    mine = {(row.task_seq, row.round): row.metrics for row in left if row.kind == "update" and row.metrics}
    return msgspec.structs.replace(run, tasks=[_with_own(task, mine, own_id) for task in run.tasks])


def _with_own(task: TaskRun, mine: Mapping[tuple[int, int], Mapping[str, float]], own_id: str) -> TaskRun:
    def round_with(here: Round) -> Round:
        metrics = mine.get((task.seq, here.number))
        if metrics is None or any(one.site_id == own_id for one in here.submissions):
            return here
        added = Submission(site_id=own_id, metrics=dict(metrics))
        return msgspec.structs.replace(here, submissions=[*here.submissions, added])

    return msgspec.structs.replace(task, rounds=[round_with(here) for here in task.rounds])


def event_words(event: Event, names: Mapping[str, str]) -> str:
    """What an event says besides its kind."""
    facts = {name: value for name, value in event.facts.items() if value not in ("", None, [], {})}
    said = ", ".join(f"{name.replace('_', ' ')} {_short(value, names)}" for name, value in facts.items())
    return shown(said, 500)


def _short(value: object, names: Mapping[str, str]) -> str:
    return names.get(value, value) if isinstance(value, str) else str(value)


# logs


def logs(visit: Visit) -> Answer:
    """What tasks have said, opened here: all of it that this site may read."""
    desk, client = visit.desk, visit.desk.client()
    run = client.run(visit.path["run_id"])
    courier, names = courier_of(desk.folder, client, desk.state()), desk.names()
    after = visit.query.get("after", "")
    place = int(after) if after.isdecimal() and len(after) < 18 else 0
    pieces = client.logs(run.id, site_id=visit.query.get("site") or None, after=place, limit=PIECES)
    lines = []
    for piece in pieces:
        where = (names.get(piece.site_id, piece.site_id), piece.task_seq, piece.round)
        if piece.body is None:
            lines.append(LogLine(None, *where, "", "it is not for this site"))
            continue
        try:
            opened = piece_opened(courier, run, piece)
        except SealError as error:
            lines.append(LogLine(None, *where, "", f"{error.slug}: {error}"))
        else:
            lines.append(LogLine(opened.at, *where, shown(opened.text, MAX_LINE, lines=True)))
    more = pieces[-1].at if len(pieces) == PIECES else None
    project = desk.projects().get(run.project_id, run.project_id)
    return Page("logs.html", {"run": run, "lines": lines, "next": more, "project": project})


# actions


def stop(visit: Visit) -> Answer:
    changed = visit.desk.client().stop_run(visit.path["run_id"], visit.form.value("reason"), key=visit.key)
    return Done(f"/runs/{changed.id}", f"The run is {changed.state}.")


def restart(visit: Visit) -> Answer:
    start_from: Literal["reached", "start"] = "start" if visit.form.value("from") == "start" else "reached"
    run = visit.desk.client().restart_run(visit.path["run_id"], start_from, key=visit.key)
    return Done(f"/runs/{run.id}", f"Attempt {run.attempt} of run {run.number} is {run.state}.")


def accept(visit: Visit) -> Answer:
    """As `fedyard run accept`: what the run has of its own is what this site's people want."""
    desk, client = visit.desk, visit.desk.client()
    run = client.run(visit.path["run_id"])
    if run.coordinator_site_id != desk.folder.site_id():
        raise UsageError("this run is coordinated by another site; its tasks are that site's to accept")
    shown_then = set(visit.form.all("digest"))
    if {task_digest(task.spec) for task in run.tasks} - desk.state().runs.own_tasks(run.project_id).keys() - shown_then:
        raise UsageError("the run shows other tasks than it did when this page was made: look at them again")
    agree(desk.folder, run)
    over = " Restart it: it has ended." if run.finished else ""
    return Done(f"/runs/{run.id}", f"This site's agent takes part in such tasks from now on.{over}")
