"""`fedyard deployment`: training of a project's architectures on data that are announced over Kafka."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
import msgspec

from fedyard.actions.naming import id_of_run, place_named, project_named
from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder
from fedyard.cli.architectures import named
from fedyard.cli.common import FILE, client_of
from fedyard.cli.listing import Listing
from fedyard.cli.runs import print_matches
from fedyard.client.client import MAX_LONG_POLL_S, Client
from fedyard.client.streams import Announced, Results, Streams
from fedyard.client.transfer import Transfer
from fedyard.wire import answers as a
from fedyard.wire.command_line import JSON, Command, Group, print_json
from fedyard.wire.plurals import counted
from fedyard.wire.shown import shown

_PAUSE_S = 0.5


@click.command("start", cls=Command)
@click.argument("project")
@click.option(
    "--architecture", "architectures", multiple=True, metavar="NAME", help="its name, number or id; may be repeated"
)
@click.option("--configuration", metavar="NAME", help="a set of architectures, instead: its name, number or id")
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
    streams = Streams(client, ident)
    body: dict[str, object] = {"contract": fields, "attempts": attempts}
    if configuration is not None:
        sets = {one.name: one for one in streams.configurations()}
        body["configuration_id"] = named(sets, configuration, "configuration").id
    else:
        there = {one.name: one for one in streams.architectures()}
        body["architecture_ids"] = [named(there, name, "architecture").id for name in architectures]
    if where is not None:
        body["where"] = place_named(client, ident, where)
    made = client.start_deployment(ident, body)
    print(f"deployment {project}/{made.number}: {made.state}\n{made.id}")


@click.command("list", cls=Command)
@click.argument("project")
@JSON
@click.pass_obj
def listed(folder: Folder, project: str, as_json: bool) -> None:
    """The deployments of a PROJECT, from old to new."""
    client = client_of(folder)
    found = client.deployments(project_named(client, project).id)
    if as_json:
        print_json(found)
        return
    table = Listing("number", "state", "run", "reason", "where", "id", ids=("number", "id"))
    for one in found:
        table.add_row(str(one.number), one.state, one.run_state, one.reason, one.where, one.id)
    table.print()


@click.command("show", cls=Command)
@click.argument("deployment")
@JSON
@click.pass_obj
def show(folder: Folder, deployment: str, as_json: bool) -> None:
    """A DEPLOYMENT with its results.

    DEPLOYMENT: PROJECT/NUMBER, its id, or how that begins.
    """
    client = client_of(folder)
    found = client.deployment(_deployment_named(client, deployment))
    if as_json:
        print_json(found)
    else:
        _show(found)


@click.command("watch", cls=Command)
@click.argument("deployment")
@click.pass_obj
def watch(folder: Folder, deployment: str) -> int:
    """Wait until a DEPLOYMENT has ended, and show it. Exit code 0 if it succeeded.

    DEPLOYMENT: PROJECT/NUMBER, its id, or how that begins.
    """
    client = client_of(folder)
    ident = _deployment_named(client, deployment)
    said, run = "", client.run(ident)
    while not run.finished:
        found = client.deployment(ident)
        if found.state != said:
            said = found.state
            print(shown(f"deployment {found.number}: {said}"), flush=True)
        run = client.run(ident, after=run.version, wait=MAX_LONG_POLL_S)
    while (found := client.deployment(ident)).state != "ended":  # what is left of its jobs goes
        client.pause(_PAUSE_S)
    _show(found)
    return 0 if run.state == "succeeded" else 1


def _show(found: a.Deployment) -> None:
    why = f" ({found.reason}: {found.detail})" if found.reason else ""
    print(shown(f"deployment {found.number}: {found.state}, its run {found.run_state}{why}"))
    federated = f"train a model that was announced as {found.string_id}"
    print(
        shown(f"its jobs run at {found.where}, and {federated if found.string_id else f'read {found.control_topic}'}")
    )
    table = Listing("result", "state", "reason", "seconds", "workload", "model", ids=("result", "workload", "model"))
    for one in found.results:
        seconds = "" if one.training_time_s is None else f"{one.training_time_s:.1f}"
        table.add_row(
            str(one.number), one.state, one.reason, seconds, one.workload_id or "", one.model_artifact_id or ""
        )
    table.print()
    for one in found.results:
        for what, measured in (
            ("training", one.train_metrics),
            ("validation", one.val_metrics),
            ("test", one.test_metrics),
        ):
            if told := _measured(measured):
                print(shown(f"result {one.number}, {what}: {told}"))
    for (detail, log), numbers in _logs(found.results).items():
        print(shown(f"{'results' if numbers[1:] else 'result'} {_listed(numbers)}: {detail}"))
        for line in log.splitlines():
            print(shown(f"    {line}"))


def _logs(results: list[a.TrainingResult]) -> dict[tuple[str, str], list[int]]:
    """Numbers of results by why they failed and what their job wrote: a chain's have one job."""
    found: dict[tuple[str, str], list[int]] = {}
    for one in results:
        if one.log_tail is not None:
            found.setdefault((one.detail, one.log_tail), []).append(one.number)
    return found


@click.command("stop", cls=Command)
@click.argument("deployment")
@click.option("--reason", default="", metavar="TEXT", help="for the record")
@click.pass_obj
def stop(folder: Folder, deployment: str, reason: str) -> None:
    """End a DEPLOYMENT and its jobs. Results that have come stay.

    DEPLOYMENT: PROJECT/NUMBER, its id, or how that begins.
    """
    client = client_of(folder)
    print(f"{deployment}: {client.stop_deployment(_deployment_named(client, deployment), reason).state}")


