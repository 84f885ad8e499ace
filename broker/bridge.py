"""The bridge: what comes in a cluster's control topics becomes commands on our own broker.

Poll, publish with confirms, then commit the highest contiguous offset of each partition. Two threads do it: one polls
and commits and never waits for anybody but Kafka, so that slowness never costs the membership in the group; the other
publishes, however long that takes. Between them lies a bounded number of records and bytes; at the bound partitions are
paused, and polling goes on.

Whatever is read twice is the same command (broker/intake.py): after a crash, a revoked partition or a commit that was
refused, records come again and change nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from broker.intake import Intake, dead_letter
from broker.partitions import Item, Partition
from broker.port import BrokerUnavailable, Publisher
from broker.reading import Committed, Place, Reader, Taken
from broker.streams import NotAccepted, Topics, Unreachable
from config.clock import Clock
from config.logs import unit
from config.outages import Outage
from config.streams import Cluster
from domain import stream_commands as sc
from domain.commands import Envelope
from domain.streams.announcements import Flaw, announced
from domain.values import Micros
from fedyard.wire.backoff import Backoff

MAX_RECORDS = 2000
MAX_BYTES = 16_777_216
"""Under way at once, of one cluster."""
BATCH_RECORDS = 500
BATCH_BYTES = 4_194_304
COMMIT_EVERY_S = 0.2
READ_AGAIN = 1000
"""Records before where the group goes on: what is decided is decided out of order, and a store that was restored may
have forgotten some. Who was taken already changes nothing."""
Decided: TypeAlias = Mapping[Place, tuple[str, int]]
"""By place: the topic's id, and the offset up to which the store has decided."""
_PAUSES = Backoff(first=0.1, most=5.0)
_DEAD_LETTER_TRIES = 3
_log = logging.getLogger(__name__)


class MadeAnew(Exception):
    """Topics were deleted and made again. Clients go on with what they know of the old ones (librdkafka's issue 4898):
    begin with another reader, and another bridge that is told of these."""

    def __init__(self, topics: frozenset[str]) -> None:
        super().__init__(f"made anew: {', '.join(sorted(topics))}")
        self.topics = topics


class PartitionState(NamedTuple):
    """A partition as the bridge has it. oldest_at: when the oldest record was written that may not be decided yet."""

    place: Place
    topic_id: str
    end: int | None
    taken: int
    committed: int | None
    oldest_at: Micros | None


class Counted(msgspec.Struct):
    """Since the process began. gone: records that were no longer there to be read."""

    records: int = 0
    flawed: int = 0
    commits: int = 0
    commits_refused: int = 0
    gone: int = 0
    dead_letters_lost: int = 0


class _Waiting(NamedTuple):
    """partition and item are None for what is to be said beside records."""

    partition: Partition | None
    item: Item | None
    taken: Taken | None
    said: Envelope | None


