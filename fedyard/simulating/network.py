"""What is not as it should be in a simulated network: sites that drop out of a round, and stragglers.

Each is drawn from SHA-256 of seed, task, round and site, so that one site's luck does not depend on the others'.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fedyard.tasks import TaskError

Faults: TypeAlias = "float | Mapping[int, Collection[str]]"
"""How likely it is for each site in each round, or the names of sites by round."""


@dataclass(frozen=True)
class Network:
    """drop_outs: sites that are gone for a round before they train. stragglers: whose update comes too late."""

    seed: int = 0
    drop_outs: Faults = 0.0
    stragglers: Faults = 0.0

    def __post_init__(self) -> None:
        for name, faults in (("drop_outs", self.drop_outs), ("stragglers", self.stragglers)):
            if not isinstance(faults, Mapping) and not 0 <= faults <= 1:
                raise TaskError(f"{name} is {faults}: a probability is between 0 and 1")

    def check(self, sites: Collection[str]) -> None:
        """Raises `TaskError` for a site that is meant and is not there."""
        for name, faults in (("drop_outs", self.drop_outs), ("stragglers", self.stragglers)):
            meant = [site for of in faults.values() for site in of] if isinstance(faults, Mapping) else []
            if unknown := sorted(set(meant) - set(sites)):
                raise TaskError(f"{name} has a site {unknown[0]!r}, and there is none: {', '.join(sorted(sites)[:20])}")

    def drops_out(self, task_seq: int, number: int, site: str) -> bool:
        return self._happens("drop out", self.drop_outs, task_seq, number, site)

    def is_late(self, task_seq: int, number: int, site: str) -> bool:
        return self._happens("straggle", self.stragglers, task_seq, number, site)

    @property
    def run_id(self) -> str:
        """What the seeds of all hooks are made of, as the id of a run at a hub."""
        return self._id("run")

    @property
    def project_id(self) -> str:
        return self._id("project")

    def _happens(self, what: str, faults: Faults, task_seq: int, number: int, site: str) -> bool:
        if isinstance(faults, Mapping):
            return site in faults.get(number, ())
        return _share(f"{self.seed}\x1f{what}\x1f{task_seq}\x1f{number}\x1f{site}") < faults

    def _id(self, what: str) -> str:
        return str(uuid.UUID(bytes=hashlib.sha256(f"simulation {self.seed} {what}".encode()).digest()[:16]))


def _share(cause: str) -> float:
    """Between 0 and 1, 1 excluded."""
    return int.from_bytes(hashlib.sha256(cause.encode()).digest()[:6]) / 2**48
