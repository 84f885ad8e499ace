"""Dead letters as people look at them: RabbitMQ has to hand them out for it, so that they are looked at one at a time,
and what was seen just now is shown again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from config.clock import Clock

if TYPE_CHECKING:
    from broker.dead_letters import DeadLetter

KEPT_S = 2.0
MAX_SHOWN = 1000
"""The oldest of each queue; whoever has more settles these first."""


class SeenDeadLetters:
    """read: so many at most, from the broker."""

    def __init__(self, read: Callable[[int], Sequence[DeadLetter]], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[float, Sequence[DeadLetter]] | None = None

    def all(self) -> Sequence[DeadLetter]:
        """Oldest first in each queue. Raises `BrokerUnavailable`."""
        with self._lock:
            if self._seen is None or self._clock.monotonic() - self._seen[0] > KEPT_S:
                self._seen = (self._clock.monotonic(), self._read(MAX_SHOWN))
            return self._seen[1]

    def forget(self) -> None:
        """Something is being done with them."""
        with self._lock:
            self._seen = None
