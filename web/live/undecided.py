"""Commands that are waited for and not decided: how the web notices that nobody decides."""

from __future__ import annotations

import threading

from config.clock import Clock
from domain.ids import Id
from storage.signals import Announcement

MAX_REMEMBERED = 50_000
SILENT_DECIDER_S = 10.0


class Undecided:
    """The waited-for commands that no outcome was heard of: how the web notices that nobody decides."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[Id, float] = {}
        self._heard_at = 0.0

    def asked(self, command: Id) -> None:
        with self._lock:
            if len(self._asked) < MAX_REMEMBERED:
                self._asked.setdefault(command, self._clock.monotonic())

    def answered(self, command: Id) -> None:
        with self._lock:
            self._asked.pop(command, None)

    def heard(self, announcement: Announcement) -> None:
        with self._lock:
            self._heard_at = self._clock.monotonic()
            for decided in announcement.decided:
                self._asked.pop(decided.id, None)

    def trouble(self) -> str | None:
        """One sentence if a command waits for long and nothing at all was decided since it was sent."""
        with self._lock:
            now = self._clock.monotonic()
            self._asked = {command: at for command, at in self._asked.items() if now - at < 30 * SILENT_DECIDER_S}
            oldest = min(self._asked.values(), default=now)
            if now - oldest > SILENT_DECIDER_S and self._heard_at <= oldest:
                return (
                    f"a command has waited {now - oldest:.0f} s for its decision, and none was decided meanwhile: look "
                    "whether a decider runs, is frozen, or cannot reach RabbitMQ or the database"
                )
            return None