@click.command("model", cls=Command)
@click.argument("deployment")
@click.option("--to", type=FILE, required=True, help="a file that it is put into")
@click.option("--result", type=click.IntRange(1), metavar="NUMBER", help="which, if the deployment gave several")
@click.pass_obj
def model(folder: Folder, deployment: str, to: Path, result: int | None) -> None:
    """Fetch what a DEPLOYMENT has trained.

    DEPLOYMENT: PROJECT/NUMBER, its id, or how that begins.
    """
    client = client_of(folder)
    found = client.deployment(_deployment_named(client, deployment))
    models = {one.number: one.model_artifact_id for one in found.results if one.model_artifact_id is not None}
    if not models:
        raise UsageError(f"deployment {found.number} has no trained model: its run {found.run_state}")
    if result is None and len(models) > 1:
        raise UsageError(f"deployment {found.number} gave several models: say --result, one of {_listed(models)}")
    number = next(iter(models)) if result is None else result
    if number not in models:
        raise UsageError(f"deployment {found.number} has no model of result {number}; it has {_listed(models)}")
    if to.is_dir():
        raise UsageError(f"--to {to}: that is a folder; name a file")
    if not to.parent.is_dir():
        raise UsageError(f"--to {to}: there is no folder {to.parent}")
    Transfer(client).download(models[number], to)
    print(f"result {number}: {to.stat().st_size} bytes in {to}")


@click.command("data", cls=Command)
@click.argument("deployment")
@JSON
@click.pass_obj
def data(folder: Folder, deployment: str, as_json: bool) -> None:
    """What was announced under the number of a DEPLOYMENT.

    DEPLOYMENT: PROJECT/NUMBER, its id, or how that begins.
    """
    client = client_of(folder)
    of = client.deployment(_deployment_named(client, deployment))
    found = list(Announced(client).of(of.number))
    if as_json:
        print_json(found)
        return
    table = Listing("data", "records", "state", "used", "announced", "cluster", "id", ids=("id",))
    for one in found:
        table.add_row(
            one.data_topic,
            "" if one.total_msg is None else str(one.total_msg),
            one.state,
            "yes" if one.id == of.data_source_id else "no",
            "" if one.announced_at is None else one.announced_at.isoformat(timespec="seconds"),
            one.cluster,
            one.id,
        )
    table.print()


@click.command("matches", cls=Command)
@click.argument("deployment")
@JSON
@click.pass_obj
def matches(folder: Folder, deployment: str, as_json: bool) -> None:
    """Data at the edge as they fit the federated model of a DEPLOYMENT: what trains on them, or what does not fit.

    DEPLOYMENT: PROJECT/NUMBER, its id, or how that begins.
    """
    client = client_of(folder)
    print_matches(client, _deployment_named(client, deployment), as_json)


@click.command("send", cls=Command)
@click.argument("trained", metavar="FROM")
@click.argument("deployment", metavar="TO")
@click.option(
    "--data", "source", metavar="ID", help="which, as `data` lists them; left out: what FROM uses, or its newest"
)
@click.pass_obj
def send(folder: Folder, trained: str, deployment: str, source: str | None) -> int:
    """Announce the data of deployment FROM once more, for deployment TO: each is PROJECT/NUMBER, or an id."""
    client = client_of(folder)
    before = client.deployment(_deployment_named(client, trained))
    after = client.deployment(_deployment_named(client, deployment))
    announced = Announced(client)
    sources = [one.id for one in announced.of(before.number)]
    if not sources:
        raise UsageError(f"nothing was announced for deployment {before.number}")
    if source is not None and source not in sources:
        raise UsageError(
            f"no data {source} were announced for deployment {before.number}; there are {_listed(sources)}"
        )
    sending = announced.send(source or before.data_source_id or sources[-1], after.number)
    why = ": ".join(filter(None, (sending.reason, sending.detail)))
    print(shown(f"data for deployment {after.number}: {sending.state}{f' ({why})' if why else ''}, in {sending.topic}"))
    return 1 if sending.state == "failed" else 0


@click.command("delete", cls=Command)
@click.argument("deployment")
@click.pass_obj
def delete(folder: Folder, deployment: str) -> None:
    """Delete a DEPLOYMENT that has ended, with its results and their files.

    DEPLOYMENT: PROJECT/NUMBER, its id, or how that begins.
    """
    client = client_of(folder)
    found = client.deployment(_deployment_named(client, deployment))
    if found.state != "ended":
        raise UsageError(f"deployment {found.number} is {found.state}: stop it first, or wait until it has ended")
    results = Results(client)
    for one in found.results:
        if one.state != "deleted":
            results.delete(one.number)
    client.delete_deployment(found.id)
    print(f"deployment {found.number} is deleted, with {counted(len(found.results), 'result')}")


def _measured(said: msgspec.Raw) -> str:
    """The newest value of each metric, and how many there are; empty for what has another form."""
    try:
        metrics = msgspec.json.decode(said, type=dict[str, list[float | None]])
    except msgspec.DecodeError:
        return ""
    newest = (
        f"{name} {values[-1] if values[-1] is None else f'{values[-1]:.4g}'}"
        + (f" ({len(values)} values)" if len(values) > 1 else "")
        for name, values in metrics.items()
        if values
    )
    return ", ".join(newest)


def _listed(those: Iterable[object]) -> str:
    return ", ".join(map(str, those))


def _deployment_named(client: Client, text: str) -> str:
    name, slash, number = text.rpartition("/")
    if not slash:
        return id_of_run(client, text, "deployment")
    found = [one.id for one in client.deployments(project_named(client, name).id) if str(one.number) == number]
    if not found:
        raise UsageError(f"project {name!r} has no deployment {number}")
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
    commands=[start, listed, show, watch, data, matches, send, model, stop, delete],
)
