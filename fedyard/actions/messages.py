"""Sealed messages between sites: sent, and read."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fedyard.actions.naming import names_of
from fedyard.actions.site import UsageError, courier_of
from fedyard.agent.directories import Directory
from fedyard.agent.site import Folder
from fedyard.agent.state import KEEP_ENTRIES, State
from fedyard.client.client import Client
from fedyard.clock import micros_now
from fedyard.sealed.sealing import Address
from fedyard.wire.answers import Project

LARGE_KIND = "result"
"""What a message is called that goes by an artifact."""


def sent(
    folder: Folder,
    client: Client,
    project: Project,
    to: tuple[str, ...],
    content: bytes | Path,
    kind: str | None = None,
) -> tuple[str, int]:
    """Seal and send a message; its id, and to how many. to: coordinator, participants, or names or ids of sites."""
    courier = courier_of(folder, client)
    recipients = _recipients(courier.directories.of(project.id), names_of(client), to)
    named_so = to[0] if to in (("coordinator",), ("participants",)) else recipients
    with tempfile.TemporaryDirectory(dir=folder.path) as spool:
        address = Address(courier.site_id, project.id, kind or "message")
        parcel = courier.pack(content, address, recipients, Path(spool) / "body")
        artifact_id = None
        if parcel.file is not None:
            if kind is None:
                address = Address(courier.site_id, project.id, LARGE_KIND)
                parcel = courier.pack(content, address, recipients, Path(spool) / "body")
            artifact_id = courier.upload(parcel, address, f"message-{micros_now()}")
        state = State(folder.path / "state.sqlite")
        message_id = client.post_message(
            project.id,
            named_so,
            parcel.body,
            kind=address.kind,
            artifact_id=artifact_id,
            keep=lambda key, body: state.history.keep_sent(key, body, micros_now()),
        )
        state.close()
    return message_id, len(recipients)


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


def read(state: State, seq: int) -> bytes | Path:
    """What the message in an inbox entry holds, as the agent has opened it. Raises `UsageError`."""
    found = [e for e in state.inbox.latest(KEEP_ENTRIES) if e.seq == seq and e.message is not None]
    body = state.bodies.get(found[0].message.id) if found and found[0].message is not None else None
    if body is not None and not body.opened and body.artifact_id is not None:
        raise UsageError(
            f"the message in entry {seq} is large and still at the hub: the agent's log says why (`not opened`)"
        )
    if body is None or not body.opened:
        raise UsageError(f"entry {seq} holds no message that this site has opened")
    if not body.file:
        return body.body
    if not Path(body.file).exists():
        raise UsageError(f"the message in entry {seq} has lain here for messages.keep_days, and is gone")
    return Path(body.file)
