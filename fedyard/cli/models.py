"""`fedyard models`: what versions a project has, and one of them as a file."""

from __future__ import annotations

from pathlib import Path

import click

from fedyard.actions.models import fetch
from fedyard.actions.naming import project_named
from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder
from fedyard.cli.common import FILE, client_of
from fedyard.cli.listing import Listing
from fedyard.client.client import Client
from fedyard.wire import answers as a
from fedyard.wire.command_line import JSON, Command, print_json
from fedyard.wire.scoring import OF_SCORES

DIGITS_SHOWN = 16
"""Of a digest; enough to tell two models apart."""


@click.command("models", cls=Command)
@click.argument("project")
@click.option("--get", "version", type=int, metavar="VERSION", help="this one as a file")
@click.option("--to", type=FILE, metavar="FILE", help="where to: arrays as .npz, anything else as it is")
@JSON
@click.pass_obj
def models(folder: Folder, project: str, version: int | None, to: Path | None, as_json: bool) -> None:
    """The global models of a PROJECT. With --get and --to one of them as a file."""
    if (version is None) != (to is None):
        raise UsageError("--get VERSION and --to FILE go together")
    client = client_of(folder)
    found = project_named(client, project)
    made = client.models(found.id)
    if to is None:
        if as_json:
            print_json(made)
        else:
            _print(client, found, made)
        return
    wanted = next((model for model in made if model.version == version), None)
    if wanted is None:
        raise UsageError(f"project {found.name!r} has no model version {version}")
    if not to.parent.is_dir():
        raise UsageError(f"--to {to}: there is no folder {to.parent}")
    fetch(folder, client, found, wanted, to)
    made_by = f"epoch {wanted.epoch}," if wanted.run_id is None else f"run {wanted.run_id}, {wanted.task}"
    print(f"version {wanted.version} is in {to}: {made_by} round {wanted.round}")


def _print(client: Client, project: a.Project, models: list[a.Model]) -> None:
    runs = {run.id: f"{run.number}.{run.attempt}" for run in client.runs(project_id=project.id)}
    table = Listing("version", "run", "task", "round", "at", "bytes", "digest", "best", "metrics")
    for model in models:
        measured = model.metrics | {OF_SCORES + name: value for name, value in model.score.items()}
        table.add_row(
            str(model.version),
            f"epoch {model.epoch}" if model.run_id is None else runs.get(model.run_id, model.run_id),
            model.task or "",
            str(model.round),
            model.created_at.isoformat(timespec="seconds"),
            str(model.size_bytes),
            model.digest[:DIGITS_SHOWN],
            "*" if model.best else "",
            ", ".join(f"{name} {value:.6g}" for name, value in sorted(measured.items())),
        )
    table.print()
