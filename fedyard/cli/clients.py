"""`fedyard project joining` and `ready`: taking part with a project's client image, as in Fedota."""

from __future__ import annotations

from pathlib import Path

import click

from fedyard.agent.site import Folder
from fedyard.cli.common import FILE, UsageError, client_of, project_named
from fedyard.wire.command_line import Command
from fedyard.wire.plurals import counted


@click.command("joining", cls=Command)
@click.argument("name")
@click.option("--configuration", type=FILE, metavar="FILE", help="write the client's config.yaml there")
@click.option("--context", type=FILE, metavar="FILE", help="write there what `docker build - < FILE` takes")
@click.pass_obj
def joining(folder: Folder, name: str, configuration: Path | None, context: Path | None) -> None:
    """How to run the client image of project NAME, and how many sites are ready.

    The image is the coordinator's choice, and the line is the hub's word: read it before you run it.
    """
    client = client_of(folder)
    project = project_named(client, name)
    found = client.joining(project.id)
    goal = "" if found.goal_count is None else f", a round needs {found.goal_count}"
    print(f"{found.ready_count} of {counted(found.member_count, 'member')} ready{goal}")
    if found.next_deadline_at is not None:
        print(f"the round under way ends by {found.next_deadline_at.isoformat(timespec='seconds')}")
    print(f"selectors: {', '.join(found.addresses) or 'not known yet'}")
    print(found.command or "no client image is named that could be run")
    if configuration is not None:
        _write(configuration, found.configuration.encode(), "--configuration")
    if context is not None:
        _write(context, client.build_context(project.id), "--context")


def _write(path: Path, content: bytes, option: str) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror}") from None


@click.command("ready", cls=Command)
@click.argument("name")
@click.option("--for", "for_s", type=click.FloatRange(1, 7_776_000), default=86_400.0, metavar="SECONDS", help="a day")
@click.option("--not", "not_ready", is_flag=True, help="not any more")
@click.pass_obj
def ready(folder: Folder, name: str, for_s: float, not_ready: bool) -> None:
    """Say that this site is ready for the rounds of project NAME."""
    client = client_of(folder)
    said = client.say_ready(project_named(client, name).id, folder.site_id(), ready=not not_ready, for_s=for_s)
    until = "not ready" if said.ready_until is None else f"ready until {said.ready_until.isoformat(timespec='seconds')}"
    print(f"{name}: {until}; {counted(said.ready_count, 'member')} ready")
