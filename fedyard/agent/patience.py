"""Asking the hub for as long as the answer is wanted: the one way in which effects of entries wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from fedyard.agent.state import State
from fedyard.client.errors import Unavailable
from fedyard.clock import Clock, jitter
from fedyard.wire.answers import Entry
from fedyard.wire.backoff import Backoff

PAUSES = Backoff(first=1.0, most=15.0)
"""Seconds between questions to a hub that cannot be reached."""
"""Between one request's last try and its next first one."""

KEY_WITHIN_S = 10.0
"""How long work waits for the first key to be published, so that what comes of it can be sealed to this site."""
FAULT_PAUSES = Backoff(first=2.0, most=60.0)
"""Seconds before a thread that met with what nobody expected (a full disk, a fault of ours) goes on."""

_OVER = ("task_ended", "run_ended", "round_completed")
_ENDS_SEAT_WORK = (*_OVER, "seat_dropped", "invited")

_OVERTAKERS: dict[str, tuple[str, ...]] = {
    "invited": _ENDS_SEAT_WORK,
    "round_started": _ENDS_SEAT_WORK,
    "aggregate": _OVER,
    "score": _ENDS_SEAT_WORK,
    "seat_dropped": ("invited", "seat_dropped", "task_ended", "run_ended"),
}
"""Which later entries (of the same run and task, of this round or a later one) take away an entry's reason."""

T = TypeVar("T")


class Halted(Exception):
    """The agent stops; the entry is taken up again at the next start."""


class Overtaken(Exception):
    """Nobody wants the rest of this entry any more; it is done."""


class Patience:
    """halting: set once the agent does not wait for anything any more."""

    def __init__(self, state: State, *, halting: threading.Event, clock: Clock, log: Callable[..., None]) -> None:
        self._state = state
        self._halting = halting
        self._clock = clock
        self._log = log

    def unwanted(self, entry: Entry) -> bool:
        """True once the entry's result is not wanted any more, or the agent stops."""
        return self._halting.is_set() or self._is_overtaken(entry)

    def go_on(self, entry: Entry) -> None:
        """Raises `Halted` or `Overtaken` if the entry's result is not wanted."""
        if self._halting.is_set():
            raise Halted
        if self._is_overtaken(entry):
            raise Overtaken

    def pause(self, entry: Entry, seconds: float) -> None:
        """Wait, and see whether the entry is still wanted. Raises `Halted` or `Overtaken`."""
        self._clock.wait(self._halting, jitter(seconds))
        self.go_on(entry)

    def asked(self, entry: Entry, question: Callable[[], T]) -> T:
        """The hub's answer, however long it takes, while it is wanted. Raises `Halted`, `Overtaken`, `Refused`."""
        failures = 0
        while True:
            self.go_on(entry)
            try:
                return question()
            except Unavailable as error:
                self._log("hub unavailable", detail=str(error))
                failures += 1
                self._clock.wait(self._halting, jitter(max(PAUSES.after(failures), error.retry_after_s)))

    def _is_overtaken(self, entry: Entry) -> bool:
        return self._state.inbox.overtaken(entry, _OVERTAKERS.get(entry.kind, ()))
