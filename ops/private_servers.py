"""The servers that `fedyard-hub up` has of its own. One that ends unasked is started again, as the Procfile's are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from config.clock import Clock
from devservers.process import ServerError
from ops.supervisor import PAUSES, STEADY_AFTER_S


class Server(Protocol):
    """What `PrivatePostgres` and `PrivateRabbitmq` are to who looks after them."""

    @property
    def ended(self) -> bool:
        """Whether it was started, and has ended unasked."""

    @property
    def log(self) -> Path:
        """Where it says why."""

    def restart(self) -> None:
        """Clear away what is left of it, and start it on the same data and ports. Raises `ServerError`."""


class LookedAfter:
    """One server that runs already. Without it the hub could decide nothing, and nobody else would start it."""

    def __init__(self, name: str, server: Server, clock: Clock) -> None:
        self._name = name
        self._server = server
        self._clock = clock
        self._started_at = clock.monotonic()
        self._failures = 0
        self._due_at: float | None = None

    def turn(self, say: Callable[[str], None]) -> None:
        """Start it again if it has ended and its pause is over; blocks until it answers. What happens is said."""
        now = self._clock.monotonic()
        if self._due_at is None:
            if self._server.ended:
                self._failures = 0 if now - self._started_at > STEADY_AFTER_S else self._failures
                self._ended(say, f"{self._name} ended unasked; why stands in {self._server.log}")
        elif now >= self._due_at:
            try:
                self._server.restart()
            except (ServerError, OSError) as error:
                self._ended(say, str(error))
            else:
                self._due_at, self._started_at = None, self._clock.monotonic()
                say(f"{self._name} runs again")

    def _ended(self, say: Callable[[str], None], why: str) -> None:
        self._failures += 1
        pause = PAUSES.after(self._failures)
        self._due_at = self._clock.monotonic() + pause
        say(f"{why}; started again in {pause:.1f} s")
