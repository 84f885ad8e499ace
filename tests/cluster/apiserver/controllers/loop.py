"""The one thread of all controllers: keys of what changed, and what is due at a time."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from typing import Any

from tests.cluster.apiserver.clock import Clock
from tests.cluster.apiserver.errors import ApiError


class Loop:
    """`ask` and `at` may come from any thread; what they name runs one after the other, without a lock held.

    problems: what went wrong in one; the server's fixture raises it."""

    def __init__(self, clock: Clock, problems: list[Exception]) -> None:
        self._clock, self._problems = clock, problems
        self._wake = threading.Condition()
        self._asked: dict[tuple[Any, ...], Callable[[], None]] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._stopping = self._paused = self._busy = False
        self._thread = threading.Thread(target=self._run, name="controllers", daemon=True)
        clock.tell(self._nudge)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(10)

    def ask(self, key: tuple[Any, ...], run: Callable[[], None]) -> None:
        """Once, however often it is asked before it runs."""
        with self._wake:
            self._asked.setdefault(key, run)
            self._wake.notify_all()

    def at(self, when: float, run: Callable[[], None]) -> None:
        """At that time of the server's clock, or after."""
        with self._wake:
            heapq.heappush(self._due, (when, next(self._numbers), run))
            self._wake.notify_all()

    def pause(self, *, paused: bool) -> None:
        """As if the controllers' process were away."""
        with self._wake:
            self._paused = paused
            self._wake.notify_all()

    def settle(self, timeout_s: float = 10.0) -> None:
        """Until nothing that was asked is left."""
        with self._wake:
            done = self._wake.wait_for(lambda: not self._asked and not self._busy, timeout_s)
        assert done, "the controllers do not come to rest"

    def _nudge(self) -> None:
        with self._wake:
            self._wake.notify_all()

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            self._busy = False
            self._wake.notify_all()
            while not self._stopping:
                now = self._clock.now()
                if not self._paused:
                    if self._due and self._due[0][0] <= now:
                        self._busy = True
                        return heapq.heappop(self._due)[2]
                    if self._asked:
                        self._busy = True
                        return self._asked.pop(next(iter(self._asked)))
                self._wake.wait(max(0.0, self._due[0][0] - now) if self._due and not self._paused else None)
            return None

    def _run(self) -> None:
        while (run := self._next()) is not None:
            try:
                run()
            except ApiError as error:
                if error.code not in {404, 409} and "being terminated" not in error.message:
                    self._problems.append(error)  # else gone, changed or ending meanwhile: the change asks again
            except Exception as error:  # noqa: BLE001  # told by the fixture, not lost in a thread
                self._problems.append(error)
