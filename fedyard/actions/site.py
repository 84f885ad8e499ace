"""The site as its people speak for it: its client, its courier, its way into projects."""

from __future__ import annotations

from collections.abc import Callable

from fedyard.agent.courier import Courier
from fedyard.agent.directories import Directories
from fedyard.agent.joining import Joining
from fedyard.agent.site import Folder, client_to
from fedyard.agent.state import State
from fedyard.client.client import Client
from fedyard.client.transfer import Transfer
from fedyard.clock import SystemClock

PATIENCE_S = 15.0
"""How long people wait for a hub that does not answer."""


class UsageError(Exception):
    """What was asked for cannot be done so; the sentence says how."""


def asking_hub(
    folder: Folder, waiting: Callable[[str], None] = lambda _: None, *, give_up_s: float = PATIENCE_S
) -> Client:
    """The hub's client of an enrolled site. waiting: told what people should know while they wait."""
    settings = folder.settings()
    folder.site_id()
    return client_to(settings, folder.token(), give_up_s=give_up_s, waiting=waiting)


def courier_of(folder: Folder, client: Client, state: State | None = None) -> Courier:
    """The site's courier, beside the one of an agent that may be running. state: opened anew where it is None."""
    settings = folder.settings()
    keyring, trust, clock = folder.keyring(), folder.trust(settings), SystemClock()
    directories = Directories(keyring, trust, folder.consents(), client, monotonic=clock.monotonic, log=silent)
    state = state or State(folder.path / "state.sqlite")
    return Courier(folder.path, settings, keyring, trust, directories, state, client, Transfer(client))


def joining_of(folder: Folder, client: Client) -> Joining:
    """The site's way into projects, beside the one of an agent that may be running."""
    trust, identity = folder.trust(folder.settings()), folder.keyring().identity_key
    return Joining(folder.site_id(), identity, folder.consents(), trust, client, silent)


def silent(_what: str, **_facts: object) -> None:
    """For people it is the outcome that counts."""
