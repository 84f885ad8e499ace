"""What the load process is told: who its sites are and what they shall do."""

from __future__ import annotations

import msgspec


class PlannedSite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A site of the load. hub: its own address, perhaps behind a bad network. The token is never shown."""

    id: str
    name: str
    token: str
    hub: str
    project_id: str
    coordinates: bool

    def __repr__(self) -> str:
        return f"PlannedSite({self.name})"


class Starter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keeps a run going in a project whose sites are real agents, with its coordinator's token."""

    id: str
    token: str
    hub: str
    project_id: str

    def __repr__(self) -> str:
        return f"Starter({self.id})"


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A load. message_every_s: the mean pause of a sender. heartbeat_every_s: as the hub wants it.

    places: where jobs of the starter's project may run. program, books: what they run, and where that writes.
    """

    seed: int
    sites: list[PlannedSite]
    starter: Starter
    message_every_s: float
    heartbeat_every_s: float
    run_within_s: float
    places: list[str]
    program: str
    books: str

    def __repr__(self) -> str:
        return f"Plan({len(self.sites)} sites)"


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the load was, counted by who made it. statuses: answers by status, 0 for none."""

    seconds: float
    requests: int
    statuses: dict[str, int]
    messages_sent: int
    entries_received: int
