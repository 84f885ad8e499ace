"""`fedyard project joining` and `ready`: taking part with a project's client image, as in Fedota."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from fedyard.actions.naming import project_named
from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder
from fedyard.cli.common import FILE, client_of
from fedyard.client.client import Client
from fedyard.clock import draw_secret
from fedyard.wire.answers import Project, TokenAbout
from fedyard.wire.command_line import JSON, Command, print_json
from fedyard.wire.durable import write_whole
from fedyard.wire.plurals import counted

TOKEN_FOR_S = 2_592_000.0
"""Thirty days."""


@click.command("joining", cls=Command)
@click.argument("name")
@click.option("--config", "--configuration", "config", type=FILE, metavar="FILE", help="write the client's config.yaml")
@click.option("--token", "with_token", is_flag=True, help="put a token for the client into it, good for this project")
@click.option(
    "--token-for", "for_s", type=click.FloatRange(1, 7_776_000), default=TOKEN_FOR_S, metavar="SECONDS", help="30 days"
)
@click.option("--revoke", metavar="TOKEN", help="a client's token, by its id")
@click.option("--context", type=FILE, metavar="FILE", help="write there what `docker build - < FILE` takes")
@JSON
@click.pass_obj
def joining(
    folder: Folder,
    /,
    name: str,
    config: Path | None,
    *,
    with_token: bool,
    for_s: float,
    revoke: str | None,
    context: Path | None,
    as_json: bool,
) -> None:
    """How to run the client image of project NAME, and how many sites are ready.

    The image is the coordinator's choice, and the line is the hub's word: read it before you run it.
    """
    if with_token and config is None:
        raise UsageError("--token goes into the client's configuration: say --config FILE, too")
    client = client_of(folder)
    project = project_named(client, name)
    if revoke is not None:
        _revoke(folder, client, project, revoke)
    found = client.joining(project.id)
    if as_json:
        print_json(found)
        return
    goal = "" if found.goal_count is None else f", a round needs {found.goal_count}"
    print(f"{found.ready_count} of {counted(found.member_count, 'member')} ready{goal}")
    if found.next_deadline_at is not None:
        print(f"the round under way ends by {found.next_deadline_at.isoformat(timespec='seconds')}")
    print(f"selectors: {', '.join(found.addresses) or 'not known yet'}")
    if found.outside and found.inside:
        print(f"inside their cluster: {', '.join(found.inside)}")
    print(found.command or "no client image is named that could be run")
    if config is not None and with_token:
        _write_with_token(folder, client, project, found.configuration, config, for_s)
    elif config is not None:
        _write(config, found.configuration.encode(), "--config")
    if context is not None:
        _write(context, client.build_context(project.id), "--context")
    for one in _in_force(folder, client, project):
        used = "never used" if one.used_at is None else f"last used {_time(one.used_at)}"
        print(f"client's token {one.id}: until {_time(one.expires_at)}, {used}")


def _write_with_token(
    folder: Folder, client: Client, project: Project, configuration: str, path: Path, for_s: float
) -> None:
    """The secret is drawn here and lies in this file alone, which its owner alone may read."""
    secret = draw_secret()
    if not path.parent.is_dir() or path.is_dir():  # before there is a token that nobody has
        raise UsageError(f"--config {path}: that is no file in a folder that is there")
    sha256 = hashlib.sha256(secret.encode()).hexdigest()
    made = client.issue_client_token(project.id, folder.site_id(), sha256, for_s=for_s)
    values = {
        "FEDYARD_HUB_URL": folder.settings().hub,
        "FEDYARD_PROJECT_ID": project.id,
        "FEDYARD_SITE_ID": folder.site_id(),
        "ACCESS_TOKEN": secret,
    }
    lines = "".join(f"{key}: {msgspec.json.encode(value).decode()}\n" for key, value in values.items())
    try:
        write_whole(path, (configuration + lines).encode())
    except OSError as error:
        client.revoke_token(made.id)
        raise UsageError(f"--config {path}: {error.strerror}") from None
    print(f"{path} has a client's token: mount it as the line says, and build it into no image")


def _in_force(folder: Folder, client: Client, project: Project) -> list[TokenAbout]:
    """The site's clients' tokens for this project."""
    now = datetime.now(UTC)
    return [
        one
        for one in client.tokens(folder.site_id())
        if one.project_id == project.id and one.revoked_at is None and (one.expires_at is None or one.expires_at > now)
    ]


def _revoke(folder: Folder, client: Client, project: Project, ident: str) -> None:
    if ident not in {one.id for one in _in_force(folder, client, project)}:
        raise UsageError(f"{ident} is no client's token of this site for {project.name} that is in force")
    client.revoke_token(ident)
    print(f"{ident} is revoked")


def _time(at: datetime | None) -> str:
    return "for good" if at is None else at.isoformat(timespec="seconds")


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
