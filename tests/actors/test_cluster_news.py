"""Calls of clusters, from where they are made to what /metrics shows, over whatever processes make them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client.core import Metric

from actors.cluster_news import TELLS_EVERY_S, ClusterNews
from config.cluster_calls import Call, Calls, Count
from fedyard.cluster.port import Reason, Refused, Spec, Unavailable
from k8s.clusters import HubCluster
from k8s.measuring import MeasuredCluster
from storage.cluster_calls import read_calls
from storage.clusters import told
from storage.database import Database, DatabaseUnavailable
from tests.clusters import MemoryCluster
from tests.hub import TestClock
from web.live.metrics import cluster_calls

ID = "11111111-1111-4111-8111-111111111111"
SPEC = Spec(owner=ID, place=ID, id=ID, attempt=1, kind="job", image="local/sh")


class Slow(MemoryCluster):
    """Each call takes a while."""

    def __init__(self, clock: TestClock, takes_s: float) -> None:
        super().__init__(lambda: 0.0)
        self._clock = clock
        self.takes_s = takes_s

    def _called(self, name: str) -> None:
        self._clock.sleep(self.takes_s)
        super()._called(name)


class Place:
    """One process that calls a cluster."""

    def __init__(self, database: Database, takes_s: float = 0.01) -> None:
        self.clock = TestClock()
        self.inner = Slow(self.clock, takes_s)
        calls = Calls()
        self.cluster = MeasuredCluster("edge", self.inner, calls, self.clock)
        self.news = ClusterNews({"edge": HubCluster("edge", self.cluster, None, calls)}, database, self.clock)


def shown(database: Database) -> dict[str, float]:
    """As Prometheus reads it, without the cluster's label."""

    def lines(metric: Metric) -> dict[str, float]:
        found = {}
        for one in metric.samples:
            said = ",".join(f"{name}={value}" for name, value in sorted(one.labels.items()) if name != "cluster")
            found[f"{one.name.removeprefix('fedyard_cluster_')}{{{said}}}"] = one.value
            assert one.labels["cluster"] == "edge"
        return found

    return {name: value for metric in cluster_calls(read_calls(database)) for name, value in lines(metric).items()}


def test_calls_are_counted_by_verb_and_outcome_over_all_processes(database: Database) -> None:
    first, second = Place(database), Place(database, takes_s=0.4)
    for place in (first, second):
        place.cluster.ensure(SPEC)
        assert len(place.cluster.observe(ID)) == 1
    second.inner.refuses = Refused(Reason.QUOTA_EXCEEDED, "full")
    with pytest.raises(Refused):
        second.cluster.ensure(SPEC)
    second.inner.away = True
    with pytest.raises(Unavailable):
        second.cluster.stop(SPEC.attempt_id, grace_s=1)
    for place in (first, second):
        place.news.turn()
    found = shown(database)
    assert found["calls_total{outcome=ok,verb=ensure}"] == 2
    assert found["calls_total{outcome=refused,verb=ensure}"] == 1
    assert found["calls_total{outcome=unavailable,verb=stop}"] == 1
    assert found["call_seconds_sum{verb=ensure}"] == pytest.approx(0.81)
    spans = [found[f"call_seconds_bucket{{le={le},verb=ensure}}"] for le in ("0.005", "0.02", "0.5", "+Inf")]
    assert spans == [0, 1, 3, 3]


def test_what_is_counted_is_told_once_every_while_and_at_the_end(database: Database) -> None:
    place = Place(database)
    place.cluster.observe(ID)
    place.news.turn()
    place.cluster.observe(ID)
    place.news.turn()
    assert shown(database)["calls_total{outcome=ok,verb=observe}"] == 1
    place.clock.sleep(TELLS_EVERY_S)
    place.news.turn()
    assert shown(database)["calls_total{outcome=ok,verb=observe}"] == 2
    place.cluster.observe(ID)
    place.news.turn(last=True)
    place.news.turn(last=True)
    assert shown(database)["calls_total{outcome=ok,verb=observe}"] == 3


def test_what_cannot_be_told_is_told_later(database: Database, without: Callable[[Database], Database]) -> None:
    place = Place(without(database))
    place.cluster.observe(ID)
    place.news.turn(last=True)
    again = ClusterNews(place.news._clusters, database, place.clock)
    again.turn(last=True)
    assert read_calls(database) == {Call("edge", "observe", "ok", 20): Count(1, 10_000)}


@pytest.fixture
def without() -> Callable[[Database], Database]:
    """A database that is away."""

    class Away(Database):
        def __init__(self, like: Database) -> None:
            super().__init__(like.peewee, postgres=like.postgres)

        def hold(self) -> None:
            raise DatabaseUnavailable("away")

    return Away


def test_a_trouble_is_told_when_it_is_another_one_and_else_every_while(database: Database) -> None:
    place = Place(database)
    place.news.turn({"edge": "is away"})
    first = place.clock.now()
    assert told(database, first) == {"edge": "is away"}
    place.clock.sleep(1)
    place.news.turn({"edge": ""})
    assert told(database, place.clock.now()) == {}
    place.clock.sleep(1)
    place.news.turn({"edge": "is away"})
    for _ in range(8):
        place.clock.sleep(TELLS_EVERY_S)
        place.news.turn({"edge": "is away"})
    assert told(database, place.clock.now()) == {"edge": "is away"}, "it is believed for a minute only"
