"""`fedyard run`: start, stop, restart, compare, accept, show, why, watch, matches. (The agent: `fedyard site run`.)"""

from __future__ import annotations

from typing import Literal

import click
import msgspec

from fedyard.actions.naming import names_of, project_named, run_named
from fedyard.actions.runs import Own, first_models_said
from fedyard.actions.runs import start as begin
from fedyard.actions.why import why_lines, why_of
from fedyard.agent.site import Folder
from fedyard.cli.common import client_of
from fedyard.cli.comparing import accept, compare
from fedyard.cli.listing import Listing, terminal
from fedyard.cli.own import own_fields, own_of
from fedyard.client.client import MAX_LONG_POLL_S, Client
from fedyard.wire.command_line import JSON, Command, Group, print_json
from fedyard.wire.plurals import counted
from fedyard.wire.shown import MAX_LINE, shown


@click.command("start", cls=Command)
@click.argument("project")
@own_fields
@click.option("--first-model", "first", multiple=True, metavar="[TASK=]FILE", help="what a task begins with: a file")
@click.option("--initial", multiple=True, metavar="TASK", help="its hook makes what it begins with, at the coordinator")
@click.option("--model", "version", type=int, metavar="VERSION", help="a model of the project to begin with")
@click.option("--queue", is_flag=True, help="wait if another run lives")
@click.option("--watch", "follow", is_flag=True, help="show it until it is finished")
@click.pass_obj
def start(
    folder: Folder,
    /,
    project: str,
    said_of_tasks: tuple[str, ...],
    rounds: tuple[str, ...],
    *,
    first: tuple[str, ...],
    initial: tuple[str, ...],
    version: int | None,
    queue: bool,
    follow: bool,
) -> int:
    """Start a run of a PROJECT, with its tasks or with what is the run's own.

    --set train.learning_rate=0.1 and --rounds 20 hold for this run alone.
    """
    client = client_of(folder)
    found = project_named(client, project)
    parameters, how_many = own_of(found.tasks, said_of_tasks, rounds)
    own = Own(parameters, how_many, first_models_said(found.tasks, first), initial, version)
    run = begin(folder, client, found, queue=queue, own=own)
    print(f"run {project}/{run.number} is {run.state} ({run.id})")
    if run.requests_waiting:
        many = counted(run.requests_waiting, "site has", "sites have")
        print(
            f"{many} asked to join and will take no part until let in: fedyard project approve "
            f"{project} SITE (who: fedyard project members {project})"
        )
    return _watched(folder, client, run.id) if follow else 0


@click.command("stop", cls=Command)
@click.argument("run")
@click.option("--reason", default="", metavar="TEXT", help="for all who take part")
@click.pass_obj
def stop(folder: Folder, run: str, reason: str) -> None:
    """Stop a RUN.

    RUN: PROJECT/NUMBER, the run's id, or how that begins.
    """
    client = client_of(folder)
    changed = client.stop_run(run_named(client, run).id, reason)
    print(f"run {run} is {changed.state}")


@click.command("restart", cls=Command)
@click.argument("run")
@click.option(
    "--from",
    "start_from",
    type=click.Choice(("reached", "start")),
    default="reached",
    help="begin with the last global model (reached), or anew (start)",
)
@click.option("--model", "version", type=int, metavar="VERSION", help="the task that made it begins with this model")
@click.option("--watch", "follow", is_flag=True, help="show it until it is finished")
@click.pass_obj
def restart(
    folder: Folder, run: str, start_from: Literal["reached", "start"], version: int | None, follow: bool
) -> int:
    """Begin a new attempt of a RUN, with what it had of its own.

    RUN: PROJECT/NUMBER, the run's id, or how that begins.
    """
    client = client_of(folder)
    anew = client.restart_run(run_named(client, run).id, start_from, model_version=version)
    print(f"attempt {anew.attempt} of run {anew.number} is {anew.state} ({anew.id})")
    return _watched(folder, client, anew.id) if follow else 0


