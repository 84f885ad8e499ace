"""Wires the worker roles and runs each until told to stop; the same in a process of its own or in a thread."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from actors import deciding
from actors.bridging import Crossing, Forgetting
from actors.cluster_news import ClusterNews
from actors.deciding import DECIDERS, Decider, DecidingWorker
from actors.doers import Tools, doing_functions
from actors.doing import DOERS, Doer, doing_workers, stop_all
from actors.gauging import Gauging, folders_of
from actors.ledger import Ledger
from actors.pulse import Pulse
from actors.reconciling import Reconciler
from actors.registry import register_deciding, register_doing
from actors.relay import Relay
from actors.sweeper import Sweeper
from actors.telling import Teller
from actors.ticker import Ticker
from broker.kafka_log import KafkaLog
from broker.opening import dead_letters_of, depths_of, open_publisher, open_worker_broker, prepare_broker
from broker.port import BrokerUnavailable
from config.clock import Clock, wait_for
from config.key_files import workload_key
from config.logs import set_up_logs, unit
from config.memory import keep_giving_back
from config.processes import BRIDGE, END_WITHIN_S, end_within, process_name
from config.settings import Settings
from config.stream_properties import properties_of
from config.streams import open_streams
from config.waiting import wait_until
from domain.rules import Rules
from domain.streams.cloud_events import CONTENT_TYPE
from fedyard.wire.stopping import on_stop_signal
from fedyard.wire.structs import prepare_structs
from k8s.clusters import close_clusters, open_clusters
from storage.blobs.opening import open_blobs
from storage.clocks import DatabaseClock, open_clock
from storage.database import DatabaseUnavailable, open_database
from storage.due import Due
from storage.migrate import await_schema
from storage.signals import Announcement, PostgresSignals, Signals
from storage.store import Store
from storage.telling import Tellings
from storage.wanted import WantedWorkloads

Announce = Callable[[Announcement], None]
Role = Callable[[Settings, threading.Event], None]

WAKE_EVERY_S = 1.0
"""The kernel may give a signal to any thread, and only the main one runs its handler: it must not sleep for ever."""
_STOP_WITHIN_MS = 20_000
_log = logging.getLogger("actors.running")  # also when it runs as __main__


def run_decider(settings: Settings, stop: threading.Event, announce: Announce | None = None) -> None:
    """Decide until `stop`. announce: in embedded mode, who hears of commits."""
    _await_broker(settings, stop, "decider")
    database = open_database(settings.database_url, pool=3, name="fedyard decider", kept=2)
    clock = open_clock(database, "decider", stop)
    broker = open_worker_broker(settings, "decider", settings.decide_at_most, DECIDERS)
    publisher = open_publisher(settings, "decider")
    store = Store(database, announce)
    settle_history(store, clock, stop)
    pulse = Pulse(database, process_name("decider"), clock)
    decider = Decider(store, publisher, clock, rules_of(settings), pulse)
    actors = register_deciding(broker, decider)
    worker = DecidingWorker(broker, decider, clock, at_most=settings.decide_at_most)
    worker.start()
    keep_giving_back(stop)
    _log.info("decides", extra=unit(actors=len(actors)))
    while not wait_for(stop, WAKE_EVERY_S):
        pulse.turn()
    worker.stop(timeout=_STOP_WITHIN_MS)
    if not settings.embedded:
        publisher.close()
        broker.close()
    database.close()


def run_doer(settings: Settings, stop: threading.Event) -> None:
    """Carry out what is to be done outside, until `stop`."""
    _await_broker(settings, stop, "doer")
    database = open_database(settings.database_url, pool=2, name="fedyard doer", kept=2)
    clock = open_clock(database, "doer", stop)
    broker = open_worker_broker(settings, "doer", settings.do_at_once, DOERS)
    publisher = open_publisher(settings, "doer")
    doer = Doer(doing_functions(Tools(settings, database, clock)), publisher, clock)
    actors = register_doing(broker, doer)
    workers = doing_workers(broker, doer, settings.do_at_once)
    for worker in workers:
        worker.start()
    _log.info("does", extra=unit(actors=len(actors)))
    clusters = open_clusters(settings)
    news = ClusterNews(clusters, database, clock)
    while not wait_for(stop, WAKE_EVERY_S):
        news.turn()
    stop_all(workers, _STOP_WITHIN_MS)
    news.turn(last=True)
    close_clusters(clusters)
    if not settings.embedded:
        publisher.close()
        broker.close()
    database.close()


def run_reconciler(settings: Settings, stop: threading.Event, signals: Signals | None = None) -> None:
    """Look after workloads until `stop`. signals: in embedded mode, who tells of commits."""
    clusters = open_clusters(settings)
    key = workload_key(Path(settings.workload_key_file))
    database = open_database(settings.database_url, pool=3 + 2 * len(clusters), name="fedyard reconciler", kept=2)
    clock = open_clock(database, "reconciler", stop)
    publisher = open_publisher(settings, "reconciler")
    heard = signals or PostgresSignals(settings.database_url)
    reconciler = Reconciler(
        clusters,
        WantedWorkloads(database, key),
        publisher,
        clock,
        every_s=settings.reconcile_every_s,
        may_lead=clock.reliable if isinstance(clock, DatabaseClock) else lambda: True,
    )
    if clusters:
        heard.subscribe(lambda told: reconciler.wake() if told.workloads else None, reconciler.wake)
    reconciler.start()
    news = ClusterNews(clusters, database, clock)
    while True:
        reconciler.lead()
        news.turn(reconciler.troubles())
        if wait_for(stop, WAKE_EVERY_S):
            break
    reconciler.stop(within_s=_STOP_WITHIN_MS / 1000)
    news.turn(last=True)
    if not settings.embedded:
        heard.close()
        publisher.close()
        close_clusters(clusters)
    database.close()


def settle_history(store: Store, clock: Clock, stop: threading.Event) -> None:
    """Before anything is decided: if the database is not where its history was made, its history gets another id."""
    wait_until(
        lambda: deciding.settle_history(store, clock.now()),
        there="database",
        absent=DatabaseUnavailable,
        stop=stop,
        log=_log,
    )


def rules_of(settings: Settings) -> Rules:
    """What decisions have to know of the settings."""
    plain = {name: getattr(settings, name) for name in Rules.__struct_fields__ if name != "streams"}
    return Rules(**plain, streams=open_streams(settings).rules())


def run_bridge(settings: Settings, stop: threading.Event) -> None:
    """Take in what comes in Kafka's control topics until `stop`; without streams there is nothing to do."""
    clusters = {name: one for name, one in open_streams(settings).clusters.items() if one.topics}
    _await_broker(settings, stop, BRIDGE)
    database = open_database(settings.database_url, pool=2 + 2 * len(clusters), name="fedyard bridge", kept=2)
    clock = open_clock(database, BRIDGE, stop)
    publisher = open_publisher(settings, BRIDGE)
    crossings = [Crossing(name, one, publisher, database, clock, stop) for name, one in sorted(clusters.items())]
    for crossing in crossings:
        crossing.start()
    if not crossings:
        _log.info("there are no streams: FEDYARD_STREAMS names none that is listened to")
    forgetting = Forgetting(database, publisher, clock, settings.keep_quarantine_s)
    while not wait_for(stop, WAKE_EVERY_S):
        assert all(crossing.alive for crossing in crossings), "a thread of the bridge ended, and said why"
        if crossings:
            forgetting.turn()
    for crossing in crossings:
        crossing.join(_STOP_WITHIN_MS / 1000)
    if not settings.embedded:
        publisher.close()
    database.close()


