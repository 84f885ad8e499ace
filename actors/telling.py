"""Telling others over Kafka what happens in runs: each event of a project's stream, in order, at least once.

A stream's cursor moves behind an event when its record is written on all replicas that are in step. Whoever dies in
between tells some again, under the same ids. A cluster that is away delays the telling; nothing is dropped for it, and
nobody who decides waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from broker.streams import Log
from config.clock import Clock, wait_for
from config.logs import unit
from config.outages import Outage
from domain.ids import Id
from domain.records import Event
from domain.streams.cloud_events import Told, record_of
from storage.database import DatabaseUnavailable
from storage.telling import Stretch, Tellings

EVERY_S = 0.5
"""How long it rests when there is nothing to tell, or when it could not."""
LONG_S = 5.0
"""So long a batch takes before the log says that it waits."""

_log = logging.getLogger(__name__)


class Teller:
    """One of several processes tells: the one that leads."""

    def __init__(self, tellings: Tellings, log: Log, clock: Clock, stop: threading.Event) -> None:
        self._tellings = tellings
        self._to = log
        self._clock = clock
        self._stop = stop
        self._waits = Outage(_log, "events wait to be told", "events are told again", clock)

    def run(self) -> None:
        """Until it is to stop."""
        while not self._stop.is_set():
            if self.turn() == 0:
                wait_for(self._stop, EVERY_S)
        self._to.close()
        self._tellings.step_down()

    def turn(self) -> int:
        """Tell what waits, a batch of it; how many events. Raises nothing: the next turn tries."""
        try:
            if not self._tellings.lead():
                return 0
            stretches = self._tellings.waiting()
            if not stretches:
                return 0
            return self._tell(stretches)
        except DatabaseUnavailable as error:
            self._tellings.step_down()
            self._waits.lasts(error)
            return 0

    def _tell(self, stretches: Sequence[Stretch]) -> int:
        events = [event for stretch in stretches for event in stretch.events]
        records = [record_of(event) for event in events]
        began = self._clock.monotonic()

        def goes_on() -> bool:
            if self._clock.monotonic() - began > LONG_S:
                self._waits.lasts("the cluster has not taken them yet", events=len(events))
            return not self._stop.is_set()

        written, trouble = self._to.append([record for record in records if record is not None], goes_on)
        cursors = cursors_of(events, records, written)
        self._tellings.told(cursors)
        if trouble:
            self._waits.lasts(trouble, events=len(events))
        elif written:
            self._waits.over()
            _log.debug("told", extra=unit(events=written))
        return 0 if trouble else len(events)


def cursors_of(events: Sequence[Event], records: Sequence[Told | None], written: int) -> dict[Id, int]:
    """By stream, the event up to which all that has a record is among the `written` first ones."""
    cursors: dict[Id, int] = {}
    held_up: set[Id] = set()
    for event, record in zip(events, records, strict=True):
        if record is not None:
            written -= 1
            if written < 0:
                held_up.add(event.stream_id)
        if event.stream_id not in held_up:
            cursors[event.stream_id] = event.seq
    return cursors
