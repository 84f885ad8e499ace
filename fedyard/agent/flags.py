"""What the threads of an agent tell each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event


@dataclass(frozen=True)
class Flags:
    """closing: take up nothing new. halting: break off what is under way. poked: look after the keys.

    keyed: the first key is published. rejoin: ask for the memberships again.
    wanted: look after workloads.
    """

    closing: Event = field(default_factory=Event)
    halting: Event = field(default_factory=Event)
    poked: Event = field(default_factory=Event)
    keyed: Event = field(default_factory=Event)
    rejoin: Event = field(default_factory=Event)
    wanted: Event = field(default_factory=Event)
