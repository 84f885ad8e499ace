"""`fedyard models`: what versions a project has, and one of them as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedyard.actions.models import fetch, opened
from fedyard.actions.naming import project_named
from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder
from fedyard.cli.common import FILE, client_of
from fedyard.cli.listing import Listing
from fedyard.client.client import Client
from fedyard.wire import answers as a
from fedyard.wire.command_line import JSON, Command, print_json
from fedyard.wire.scoring import OF_SCORES

if TYPE_CHECKING:
    from fedyard.tasks import Content

DIGITS_SHOWN = 16
"""Of a digest; enough to tell two models apart."""


@click.command("models", cls=Command)
@click.argument("project")
@click.option("--get", "version", type=int, metavar="VERSION", help="this one as a file")
@click.option("--to", type=FILE, metavar="FILE", help="where to: arrays as .npz, anything else as it is")
@click.option(
    "--show", "show", type=int, metavar="VERSION", help="what is in this one: its tables, or its arrays' sizes"
)
@JSON
@click.pass_obj
def models(folder: Folder, project: str, version: int | None, to: Path | None, show: int | None, as_json: bool) -> None:
    """The global models of a PROJECT. With --get and --to one of them as a file, with --show one of them as tables."""
    if (version is None) != (to is None):
        raise UsageError("--get VERSION and --to FILE go together")
    if show is not None and version is not None:
        raise UsageError("--get and --show: one after the other")
    client = client_of(folder)
    found = project_named(client, project)
    made = client.models(found.id)
    if show is not None:
        _show(opened(folder, client, found, _version(found, made, show)), as_json=as_json)
        return
    if to is None or version is None:
        if as_json:
            print_json(made)
        else:
            _print(client, found, made)
        return
    wanted = _version(found, made, version)
    if not to.parent.is_dir():
        raise UsageError(f"--to {to}: there is no folder {to.parent}")
    fetch(folder, client, found, wanted, to)
    made_by = f"epoch {wanted.epoch}," if wanted.run_id is None else f"run {wanted.run_id}, {wanted.task}"
    print(f"version {wanted.version} is in {to}: {made_by} round {wanted.round}")


def _version(project: a.Project, models: Sequence[a.Model], version: int) -> a.Model:
    found = next((model for model in models if model.version == version), None)
    if found is None:
        raise UsageError(f"project {project.name!r} has no model version {version}")
    return found


def _show(content: Content, *, as_json: bool) -> None:
    """The tables of a model, and what else is in it."""
    from fedyard.tasks.tabular import shown_cell, tabular  # noqa: PLC0415 - numpy is heavy, other commands need none

    if isinstance(content, bytes):
        raise UsageError(f"this model is {len(content)} bytes of its task's own making: --get it as a file")
    found = tabular(content)
    if as_json:
        print_json({"tables": found.tables, "others": found.others})
        return
    for name, lines in found.tables.items():
        print(f"{name}:")
        table = Listing(*lines[0]) if lines else Listing("nothing")
        for line in lines:
            table.add_row(*map(shown_cell, line.values()))
        table.print()
    if found.others:
        table = Listing("array", "what")
        for name, what in found.others.items():
            table.add_row(name, what)
        table.print()


def _print(client: Client, project: a.Project, models: Sequence[a.Model]) -> None:
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
