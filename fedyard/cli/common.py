"""What the commands of the command line have in common."""

from __future__ import annotations

import re
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from fedyard.agent.consents import Wanted, choose
from fedyard.agent.courier import Courier
from fedyard.agent.directories import Directories
from fedyard.agent.joining import Joining
from fedyard.agent.site import Folder, client_to
from fedyard.agent.state import State
from fedyard.client.client import Client
from fedyard.client.transfer import Transfer
from fedyard.clock import SystemClock
from fedyard.sealed.sealing import Address
from fedyard.tasks import TaskError
from fedyard.wire import command_line
from fedyard.wire.answers import Project, Run
from fedyard.wire.times import SECOND

NOWHERE = Path()
FILE = click.Path(path_type=Path)
"""A file that a command looks after itself, with sentences of its own."""
ID_LENGTH = 36
BEGINS_ID = re.compile("[0-9a-f-]{4,35}")
"""How an id may be said in short."""
SHOWN = 10
"""Of the runs that a short id may mean."""
LIVE = ("wanted", "starting", "running")
"""Of a workload."""


class UsageError(Exception):
    """What was asked for cannot be done so; the sentence says how."""


def client_of(folder: Folder) -> Client:
    settings = folder.settings()
    folder.site_id()
    return client_to(settings, folder.token(), give_up_s=15.0, waiting=complain)


def complain(sentence: str) -> None:
    """What people should know while they wait, on standard error."""
    print(f"fedyard: {sentence}", file=sys.stderr, flush=True)


def courier_of(folder: Folder, client: Client) -> Courier:
    """The site's courier, beside the one of an agent that may be running."""
    settings = folder.settings()
    keyring, trust, clock = folder.keyring(), folder.trust(settings), SystemClock()
    directories = Directories(keyring, trust, folder.consents(), client, monotonic=clock.monotonic, log=silent)
    state = State(folder.path / "state.sqlite")
    return Courier(folder.path, settings, keyring, trust, directories, state, client, Transfer(client))


def joining_of(folder: Folder, client: Client) -> Joining:
    """The site's way into projects, beside the one of an agent that may be running."""
    trust, identity = folder.trust(folder.settings()), folder.keyring().identity_key
    return Joining(folder.site_id(), identity, folder.consents(), trust, client, silent)


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


def time_of(micros: int | None) -> str:
    return "" if micros is None else datetime.fromtimestamp(micros / SECOND, UTC).isoformat(timespec="seconds")


def state_told(state: str, stop_at: datetime | None) -> str:
    """Of a workload, and whether it is to go: what has gone is not stopping any more."""
    return state if stop_at is None or state not in LIVE else f"{state}, stopping"


def silent(_what: str, **_facts: object) -> None:
    """For people it is the outcome that counts."""


def names_of(client: Client) -> dict[str, str]:
    """Sites' names by id."""
    return {site.id: site.name for site in client.sites()}


def place_named(client: Client, project_id: str, where: str) -> str:
    """Where something runs, as the hub takes it: `site:` and the name of a member's site means its id.

    Raises `UsageError`.
    """
    prefix, colon, name = where.partition(":")
    if prefix != "site" or not colon or len(name) == ID_LENGTH:
        return where
    members = client.members(project_id)
    found = [one.site_id for one in members if one.site_name == name]
    if len(found) != 1:
        few = "no site" if not found else f"{len(found)} sites"
        raise UsageError(
            f"{where}: {few} of that name in the project: say site: and an id, as `fedyard project members` lists them"
        )
    return f"site:{found[0]}"


def project_named(client: Client, name: str) -> Project:
    """The project of this name or id; a live one, if there is one. Raises `NotChosen` if there are several."""
    found = projects_called(client, name)
    live = choose(found, name, Wanted())
    if live is None and not found:
        raise UsageError(f"there is no project {name!r}, or this site may not see it")
    return live or found[0]


def projects_called(client: Client, name: str) -> list[Project]:
    """What the hub shows under a name or an id."""
    named = [project for project in client.projects(name=name) if project.name == name]
    return named or [project for project in client.projects() if project.id == name]


def run_named(client: Client, text: str) -> Run:
    """A run by its id, by a beginning of its id, or by its project and number; then its last attempt."""
    name, slash, number = text.rpartition("/")
    if not slash:
        return client.run(id_of_run(client, text))
    runs = [r for r in client.runs(project_id=project_named(client, name).id) if str(r.number) == number]
    if not runs:
        raise UsageError(f"project {name!r} has no run {number}")
    return max(runs, key=lambda run: run.attempt)


def id_of_run(client: Client, text: str, what: str = "run") -> str:
    """Raises `UsageError` if no run that this site may see has an id that begins so, or several have."""
    said = text.lower()
    if len(said) == ID_LENGTH:
        return said
    if not BEGINS_ID.fullmatch(said):
        raise UsageError(f"{text!r} names no {what}: say PROJECT/NUMBER, its id, or how its id begins (4 characters)")
    found = [run for run in client.runs() if run.id.startswith(said)]
    if len(found) == 1:
        return found[0].id
    if not found:
        raise UsageError(f"there is no {what} whose id begins with {said}, or this site may not see it")
    which = ", ".join(f"{run.id} (number {run.number}, attempt {run.attempt}, {run.state})" for run in found[:SHOWN])
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise UsageError(f"the ids of {len(found)} runs begin with {said}: {which}{more}; say more of it")


def unexpected(error: Exception) -> tuple[int, str]:
    """Exit code and sentence for what no command has turned into one."""
    if isinstance(error, sqlite3.DatabaseError):
        return (
            2,
            f"an SQLite file of this folder cannot be used ({str(error)[:100]}): is the disk full, or is it damaged?",
        )
    if isinstance(error, msgspec.DecodeError):
        return (
            2,
            "a file of the site's folder (pins.json, hub-pin.json, state.sqlite) is damaged: restore it from a backup",
        )
    if isinstance(error, TaskError):
        return 1, str(error)
    return command_line.unexpected(error)
