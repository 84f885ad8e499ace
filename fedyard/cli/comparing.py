"""`fedyard run compare`: runs beside each other; `fedyard run accept`: tasks of its own that others gave to one."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec

from fedyard.actions.comparing import MAX_RUNS, metrics_of
from fedyard.actions.naming import run_named
from fedyard.actions.runs import accept as agree
from fedyard.actions.runs import unknown_tasks
from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder
from fedyard.cli.common import client_of
from fedyard.cli.listing import Listing
from fedyard.wire.answers import Run
from fedyard.wire.command_line import JSON, Command, print_json
from fedyard.wire.comparing import Row, compared


class Compared(msgspec.Struct, frozen=True):
    """For programs. settings, metrics: rows with a value for each run; metrics are those of the last global models."""

    runs: list[dict[str, object]]
    settings: list[dict[str, object]]
    metrics: list[dict[str, object]]


@click.command("compare", cls=Command)
@click.argument("runs", nargs=-1, required=True)
@click.option("--all", "everything", is_flag=True, help="also in what they do not differ")
@JSON
@click.pass_obj
def compare(folder: Folder, runs: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """RUNS beside each other: in what their tasks differ, and what their models measured.

    RUNS: as for the other commands, or after PROJECT/NUMBER numbers alone: study/3 4 5.
    """
    if not 2 <= len(runs) <= MAX_RUNS:
        raise UsageError(f"say 2 to {MAX_RUNS} runs, as in: fedyard run compare study/3 4")
    client = client_of(folder)
    found = [client.run(run_named(client, text).id) for text in _named(runs)]
    rows = [row for row in compared([[task.spec for task in run.tasks] for run in found]) if everything or row.differs]
    measured = metrics_of(found)
    if as_json:
        print_json(_for_programs(found, rows, measured))
        return
    names = [f"run {run.number}" + (f".{run.attempt}" if run.attempt > 1 else "") for run in found]
    table = Listing("", *names)
    table.add_row("state", *(f"{run.state} ({run.reason})" if run.reason else run.state for run in found))
    table.add_row("rounds made", *(", ".join(f"{task.name} {task.round}" for task in run.tasks) for run in found))
    for row in rows:
        table.add_row(row.text, *row.values)
    for (task, metric), values in measured.items():
        table.add_row(f"{task}: {metric}", *("" if value is None else f"{value:.6g}" for value in values))
    table.print()
    if not rows and not everything:
        print("their tasks differ in nothing (--all shows what they have)")


def _named(runs: Sequence[str]) -> list[str]:
    """`study/3 4 5` as `study/3 study/4 study/5`."""
    project, slash, _ = runs[0].rpartition("/")
    return [f"{project}/{text}" if slash and text.isdecimal() else text for text in runs]


def _for_programs(
    runs: Sequence[Run], rows: Sequence[Row], measured: dict[tuple[str, str], list[float | None]]
) -> Compared:
    return Compared(
        [{"id": run.id, "number": run.number, "attempt": run.attempt, "state": run.state} for run in runs],
        [{"task": row.task, "name": row.name, "parameter": row.parameter, "values": row.values} for row in rows],
        [{"task": task, "name": name, "values": values} for (task, name), values in measured.items()],
    )


@click.command("accept", cls=Command)
@click.argument("run")
@click.option("--show", is_flag=True, help="only say what it has that this site did not give")
@click.pass_obj
def accept(folder: Folder, run: str, show: bool) -> None:
    """What a RUN has of its own is what this site's people want, whoever started it.

    For the coordinator, whose agent takes part in no other tasks than those that its people gave. RUN: as elsewhere.
    """
    client = client_of(folder)
    found = client.run(run_named(client, run).id)
    differing = unknown_tasks(folder, client, found)
    if not differing:
        print(f"run {run}: its tasks are those that this site gave")
        return
    for one in differing:
        print(f"task {one.task}: " + ("; ".join(one.changed) or "as the hub shows the project's now"))
        print(f"  all of it: {one.whole}")
    if show:
        return
    agree(folder, found)
    over = "" if not found.finished else f"; it is over: fedyard run restart {run}"
    print(f"run {run}: accepted, this site's agent takes part in such tasks from now on{over}")
