"""`fedyard project secret`: what a project's workloads are given by name: set, list, delete."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fedyard.actions.naming import names_of, project_named
from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder
from fedyard.cli.common import FILE, client_of
from fedyard.cli.listing import Listing
from fedyard.wire.command_line import JSON, Command, Group, print_json


@click.command("set", cls=Command)
@click.argument("project")
@click.argument("name")
@click.option("--file", type=FILE, help="what it is, instead of standard input")
@click.pass_obj
def set_secret(folder: Folder, project: str, name: str, file: Path | None) -> None:
    """Set secret NAME of a PROJECT to what comes in by standard input, without a line's end at its end."""
    client = client_of(folder)
    value = _value_in(file)
    client.set_secret(project_named(client, project).id, name, value)
    print(f"secret {name} of {project} is set; what begins from now on gets it")


@click.command("list", cls=Command)
@click.argument("project")
@JSON
@click.pass_obj
def listed(folder: Folder, project: str, as_json: bool) -> None:
    """Which secrets a PROJECT has; what they are nobody is shown."""
    client = client_of(folder)
    found, names = client.secrets(project_named(client, project).id), names_of(client)
    if as_json:
        print_json(found)
        return
    table = Listing("name", "set", "by", "")
    for one in found:
        table.add_row(
            one.name,
            one.set_at.isoformat(timespec="seconds"),
            names.get(one.set_by, one.set_by),
            "" if one.opens else "set it again",
        )
    table.print()


@click.command("delete", cls=Command)
@click.argument("project")
@click.argument("name")
@click.pass_obj
def delete(folder: Folder, project: str, name: str) -> None:
    """Delete secret NAME of a PROJECT."""
    client = client_of(folder)
    client.delete_secret(project_named(client, project).id, name)
    print(f"secret {name} of {project} is deleted")


def _value_in(file: Path | None) -> str:
    """Never an argument: those are shown to everybody on the machine."""
    try:
        raw = sys.stdin.buffer.read() if file is None else file.read_bytes()
        value = raw.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UsageError(f"--file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError("a secret is text: encode what is none, in base64 for example") from None
    if not value:
        raise UsageError("a secret is not empty: say what it is by standard input, or by --file")
    return value


secret = Group(
    "secret",
    help="What a project's workloads are given by name.",
    commands=[set_secret, listed, delete],
)