class Bridge:
    """Of one cluster. `turn` belongs to one thread, `publish` to another one or the same; the rest is for all."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        reader: Reader,
        publisher: Publisher,
        clock: Clock,
        dead_letters: Topics | None = None,
        decided: Callable[[], Decided] | None = None,
        *,
        anew: frozenset[str] = frozenset(),
        max_records: int = MAX_RECORDS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """decided: how far the store is; may raise `Unreachable`. None: nobody knows, the group's word is enough. anew:
        topics that begin anew, whatever was committed of those of this name."""
        self.name = name
        self._decided = decided
        self.counted = Counted()
        self._cluster = cluster
        self._reader = reader
        self._publisher = publisher
        self._clock = clock
        self._dead_letters = dead_letters
        self._max_records, self._max_bytes = max_records, max_bytes
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._under_way = self._under_way_bytes = 0
        self._partitions: dict[Place, Partition] = {}
        self._unplaced: set[Place] = set()
        self._made_anew: set[str] = set()
        self._from_start = set(anew)
        self._intake: Intake | None = None
        self._paused = self._stopped = False
        self._committed_at = float("-inf")
        self._failures = 0
        self.trouble: str | None = None
        words = "the bridge waits for RabbitMQ, or for Kafka to say which topics these are", "the bridge goes on"
        self._away = Outage(_log, *words, clock)

    # the thread that polls

    def subscribe(self) -> None:
        """Join the group."""
        self._reader.subscribe(sorted(self._cluster.topics), self)

    def turn(self, seconds: float) -> int:
        """Read what has come, for so long at most; commit what is safe. How many records were taken.

        Raises `MadeAnew`, and what a reader does.
        """
        taken = self._reader.poll(seconds, BATCH_RECORDS)
        for each in taken:
            self._take(each)
        self._place()
        self._hold_back(seconds)
        self._commit(wait=False)
        return len(taken)

    def stop(self) -> None:
        """Publish no more than what is at hand. From any thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Commit what is safe, and leave the group."""
        self.stop()
        self._commit(wait=True)
        self._reader.close()

    def assigned(self, places: Sequence[Place]) -> None:
        """See `Listener.assigned`."""
        self._unplaced.update(places)
        self._place()

    def revoked(self, places: Sequence[Place]) -> None:
        """See `Listener.revoked`."""
        self._commit(wait=True)
        self.lost(places)

    def lost(self, places: Sequence[Place]) -> None:
        """See `Listener.lost`. What is under way of these is given up: whose they are now takes it as well."""
        for place in places:
            self._unplaced.discard(place)
            self._give_up(place)

    def out_of_range(self, place: Place) -> None:
        """See `Listener.out_of_range`."""
        if place in self._partitions:
            self._unplaced.add(place)

    def committed(self, offsets: Mapping[Place, int]) -> None:
        """See `Listener.committed`."""
        self.counted.commits += 1
        for place, offset in offsets.items():
            if place in self._partitions:
                self._partitions[place].committed = offset

    def refused(self, fact: str) -> None:
        """See `Listener.refused`. Somebody else has the partitions, or will have them: nothing is lost by it."""
        self.counted.commits_refused += 1
        _log.info("a commit was refused", extra=unit(cluster=self.name, why=fact))

    def _take(self, taken: Taken) -> None:
        partition = self._partitions.get(taken.place)
        if partition is None or taken.place in self._unplaced or taken.offset < partition.position:
            return
        self.counted.records += 1
        item = partition.take(taken.offset, taken.at, taken.size_bytes)
        with self._changed:
            self._under_way += 1
            self._under_way_bytes += item.size_bytes
            self._waiting.append(_Waiting(partition, item, taken, None))
            self._changed.notify_all()

    def _place(self) -> None:
        """Say from where what is new, or begins anew, is read. Where the cluster does not answer: at the next turn."""
        with self._changed:
            if self._made_anew:
                raise MadeAnew(frozenset(self._made_anew))
        if not self._unplaced:
            return
        try:
            found = self._positions()
        except (Unreachable, NotAccepted) as error:
            self.trouble = error.fact
            return
        for partition in found:
            self._give_up(partition.place)
            self._unplaced.discard(partition.place)
            with self._changed:
                self._partitions[partition.place] = partition
        self._from_start.difference_update(partition.place.topic for partition in found)
        self._reader.assign({place: partition.position for place, partition in self._partitions.items()})
        self._paused = False
        self.trouble = None

    def _positions(self) -> list[Partition]:
        """Where each of these begins. A topic that is not there has to wait."""
        if self._intake is None:
            self._intake = Intake(self.name, self._cluster, self._reader.cluster_id())
        ids = self._reader.topic_ids({place.topic for place in self._unplaced})
        places = [place for place in self._unplaced if place.topic in ids]
        known = self._reader.committed_offsets(places)
        ends = self._reader.ends(places)
        since = self._cluster.since_ms
        young = self._reader.first_since(places, since) if since is not None else {}
        decided = None if self._decided is None else self._decided()
        found = []
        for place in places:
            start = ends[place][0] if since is None else young.get(place, ends[place][1])
            of_store = None if decided is None else decided.get(place, ("", -1))
            found.append(self._positioned(place, ids[place.topic], ends[place], start, known.get(place), of_store))
        return found

    def _positioned(
        self,
        place: Place,
        topic_id: str,
        log: tuple[int, int],
        start: int,
        of_group: Committed | None,
        of_store: tuple[str, int] | None,
    ) -> Partition:
        """It goes on where it was; or somewhat before where both the group and the store were; or it begins.

        What is gone of it is told. start: its first record that is to be taken.
        """
        first, end = log
        before = self._partitions.get(place)
        committed = of_group.offset if of_group is not None and of_group.note in ("", topic_id) else None
        if place.topic in self._from_start:
            committed = None
        if before is not None:
            wanted = begin = before.position
        elif committed is not None:
            store = committed if of_store is None else of_store[1] + 1 if of_store[0] == topic_id else start
            wanted = min(committed, store)
            begin = wanted if of_store is None else min(wanted, max(start, wanted - READ_AGAIN))
        elif of_group is not None or place.topic in self._from_start:
            wanted = begin = first
            facts = unit(cluster=self.name, topic=place.topic, partition=place.partition)
            _log.warning("a topic was made anew: it is read from its beginning", extra=facts)
        else:
            wanted = begin = start
        if wanted < first:
            self._tell_of_gap(place, topic_id, range(wanted, first))
            begin = first
        elif wanted > end:
            facts = unit(cluster=self.name, topic=place.topic, partition=place.partition, read_to=wanted, end=end)
            _log.warning("a topic ends before what was read of it: it is read from its beginning", extra=facts)
            begin = first
        return Partition(place, topic_id, begin, committed=committed, end=end, new_from=committed or 0)

    def _tell_of_gap(self, place: Place, topic_id: str, gap: range) -> None:
        assert self._intake is not None, "it was made before anything was placed"
        self.counted.gone += len(gap)
        _log.warning(
            "records are gone before they were read",
            extra=unit(cluster=self.name, topic=place.topic, partition=place.partition, start=gap.start, end=gap.stop),
        )
        with self._changed:
            told = self._intake.gap_of(place, topic_id, gap, self._clock.now())
            self._waiting.append(_Waiting(None, None, None, told))
            self._changed.notify_all()

    def _give_up(self, place: Place) -> None:
        with self._changed:
            partition = self._partitions.pop(place, None)
            if partition is None:
                return
            partition.given_up = True
            kept = [one for one in self._waiting if one.partition is not partition]
            for one in self._waiting:
                if one.partition is partition:
                    self._settled(one)
            self._waiting = deque(kept)

    def _hold_back(self, seconds: float) -> None:
        """At the bound wait so long for room, then pause, which throws away what was fetched; go on at half of it."""
        with self._changed:
            if not self._paused:
                self._changed.wait_for(lambda: not self._is_full() or self._stopped, seconds)
            full = self._is_full()
            roomy = self._under_way <= self._max_records // 2 and self._under_way_bytes <= self._max_bytes // 2
        if full and not self._paused:
            self._reader.pause(self._partitions)
            self._paused = True
        elif roomy and self._paused:
            self._reader.resume(self._partitions)
            self._paused = False

    def _is_full(self) -> bool:
        return self._under_way >= self._max_records or self._under_way_bytes >= self._max_bytes

    def _commit(self, *, wait: bool) -> None:
        """What is confirmed; not oftener than is of use."""
        now = self._clock.monotonic()
        if not wait and now < self._committed_at + COMMIT_EVERY_S:
            return
        with self._changed:
            offsets = {
                place: offset
                for place, partition in self._partitions.items()
                if place not in self._unplaced
                and place.topic not in self._made_anew
                and (offset := partition.to_commit()) is not None
            }
        if offsets:
            self._committed_at = now
            notes = {place: self._partitions[place].topic_id for place in offsets}
            self._reader.commit(offsets, notes, wait=wait)

    # the thread that publishes

    def publish(self, seconds: float) -> bool:
        """Publish what waits; if nothing does, wait so long for it. False: it did not go through, and will be tried."""
        batch = self._next_batch(seconds)
        if not batch:
            return True
        try:
            wanted = self._still_wanted(batch)
            envelopes = list(map(self._envelope, wanted))
            self._publisher.send(envelopes)
        except (BrokerUnavailable, Unreachable, NotAccepted) as error:
            self._put_back(batch)
            self._away.lasts(error, cluster=self.name)
            return False
        except BaseException:
            self._put_back(batch)
            raise
        self._away.over()
        self._copy_flawed(wanted, envelopes)
        with self._changed:
            for one in wanted:
                if one.item is not None:
                    one.item.confirmed = True
            for one in batch:
                self._settled(one)
            self._changed.notify_all()
        return True

    def run_publishing(self) -> None:
        """Until `stop`, and until the batch at hand is through."""
        while not self._stopped:
            if self.publish(1.0):
                self._failures = 0
            else:
                self._failures += 1
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped, _PAUSES.after(self._failures))

    def _next_batch(self, seconds: float) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped, seconds)
            while self._waiting and len(batch) < BATCH_RECORDS and size < BATCH_BYTES:
                batch.append(self._waiting.popleft())
                size += batch[-1].item.size_bytes if batch[-1].item is not None else 0
        return batch

    def _still_wanted(self, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """Without what is another's now, and what is not what it seems.

        Which topics these are is asked after the records were read: of one that was deleted and made anew since its
        partitions were assigned, new records would else be taken for the old ones. They are read anew.
        """
        topics = {one.partition.place.topic for one in batch if one.partition is not None}
        ids = self._reader.topic_ids(topics) if topics else {}
        wanted: list[_Waiting] = []
        with self._changed:
            for one in batch:
                partition = one.partition
                if partition is None or not partition.given_up:
                    anew = (
                        partition is not None
                        and ids.get(partition.place.topic, partition.topic_id) != partition.topic_id
                    )
                    if partition is not None and anew:
                        self._made_anew.add(partition.place.topic)
                    else:
                        wanted.append(one)
        return wanted

    def _envelope(self, one: _Waiting) -> Envelope:
        if one.said is not None:
            return one.said
        assert self._intake is not None, "nothing is read before it is there"
        assert one.partition is not None, "a record has a partition"
        assert one.taken is not None, "a record has a partition"
        return self._intake.envelope_of(one.taken, one.partition.topic_id, self._clock.now())

    def _copy_flawed(self, batch: Sequence[_Waiting], envelopes: Sequence[Envelope]) -> None:
        """What nobody will understand also goes to the dead-letter topic, if there is one. The hub has it anyway."""
        flawed = []
        for one, envelope in zip(batch, envelopes, strict=True):
            again = one.partition is not None and one.taken is not None and one.taken.offset < one.partition.new_from
            if one.taken is not None and not again and isinstance(envelope.command, sc.TakeRecord):
                flaw = announced(envelope.command)
                if isinstance(flaw, Flaw):
                    self.counted.flawed += 1
                    flawed.append(dead_letter(self._cluster.dead_letter_topic, one.taken, flaw, envelope.id))
        if not flawed or self._dead_letters is None or not self._cluster.dead_letter_topic:
            return
        for left in reversed(range(_DEAD_LETTER_TRIES)):
            try:
                self._dead_letters.write(flawed)
            except (Unreachable, NotAccepted) as error:
                if not left:
                    self.counted.dead_letters_lost += len(flawed)
                    _log.warning("dead letters were not written", extra=unit(cluster=self.name, why=error.fact))
            else:
                return

    def _put_back(self, batch: Sequence[_Waiting]) -> None:
        with self._changed:
            for one in reversed(batch):
                if one.partition is not None and one.partition.given_up:
                    self._settled(one)
                else:
                    self._waiting.appendleft(one)

    def _settled(self, one: _Waiting) -> None:
        if one.item is not None:
            self._under_way -= 1
            self._under_way_bytes -= one.item.size_bytes

    # for all

    @property
    def wrong(self) -> str:
        """What is wrong at the cluster, as far as one has heard; empty if nothing is."""
        return self.trouble or self._reader.trouble() or ""

    def check_topics(self) -> None:
        """Whether the topics are still those that were assigned; one that was made anew may just bring nothing.

        Raises `Unreachable` and `NotAccepted`.
        """
        with self._changed:
            known = {place.topic: partition.topic_id for place, partition in self._partitions.items()}
        ids = self._reader.topic_ids(known) if known else {}
        with self._changed:
            self._made_anew.update(topic for topic, id in ids.items() if id != known[topic])

    def under_way(self) -> tuple[int, int]:
        """Records and bytes that were read and are not published yet."""
        with self._changed:
            return self._under_way, self._under_way_bytes

    def states(self) -> list[PartitionState]:
        """Of each partition that is ours."""
        with self._changed:
            return [
                PartitionState(
                    place,
                    partition.topic_id,
                    partition.end,
                    partition.position,
                    partition.committed,
                    partition.oldest_at,
                )
                for place, partition in sorted(self._partitions.items())
            ]

    def look(self, ends: Mapping[Place, int], decided: Mapping[Place, tuple[str, int]]) -> None:
        """What was found out: where the logs end, and by place (topic id, offset) up to which all is decided."""
        with self._changed:
            for place, partition in self._partitions.items():
                partition.end = ends.get(place, partition.end)
                topic_id, offset = decided.get(place, ("", -1))
                if topic_id == partition.topic_id:
                    partition.decided(offset)