def run_relay(settings: Settings, stop: threading.Event) -> None:
    """Sweep the outbox, and what artifacts have left behind, until `stop`."""
    database = open_database(settings.database_url, pool=2, name="fedyard relay", kept=2)
    clock = open_clock(database, "relay", stop)
    publisher = open_publisher(settings, "relay")
    relay = Relay(Store(database), publisher, clock, settings.relay_after_s)
    blobs = open_blobs(settings.artifacts_url, clock)
    sweeper, ledger = Sweeper(blobs, database, clock), Ledger(blobs, database, publisher, clock)
    gauging = Gauging(database, process_name("relay"), clock, partial(depths_of, settings), folders_of(settings))
    ledger.turn()
    teller = _teller(settings, clock, stop)
    while not wait_for(stop, settings.relay_after_s):
        relay.sweep()
        ledger.turn()
        sweeper.turn()
        gauging.turn()
        assert teller is None or teller.is_alive(), "the thread that tells events ended, and said why"
    if teller is not None:
        teller.join(_STOP_WITHIN_MS / 1000)
    if not settings.embedded:
        publisher.close()
    database.close()


def _teller(settings: Settings, clock: Clock, stop: threading.Event) -> threading.Thread | None:
    """The thread that tells events over Kafka until `stop`, if they are to be told."""
    streams = open_streams(settings)
    if not streams.events_cluster:
        return None
    name = streams.events_cluster
    log = KafkaLog(
        properties_of(name, streams.clusters[name]), streams.events_topic, headers={"content-type": CONTENT_TYPE}
    )
    database = open_database(settings.database_url, pool=1, name="fedyard relay", kept=1)

    def run() -> None:
        Teller(Tellings(database), log, clock, stop).run()
        database.close()

    thread = threading.Thread(target=run, name="telling", daemon=True)
    thread.start()
    _log.info("tells events", extra=unit(cluster=name, topic=streams.events_topic))
    return thread


