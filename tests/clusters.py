"""A cluster without machines for tests: the port over a dictionary, with the bad luck that a test asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from fedyard.cluster.port import AttemptId, Evidence, Observed, Phase, Reason, Refused, Spec, Unavailable
from k8s.clusters import HubCluster


@dataclass
class Running:
    """One attempt as it is there. uid tells one object from the next of the same name."""

    spec: Spec
    observed: Observed
    log: bytes = b""


class MemoryCluster:
    """What is made starts at once; the test says how it goes on. away: nothing answers. after_s: when it
    says to be asked again."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self.there: dict[AttemptId, Running] = {}
        self.made = 0
        self.calls: list[str] = []
        self.graces: list[float] = []
        self.away = False
        self.after_s: float | None = None
        self.refuses: Refused | None = None
        self.forbidden: list[str] = []
        self.lingers = False
        """What is stopped, or a place, is not gone at once."""

    # how it goes on

    def runs(self, which: AttemptId, **fields: object) -> None:
        self._change(which, phase=Phase.RUNNING, started_s=self._now_s(), **fields)

    def ends(self, which: AttemptId, exit_code: int = 0, reason: Reason | None = None, log: bytes = b"") -> None:
        fine = exit_code == 0 and reason is None
        phase = Phase.SUCCEEDED if fine else Phase.FAILED
        why = reason or (Reason.NONE if fine else Reason.EXIT_CODE)
        self._change(which, phase=phase, reason=why, exit_code=exit_code, ended_s=self._now_s())
        self.there[which].log += log

    def only(self) -> AttemptId:
        """The one attempt that is there."""
        (which,) = self.there
        return which

    def _change(self, which: AttemptId, **fields: object) -> None:
        one = self.there[which]
        one.observed = msgspec.structs.replace(one.observed, **fields)

    # the port

    def missing(self) -> list[str]:
        self._called("missing")
        return self.forbidden

    def ensure(self, spec: Spec) -> Observed:
        self._called("ensure")
        if self.refuses is not None:
            raise self.refuses
        one = self.there.get(spec.attempt_id)
        if one is None:
            self.made += 1
            observed = Observed(
                id=spec.id,
                attempt=spec.attempt,
                place=spec.place,
                phase=Phase.STARTING,
                uid=f"uid-{self.made}",
                replicas=spec.replicas,
                created_s=self._now_s(),
            )
            one = self.there[spec.attempt_id] = Running(spec, observed)
        return one.observed

    def observe(self, owner: str) -> list[Observed]:
        self._called("observe")
        return [one.observed for which, one in self.there.items() if which.owner == owner]

    def evidence(self, which: AttemptId, *, log_bytes: int) -> Evidence:
        self._called("evidence")
        one = self.there.get(which)
        return Evidence() if one is None else Evidence(log=one.log[-log_bytes:], events=[f"made {one.observed.uid}"])

    def log(self, which: AttemptId, *, after: int, most: int) -> bytes:
        self._called("log")
        return self.there[which].log[after : after + most] if which in self.there else b""

    def scale(self, which: AttemptId, replicas: int) -> None:
        self._called("scale")
        if which in self.there:
            self._change(which, replicas=replicas)

    def stop(self, which: AttemptId, *, grace_s: float) -> bool:
        self._called("stop")
        assert grace_s >= 0
        self.graces.append(grace_s)
        if self.lingers and which in self.there:
            self._change(which, stopping=True)
            return False
        self.there.pop(which, None)
        return True

    def remove_place(self, owner: str, place: str) -> bool:
        self._called("remove_place")
        for which in [each for each in self.there if (each.owner, each.place) == (owner, place)]:
            del self.there[which]
        return not self.lingers

    def wait(self, seconds: float) -> None:
        self._called("wait")

    def close(self) -> None:
        self.calls.append("close")

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.away:
            raise Unavailable("the cluster is away", self.after_s)


def as_hub_cluster(cluster: MemoryCluster, *images: str) -> HubCluster:
    return HubCluster("hub", cluster, images or None)
