"""Waiting for what others do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], seconds: float = 120.0, *, often: bool = False) -> Any:
    """The first true value of the condition; a test that waits in vain fails. To ask a program takes seconds on a busy
    machine, and costs it time that others wait for: who waits for long asks ever less often, but for `often`, for what
    is true for a moment alone."""
    began = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - began
        assert waited < seconds, "it did not happen in time"
        time.sleep(0.001 if often else min(max(0.01, waited / 10), 0.1))
    return found
