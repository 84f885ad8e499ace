"""What Prometheus reads of streams: told by the bridge, what lies in quarantine, and how training goes. Nothing, where
there are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from domain.states import DeploymentState, ResultState
from domain.values import Micros
from fedyard.wire.times import SECOND
from storage import stream_states
from storage.database import Database
from storage.views.streams import deployments, quarantine


def stream_metrics(database: Database, now: Micros) -> Iterator[Metric]:
    """Of all clusters. Raises `DatabaseUnavailable`."""
    lags = stream_states.lags(database)
    if lags:
        yield from _lag(lags, now)
    counts = stream_states.counts(database)
    if counts:
        about = "What the bridge has taken, by what became of it; over all its starts"
        taken = CounterMetricFamily("fedyard_stream_records", about, labels=["cluster", "what"])
        for (cluster, what), count in counts.items():
            taken.add_metric([cluster, what], count)
        yield taken
        about = "Records that nobody understood, and nobody has looked after"
        waiting = GaugeMetricFamily("fedyard_stream_quarantined", about, labels=["cluster", "reason"])
        for (cluster, reason), count in sorted(quarantine.waiting_by_reason(database).items()):
            waiting.add_metric([cluster, reason], count)
        yield waiting
    yield from _training(database)


def _training(database: Database) -> Iterator[Metric]:
    states = deployments.by_state(database)
    if states:
        yield _by_state("fedyard_deployments", "Deployments by what they wait for", tuple(DeploymentState), states)
        told = deployments.results_by_state(database)
        yield _by_state("fedyard_training_results", "Results of training by state", tuple(ResultState), told)


def _by_state(name: str, about: str, states: tuple[str, ...], counts: Mapping[str, int]) -> Metric:
    """Those that there are none of are 0, so that a first one is seen to come."""
    family = GaugeMetricFamily(name, about, labels=["state"])
    for state in states:
        family.add_metric([state], counts.get(state, 0))
    return family


def _lag(lags: list[stream_states.Lag], now: Micros) -> Iterator[Metric]:
    about = "Records of a control topic that are not committed, or not decided"
    lag = GaugeMetricFamily("fedyard_stream_lag", about, labels=["cluster", "topic", "partition", "to"])
    oldest: dict[str, Micros] = {}
    for one in lags:
        for to, count in (("committed", one.to_committed), ("decided", one.to_decided)):
            if count is not None:
                lag.add_metric([one.cluster, one.topic, str(one.partition), to], count)
        if one.oldest_at:
            oldest[one.cluster] = min(one.oldest_at, oldest.get(one.cluster, one.oldest_at))
    yield lag
    about = "Since the oldest record was written that was handed on and is not decided; 0: there is none"
    age = GaugeMetricFamily("fedyard_stream_oldest_seconds", about, labels=["cluster"])
    for cluster in sorted({one.cluster for one in lags}):
        age.add_metric([cluster], max(0, now - oldest.get(cluster, now)) / SECOND)
    yield age
