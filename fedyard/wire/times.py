"""Times as they travel and are signed: whole microseconds since 1970-01-01 UTC. Where they come from: the clocks."""

from __future__ import annotations

import functools
from datetime import UTC, datetime

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 3_600 * SECOND
DAY_S = 86_400
DAY = DAY_S * SECOND


def moment(micros: int) -> str:
    """Microseconds since 1970 as people read them; the number itself where no calendar has it."""
    try:
        return datetime.fromtimestamp(micros // SECOND, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return str(micros)


def time_text(micros: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC, to the microsecond."""
    seconds, rest = divmod(micros, SECOND)
    return f"{_second_text(seconds)}.{rest:06d}Z"


@functools.lru_cache(maxsize=4096)
def _second_text(seconds: int) -> str:
    """What is shown together mostly happened together."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
