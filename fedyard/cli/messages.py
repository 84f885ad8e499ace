"""`fedyard send`: a sealed message."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from fedyard.agent.courier import MAX_INLINE_BYTES
from fedyard.agent.directories import Directory
from fedyard.agent.site import Folder
from fedyard.agent.state import State
from fedyard.cli.common import FILE, UsageError, client_of, courier_of, names_of, project_named
from fedyard.clock import micros_now
from fedyard.sealed.sealing import Address
from fedyard.wire.command_line import Command, Words

LARGE_KIND = "result"
"""What a message is called that goes by an artifact."""


@click.command("send", cls=Command)
@click.argument("project")
@click.option("--to", cls=Words, required=True, metavar="WHO...", help="coordinator, participants, or names of sites")
@click.option("--text", metavar="TEXT", help="what it says")
@click.option("--file", type=FILE, metavar="FILE", help="or what is in there")
@click.option(
    "--kind",
    metavar="WORD",
    help="a word for the recipient's programs (default: message, and result if it is large)",
)
@click.pass_obj
def send(
    folder: Folder, project: str, to: tuple[str, ...], text: str | None, file: Path | None, kind: str | None
) -> None:
    """Send a sealed message to members of a PROJECT."""
    if (text is None) == (file is None):
        raise click.UsageError("Say either --text or --file.", click.get_current_context())
    client = client_of(folder)
    courier = courier_of(folder, client)
    found = project_named(client, project)
    recipients = _recipients(courier.directories.of(found.id), names_of(client), to)
    named_so = to[0] if to in (("coordinator",), ("participants",)) else recipients
    content = _content(text, file)
    with tempfile.TemporaryDirectory(dir=folder.path) as spool:
        address = Address(courier.site_id, found.id, kind or "message")
        parcel = courier.pack(content, address, recipients, Path(spool) / "body")
        artifact_id = None
        if parcel.file is not None:
            if kind is None:
                address = Address(courier.site_id, found.id, LARGE_KIND)
                parcel = courier.pack(content, address, recipients, Path(spool) / "body")
            artifact_id = courier.upload(parcel, address, f"message-{micros_now()}")
        state = State(folder.path / "state.sqlite")
        message_id = client.post_message(
            found.id,
            named_so,
            parcel.body,
            kind=address.kind,
            artifact_id=artifact_id,
            keep=lambda key, body: state.history.keep_sent(key, body, micros_now()),
        )
        state.close()
    print(f"message {message_id} is on its way to {len(recipients)} site{'s' * (len(recipients) != 1)}")


def _content(text: str | None, file: Path | None) -> bytes | Path:
    if file is None:
        return (text or "").encode()
    if not file.is_file():
        raise UsageError(f"--file {file} is no file")
    return file.read_bytes() if file.stat().st_size < MAX_INLINE_BYTES else file


def _recipients(directory: Directory, names: dict[str, str], to: tuple[str, ...]) -> list[str]:
    members = {*directory.keys, *directory.problems}
    if to == ("coordinator",):
        return [directory.coordinator]
    if to == ("participants",):
        return sorted(members - {directory.coordinator})
    found = {s for s in members if s in to or names.get(s) in to}
    if len(found) != len(set(to)):
        raise UsageError(f"--to {' '.join(to)}: not each of them is one member of the project")
    return sorted(found)
