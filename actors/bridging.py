"""The bridge's process: for each cluster of Kafka a bridge with its two threads, and somebody who tells how it does.

A bridge that ends by an error of Kafka's is begun anew, after a pause that grows.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress

import msgspec

from broker.bridge import Bridge, Counted, MadeAnew
from broker.kafka_reading import KafkaReader
from broker.kafka_writing import KafkaTopics
from broker.port import BrokerUnavailable, Publisher
from broker.reading import Place
from broker.streams import NotAccepted, Topics, Unreachable
from config.clock import Clock, wait_for
from config.logs import unit
from config.outages import Outage
from config.processes import BRIDGE, process_name
from config.stream_properties import properties_of
from config.streams import Cluster
from domain import codec
from domain import stream_commands as sc
from domain.ids import derive
from domain.values import Micros
from fedyard.wire.backoff import Backoff
from fedyard.wire.times import SECOND
from storage import stream_states
from storage.database import Database, DatabaseUnavailable

TELLS_EVERY_S = 2.0
POLL_S = 0.2
NAMED = 5
"""So many partitions a trouble names."""
UNREAD_AFTER_S = 10.0
"""A partition that no bridge has told of for so long is read by nobody. A rebalance among bridges that live is over by
then."""
ANSWERS_WITHIN_S = 3.0
"""What is asked for the status: a cluster that is slower counts as away."""
FORGETS_EVERY_S = 600.0
_PAUSES = Backoff(first=1.0, most=60.0)
_log = logging.getLogger(__name__)


class Crossing:
    """One cluster's bridge, for as long as the process lives."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        publisher: Publisher,
        database: Database,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self.name = name
        self._cluster = cluster
        self._publisher = publisher
        self._database = database
        self._clock = clock
        self._stop = stop
        self._properties = {"log_level": "2", **properties_of(name, cluster)}  # what is wrong is said once a minute
        self._topics: Topics = KafkaTopics(self._properties, ANSWERS_WITHIN_S)
        words = "a cluster of Kafka cannot be used", "the cluster of Kafka can be used again"
        self._away = Outage(_log, *words, clock)
        self._bridge: Bridge | None = None
        self._trouble: str | None = None
        self._told = Counted()
        self._began = clock.monotonic()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin, in threads."""
        for does in (self._poll, self._tell):
            thread = threading.Thread(target=does, name=f"fedyard-bridge-{self.name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def join(self, within_s: float) -> None:
        """Once `stop` is set."""
        for thread in self._threads:
            thread.join(within_s)
        self._topics.close()

    @property
    def alive(self) -> bool:
        """False: a thread has ended by an error of ours."""
        return all(thread.is_alive() for thread in self._threads)

    def _made(self, anew: frozenset[str]) -> Bridge:
        reader = KafkaReader(self._properties, self._cluster.group)
        return Bridge(
            self.name, self._cluster, reader, self._publisher, self._clock, self._topics, self._decided, anew=anew
        )

    def _decided(self) -> dict[Place, tuple[str, int]]:
        try:
            return {Place(*key): told for key, told in stream_states.decided(self._database, self.name).items()}
        except DatabaseUnavailable as error:
            raise Unreachable(str(error)) from error

    def _poll(self) -> None:
        failures, anew = 0, frozenset[str]()
        while not self._stop.is_set():
            try:
                self._hold(self._made(anew))
            except MadeAnew as error:
                failures, anew = 0, error.topics
                _log.warning("a bridge is begun anew", extra=unit(cluster=self.name, why=str(error)))
            except (Unreachable, NotAccepted) as error:
                failures += 1
                self._trouble = error.fact
                _log.warning("a bridge ended, and is begun anew", extra=unit(cluster=self.name, why=error.fact))
                wait_for(self._stop, _PAUSES.after(failures))

    def _hold(self, bridge: Bridge) -> None:
        """One membership in the group, from joining to leaving."""
        publishing = threading.Thread(target=bridge.run_publishing, name=f"fedyard-publishing-{self.name}", daemon=True)
        publishing.start()
        try:
            bridge.subscribe()
            self._bridge, self._trouble = bridge, None
            _log.info("reads", extra=unit(cluster=self.name, topics=sorted(self._cluster.topics)))
            while not self._stop.is_set():
                bridge.turn(POLL_S)
                assert publishing.is_alive(), "whoever publishes ends with the bridge"
        finally:
            bridge.stop()
            publishing.join()
            bridge.close()

    def _tell(self) -> None:
        while not wait_for(self._stop, TELLS_EVERY_S):
            self.tell()
        self.tell(last=True)

    def tell(self, *, last: bool = False) -> None:
        """How far it has come, to the store. last: the process ends, and what it had is asked no more."""
        trouble, ends = ("", {}) if last else self._found()
        if trouble:
            self._away.lasts(trouble, cluster=self.name)
        elif not last:
            self._away.over()
        with suppress(DatabaseUnavailable, Unreachable):
            if self._bridge is not None:
                self._bridge.look(ends, self._decided())
            self._note(trouble)

    def _found(self) -> tuple[str, dict[Place, int]]:
        """What is wrong here, "" for nothing, and where the partitions of the cluster end, if it can be asked."""
        bridge = self._bridge
        trouble = self._trouble or ("" if bridge is None else bridge.wrong)
        ends: dict[Place, int] = {}
        try:
            found = self._topics.ends(self._cluster.topics)
            missing = sorted(self._cluster.topics.keys() - found.keys())
            if missing:
                trouble = trouble or f"there is no topic {', '.join(missing)}"
            if bridge is not None:
                bridge.check_topics()
            ends = {Place(topic, one): of[1] for topic, those in found.items() for one, of in those.items()}
            mine = () if bridge is None else {state.place for state in bridge.states()}
            return trouble or self._unread(ends, mine), ends
        except (Unreachable, NotAccepted) as error:
            return trouble or error.fact, ends

    def _note(self, trouble: str) -> None:
        """Raises `DatabaseUnavailable`."""
        bridge = self._bridge
        counted = Counted() if bridge is None else msgspec.structs.replace(bridge.counted)
        under_way = (0, 0) if bridge is None else bridge.under_way()
        stream_states.tell(
            self._database,
            stream_states.BridgeState(self.name, process_name(BRIDGE), trouble, *under_way, self._clock.now()),
            [
                stream_states.ToldPartition(
                    self.name, *state.place, state.topic_id, state.end, state.taken, state.committed, state.oldest_at
                )
                for state in ([] if bridge is None else bridge.states())
            ],
            self._news(counted),
        )
        self._told = counted

    def _unread(self, ends: Mapping[Place, int], mine: Collection[Place]) -> str:
        """Which partitions no bridge has: a member of the group that was killed is missed after a while only, and one
        of somebody else's may keep them. How long they are is told, or they would look as if all were decided."""
        if self._clock.monotonic() < self._began + UNREAD_AFTER_S:
            return ""
        lately = self._clock.now() - int(UNREAD_AFTER_S * SECOND)
        try:
            lags = stream_states.lags(self._database)
            told = {Place(one.topic, one.partition) for one in lags if one.cluster == self.name and one.at > lately}
            unread = sorted(ends.keys() - told - set(mine))
            stream_states.tell_ends(self._database, self.name, {place: ends[place] for place in unread})
        except DatabaseUnavailable:
            return ""
        if not unread:
            return ""
        named = ", ".join(f"{place.topic}/{place.partition}" for place in unread[:NAMED])
        more = f" and {len(unread) - NAMED} more" if len(unread) > NAMED else ""
        return f"nobody reads {named}{more}: group {self._cluster.group} has given it to no bridge"

    def _news(self, counted: Counted) -> dict[str, int]:
        """Since it was told last; a bridge that was begun anew counts from 0."""
        now, before = msgspec.structs.asdict(counted), msgspec.structs.asdict(self._told)
        return {what: count - before[what] if count >= before[what] else count for what, count in now.items()}


class Forgetting:
    """Retention of what came over streams: asked for here, since only a hub with them has any."""

    def __init__(self, database: Database, publisher: Publisher, clock: Clock, keep_s: float) -> None:
        self._database = database
        self._publisher = publisher
        self._clock = clock
        self._keep: Micros = int(keep_s * SECOND)
        self._looked_at = float("-inf")

    def turn(self) -> None:
        """Every now and then."""
        now = self._clock.monotonic()
        if now < self._looked_at + FORGETS_EVERY_S:
            return
        self._looked_at = now
        with suppress(DatabaseUnavailable, BrokerUnavailable):
            at = self._clock.now()
            if stream_states.overdue(self._database, at - self._keep):
                turn = at // int(FORGETS_EVERY_S * SECOND)
                id = derive("forget quarantined records", turn)
                self._publisher.send([codec.envelope_of(sc.ForgetRecords(), id=id, by=codec.THE_HUB, at=at)])
