"""Back-off: how long to wait before the next try of what has failed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Pauses that double with each failure in a row: `first` after one, never more than `most`. In whatever unit both
    are. Jitter is added where chance has its home, and what the other side asks for (Retry-After) goes before."""

    first: float
    most: float

    def after(self, failures: int) -> float:
        """The pause after so many failures in a row; none without one."""
        if failures <= 0:
            return 0.0
        return min(self.first * 2.0 ** min(failures - 1, _DOUBLINGS), self.most)


_DOUBLINGS = 64
"""More make no difference, and a float holds no end of them."""
