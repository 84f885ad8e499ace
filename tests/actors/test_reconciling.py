"""The reconciler as a process: who leads, what wakes it, and that a cluster that hangs holds up no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from actors.reconciling import Reconciler
from config.clock import SystemClock
from devservers.postgres import PrivatePostgres
from domain.commands import Envelope
from fedyard.cluster.port import Observed
from k8s.clusters import HubCluster
from storage.database import Database, open_database
from storage.wanted import WantedWorkloads
from tests.clusters import MemoryCluster
from tests.databases import lent_postgres
from tests.waiting import until

FOREVER_S = 600.0


class Watched(MemoryCluster):
    """Counts the looks at it. hangs: a look does not come back before the end of the test."""

    def __init__(self, *, hangs: bool = False) -> None:
        super().__init__(SystemClock().monotonic)
        self.looks = 0
        self.news = threading.Event()
        self.done = threading.Event()
        self.hangs = hangs

    def observe(self, owner: str) -> list[Observed]:
        self.looks += 1
        if self.hangs:
            self.done.wait()
        return super().observe(owner)

    def wait(self, seconds: float) -> None:
        self.news.wait(seconds)
        self.news.clear()


class Nowhere:
    """As a publisher."""

    def send(self, envelopes: list[Envelope]) -> None:
        raise AssertionError("nothing is wanted")

    def ready(self) -> str | None:
        return None

    def close(self) -> None:
        pass


@contextmanager
def reconciler(database: Database, *clusters: Watched, may_lead: bool = True) -> Iterator[Reconciler]:
    """Looks by itself so seldom that only what wakes it counts."""
    named = {f"c{number}": HubCluster(f"c{number}", each) for number, each in enumerate(clusters)}
    wanted = WantedWorkloads(database, bytes(32))
    made = Reconciler(named, wanted, Nowhere(), SystemClock(), every_s=FOREVER_S, may_lead=lambda: may_lead)
    made.start()
    try:
        yield made
    finally:
        for each in clusters:
            each.done.set()
            each.news.set()
        made.stop(within_s=10)


def test_a_cluster_that_hangs_holds_up_no_other(database: Database) -> None:
    stuck, well = Watched(hangs=True), Watched()
    with reconciler(database, stuck, well) as each:
        each.lead()
        until(lambda: stuck.looks == well.looks == 1)
        each.wake()
        until(lambda: well.looks == 2)
        assert stuck.looks == 1


def test_news_of_the_cluster_and_of_the_hub_wake_it(database: Database) -> None:
    cluster = Watched()
    with reconciler(database, cluster) as each:
        each.lead()
        until(lambda: cluster.looks == 1)
        cluster.news.set()
        until(lambda: cluster.looks == 2)
        each.wake()
        until(lambda: cluster.looks == 3)


def test_who_may_not_lead_looks_at_nothing(database: Database) -> None:
    cluster = Watched()
    with reconciler(database, cluster, may_lead=False) as each:
        each.lead()
        each.wake()
        assert each.troubles() == {}
    assert cluster.looks == 0


def test_one_of_two_processes_leads_and_the_other_takes_over(postgres: PrivatePostgres) -> None:
    with lent_postgres(postgres) as url:
        one, other = (WantedWorkloads(open_database(url), bytes(32)) for _ in range(2))
        assert (one.lead(), other.lead(), one.lead()) == (True, False, True)
        one.step_down()
        until(other.lead)  # the server notices a moment later that the connection is gone
        other.step_down()
