"""`fedyard deployment`: training of a project's architectures on data that are announced over Kafka."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from fedyard.agent.site import Folder
from fedyard.cli.common import FILE, ID_LENGTH, UsageError, client_of, place_named, project_named
from fedyard.cli.listing import Listing
from fedyard.client.client import Client
from fedyard.wire import answers as a
from fedyard.wire.command_line import Command, Group
from fedyard.wire.shown import shown


@click.command("start", cls=Command)
@click.argument("project")
@click.option("--architecture", "architectures", multiple=True, metavar="NAME", help="its name or id; may be repeated")
@click.option("--configuration", metavar="ID", help="a set of architectures, instead")
@click.option("--contract", type=FILE, help="what training is to be: a file of JSON, as docs/streams.md says")
@click.option("--set", "said", multiple=True, metavar="NAME=VALUE", help="a field of the contract; may be repeated")
@click.option("--where", metavar="WHERE", help="a cluster of the hub's, or site: and a member's name or id")
@click.option("--attempts", type=click.IntRange(1, 20), default=3, help="at each job (default: 3)")
@click.pass_obj
def start(
    folder: Folder,
    project: str,
    *,
    architectures: tuple[str, ...],
    configuration: str | None,
    contract: Path | None,
    said: tuple[str, ...],
    where: str | None,
    attempts: int,
) -> None:
    """Train architectures of a PROJECT once their data are announced: under the number that this prints."""
    client = client_of(folder)
    if bool(architectures) == (configuration is not None):
        raise UsageError("Say either --architecture or --configuration")
    fields = {} if contract is None else _contract_in(contract)
    fields |= dict(map(_field, said))
    ident = project_named(client, project).id
    body: dict[str, object] = {"contract": fields, "attempts": attempts}
    if configuration is not None:
        body["configuration_id"] = configuration
    else:
        body["architecture_ids"] = [_architecture(client, ident, name) for name in architectures]
    if where is not None:
        body["where"] = place_named(client, ident, where)
    made = client.start_deployment(ident, body)
    print(f"deployment {project}/{made.number}: {made.state}\n{made.id}")


@click.command("list", cls=Command)
@click.argument("project")
@click.pass_obj
def listed(folder: Folder, project: str) -> None:
    """The deployments of a PROJECT, from old to new."""
    client = client_of(folder)
    table = Listing("number", "state", "run", "reason", "where", "id", ids=("number", "id"))
    for one in client.deployments(project_named(client, project).id):
        table.add_row(str(one.number), one.state, one.run_state, one.reason, one.where, one.id)
    table.print()


@click.command("show", cls=Command)
@click.argument("deployment")
@click.pass_obj
def show(folder: Folder, deployment: str) -> None:
    """A DEPLOYMENT with its results: PROJECT/NUMBER, or its id."""
    client = client_of(folder)
    found = client.deployment(_deployment_named(client, deployment))
    why = f" ({found.reason}: {found.detail})" if found.reason else ""
    print(shown(f"deployment {found.number}: {found.state}, its run {found.run_state}{why}"))
    print(shown(f"its jobs run at {found.where}, and read {found.control_topic}"))
    table = Listing("result", "state", "reason", "seconds", "workload", "model", ids=("result", "workload", "model"))
    for one in found.results:
        seconds = "" if one.training_time_s is None else f"{one.training_time_s:.1f}"
        table.add_row(
            str(one.number), one.state, one.reason, seconds, one.workload_id or "", one.model_artifact_id or ""
        )
    table.print()
    for one in found.results:
        if one.log_tail is not None:
            print(shown(f"result {one.number}: {one.detail}"))
            for line in one.log_tail.splitlines():
                print(shown(f"    {line}"))


@click.command("stop", cls=Command)
@click.argument("deployment")
@click.option("--reason", default="", metavar="TEXT", help="for the record")
@click.pass_obj
def stop(folder: Folder, deployment: str, reason: str) -> None:
    """End a DEPLOYMENT and its jobs: PROJECT/NUMBER, or its id. Results that have come stay."""
    client = client_of(folder)
    print(f"{deployment}: {client.stop_deployment(_deployment_named(client, deployment), reason).state}")


def _deployment_named(client: Client, text: str) -> str:
    name, slash, number = text.rpartition("/")
    if not slash:
        if len(text) != ID_LENGTH:
            raise UsageError(f"{text!r} names no deployment: say PROJECT/NUMBER, or its id")
        return text
    found = [one.id for one in client.deployments(project_named(client, name).id) if str(one.number) == number]
    if not found:
        raise UsageError(f"project {name!r} has no deployment {number}")
    return found[0]


def _architecture(client: Client, project_id: str, name: str) -> str:
    there: list[a.Architecture] = client.architectures(project_id)
    found = [one.id for one in there if name in (one.name, one.id)]
    if not found:
        raise UsageError(f"the project has no architecture {name!r}; it has {', '.join(one.name for one in there)}")
    return found[0]


def _contract_in(file: Path) -> dict[str, object]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, object])
    except OSError as error:
        raise UsageError(f"--contract {file}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"--contract {file}: {error}") from None


def _field(text: str) -> tuple[str, object]:
    """A value that is JSON (a number, true) is that; any other is text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"--set {text}: write a name, =, and a value")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


deployment = Group(
    "deployment",
    help="Training of a project's architectures on data that are announced over Kafka.",
    commands=[start, listed, show, stop],
)
