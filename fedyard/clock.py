"""A site's one home of time and chance. Everything else in fedyard/ and demo/ takes them from here."""

from __future__ import annotations

import os
import random
import secrets
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from; tests bring their own."""

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Sleep until `event` is set, `seconds` at most; True if it is set."""


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


def utc_now() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)


def micros_now() -> int:
    """The wall clock as seals and keys have it: whole microseconds since 1970."""
    return time.time_ns() // 1000


def draw_key() -> str:
    """A random idempotency key."""
    return str(uuid.uuid4())


def draw_secret() -> str:
    """A bearer token: 256 random bits, URL-safe, prefixed so that leaks can be searched for."""
    return "fyd_" + secrets.token_urlsafe(32)


def draw_bytes(count: int) -> bytes:
    """So many bytes of the operating system's generator, for noise that protects somebody."""
    return os.urandom(count)


def jitter(seconds: float, spread: float = 0.25) -> float:
    """`seconds`, moved at random by at most `spread` of itself, so that crowds don't return at once."""
    return seconds * (1 + random.uniform(-spread, spread))  # noqa: S311 - not a secret
