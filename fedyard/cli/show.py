"""How people see a run at a terminal: a rich table that moves, plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fedyard.actions.why import Why, requests_lines, waiting_lines, why_of
from fedyard.cli.shown_table import ShownTable
from fedyard.client.client import MAX_LONG_POLL_S, Client
from fedyard.look.runs.curves import measured_of
from fedyard.look.runs.shown import unscored
from fedyard.look.runs.words import code_lines
from fedyard.wire.answers import Round, Run, Submission, TaskRun
from fedyard.wire.scoring import OF_SCORES
from fedyard.wire.shown import MAX_LINE, shown

_NOTHING = "·"
_ROUND_OVER = ("completed", "failed", "cancelled")
_WORTH_A_LINE = ("submitted", "scored", "failed", "dropped", "out")
_FRAME_LINES = 10
"""Lines of a terminal that the table's frame, its title, what it waits for and the prompt take."""


@dataclass(frozen=True)
class Line:
    """One site in one round. seconds: from the call to train until the update had arrived, None if it is not known.

    own: what the site measured; shared: what was measured of the global model that the round made.
    """

    task: str
    round: int
    stage: str
    site: str
    state: str
    seconds: float | None
    own: Mapping[str, float]
    shared: Mapping[str, float]


def lines_of(run: Run, names: Mapping[str, str]) -> list[Line]:
    """A line for each round and site, as far as the caller may see them; `names` of sites by id."""
    return [line for task in run.tasks for line in _of_task(task, names)]


def _of_task(task: TaskRun, names: Mapping[str, str]) -> Iterator[Line]:
    for here in task.rounds:
        submissions = {s.site_id: s for s in here.submissions}
        states = _states(task, here)
        scored = {one.site_id: {OF_SCORES + name: value for name, value in one.metrics.items()} for one in here.scores}
        for site_id in sorted(states, key=lambda s: names.get(s, s)):
            submission = submissions.get(site_id)
            yield Line(
                task=task.name,
                round=here.number,
                stage=here.state,
                site=names.get(site_id, site_id),
                state=states[site_id],
                seconds=None if submission is None else _seconds(submission),
                own={**({} if submission is None else submission.metrics), **scored.get(site_id, {})},
                shared=measured_of(here),
            )


def _seconds(submission: Submission) -> float | None:
    if submission.started_at is None or submission.submitted_at is None:
        return None
    return (submission.submitted_at - submission.started_at).total_seconds()


def _states(task: TaskRun, here: Round) -> dict[str, str]:
    """Site id -> its seat's state in this round; a seat that has moved on had submitted, or was out of it."""
    submitted = {s.site_id: "submitted" for s in here.submissions}
    live = {s.site_id: s.state for s in task.seats if s.round == here.number and here.state not in _ROUND_OVER}
    stayed = {s.site_id: "out" for s in task.seats if s.round <= here.number and here.state in _ROUND_OVER}
    scored = {s.site_id: "scored" for s in here.scores}
    return {**stayed, **scored, **submitted, **live}


def print_run(run: Run, why: Why, names: Mapping[str, str], console: Console) -> None:
    """The run as it is; above it what it waits for or why it has failed, below it what else went wrong."""
    _print([why.sentence], console)
    console.print(run_table(run, names))
    codes = [line for task in run.tasks for line in code_lines(task, names)]
    _print([*_unscored(run, names), *_best(run), *codes], console)
    _print(why.lines, console)


def _unscored(run: Run, names: Mapping[str, str]) -> Iterator[str]:
    """Sites that had no score last time, and why."""
    for task in run.tasks:
        for number, site_id, why in unscored(task):
            yield f"{task.name} round {number}: {names.get(site_id, site_id)} has no score: {why}"


def _best(run: Run) -> Iterator[str]:
    """The best model of each task that has a metric to tell."""
    for task in run.tasks:
        if task.best is not None and task.spec.best is not None:
            yield (
                f"{task.name}: the best model is version {task.best.model_version}, of round {task.best.round}: "
                f"{task.spec.best.metric} {task.best.value:.6g}"
            )


def _print(lines: Iterable[str], console: Console) -> None:
    for line in lines:
        console.print(shown(line, MAX_LINE), highlight=False, soft_wrap=True, markup=False)


