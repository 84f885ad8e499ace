"""`fedyard project start`, `stop`, `scale`, `parts` and `rounds`: a project's own coordinator and selectors, as in
Fedota, and the rounds that it leads."""

from __future__ import annotations

import click

from fedyard.actions.naming import project_named
from fedyard.agent.site import Folder
from fedyard.cli.common import client_of, state_told
from fedyard.cli.listing import Listing
from fedyard.wire.command_line import JSON, Command, print_json


@click.command("start", cls=Command)
@click.argument("name")
@click.option("--model", type=click.IntRange(1), metavar="VERSION", help="with this checkpoint (fedyard models NAME)")
@click.pass_obj
def start(folder: Folder, name: str, model: int | None) -> None:
    """Start the coordinator and the selectors of project NAME.

    Started already, they are made as the project says now: other images replace them, other numbers scale them. With
    --model the coordinator begins with an older checkpoint, which takes the place of the one in its files.
    """
    client = client_of(folder)
    changed = client.start_infrastructure(project_named(client, name).id, model_version=model)
    coordinator, selectors = changed.workloads
    print(f"{name}: coordinator {coordinator.state}, selectors {selectors.state}")


@click.command("stop", cls=Command)
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="for the record")
@click.pass_obj
def stop(folder: Folder, name: str, reason: str) -> None:
    """Stop the coordinator and the selectors of project NAME. Their files stay."""
    client = client_of(folder)
    changed = client.stop_infrastructure(project_named(client, name).id, reason)
    print(f"{name}: they are to go" if changed.workloads else f"{name}: none runs")


@click.command("scale", cls=Command)
@click.argument("name")
@click.argument("selectors", type=click.IntRange(1, 64))
@click.pass_obj
def scale(folder: Folder, name: str, selectors: int) -> None:
    """So many SELECTORS of project NAME, now and whenever they are started. Do it between rounds."""
    client = client_of(folder)
    client.scale_selectors(project_named(client, name).id, selectors)
    print(f"{name}: {selectors} selector{'s' if selectors > 1 else ''}")


@click.command("parts", cls=Command)
@click.argument("name")
@JSON
@click.pass_obj
def parts(folder: Folder, name: str, as_json: bool) -> None:
    """What runs of the infrastructure of project NAME, and where it is dialled."""
    client = client_of(folder)
    found = client.project(project_named(client, name).id).parts or []
    if as_json:
        print_json(found)
        return
    table = Listing("part", "where", "state", "ready", "reason", "inside", "outside", "id", ids=("id",))
    for one in found:
        ready = f"{one.ready} of {one.replicas}"
        inside, outside = (one.addresses.get(side, "") for side in ("inside", "outside"))
        table.add_row(
            one.part, one.where, state_told(one.state, one.stop_at), ready, one.reason, inside, outside, one.workload_id
        )
    table.print()


@click.command("rounds", cls=Command)
@click.argument("name")
@click.option("--last", type=click.IntRange(1), default=20, metavar="N", help="so many, the newest first (20)")
@JSON
@click.pass_obj
def rounds(folder: Folder, name: str, last: int, as_json: bool) -> None:
    """The rounds that the own coordinator of project NAME has led."""
    client = client_of(folder)
    found = client.rounds(project_named(client, name).id, most=last)
    if as_json:
        print_json(found)
        return
    headings = ("epoch", "round", "stage", "state", "reason", "since", "deadline", "counts", "metrics", "model")
    table = Listing(*headings)
    for one in found:
        since, deadline = one.ended_at or max((each.at for each in one.stages), default=None), one.deadline_at
        table.add_row(
            str(one.epoch),
            str(one.number),
            one.stage,
            one.state,
            one.reason,
            since.isoformat(timespec="seconds") if since else "",
            deadline.isoformat(timespec="seconds") if deadline else "",
            ", ".join(f"{name} {value}" for name, value in sorted(one.counts.items())),
            ", ".join(f"{name} {value:.6g}" for name, value in sorted(one.metrics.items())),
            str(one.model_version or ""),
        )
    table.print()
