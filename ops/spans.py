"""Times as people called at night read them."""

from __future__ import annotations

from datetime import datetime

from domain.values import Micros
from fedyard.wire.times import SECOND
from storage.views.resources import Time


def ago(time: Time | None, now: Micros) -> str:
    return "never" if time is None else f"{span(now - micros(time))} ago"


def until(time: Time, now: Micros) -> str:
    left = micros(time) - now
    return f"in {span(left)} ({time})" if left > 0 else f"{span(-left)} ago ({time}; is the ticker running?)"


def micros(time: Time) -> Micros:
    return round(datetime.fromisoformat(time).timestamp() * SECOND)


def span(micros: Micros) -> str:
    seconds = max(0, micros) // SECOND
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
