"""What the web is given: the hub's parts behind their ports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from broker.port import Publisher
from config.clock import Clock
from config.settings import Settings
from storage.blobs.port import Blobs
from storage.database import Database
from storage.signals import Signals
from web.live.connections import Connections


@dataclass(frozen=True)
class Hub:
    """settings.web_threads and settings.waiting_polls must be those of the server that serves the app.

    occupied: called when a request begins to hold its thread for long; some servers have to be told.
    connections: who watches the server's connections, to be counted in the metrics.
    """

    settings: Settings
    database: Database
    publisher: Publisher
    signals: Signals
    clock: Clock
    blobs: Blobs
    occupied: Callable[[], None] = lambda: None
    connections: Connections | None = None
