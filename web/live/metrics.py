"""What Prometheus reads: counted in this process, or read from the store at scrape time where that is cheap."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from config.clock import Clock
from config.cluster_calls import BOUNDS_MS, Call, Count
from domain.states import WebhookDeliveryState, WorkloadState
from domain.values import Micros
from fedyard.wire.times import SECOND
from storage import clocks, history
from storage.cluster_calls import read_calls
from storage.database import Database
from storage.views import commands, webhooks, workloads
from web.live.connections import Connections
from web.live.heartbeats import HeartbeatBuffer
from web.live.shares import Shares
from web.live.stream_metrics import stream_metrics
from web.live.transfers import Transfers
from web.live.waiters import Waiters

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SPANS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SETTLED = 2 * SECOND
"""Decisions younger than this are counted at the next scrape: their transactions may still be open."""


class Metrics:
    """The registry and what the web itself measures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.publishing = Histogram(
            "fedyard_publish_seconds",
            "From handing a command to the broker to its confirmation",
            registry=self.registry,
            buckets=_SPANS,
        )
        self._queued = Histogram(
            "fedyard_queue_wait_seconds",
            "From a waited-for request to the start of its deciding: publishing and waiting in the queue",
            ["kind"],
            registry=self.registry,
            buckets=_SPANS,
        )
        self._decisions = Histogram(
            "fedyard_decision_seconds",
            "From the start of its deciding until the web has heard of it: deciding, committing, announcing",
            ["kind"],
            registry=self.registry,
            buckets=_SPANS,
        )

    def decided(self, kind: str, asked_at: Micros, decided_at: Micros, heard_at: Micros) -> None:
        """A waited-for command's outcome was heard of. A repeat was decided before it was asked for: not counted."""
        if decided_at < asked_at:
            return
        self._queued.labels(kind).observe((decided_at - asked_at) / SECOND)
        self._decisions.labels(kind).observe(max(0, heard_at - decided_at) / SECOND)

    def text(self) -> bytes:
        """Raises `DatabaseUnavailable`."""
        return generate_latest(self.registry)


@dataclass(frozen=True)
class _Decided:
    kind: str
    state: str


