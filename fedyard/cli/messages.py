"""`fedyard send`: a sealed message."""

from __future__ import annotations

from pathlib import Path

import click

from fedyard.actions.messages import sent
from fedyard.actions.naming import project_named
from fedyard.actions.site import UsageError
from fedyard.agent.courier import MAX_INLINE_BYTES
from fedyard.agent.site import Folder
from fedyard.cli.common import FILE, client_of
from fedyard.wire.command_line import Command, Words


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
    message_id, count = sent(folder, client, project_named(client, project), to, _content(text, file), kind)
    print(f"message {message_id} is on its way to {count} site{'s' * (count != 1)}")


def _content(text: str | None, file: Path | None) -> bytes | Path:
    if file is None:
        return (text or "").encode()
    if not file.is_file():
        raise UsageError(f"--file {file} is no file")
    return file.read_bytes() if file.stat().st_size < MAX_INLINE_BYTES else file
