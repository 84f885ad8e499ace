"""What the web is given: the hub's parts behind their ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.port import Publisher
from config.clock import Clock
from config.settings import Settings
from storage.blobs.port import Blobs
from storage.database import Database
from storage.signals import Signals
from web.live.connections import Connections

if TYPE_CHECKING:
    from broker.dead_letters import DeadLetter


@dataclass(frozen=True)
class Hub:
    """settings.web_threads and settings.waiting_polls must be those of the server that serves the app.

    occupied: called when a request begins to hold its thread for long; some servers have to be told.
    connections: who watches the server's connections, to be counted in the metrics.
    dead_letters: the oldest ones, so many at most.
    """

    settings: Settings
    database: Database
    publisher: Publisher
    signals: Signals
    clock: Clock
    blobs: Blobs
    occupied: Callable[[], None] = lambda: None
    connections: Connections | None = None
    dead_letters: Callable[[int], Sequence[DeadLetter]] = lambda _: ()