class Counts(Collector):
    """Reads the store at scrape time. Commands are counted from this process's start."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        waiters: Waiters,
        watchers: Waiters,
        heartbeats: HeartbeatBuffer,
        transfers: Transfers,
        shares: Shares,
        connections: Connections | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._waiters = waiters
        self._watchers = watchers
        self._heartbeats = heartbeats
        self._transfers = transfers
        self._shares = shares
        self._connections = connections
        self._until: Micros = clock.now()
        self._commands: Tally[_Decided] = Tally()

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield self._count_commands()
        live, sites = commands.live_runs(self._database), commands.sites_by_state(self._database)
        yield _by_state("fedyard_runs_live", "Live runs by state", ("created", "running"), live)
        yield _by_state("fedyard_sites", "Sites by state", ("online", "silent"), sites)
        told = webhooks.deliveries_by_state(self._database)
        about = "Deliveries of webhooks that are kept, by what became of them"
        yield _by_state("fedyard_webhook_deliveries", about, tuple(WebhookDeliveryState), told)
        there = workloads.workloads_by_state(self._database)
        yield _by_state("fedyard_workloads", "Workloads by state", tuple(WorkloadState), there)
        yield from cluster_calls(read_calls(self._database))
        yield from stream_metrics(self._database, self._clock.now())
        backlog, oldest = commands.outbox_backlog(self._database)
        age = 0 if oldest is None else max(0, self._clock.now() - oldest) / SECOND
        yield GaugeMetricFamily("fedyard_outbox_rows", "Follow-up commands not yet published", backlog)
        yield GaugeMetricFamily("fedyard_outbox_oldest_seconds", "Age of the oldest of them", age)
        yield GaugeMetricFamily("fedyard_polls_waiting", "Polls, streams and waits held open", self._waiters.open)
        yield CounterMetricFamily("fedyard_polls_refused", "Polls refused: all places taken", self._waiters.refused)
        yield GaugeMetricFamily("fedyard_page_polls_waiting", "Polls of open pages held open", self._watchers.open)
        about = "Polls of open pages refused: all their places taken"
        yield CounterMetricFamily("fedyard_page_polls_refused", about, self._watchers.refused)
        yield CounterMetricFamily("fedyard_beats_lost", "Packs of heartbeats not taken", self._heartbeats.lost)
        yield from self._count_transfers()
        yield from self._count_shares()
        yield self._clocks()
        yield from self._history()

    def _history(self) -> Iterator[Metric]:
        """Of a hub that was never restored: none of these moves."""
        told, (done, known) = history.read_history(self._database), history.recovered(self._database)
        yield CounterMetricFamily("fedyard_history_changes", "How often the hub's history went back", told.changes)
        about = "Sites from before the history changed that have not recovered yet"
        yield GaugeMetricFamily("fedyard_sites_to_recover", about, known - done)

    def _clocks(self) -> Metric:
        """Of each role the process that is furthest off."""
        about = "How far a process's clock is ahead of the database's"
        metric = GaugeMetricFamily("fedyard_clock_offset_seconds", about, labels=["role"])
        offsets: dict[str, Micros] = {}
        for one in clocks.reports(self._database, self._clock.now()):
            offsets[one.role] = max(offsets.get(one.role, 0), one.offset, key=abs)
        for role, offset in offsets.items():
            metric.add_metric([role], offset / SECOND)
        return metric

    def _count_transfers(self) -> Iterator[Metric]:
        """Of this process. in: chunks, and pieces of them; out: reads. What goes straight to a bucket nobody sees."""
        transfers = self._transfers
        under_way = GaugeMetricFamily("fedyard_transfers_under_way", "Transfers at present", labels=["direction"])
        for direction, count in transfers.under_way.items():
            under_way.add_metric([direction], count)
        moved = CounterMetricFamily("fedyard_transfer_bytes", "Bytes of artifacts, in or out", labels=["direction"])
        for direction, count in transfers.moved_bytes.items():
            moved.add_metric([direction], count)
        about, labels = "Transfers that are over, by outcome", ["direction", "outcome"]
        ended = CounterMetricFamily("fedyard_transfers", about, labels=labels)
        for (direction, outcome), count in transfers.ended.items():
            ended.add_metric([direction, outcome], count)
        yield from (under_way, moved, ended)

    def _count_shares(self) -> Iterator[Metric]:
        """Of this process, by limit, never by caller."""
        about = "Calls refused with 429: their caller's rate or share was taken"
        refused = CounterMetricFamily("fedyard_over_share", about, labels=["limit"])
        others = {"transfers": self._transfers.refused, "polls": self._waiters.over_share}
        for limit, count in {**self._shares.refused(), **others}.items():
            refused.add_metric([limit], count)
        about = "Polls that ended before their time, by cause"
        ended = CounterMetricFamily("fedyard_polls_ended", about, labels=["cause"])
        ended.add_metric(["over_share"], self._waiters.ended_early)
        ended.add_metric(["hung_up"], self._waiters.gone)
        yield from (refused, ended)
        about = "Refused calls that were answered late, since their caller came again too early"
        yield CounterMetricFamily("fedyard_refusals_held", about, self._shares.tarpit.held)
        yield GaugeMetricFamily("fedyard_writes_under_way", "Writes at present", self._shares.under_way.open)
        yield GaugeMetricFamily(
            "fedyard_bodies_read", "Bodies that are being read at present", self._shares.bodies.open
        )
        if self._connections is None:
            return
        yield GaugeMetricFamily("fedyard_connections", "Connections at the last look", self._connections.open)
        about = "Connections that the hub cut off, by cause"
        cut = CounterMetricFamily("fedyard_connections_cut", about, labels=["cause"])
        for cause, count in self._connections.cut.items():
            cut.add_metric([cause], count)
        yield cut

    def _count_commands(self) -> Metric:
        until = self._clock.now() - _SETTLED
        if until > self._until:
            for kind, state, count in commands.decided_between(self._database, self._until, until):
                self._commands[_Decided(kind, state)] += count
            self._until = until
        about = "Commands decided, by kind and outcome"
        metric = CounterMetricFamily("fedyard_commands", about, labels=["kind", "outcome"])
        for decided, count in sorted(self._commands.items(), key=lambda item: (item[0].kind, item[0].state)):
            metric.add_metric([decided.kind, decided.state], count)
        return metric


def cluster_calls(counted: Mapping[Call, Count]) -> Iterator[Metric]:
    """Of all processes, from the store: who calls clusters is not who is asked."""
    about = "Calls of the hub's clusters, by what came of them"
    outcomes = CounterMetricFamily("fedyard_cluster_calls", about, labels=["cluster", "verb", "outcome"])
    for key, calls in _sums(((call.cluster, call.verb, call.outcome), n.calls) for call, n in counted.items()):
        outcomes.add_metric(key, calls)
    about = "How long calls of the hub's clusters took"
    spans = HistogramMetricFamily("fedyard_cluster_call_seconds", about, labels=["cluster", "verb"])
    within = dict(_sums(((call.cluster, call.verb, str(call.within_ms)), n.calls) for call, n in counted.items()))
    for key, micros in _sums(((call.cluster, call.verb), n.micros) for call, n in counted.items()):
        buckets, so_far = list[tuple[str, float]](), 0
        for bound in (*BOUNDS_MS, 0):
            so_far += within.get((*key, str(bound)), 0)
            buckets.append((str(bound / 1000) if bound else "+Inf", so_far))
        spans.add_metric(key, buckets, micros / SECOND)
    yield from (outcomes, spans)


def _sums(counted: Iterable[tuple[tuple[str, ...], int]]) -> list[tuple[tuple[str, ...], int]]:
    sums = Tally[tuple[str, ...]]()
    for key, count in counted:
        sums[key] += count
    return sorted(sums.items())


def _by_state(name: str, about: str, states: tuple[str, ...], counts: dict[str, int]) -> Metric:
    metric = GaugeMetricFamily(name, about, labels=["state"])
    for state in states:
        metric.add_metric([state], counts.get(state, 0))
    return metric
