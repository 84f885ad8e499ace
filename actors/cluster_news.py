"""What a doer or reconciler tells the web of the hub's clusters: how it finds them, and how often it called them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from config.clock import Clock
from k8s.clusters import Clusters
from storage.cluster_calls import add_calls
from storage.clusters import tell
from storage.database import Database, DatabaseUnavailable

TELLS_EVERY_S = 10.0


class ClusterNews:
    """Of one process. Where the database is away it is told later."""

    def __init__(self, clusters: Clusters, database: Database, clock: Clock) -> None:
        self._clusters = clusters
        self._database = database
        self._clock = clock
        self._told: Mapping[str, str] = {}
        self._told_at = self._counted_at = float("-inf")

    def turn(self, troubles: Mapping[str, str] | None = None, *, last: bool = False) -> None:
        """Every now and then. troubles: by cluster, of who leads; another one is told at once. last: before the end."""
        now = self._clock.monotonic()
        with suppress(DatabaseUnavailable):
            if troubles and (troubles != self._told or now >= self._told_at + TELLS_EVERY_S):
                tell(self._database, troubles, self._clock.now())
                self._told, self._told_at = dict(troubles), now
            if last or now >= self._counted_at + TELLS_EVERY_S:
                self._counted_at = now
                self._tell_calls()

    def _tell_calls(self) -> None:
        for each in self._clusters.values():
            taken = each.calls.take()
            try:
                add_calls(self._database, taken)
            except DatabaseUnavailable:
                each.calls.put_back(taken)
                raise
