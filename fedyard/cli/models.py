"""The command about the models of a project: what versions there are, and one of them as a file."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from fedyard.agent.courier import Courier
from fedyard.cli.common import UsageError, client_of, command, courier_of, folder_of, project_named
from fedyard.cli.listing import Listing
from fedyard.client.client import Client
from fedyard.sealed.errors import Gone, NotRecipient
from fedyard.sealed.sealing import Address
from fedyard.tasks.packed import write
from fedyard.wire import answers as a

DIGITS_SHOWN = 16
"""Of a digest; enough to tell two models apart."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Put the command to the others."""
    models = command(commands, "models", "the global models of a project; with --get and --to one as a file", _models)
    models.add_argument("project")
    models.add_argument("--get", type=int, metavar="VERSION")
    models.add_argument("--to", type=Path, metavar="FILE", help="where to: arrays as .npz, anything else as it is")


def _models(chosen: argparse.Namespace) -> None:
    if (chosen.get is None) != (chosen.to is None):
        raise UsageError("--get VERSION and --to FILE go together")
    client = client_of(folder_of(chosen))
    project = project_named(client, chosen.project)
    models = client.models(project.id)
    if chosen.get is None:
        _print(client, project, models)
        return
    wanted = next((model for model in models if model.version == chosen.get), None)
    if wanted is None:
        raise UsageError(f"project {project.name!r} has no model version {chosen.get}")
    if not chosen.to.parent.is_dir():
        raise UsageError(f"--to {chosen.to}: there is no folder {chosen.to.parent}")
    _fetch(chosen, client, project, wanted)
    print(f"version {wanted.version} is in {chosen.to}: run {wanted.run_id}, {wanted.task} round {wanted.round}")


def _print(client: Client, project: a.Project, models: list[a.Model]) -> None:
    runs = {run.id: f"{run.number}.{run.attempt}" for run in client.runs(project_id=project.id)}
    table = Listing("version", "run", "task", "round", "at", "bytes", "digest", "metrics")
    for model in models:
        table.add_row(
            str(model.version),
            runs.get(model.run_id, model.run_id),
            model.task,
            str(model.round),
            model.created_at.isoformat(timespec="seconds"),
            str(model.size_bytes),
            model.digest[:DIGITS_SHOWN],
            ", ".join(f"{name} {value:.6g}" for name, value in sorted(model.metrics.items())),
        )
    table.print()


def _fetch(chosen: argparse.Namespace, client: Client, project: a.Project, model: a.Model) -> None:
    """Write the file, if it is the model that the coordinator made in this very round."""
    folder = folder_of(chosen)
    courier = courier_of(folder, client)
    with tempfile.TemporaryDirectory(dir=folder.path) as spool:
        write(_opened(courier, client, project, model, Path(spool) / "model"), chosen.to)


def _opened(courier: Courier, client: Client, project: a.Project, model: a.Model, target: Path) -> bytes | Path:
    message = client.message(model.message_id)
    if message.body is None and message.artifact_id is None:
        raise Gone(f"version {model.version} of project {project.name!r} is not at the hub any more")
    coordinator = courier.directory(project.id).coordinator
    expected = Address(coordinator, project.id, "model", model.run_id, model.task_seq, model.round)
    try:
        return courier.unpack(
            message.body,
            expected,
            place=f"message {message.id}",
            target=target,
            artifact_id=message.artifact_id,
        ).content
    except NotRecipient:
        raise NotRecipient(
            f"version {model.version} of project {project.name!r} is not sealed to this site; a model is sealed to the "
            "members of its time, so a site that joined later cannot open it"
        ) from None
