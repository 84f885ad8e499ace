"""How many updates a round needs. The hub counts by it, and a coordinator's agent holds the hub to the same number."""

from __future__ import annotations

import math
from typing import Final, Protocol

REPLACED: Final = "workload_replaced"
"""Why the seat of an attempt that has another one after it is out: it is no seat of the task any more."""


class Contract(Protocol):
    """As much of a task's contract as the quorum depends on, in the hub's class and in the site's.

    quorum: a fraction of the seats, or their number, as `quorum_of` says.
    """

    @property
    def quorum(self) -> float: ...

    @property
    def quorum_of(self) -> str: ...


def quorum_of(contract: Contract, seats: int) -> int:
    """Of a task with so many seats. A fraction is rounded up, but for what a float is off by."""
    if contract.quorum_of == "count":
        return int(contract.quorum)
    return max(1, math.ceil(round(contract.quorum * seats, 9)))
