"""fedyard-hub runs list, workloads list, and why."""

from __future__ import annotations

from pathlib import Path

import click

from config.clock import SystemClock
from domain.states import WorkloadState
from fedyard.wire.command_line import JSON, Command, Group, print_json
from ops import workloads
from ops.cli.asked import Unfit, database_of
from ops.runs import line, listed, named
from ops.runs import why as reasons


@click.command("list", cls=Command)
@click.option("--state", type=click.Choice(("created", "running", "succeeded", "failed", "cancelled")))
@JSON
@click.pass_obj
def list_runs(data: Path, state: str | None, as_json: bool) -> None:
    """All of them, or those in one state."""
    database = database_of(data)
    found = listed(database, state=state)
    if as_json:
        print_json(found)
        return
    for run in found:
        print(line(database, run))


@click.command("list", cls=Command)
@click.option("--state", type=click.Choice(tuple(one.value for one in WorkloadState)), help="only those in this state")
@JSON
@click.pass_obj
def list_workloads(data: Path, state: str | None, as_json: bool) -> None:
    """All of them, or those in one state: id, project and name, where, state and why, attempt, since when."""
    database = database_of(data)
    found = workloads.listed(database, state=state)
    if as_json:
        print_json(found)
        return
    for one in found:
        print(workloads.line(database, one))


@click.command("why", cls=Command)
@click.argument("run")
@JSON
@click.pass_obj
def why(data: Path, run: str, as_json: bool) -> None:
    """What a RUN waits for, or a workload.

    RUN: PROJECT/NUMBER (the run's, or a deployment's), the run's id, or how that begins. Of a workload:
    PROJECT/NAME, or its id.
    """
    database = database_of(data)
    found = named(database, run)
    if len(found) > 1:
        which = "; ".join(line(database, one) for one in found)
        raise Unfit(f"{run} may mean each of {len(found)} runs, so say more of its id: {which}")
    now = SystemClock().now()
    lines = reasons(database, found[0].id, now) if found else None
    if lines is None and (workload := workloads.named(database, run)) is not None:
        lines = list(workloads.why(database, workload, now))
    if lines is None:
        raise Unfit(f"there is no run {run}, and no workload; see fedyard-hub runs list, and workloads list")
    if as_json:
        print_json({"lines": lines})
        return
    print("\n".join(lines))


runs = Group("runs", help="Runs of all projects.", commands=[list_runs])
workloads_of_all = Group("workloads", help="Workloads of all projects.", commands=[list_workloads])
