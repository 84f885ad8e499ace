"""How fast a decider decides: noted as it does, told every ten seconds by another thread, so that no decision waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from broker.routes import ROUTES
from config.clock import Clock
from config.outages import Outage
from domain.commands import Command, Envelope
from domain.values import Micros
from fedyard.wire.times import SECOND
from storage.database import Database, DatabaseUnavailable
from storage.vitals import SAMPLE_EVERY_S, Sampled, TakenReading, tell, write_samples

MAX_WAITS = 50_000
"""Of one stretch: what is more is counted, and how long it waited is left out."""

_log = logging.getLogger(__name__)


class Pulse:
    """`took` belongs to the deciding thread, `turn` to another one."""

    def __init__(self, database: Database, process: str, clock: Clock) -> None:
        self._database = database
        self._process = process
        self._clock = clock
        self._lock = threading.Lock()
        self._decided = 0
        self._waits: list[Micros] = []
        self._asked: dict[str, Micros] = {}
        self._next = clock.monotonic() + SAMPLE_EVERY_S
        self._away = Outage(_log, "the pace of deciding is not told", "the pace of deciding is told again", clock)

    def took(self, envelopes: Sequence[Envelope], now: Micros) -> None:
        """These were decided; at `now` that began."""
        waits = [max(0, now - one.at) for one in envelopes]
        last: dict[type[Command], Micros] = {}
        for one in envelopes:
            kind = type(one.command)
            last[kind] = max(one.at, last.get(kind, 0))
        with self._lock:
            self._decided += len(waits)
            if len(self._waits) < MAX_WAITS:
                self._waits += waits
            for command, at in last.items():
                queue = ROUTES[command].queue
                self._asked[queue] = max(at, self._asked.get(queue, 0))

    def turn(self) -> None:
        """Tell, if it is time. Raises nothing: a stretch that cannot be told is a gap in a curve."""
        if self._clock.monotonic() < self._next:
            return
        self._next = self._clock.monotonic() + SAMPLE_EVERY_S
        with self._lock:
            decided, self._decided = self._decided, 0
            waits, self._waits = self._waits, []
            asked, self._asked = self._asked, {}
        samples = {Sampled.DECIDED: float(decided)}
        if waits:
            waits.sort()
            samples |= {Sampled.WAIT_P50: _share(waits, 0.5), Sampled.WAIT_P99: _share(waits, 0.99)}
        try:
            now = self._clock.now()
            write_samples(self._database, self._process, now, samples)
            tell(self._database, now, {queue: TakenReading(at) for queue, at in asked.items()})
            self._away.over()
        except DatabaseUnavailable as error:
            self._away.lasts(error)


def _share(waits: Sequence[Micros], share: float) -> float:
    """What that share of them stays within (nearest rank), in seconds. waits: sorted, not empty."""
    return waits[min(len(waits) - 1, int(share * len(waits)))] / SECOND
