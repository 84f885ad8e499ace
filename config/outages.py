"""One line when something that we need goes away, one a minute while it is away, and one when it is back."""

from __future__ import annotations

import logging
import threading

from config.clock import Clock, SystemClock
from config.logs import unit

SAY_EVERY_S = 60.0


class Outage:
    """What waits for one thing, however often and by how many threads it is tried. Says so without filling the log."""

    def __init__(self, log: logging.Logger, waits: str, goes_on: str, clock: Clock | None = None) -> None:
        """waits, goes_on: the sentences while it lasts and when it is over; the newest cause goes with the first."""
        self._log = log
        self._waits = waits
        self._goes_on = goes_on
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._since: float | None = None
        self._tried_at = self._said_at = float("-inf")
        self._tries = 0

    def lasts(self, error: object, **facts: object) -> None:
        """A try failed. Who is not told that it is over begins anew after a minute without one."""
        with self._lock:
            now = self._clock.monotonic()
            if self._since is None or now - self._tried_at > SAY_EVERY_S:
                self._since, self._tries, self._said_at = now, 0, float("-inf")
            self._tries, self._tried_at = self._tries + 1, now
            if now - self._said_at < SAY_EVERY_S:
                return
            self._said_at = now
            for_s, tries = round(now - self._since), self._tries
        self._log.warning("%s", self._waits, extra=unit(error=str(error), for_s=for_s, tries=tries, **facts))

    def over(self) -> None:
        """A try succeeded; cheap if none had failed."""
        if self._since is None:
            return
        with self._lock:
            since, self._since = self._since, None
            for_s, tries = 0 if since is None else round(self._clock.monotonic() - since), self._tries
        if since is not None:
            self._log.warning("%s", self._goes_on, extra=unit(for_s=for_s, tries=tries))
