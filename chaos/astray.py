"""A ticker on a machine whose clock is wrong: `python -m chaos.astray SECONDS`, ahead by so many (or behind)."""

from __future__ import annotations

import functools
import sys

from actors.running import main, run_ticker
from config.clock import Micros, SystemClock
from fedyard.wire.times import SECOND


class AstrayClock(SystemClock):
    """The machine's clock, were it wrong."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead = int(ahead_s * SECOND)

    def now(self) -> Micros:
        return super().now() + self._ahead


if __name__ == "__main__":
    main("ticker", functools.partial(run_ticker, own=AstrayClock(float(sys.argv[1]))))
