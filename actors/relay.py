"""The relay: publishes the outbox rows that a crash left behind between a commit and its publishing."""

from __future__ import annotations

import logging

from broker.port import BrokerUnavailable, Publisher
from config.clock import Clock
from config.logs import unit
from config.outages import Outage
from domain import codec
from fedyard.wire.times import SECOND
from storage.database import DatabaseUnavailable
from storage.store import Store

MAX_ROWS = 200

_log = logging.getLogger(__name__)


class Relay:
    """after_s: how old a row must be before its own decider is taken for dead. Several relays do no harm: ids."""

    def __init__(self, store: Store, publisher: Publisher, clock: Clock, after_s: float) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._after_s = after_s
        self._waits = Outage(_log, "the outbox waits", "the outbox is swept again", clock)

    def sweep(self) -> int:
        """Publish what is old enough, forget it once confirmed; how many. Raises nothing: the next sweep tries."""
        try:
            rows = self._store.outbox(self._clock.now() - int(self._after_s * SECOND), MAX_ROWS)
            if rows:
                self._publisher.send([codec.decode(row.envelope_json) for row in rows])
                self._store.forget_outbox(row.id for row in rows)
                _log.info("swept the outbox", extra=unit(count=len(rows)))
            self._waits.over()
            return len(rows)
        except (BrokerUnavailable, DatabaseUnavailable) as error:
            self._waits.lasts(error)
            return 0
