"""Times as they travel and are signed: whole microseconds since 1970-01-01 UTC. Where they come from: the clocks."""

from __future__ import annotations

from datetime import UTC, datetime

SECOND = 1_000_000
DAY_S = 86_400
DAY = DAY_S * SECOND


def moment(micros: int) -> str:
    """Microseconds since 1970 as people read them; the number itself where no calendar has it."""
    try:
        return datetime.fromtimestamp(micros // SECOND, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return str(micros)
