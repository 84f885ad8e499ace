"""Each call of a cluster counted and timed, whatever cluster it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from config.clock import Clock
from config.cluster_calls import BOUNDS_MS, Call, Calls, Count, Outcome
from fedyard.cluster.port import AttemptId, Cluster, Evidence, Observed, Refused, Spec, Unavailable


class MeasuredCluster:
    """See `Cluster`; `wait`, which takes as long as it is told to, is not counted."""

    def __init__(self, name: str, cluster: Cluster, calls: Calls, clock: Clock) -> None:
        self._name = name
        self._cluster = cluster
        self._calls = calls
        self._clock = clock

    def missing(self) -> list[str]:
        with self._measured("missing"):
            return self._cluster.missing()

    def ensure(self, spec: Spec) -> Observed:
        with self._measured("ensure"):
            return self._cluster.ensure(spec)

    def observe(self, owner: str) -> list[Observed]:
        with self._measured("observe"):
            return self._cluster.observe(owner)

    def evidence(self, which: AttemptId, *, log_bytes: int) -> Evidence:
        with self._measured("evidence"):
            return self._cluster.evidence(which, log_bytes=log_bytes)

    def log(self, which: AttemptId, *, after: int, most: int) -> bytes:
        with self._measured("log"):
            return self._cluster.log(which, after=after, most=most)

    def scale(self, which: AttemptId, replicas: int) -> None:
        with self._measured("scale"):
            self._cluster.scale(which, replicas)

    def stop(self, which: AttemptId, *, grace_s: float) -> bool:
        with self._measured("stop"):
            return self._cluster.stop(which, grace_s=grace_s)

    def remove_place(self, owner: str, place: str) -> bool:
        with self._measured("remove_place"):
            return self._cluster.remove_place(owner, place)

    def wait(self, seconds: float) -> None:
        self._cluster.wait(seconds)

    def close(self) -> None:
        self._cluster.close()

    @contextmanager
    def _measured(self, verb: str) -> Iterator[None]:
        began = self._clock.monotonic()
        outcome: Outcome = "failed"
        try:
            yield
            outcome = "ok"
        except Unavailable:
            outcome = "unavailable"
            raise
        except Refused:
            outcome = "refused"
            raise
        finally:
            spent_s = self._clock.monotonic() - began
            within = next((bound for bound in BOUNDS_MS if spent_s * 1000 <= bound), 0)
            self._calls.add(Call(self._name, verb, outcome, within), Count(1, round(spent_s * 1_000_000)))
