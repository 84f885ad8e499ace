"""Runs: a list; one of them as rounds by sites, its metrics as curves, its logs opened; stopped and begun again."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fedyard.actions.logs import piece_opened
from fedyard.actions.site import courier_of
from fedyard.agent.state import Egress
from fedyard.client.client import Client
from fedyard.look.drawing.matrix import Cell, Heading, matrix
from fedyard.portal.desk import Answer, Done, Page, Unchanged, Visit
from fedyard.sealed.errors import SealError
from fedyard.wire.answers import Event, Round, Run, Submission, TaskRun
from fedyard.wire.shown import MAX_LINE, shown

SHOWN = 200
"""Of a list of runs, and of a run's events."""
HOLD_S = 20
"""How long a part of the page waits at the hub for something new."""
STRAGGLES = 1.5
"""A site is a straggler whose update took so many times the median of its round."""
PIECES = 50
_OVER = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Chart:
    """Curves of one metric over rounds. names: whose. rows: (round, a value for each name or None)."""

    id: str
    title: str
    names: Sequence[str]
    rows: Sequence[tuple[int, Sequence[float | None]]]


@dataclass(frozen=True)
class TaskShown:
    task: TaskRun
    matrix: str | None
    charts: Sequence[Chart]
    waits: str


@dataclass(frozen=True)
class RunShown:
    """One run. own: this site coordinates it. left: what this site has sent for it."""

    run: Run
    project: str
    own: bool
    tasks: Sequence[TaskShown]
    left: Sequence[Egress]
    names: Mapping[str, str]

    @property
    def sentence(self) -> str:
        run = self.run
        if run.finished:
            why = f": {run.reason.replace('_', ' ')}" if run.reason else ""
            return f"Run {run.number} of {self.project}, attempt {run.attempt}, has {run.state}{why}."
        waits = "; ".join(one.waits for one in self.tasks if one.waits)
        return f"Run {run.number} of {self.project}, attempt {run.attempt}, is {run.state}" + (
            f"; {waits}." if waits else "."
        )


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
    events = client.events(run.id)
    return Page(
        "run.html", {"shown": _shown(visit, client, run), "events": events[-SHOWN:], "event_words": event_words}
    )


def live(visit: Visit) -> Answer:
    """The part that renews itself, once the run has a newer version."""
    client, after = visit.desk.client(), visit.query.get("after", "")
    version = int(after) if after.isdecimal() and len(after) < 18 else 0
    run = client.run(visit.path["run_id"], after=version, wait=HOLD_S)
    if run.version <= version and not run.finished:
        return Unchanged()
    return Page("run_live.html", {"shown": _shown(visit, client, run)})


def _shown(visit: Visit, client: Client, run: Run) -> RunShown:
    desk = visit.desk
    names = {
        **{seat.site_id: seat.site_name or seat.site_id for task in run.tasks for seat in task.seats},
        **desk.names(),
    }
    left = desk.state().egress.latest(SHOWN, run_id=run.id)
    project = desk.projects().get(run.project_id) or client.project(run.project_id).name
    own_id = desk.folder.site_id()
    return RunShown(
        run=run,
        project=project,
        own=run.coordinator_site_id == own_id,
        tasks=[task_shown(task, names, left, own_id) for task in run.tasks],
        left=left[:10],
        names=names,
    )


def task_shown(task: TaskRun, names: Mapping[str, str], left: Sequence[Egress], own_id: str) -> TaskShown:
    return TaskShown(task, rounds_by_sites(task, names), charts_of(task, names, left, own_id), waits_for(task, names))


def rounds_by_sites(task: TaskRun, names: Mapping[str, str]) -> str | None:
    """Each round with what each site did in it, and how long that took; None before the first round."""
    if not task.rounds:
        return None
    sites = sorted(
        {*(seat.site_id for seat in task.seats), *(one.site_id for each in task.rounds for one in each.submissions)},
        key=lambda site: names.get(site, site),
    )
    rows = []
    for each in reversed(task.rounds):
        seconds = {one.site_id: took for one in each.submissions if (took := _took(one)) is not None}
        slow = straggler(seconds)
        cells = [_cell(task, each, site, seconds.get(site), straggles=site == slow) for site in sites]
        rows.append((Heading(str(each.number), state=each.state), cells))
    return matrix(
        f"{task.name}: rounds by sites",
        [Heading(names.get(site, site)) for site in sites],
        rows,
        corner="round",
        more="seconds from the call to train until the update was there; the newest round first",
    )


