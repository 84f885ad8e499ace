"""Workers: one thread for each run with something to do, the oldest entry first, one after the other.

And one for messages between sites, so that many of them never hold up a run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from fedyard.agent.flags import Flags
from fedyard.agent.patience import FAULT_PAUSES, Halted
from fedyard.agent.state import State
from fedyard.agent.steps import Steps
from fedyard.client.errors import Unavailable
from fedyard.clock import Clock, jitter
from fedyard.wire.answers import Entry

MAX_WORKERS = 64
MESSAGES = "messages"
"""In the place of a run's id: the worker that takes messages between sites, in their order."""


class Workers:
    """The threads that take steps. guarded: runs a thread's body, and says what becomes of it if it fails."""

    def __init__(
        self,
        state: State,
        steps: Steps,
        *,
        flags: Flags,
        guarded: Callable[[Callable[[], None]], None],
        clock: Clock,
        log: Callable[..., None],
    ) -> None:
        self._state, self._steps = state, steps
        self._flags, self._guarded, self._clock, self._log = flags, guarded, clock, log
        self._lock = threading.Lock()
        self._threads: dict[str | None, threading.Thread] = {}

    def join(self, seconds: float) -> None:
        """Until they have ended, all together for so long."""
        with self._lock:
            threads = list(self._threads.values())
        end = self._clock.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, end - self._clock.monotonic()))

    def wake(self) -> None:
        """See that every run with something to do has a worker."""
        waiting: list[str | None] = [None, MESSAGES, *self._state.inbox.waiting_runs()]
        with self._lock:
            for run_id in waiting[:MAX_WORKERS]:
                if run_id not in self._threads and not self._flags.closing.is_set():
                    thread = threading.Thread(target=self._guarded, args=(lambda r=run_id: self._work(r),), daemon=True)
                    self._threads[run_id] = thread
                    thread.start()

    def _work(self, run_id: str | None) -> None:
        """A run's entries, until none waits."""
        try:
            while not self._flags.closing.is_set():
                entry = self._next(run_id)
                if entry is None:
                    with self._lock:
                        if self._next(run_id) is None:
                            del self._threads[run_id]
                            return
                    continue
                try:
                    self._handle(entry)
                except Unavailable as error:
                    self._log("hub unavailable", detail=str(error))
                    self._clock.wait(self._flags.closing, jitter(max(FAULT_PAUSES.first, error.retry_after_s)))
        except Halted:
            return

    def _next(self, lane: str | None) -> Entry | None:
        return self._state.inbox.waiting_message() if lane == MESSAGES else self._state.inbox.waiting(lane)

    def _handle(self, entry: Entry) -> None:
        start = self._clock.monotonic()
        outcome = self._steps.take(entry)
        self._state.inbox.done(entry.seq)
        took = round((self._clock.monotonic() - start) * 1000)
        self._log(entry.kind, entry=entry.seq, run=entry.run_id, round=entry.round, outcome=outcome, ms=took)