def watch(client: Client, run_id: str, names: Mapping[str, str], console: Console, *, site_id: str = "") -> Run:
    """Show a run as it moves, by long polls on its version; the finished run. site_id: of who looks."""
    run = client.run(run_id)
    asked = why_of(client, run, names, site_id).requests_waiting
    if not console.is_terminal:
        return _told(client, run, names, console, site_id, asked)
    room = max(console.height - _FRAME_LINES, 6)
    with Live(_moving(run, names, site_id, asked, room), console=console, auto_refresh=False, transient=True) as live:
        while not run.finished:
            run = client.run(run_id, after=run.version, wait=MAX_LONG_POLL_S)
            live.update(_moving(run, names, site_id, asked, room), refresh=True)
    print_run(run, why_of(client, run, names, site_id), names, console)
    return run


def _moving(run: Run, names: Mapping[str, str], site_id: str, asked: int, room: int) -> Group:
    """The table, and below it whom the run waits for and until when."""
    below = [*waiting_lines(run, names, site_id).values(), *requests_lines(asked)]
    return Group(run_table(run, names, room), *(Text(shown(line, MAX_LINE)) for line in below))


def _told(client: Client, run: Run, names: Mapping[str, str], console: Console, site_id: str, asked: int) -> Run:
    """The same for logs and dumb terminals: one line for what has come of a seat, one for the end of a round, one for
    what the run begins to wait for."""
    said: set[object] = set()
    _print(requests_lines(asked), console)
    while True:
        told: list[tuple[object, str]] = [(text, text) for text in _sentences(run, names)]
        told += waiting_lines(run, names, site_id).items()
        for what, text in told:
            if what not in said:
                said.add(what)
                _print([text], console)
        if run.finished:
            reason = f" ({run.reason})" if run.reason else ""
            _print([f"run {run.number}, attempt {run.attempt}: {run.state}{reason}"], console)
            why = why_of(client, run, names, site_id)
            _print([why.sentence, *why.lines] if run.state != "succeeded" else why.lines, console)
            return run
        before = run.version
        run = client.run(run.id, after=before, wait=MAX_LONG_POLL_S)
        if run.version == before:  # nothing has come for so long: who is waited for now?
            said -= {*waiting_lines(run, names, site_id)}


def _sentences(run: Run, names: Mapping[str, str]) -> Iterator[str]:
    lines = lines_of(run, names)
    for number, line in enumerate(lines):
        place = f"{line.task} round {line.round:2d}"
        if line.state in _WORTH_A_LINE:
            took = "" if line.seconds is None else f"  {line.seconds:.3f} s"
            yield f"{place}  {line.site:12s} {line.state:10s}{took}{_after(line.own)}".rstrip()
        last = number + 1 == len(lines) or (lines[number + 1].task, lines[number + 1].round) != (line.task, line.round)
        if last and line.stage in _ROUND_OVER:
            yield f"{place}  {'all':12s} {line.stage:10s}{_after(line.shared)}".rstrip()


def _after(metrics: Mapping[str, float]) -> str:
    return f"  {measured(metrics)}" if metrics else ""


def measured(metrics: Mapping[str, float]) -> str:
    """Every metric, by name."""
    return ", ".join(f"{name} {value:.6g}" for name, value in sorted(metrics.items()))


def run_table(run: Run, names: Mapping[str, str], at_most: int | None = None) -> Table:
    """The run as a table by round and site; the last `at_most` lines of it."""
    title = f"run {run.number}, attempt {run.attempt}: {run.state}" + (f" ({run.reason})" if run.reason else "")
    table = ShownTable(title=Text(shown(title)), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for heading in ("task", "round", "stage", "site", "state"):
        table.add_column(heading, no_wrap=heading != "site", overflow="fold")
    table.add_column("seconds", justify="right", no_wrap=True)
    for heading in ("measured by the site", "measured of the model"):
        table.add_column(heading, overflow="fold")
    last: tuple[str, int] | None = None
    for line in lines_of(run, names)[-(at_most or 0) :]:
        first = (line.task, line.round) != last
        last = (line.task, line.round)
        table.add_row(
            *((line.task, str(line.round), line.stage) if first else ("", "", "")),
            line.site,
            line.state,
            _NOTHING if line.seconds is None else f"{line.seconds:.3f}",
            measured(line.own) or _NOTHING,
            measured(line.shared) if first else "",
        )
    return table