def straggler(seconds: Mapping[str, float]) -> str:
    """The slowest of at least two, if it took far longer than most; empty if none did."""
    if len(seconds) < 2:
        return ""
    slowest = max(seconds, key=lambda site: seconds[site])
    others = [took for site, took in seconds.items() if site != slowest]
    return slowest if seconds[slowest] > STRAGGLES * statistics.median(others) else ""


def _cell(task: TaskRun, each: Round, site: str, took: float | None, *, straggles: bool) -> Cell | None:
    submission = next((one for one in each.submissions if one.site_id == site), None)
    if submission is not None:
        if submission.left_out:
            return Cell("failed", "left out", submission.left_out)
        about = f"missing in the model: {submission.missing_receipt}" if submission.missing_receipt else "submitted"
        return Cell("submitted", "" if took is None else f"{took:.3g} s", about, straggler=straggles)
    seat = next((one for one in task.seats if one.site_id == site), None)
    if seat is None:
        return None
    if seat.round == each.number and each.state not in _OVER:
        return Cell(seat.state, "", seat.reason)
    if seat.round <= each.number and seat.state in ("failed", "dropped"):
        return Cell(seat.state, "", seat.reason)
    return None


def charts_of(task: TaskRun, names: Mapping[str, str], left: Sequence[Egress], own_id: str) -> list[Chart]:
    """A chart for each metric: the global model's, this site's own, and those of others that this site may see."""
    series: dict[str, dict[str, dict[int, float]]] = {}
    for each in task.rounds:
        for metric, value in each.metrics.items():
            series.setdefault(metric, {}).setdefault("global model", {})[each.number] = value
        for one in each.submissions:
            for metric, value in one.metrics.items():
                series.setdefault(metric, {}).setdefault(names.get(one.site_id, one.site_id), {})[each.number] = value
    own = names.get(own_id, own_id)
    for row in left:
        if row.kind == "update" and row.task_seq == task.seq:
            for metric, value in row.metrics.items():
                series.setdefault(metric, {}).setdefault(own, {}).setdefault(row.round, value)
    charts = []
    for place, (metric, lines) in enumerate(sorted(series.items())):
        rounds = sorted({number for line in lines.values() for number in line})
        labels = sorted(lines, key=lambda name: (name != "global model", name != own, name))
        rows = [(number, [lines[name].get(number) for name in labels]) for number in rounds]
        charts.append(Chart(f"curves-{task.seq}-{place}", metric.replace("_", " "), labels, rows))
    return charts


def waits_for(task: TaskRun, names: Mapping[str, str]) -> str:
    """Why a task does not go on, in words; empty if it is over or has not begun."""
    if task.state in ("succeeded", "failed", "cancelled", "skipped") or not task.rounds:
        return ""
    each = task.rounds[-1]
    if each.state == "aggregating":
        return f"{task.name} waits for its coordinator to make the model of round {each.number}"
    out = ("submitted", "failed", "dropped", "done", "cancelled")
    waiting = sorted(names.get(one.site_id, one.site_id) for one in task.seats if one.state not in out)
    if not waiting or each.state in _OVER:
        return ""
    who = ", ".join(waiting[:3]) + (f" and {len(waiting) - 3} more" if waiting[3:] else "")
    return f"{task.name}, round {each.number}, waits for {who}"


def event_words(event: Event, names: Mapping[str, str]) -> str:
    """What an event says besides its kind."""
    facts = {name: value for name, value in event.facts.items() if value not in ("", None, [], {})}
    said = ", ".join(f"{name.replace('_', ' ')} {_short(value, names)}" for name, value in facts.items())
    return shown(said, 500)


def _short(value: object, names: Mapping[str, str]) -> str:
    return names.get(value, value) if isinstance(value, str) else str(value)


def _took(one: Submission) -> float | None:
    if one.started_at is None or one.submitted_at is None:
        return None
    return (one.submitted_at - one.started_at).total_seconds()


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
