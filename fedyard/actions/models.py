"""Models, opened: one that a run shows, and a version of a project as a file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fedyard.actions.site import courier_of
from fedyard.agent.courier import Courier
from fedyard.agent.site import Folder
from fedyard.client.client import Client
from fedyard.client.transfer import Transfer
from fedyard.sealed.errors import Gone, NotRecipient
from fedyard.sealed.sealing import Address
from fedyard.tasks import Content
from fedyard.tasks.packed import write
from fedyard.wire import answers as a


def model_of(folder: Folder, client: Client, project_id: str, message_id: str, target: Path) -> bytes | Path:
    """A global model of a project as its coordinator sealed it; a large one is put into the file `target`."""
    courier = courier_of(folder, client)
    message = client.message(message_id)
    return courier.unpack(
        message.body,
        Address(courier.directories.of(project_id).coordinator, project_id, "model"),
        place=f"message {message_id}",
        target=target,
        artifact_id=message.artifact_id,
        anywhere=True,
    ).content


def fetch(folder: Folder, client: Client, project: a.Project, model: a.Model, to: Path) -> None:
    """Write the file, if it is the model that the coordinator made in this very round. A checkpoint of the project's
    own coordinator is not sealed: the hub's word says which it is, its digest that it is whole."""
    if model.epoch is not None and model.artifact_id is not None:
        Transfer(client).download(model.artifact_id, to, digest=model.digest)
        return
    courier = courier_of(folder, client)
    with tempfile.TemporaryDirectory(dir=folder.path) as spool:
        write(_version_opened(courier, client, project, model, Path(spool) / "model"), to)


def opened(folder: Folder, client: Client, project: a.Project, model: a.Model) -> Content:
    """What is in a version: arrays or bytes, if it is the model that the coordinator made in this very round."""
    from fedyard.tasks.arrays import unpack  # noqa: PLC0415 - numpy is heavy, and other commands need none

    if model.epoch is not None:
        raise Gone(f"version {model.version} is a file of the project's own coordinator: --get it")
    courier = courier_of(folder, client)
    with tempfile.TemporaryDirectory(dir=folder.path) as spool:
        packed = _version_opened(courier, client, project, model, Path(spool) / "model")
        return unpack(packed, folder.settings().tasks.content_limit_bytes)


def _version_opened(courier: Courier, client: Client, project: a.Project, model: a.Model, target: Path) -> bytes | Path:
    gone = Gone(f"version {model.version} of project {project.name!r} is not at the hub any more")
    if model.message_id is None or model.run_id is None or model.task_seq is None:
        raise gone
    message = client.message(model.message_id)
    if message.body is None and message.artifact_id is None:
        raise gone
    coordinator = courier.directories.of(project.id).coordinator
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
