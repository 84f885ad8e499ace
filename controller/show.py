"""How people see a run at a terminal: rich tables, plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.table import Table

from controller.answers import Run, TaskRun

_NOTHING = "·"


@dataclass(frozen=True)
class Line:
    """One site in one round. seconds, local and shared are None where they are not known."""

    task: str
    round: int
    site: str
    state: str
    seconds: float | None
    local: float | None
    shared: float | None


def lines_of(run: Run, names: Mapping[str, str]) -> list[Line]:
    """A line for each round and site, as far as the caller may see them; `names` of sites by id.

    local: accuracy of the site's own model before averaging; shared: of the global model that the round made.
    """
    return [line for task in run.tasks for line in _of_task(task, names)]


def _of_task(task: TaskRun, names: Mapping[str, str]) -> Iterator[Line]:
    seats = {seat.site_id: seat for seat in task.seats}
    for here in task.rounds:
        submissions = {s.site_id: s for s in here.submissions}
        present = {s.site_id for s in task.seats if s.round == here.number}
        shared = here.metrics.get("accuracy")
        for site_id in sorted(submissions.keys() | present, key=lambda s: names.get(s, s)):
            submission = submissions.get(site_id)
            metrics = submission.metrics if submission else {}
            seat = seats.get(site_id)
            moved_on = seat is None or seat.round != here.number or here.state == "completed"
            yield Line(
                task=task.name,
                round=here.number,
                site=names.get(site_id) or (seat.site_name if seat and seat.site_name else site_id),
                state=here.state if moved_on or seat is None else seat.state,
                seconds=metrics.get("seconds"),
                local=metrics.get("local_accuracy"),
                shared=shared,
            )


def run_table(run: Run, names: Mapping[str, str]) -> Table:
    """The whole run as a table by round and site."""
    title = f"run {run.number}, attempt {run.attempt}: {run.state}" + (f" ({run.reason})" if run.reason else "")
    table = Table(title=title, title_justify="left")
    for heading in ("task", "round", "site", "state"):
        table.add_column(heading)
    for heading in ("seconds", "local accuracy", "global accuracy"):
        table.add_column(heading, justify="right")
    last: tuple[str, int] | None = None
    for line in lines_of(run, names):
        first = (line.task, line.round) != last
        if first and last is not None:
            table.add_section()
        last = (line.task, line.round)
        table.add_row(
            line.task if first else "",
            str(line.round) if first else "",
            line.site,
            line.state,
            *(_NOTHING if value is None else f"{value:.3f}" for value in (line.seconds, line.local)),
            (_NOTHING if line.shared is None else f"{line.shared:.3f}") if first else "",
        )
    return table


def plain(line: Line) -> str:
    """A line for logs and dumb terminals."""
    parts = [f"{line.task} round {line.round:2d}  {line.site:12s} {line.state:12s}"]
    for name, value in (("seconds", line.seconds), ("local", line.local), ("global", line.shared)):
        if value is not None:
            parts.append(f"{name} {value:.3f}")
    return "  ".join(parts)
