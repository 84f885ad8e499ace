"""How people see a run at a terminal: a rich table that moves, plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fedyard.cli.shown_table import ShownTable
from fedyard.client.client import MAX_LONG_POLL_S, Client
from fedyard.wire.answers import Round, Run, Submission, TaskRun
from fedyard.wire.shown import MAX_LINE, shown

_NOTHING = "·"
_ROUND_OVER = ("completed", "failed", "cancelled")
_WORTH_A_LINE = ("submitted", "failed", "dropped", "out")
_OUT = ("seat_failed", "seat_dropped", "seat_left_out")
_TASK_FAILED = "task_failed"
_FRAME_LINES = 7
"""Lines of a terminal that the table's frame, its title and the prompt take."""


@dataclass(frozen=True)
class Line:
    """One site in one round. seconds, local and shared are None where they are not known.

    seconds: from the call to train until the update had arrived.
    local: accuracy of the site's own model before averaging; shared: of the global model that the round made.
    """

    task: str
    round: int
    stage: str
    site: str
    state: str
    seconds: float | None
    local: float | None
    shared: float | None


def lines_of(run: Run, names: Mapping[str, str]) -> list[Line]:
    """A line for each round and site, as far as the caller may see them; `names` of sites by id."""
    return [line for task in run.tasks for line in _of_task(task, names)]


def _of_task(task: TaskRun, names: Mapping[str, str]) -> Iterator[Line]:
    for here in task.rounds:
        submissions = {s.site_id: s for s in here.submissions}
        states = _states(task, here)
        for site_id in sorted(states, key=lambda s: names.get(s, s)):
            submission = submissions.get(site_id)
            yield Line(
                task=task.name,
                round=here.number,
                stage=here.state,
                site=names.get(site_id, site_id),
                state=states[site_id],
                seconds=None if submission is None else _seconds(submission),
                local=None if submission is None else submission.metrics.get("local_accuracy"),
                shared=here.metrics.get("accuracy"),
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
    return {**stayed, **submitted, **live}


def reasons_of(client: Client, run: Run) -> dict[tuple[str, str | None], str]:
    """Task and site -> why its seat is out of the run; task and None -> why the task has failed.

    As far as the caller may see it; by the run's events, which alone have the sentences.
    """
    found: dict[tuple[str, str | None], str] = {}
    if not any(task.state == "failed" or any(seat.reason for seat in task.seats) for task in run.tasks):
        return found
    after = 0
    while events := client.events(run.id, after=after):
        after = events[-1].seq
        for event in events:
            if event.kind == _TASK_FAILED or (event.kind in _OUT and event.site_id is not None):
                said = [str(event.facts[name]) for name in ("reason", "detail") if event.facts.get(name)]
                found[str(event.facts.get("task", "")), event.site_id] = ": ".join(said)
    return found


def print_run(client: Client, run: Run, names: Mapping[str, str], console: Console) -> None:
    """The run as it is, and below it why it, and seats of it, have failed."""
    console.print(run_table(run, names))
    _print_reasons(client, run, names, console)


def _print_reasons(client: Client, run: Run, names: Mapping[str, str], console: Console) -> None:
    whys = reasons_of(client, run)
    lines = [run.detail] if run.detail else []
    for task in run.tasks:
        why = whys.get((task.name, None), "")
        if why not in ("", task.reason):  # `run.detail` has the bare reason
            lines.append(f"{task.name}: failed in round {task.round}: {why}")
        for seat in sorted(task.seats, key=lambda seat: names.get(seat.site_id, seat.site_id)):
            if seat.reason:
                why = whys.get((task.name, seat.site_id)) or seat.reason
                name = names.get(seat.site_id, seat.site_id)
                lines.append(f"{task.name}: {name} {seat.state} in round {seat.round}: {why}")
    for line in lines:
        console.print(shown(line, MAX_LINE), highlight=False, soft_wrap=True, markup=False)


def watch(client: Client, run_id: str, names: Mapping[str, str], console: Console) -> Run:
    """Show a run as it moves, by long polls on its version; the finished run."""
    run = client.run(run_id)
    if not console.is_terminal:
        return _told(client, run, names, console)
    shown = max(console.height - _FRAME_LINES, 6)
    with Live(run_table(run, names, shown), console=console, auto_refresh=False, transient=True) as live:
        while not run.finished:
            run = client.run(run_id, after=run.version, wait=MAX_LONG_POLL_S)
            live.update(run_table(run, names, shown), refresh=True)
    print_run(client, run, names, console)
    return run


def _told(client: Client, run: Run, names: Mapping[str, str], console: Console) -> Run:
    """The same for logs and dumb terminals: one line for what has come of a seat, one for the end of a round."""
    said: set[str] = set()
    while True:
        for text in _sentences(run, names):
            if text not in said:
                said.add(text)
                console.print(shown(text), highlight=False, soft_wrap=True, markup=False)
        if run.finished:
            reason = f" ({run.reason})" if run.reason else ""
            console.print(
                shown(f"run {run.number}, attempt {run.attempt}: {run.state}{reason}"), highlight=False, markup=False
            )
            _print_reasons(client, run, names, console)
            return run
        run = client.run(run.id, after=run.version, wait=MAX_LONG_POLL_S)


def _sentences(run: Run, names: Mapping[str, str]) -> Iterator[str]:
    lines = lines_of(run, names)
    for number, line in enumerate(lines):
        place = f"{line.task} round {line.round:2d}"
        if line.state in _WORTH_A_LINE:
            numbers = _numbers(("seconds", line.seconds), ("local accuracy", line.local))
            yield f"{place}  {line.site:12s} {line.state:10s}{numbers}".rstrip()
        last = number + 1 == len(lines) or (lines[number + 1].task, lines[number + 1].round) != (line.task, line.round)
        if last and line.stage in _ROUND_OVER:
            yield f"{place}  {'all':12s} {line.stage:10s}{_numbers(('global accuracy', line.shared))}".rstrip()


def _numbers(*named: tuple[str, float | None]) -> str:
    return "".join(f"  {name} {value:.3f}" for name, value in named if value is not None)


def run_table(run: Run, names: Mapping[str, str], at_most: int | None = None) -> Table:
    """The run as a table by round and site; the last `at_most` lines of it."""
    title = f"run {run.number}, attempt {run.attempt}: {run.state}" + (f" ({run.reason})" if run.reason else "")
    table = ShownTable(title=Text(shown(title)), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for heading in ("task", "round", "stage", "site", "state"):
        table.add_column(heading, no_wrap=heading != "site", overflow="fold")
    for heading in ("seconds", "local accuracy", "global accuracy"):
        table.add_column(heading, justify="right", min_width=8)
    last: tuple[str, int] | None = None
    for line in lines_of(run, names)[-(at_most or 0) :]:
        first = (line.task, line.round) != last
        last = (line.task, line.round)
        table.add_row(
            *((line.task, str(line.round), line.stage) if first else ("", "", "")),
            line.site,
            line.state,
            _number(line.seconds),
            _number(line.local),
            _number(line.shared) if first else "",
        )
    return table


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f}"
