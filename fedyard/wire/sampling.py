"""Which of a task's seats take part in a round. The hub draws by it, and a coordinator's agent counts by it.

The draw is made of nothing but the names of the round and of the sites, so that it is the same whenever and wherever it
is made, and no seat's chance depends on who else has a seat.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from typing import Final, Protocol

from fedyard.wire import quorum

_CONTEXT: Final = b"fedyard sample 1\0"


class Contract(quorum.Contract, Protocol):
    """As much of a task's contract as the draw depends on, in the hub's class and in the site's.

    sample: a fraction of the seats, or their number, as `sample_of` says; sample_at_least: seats, whatever that is.
    """

    @property
    def sample(self) -> float: ...

    @property
    def sample_of(self) -> str: ...

    @property
    def sample_at_least(self) -> int: ...


def size_of(contract: Contract, seats: int) -> int:
    """How many of so many seats a round draws. A fraction is rounded up, but for what a float is off by."""
    wanted = int(contract.sample) if contract.sample_of == "count" else math.ceil(round(contract.sample * seats, 9))
    return min(seats, max(1, wanted, contract.sample_at_least))


def needed_of(contract: Contract, seats: int) -> int:
    """How many updates a round of a task with so many seats needs: the quorum of those that are drawn."""
    return quorum.quorum_of(contract, size_of(contract, seats))


def drawn(run_id: str, task_seq: int, round: int, sites: Collection[str], size: int) -> list[str]:
    """The sites that take part in a round, `size` of them, or all where there are fewer; sorted."""
    return sorted(sorted(sites, key=lambda site_id: _lot(run_id, task_seq, round, site_id))[:size])


def _lot(run_id: str, task_seq: int, round: int, site_id: str) -> bytes:
    """The lowest ones are drawn."""
    return hashlib.sha256(_CONTEXT + f"{run_id} {task_seq} {round} {site_id}".encode()).digest()
