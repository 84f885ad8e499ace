"""Who looks after workloads at the hub in a simulation: two reconcilers that both act. Spans are shortened."""

from __future__ import annotations

from typing import Any

import actors.reconciling
import actors.workloads
import domain.decisions.workloads
import fedyard.agent.places
import fedyard.agent.reports
import fedyard.agent.workloads
import fedyard.cluster.plan
import storage.places
from actors.reconciling import ClusterReconciler
from k8s.clusters import HubCluster
from storage.wanted import WantedWorkloads
from tests.simulation.broker import SimulatedPublisher
from tests.simulation.clusters import FILES_KEPT_S, KEY, NAME
from tests.simulation.world import Process

RETRIED_AFTER_S = 3
SPANS: list[tuple[Any, str, float]] = [
    (fedyard.cluster.plan, "ORPHAN_AGE_S", 12.0),
    (fedyard.cluster.plan, "MISSING_S", 2.0),
    (fedyard.cluster.plan, "PULL_WITHIN_S", 15.0),
    (fedyard.cluster.plan, "EVIDENCE_WITHIN_S", 12.0),
    (fedyard.cluster.plan, "DEADLINE_SLACK_S", 4.0),
    (fedyard.cluster.plan, "UNMADE_S", 6.0),
    (actors.workloads, "LEASE_S", 4),
    (actors.workloads, "AWAY_S", 1.0),
    (actors.reconciling, "SAID_AGAIN_S", 3.0),
    (actors.reconciling, "RENEW_EVERY_S", 12.0),
    (fedyard.agent.reports, "SAID_AGAIN_S", 3.0),
    (fedyard.agent.workloads, "RENEW_EVERY_S", 12.0),
    (fedyard.agent.places, "EVERY_S", 10.0),
    (fedyard.agent.places, "AGAIN_S", 3.0),
    (storage.places, "FILES_KEPT_S", FILES_KEPT_S),
]
"""Spans of a history of minutes, in the order that the real ones have."""


def retry_after_s(_: int) -> int:
    return RETRIED_AFTER_S


SWAPS = [*SPANS, (domain.decisions.workloads, "retry_after_s", retry_after_s)]


class ReconcilingProcess(Process):
    """There are two, and both lead: leading is only there to save work."""

    def start(self) -> None:
        place = HubCluster(NAME, self.world.cluster.of(self))
        wanted = WantedWorkloads(self.open(), KEY)
        self.reconciler = ClusterReconciler(place, wanted, SimulatedPublisher(self.world, self), self)

    def step(self) -> float:
        assert self.database is not None
        self.database.hold()
        self.reconciler.turn()
        return self.world.chance.uniform(0.3, 1.2)