def run_ticker(settings: Settings, stop: threading.Event, own: Clock | None = None) -> None:
    """Tick until `stop`. own: this process's clock, if it is not the machine's."""
    database = open_database(settings.database_url, pool=2, name="fedyard ticker", kept=2)
    clock = open_clock(database, "ticker", stop, own)
    publisher = open_publisher(settings, "ticker")
    ticker = Ticker(
        Due(database),
        publisher,
        clock,
        silent_after_s=settings.silent_after_s,
        keep_artifacts_s=settings.keep_artifacts_s,
        site_lost_after_s=settings.site_lost_after_s,
        may_lead=clock.reliable if isinstance(clock, DatabaseClock) else lambda: True,
        dead_letters=partial(dead_letters_of, settings),
        streams=bool(settings.streams),
    )
    while not wait_for(stop, settings.tick_every_s):
        ticker.tick()
    ticker.stop()
    if not settings.embedded:
        publisher.close()
    database.close()


def main(name: str, role: Role, end_within_s: float = END_WITHIN_S) -> None:
    """The process of one role: settings from the environment, logs, signals, and a schema that is up to date.

    end_within_s: how long it may take to stop before it ends hard.
    """
    settings = Settings.read()
    set_up_logs(name, settings.log_level, settings.log_format)
    prepare_structs()
    stop = threading.Event()
    on_stop_signal(partial(_stop, stop, end_within_s))
    await_schema(settings.database_url, f"fedyard {name}", stop, _log)
    if not stop.is_set():
        role(settings, stop)


def _stop(stop: threading.Event, end_within_s: float) -> None:
    end_within(end_within_s)
    stop.set()


def _await_broker(settings: Settings, stop: threading.Event, role: str) -> None:
    """Wait until every queue is declared."""
    wait_until(lambda: prepare_broker(settings, role), there="broker", absent=BrokerUnavailable, stop=stop, log=_log)


ROLES: dict[str, Role] = {
    "decider": run_decider,
    "doer": run_doer,
    "reconciler": run_reconciler,
    "relay": run_relay,
    "ticker": run_ticker,
    BRIDGE: run_bridge,
}

if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in ROLES:
        sys.exit(f"usage: python -m actors.running {'|'.join(ROLES)}")
    main(name, ROLES[name])
