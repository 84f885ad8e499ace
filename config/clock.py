"""The one home of time and chance. Everything else takes them as arguments.

Times are whole microseconds since 1970-01-01 UTC (`Micros`), so that they compare, hash and
travel without rounding.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
import uuid
from typing import Protocol, TypeAlias

Micros: TypeAlias = int


class Clock(Protocol):
    """Where time comes from; tests and simulations bring their own."""

    def now(self) -> Micros:
        """Wall clock, microseconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""

    def sleep(self, seconds: float) -> None:
        """Wait; returns early for nobody."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> Micros:
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def wait_for(event: threading.Event, seconds: float) -> bool:
    """Sleep until `event` is set, `seconds` at most; True if it was set."""
    return event.wait(seconds)


def draw_id() -> str:
    """A random id (UUID version 4), for what has no cause to derive it from."""
    return str(uuid.uuid4())


def draw_secret() -> str:
    """A bearer token: 256 random bits, URL-safe, prefixed so that leaks can be searched for."""
    return "fyd_" + secrets.token_urlsafe(32)


def draw_key(size_bytes: int) -> bytes:
    """A key: so many random bytes."""
    return secrets.token_bytes(size_bytes)


def jitter(seconds: float, spread: float = 0.25) -> float:
    """`seconds`, moved at random by at most `spread` of itself, so that crowds don't return at once."""
    return seconds * (1 + random.uniform(-spread, spread))  # noqa: S311 - not a secret
