"""Ways to put load on the hub: as fast as answers come, or at a given pace."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.client import Connection


@dataclass
class Measured:
    """What came of a load: seconds that it took, and seconds of each request."""

    seconds: float = 0.0
    spans: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.spans) / self.seconds if self.seconds else 0.0


async def closed(
    connections: Sequence[Connection], seconds: float, next_request: Callable[[int], bytes], *wanted: int
) -> Measured:
    """Every connection asks as soon as it was answered, for so long, once at least.

    next_request: by the number of the connection.
    """
    measured = Measured()
    begun = time.perf_counter()
    end = begun + seconds

    async def one(number: int, connection: Connection) -> None:
        now = time.perf_counter()
        while True:
            await connection.need(next_request(number), *wanted)
            after = time.perf_counter()
            measured.spans.append(after - now)
            now = after
            if now >= end:
                return

    await asyncio.gather(*(one(number, connection) for number, connection in enumerate(connections)))
    measured.seconds = time.perf_counter() - begun
    return measured


class Pace:
    """Arrivals at random (Poisson), so many a second on average. Seeded: every run has the same."""

    def __init__(self, per_s: float, seed: int = 1) -> None:
        self._per_s = per_s
        self._random = random.Random(seed)  # noqa: S311 - not a secret
        self._next = time.perf_counter()

    async def turn(self) -> None:
        """Wait for the next arrival; one that is late takes place at once."""
        self._next += self._random.expovariate(self._per_s)
        ahead = self._next - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        elif ahead < -1:  # hopelessly behind: begin anew rather than catch up in a burst
            self._next = time.perf_counter()


async def timed(spans: list[float], work: Awaitable[object]) -> None:
    """Note how long it took."""
    begun = time.perf_counter()
    await work
    spans.append(time.perf_counter() - begun)