@click.command("show", cls=Command)
@click.argument("run", required=False)
@JSON
@click.pass_obj
def show(folder: Folder, run: str | None, as_json: bool) -> None:
    """A RUN, or all of them.

    RUN: PROJECT/NUMBER, the run's id, or how that begins.
    """
    client = client_of(folder)
    if run:
        _show_one(folder, client, run, as_json)
        return
    found = client.runs()
    if as_json:
        print_json(found)
        return
    projects = {project.id: project.name for project in client.projects()}
    table = Listing("run", "attempt", "state", "reason", "id", ids=("run", "id"))
    for one in found:
        name = f"{projects.get(one.project_id, one.project_id)}/{one.number}"
        table.add_row(name, str(one.attempt), one.state, one.reason, one.id)
    table.print()


def _show_one(folder: Folder, client: Client, run: str, as_json: bool) -> None:
    found = client.run(run_named(client, run).id)
    names = names_of(client)
    told = why_of(client, found, names, folder.site_id())
    if as_json:
        print_json(msgspec.to_builtins(found) | {"why": told})
        return
    from fedyard.cli.show import print_run  # noqa: PLC0415 - rich is heavy, and an agent has no use for it

    print_run(found, told, names, terminal())


@click.command("why", cls=Command)
@click.argument("run")
@JSON
@click.pass_obj
def why(folder: Folder, run: str, as_json: bool) -> None:
    """What a RUN waits for and until when, or what it has failed of.

    RUN: PROJECT/NUMBER, the run's id, or how that begins. Its coordinator sees all seats, a participant its own.
    """
    client = client_of(folder)
    found = client.run(run_named(client, run).id)
    told = why_of(client, found, names_of(client), folder.site_id())
    if as_json:
        print_json(told)
        return
    for line in why_lines(told):
        print(shown(line, MAX_LINE))


@click.command("watch", cls=Command)
@click.argument("run")
@JSON
@click.pass_obj
def watch(folder: Folder, run: str, as_json: bool) -> int:
    """Follow a RUN until it is finished.

    RUN: PROJECT/NUMBER, the run's id, or how that begins. Exit code 0 if it succeeded. With --json a line each time
    that it has moved.
    """
    client = client_of(folder)
    return _watched(folder, client, run_named(client, run).id, as_json=as_json)


@click.command("matches", cls=Command)
@click.argument("run")
@JSON
@click.pass_obj
def matches(folder: Folder, run: str, as_json: bool) -> None:
    """Data at the edge as they fit the federated model of a RUN: what trains on them, or what does not fit.

    RUN: PROJECT/NUMBER, the run's id, or how that begins.
    """
    client = client_of(folder)
    print_matches(client, run_named(client, run).id, as_json)


def print_matches(client: Client, run_id: str, as_json: bool = False) -> None:
    found = client.matches(run_id)
    if as_json:
        print_json(found)
        return
    table = Listing("data", "cluster", "match", "worker", "why", "workload", ids=("workload",))
    for one in found:
        why = "; ".join(filter(None, [one.detail or one.reason, *(each.detail for each in one.misfits)]))
        table.add_row(
            one.data_topic or one.source_id,
            one.cluster,
            one.state or "none",
            one.workload_state or "",
            why,
            one.workload_id or "",
        )
    table.print()


def _watched(folder: Folder, client: Client, run_id: str, *, as_json: bool = False) -> int:
    """Show a run until it is finished; 0 if it succeeded."""
    if as_json:
        run = client.run(run_id)
        print_json(run, one_line=True)
        while not run.finished:
            before = run.version
            run = client.run(run_id, after=before, wait=MAX_LONG_POLL_S)
            if run.version != before:
                print_json(run, one_line=True)
    else:
        from fedyard.cli.show import watch as shown_until  # noqa: PLC0415 - as above

        run = shown_until(client, run_id, names_of(client), terminal(), site_id=folder.site_id())
    return 0 if run.state == "succeeded" else 1


run = Group(
    "run",
    help="Runs of projects. (This site's agent: fedyard site run.)",
    commands=[start, stop, restart, show, why, watch, compare, accept, matches],
)
