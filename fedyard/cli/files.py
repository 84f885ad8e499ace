"""Initial files of a project: an archive is looked at here, uploaded, and what the hub says of it is told."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import click

from fedyard.actions.naming import project_named
from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder
from fedyard.cli.common import client_of
from fedyard.cli.listing import Listing
from fedyard.client.client import Client
from fedyard.client.transfer import Transfer
from fedyard.cluster.archives.checking import check
from fedyard.cluster.archives.limits import ArchiveError
from fedyard.wire.answers import Artifact
from fedyard.wire.command_line import JSON, Command, print_json
from fedyard.wire.plurals import counted

REFUSED = 1
"""Exit code where the hub has not taken an archive."""
WAIT_S = 120.0
"""How long a command waits until the hub has read an archive."""
_PAUSE_S = 0.5
_UNDER_WAY = ("awaited", "checking")


def look_at(paths: Sequence[Path], required: Sequence[str], sealed: str) -> None:
    """Raises `UsageError` where the hub would refuse an archive, before anything is made or sent."""
    if paths and sealed != "optional":
        raise UsageError("initial files are read by the hub, so they are not sealed: say --sealed optional, too")
    for path in paths:
        try:
            with path.open("rb") as file:
                check(file, required)
        except OSError as error:
            raise UsageError(f"--file {path}: {error.strerror}") from None
        except ArchiveError as error:
            raise UsageError(f"--file {path}: {error.fact} ({error.flaw})") from None


def upload(client: Client, project_id: str, paths: Sequence[Path]) -> int:
    """Upload each and say what the hub found; the exit code."""
    code = 0
    for path in paths:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        key = f"initial-{project_id}-{digest}"  # the same file again is the same artifact
        ident = Transfer(client).upload(path, project_id=project_id, kind="initial", key=key, archive=True)
        found = _settled(client, ident)
        print(f"{path.name}: {_said(found)}; artifact {ident}")
        code = REFUSED if found.archive is not None and found.archive.state == "refused" else code
    return code


def _settled(client: Client, ident: str) -> Artifact:
    until = client.monotonic() + WAIT_S
    while True:
        found = client.artifact(ident)
        settled = found.archive is None or found.archive.state not in _UNDER_WAY
        if settled or client.monotonic() >= until or client.pause(_PAUSE_S):
            return found


def _said(found: Artifact) -> str:
    if found.archive is None:
        return "no archive"
    if found.archive.state == "checked":
        return f"checked, version {found.archive.version}, {counted(len(found.files or []), 'file')}"
    if found.archive.state == "refused":
        return f"refused ({found.archive.flaw}): {found.detail or ''}"
    return f"{found.archive.state}; ask later with `fedyard project files`"


@click.command("files", cls=Command)
@click.argument("name")
@click.option("--of", "ident", metavar="ARTIFACT", help="what is in this one")
@JSON
@click.pass_obj
def files(folder: Folder, name: str, ident: str | None, as_json: bool) -> None:
    """The initial files of project NAME, or what is in an archive of them."""
    client = client_of(folder)
    project = project_named(client, name)
    if ident is None:
        initial = client.artifacts(project_id=project.id, kind="initial")
        if as_json:
            print_json(initial)
            return
        table = Listing("artifact", "bytes", "state", "archive", "version", "flaw", ids=("artifact",))
        for one in initial:
            archive = one.archive
            about = (archive.state, str(archive.version or ""), archive.flaw) if archive else ("", "", "")
            table.add_row(one.id, str(one.size_bytes), one.state, *about)
        table.print()
        return
    found = client.artifact(ident)
    if found.files is None:
        raise UsageError(f"artifact {ident}: {_said(found)}")
    if as_json:
        print_json(found)
        return
    contents = Listing("path", "bytes", "sha256")
    for file in found.files:
        contents.add_row(file.path, str(file.size_bytes), file.sha256)
    contents.print()
