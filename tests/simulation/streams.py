"""A cluster of Kafka in a simulation: who announces in it, the bridges that read it, and what must have become of it.

A record is known by what it says, which no other one says, so that what was taken twice or never shows whatever ids it
was given. Topics are deleted and made anew now and then: what nobody had read by then may be gone.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from broker.bridge import Bridge, MadeAnew
from broker.embedded_reading import EmbeddedGroup, EmbeddedReader
from broker.reading import Place
from broker.streams import EmbeddedTopics, Unreachable
from config.streams import Cluster
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.streams.restrictions import canonical
from fedyard.wire.times import SECOND
from storage import stream_states
from storage.database import DatabaseUnavailable
from tests.simulation.broker import SimulatedPublisher
from tests.simulation.clusters import EVERY, FIRST_OF_STREAMS
from tests.simulation.world import Broken, Process, World

NAME = "cloud"
CLUSTER = Cluster("cloud", control_topics=["control"], model_topics=["models"], data_topics=["data"])
MAX_RECORDS = 60
LOOK_EVERY_S = 2.0
SHAPES = ("28 28", "8 8")
SAMPLES, SAMPLE_COUNT, GONE = "samples", 50, 2
"""What is trained on: a topic, how many records it has had, and how many of them are gone."""


@dataclass
class Written:
    """A record, and the topic that it lies in: `generation` counts how often that was made. lost: it may be gone."""

    says: str
    topic: str
    generation: int
    offset: int
    lost: bool = False


class Kafka:
    """The cluster. on: whether this seed has one; which ones have is counted, not drawn."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.on = world.seed % EVERY == FIRST_OF_STREAMS
        self.topics = EmbeddedTopics()
        self.group = EmbeddedGroup(self.topics)
        self.written: list[Written] = []
        self.topics.create([sc.NewTopic(name) for name in sorted({*CLUSTER.topics, SAMPLES})])
        self.topics.write([sc.NewRecord(SAMPLES, None, b"%d" % n, once=False) for n in range(SAMPLE_COUNT)])
        self.topics.first[SAMPLES] = GONE
        self._known = 0
        self._late: list[tuple[str, tuple[str, int]]] = []
        self._had: set[tuple[str, int]] = set()
        self._chance = random.Random(f"calls to Kafka in {world.seed}")
        self._rate = self._chance.choice((0.0, 0.1, 0.3))

    def write(self, topic: str, says: str, key: bytes | None, value: bytes) -> None:
        """At the end of a topic."""
        record = sc.NewRecord(topic=topic, key=key, value=value, headers=[], once=False)
        offset = self.topics.write([record])[0].offset
        self.written.append(Written(says, topic, self.group.ids.get(topic, 0), offset))

    def goes_unheard(self) -> bool:
        """Does nobody hear of what was done?"""
        return not self.world.calm and self._chance.random() < self._rate

    def make_anew(self, topic: str) -> None:
        """It is another topic, that begins at 0."""
        for one in self.written:
            one.lost = one.lost or one.topic == topic
        self.group.make_anew(topic)

    def history_went_back(self) -> None:
        """What lay in topics that are no more cannot be read again."""
        for one in self.written:
            one.lost = one.lost or one.generation != self.group.ids.get(one.topic, 0)

    def is_safe(self, place: Place, offset: int) -> None:
        """That it goes on at this offset may be committed: the broker has had all that lies before it."""
        topic_id = f"{place.topic}-{self.group.ids.get(place.topic, 0)}"
        missing = [one for one in range(offset) if (topic_id, one) not in self._had_by_the_broker()]
        if missing:
            raise Broken(f"offset {offset} of {topic_id} was committed, and the broker never had records {missing}")

    def _had_by_the_broker(self) -> set[tuple[str, int]]:
        broker = self.world.broker
        for ident, envelope in itertools.islice(broker.sent.items(), self._known, None):
            if isinstance(envelope.command, sc.TakeRecord):
                self._late.append((ident, (envelope.command.topic_id, envelope.command.offset)))
        self._known = len(broker.sent)
        self._had |= {where for ident, where in self._late if ident in broker.has_had}
        self._late = [one for one in self._late if one[0] not in broker.has_had]
        return self._had

    def undone(self) -> str | None:
        """Records that nobody has taken, or None."""
        if not self.on:
            return None
        taken = self._taken()
        left = [one for one in self.written if not one.lost and not taken[one.says]]
        return f"records {left} were not taken" if left else None

    def all_once(self) -> None:
        """Nothing was taken twice, and nothing that nobody wrote."""
        taken = self._taken()
        twice = sorted(says for says, count in taken.items() if count > 1)
        if twice:
            raise Broken(f"records were taken more than once: {twice}")
        strange = sorted(taken.keys() - {one.says for one in self.written})
        if strange:
            raise Broken(f"nobody wrote {strange}")

    def _taken(self) -> Counter[str]:
        checker = self.world.checker
        sources = Counter(one.description for one in checker.every(sr.DataSource))
        models = Counter(one.string_id for one in checker.every(sr.ModelAnnouncement))
        odd = Counter(f"{one.topic_id}/{one.log_offset}" for one in checker.every(sr.QuarantinedRecord))
        return sources + models + odd


class Announcing(Process):
    """Sinks and trainings that announce data and models, and what writes nonsense. At times the cluster is away, or
    somebody deletes a topic and makes it anew."""

    def __init__(self, world: World, kafka: Kafka) -> None:
        super().__init__(world, "announcer")
        self._kafka = kafka
        self._chance = random.Random(f"what is announced in {world.seed}")
        self._left = self._chance.randint(20, MAX_RECORDS)
        self._back_at = 0

    def history_went_back(self) -> None:
        self._kafka.history_went_back()

    def step(self) -> float:
        topics = self._kafka.topics
        if topics.away and (self.world.calm or self.world.micros >= self._back_at):
            topics.away = ""
        if topics.away:
            return 0.5
        if not self.world.calm and self._chance.random() < 0.04:
            topics.away = "it does not answer"
            self._back_at = self.world.micros + int(self._chance.uniform(0.5, 6) * SECOND)
        elif not self.world.calm and self._chance.random() < 0.06:
            topic = self._chance.choice(sorted(CLUSTER.topics))
            self.world.tell(f"topic {topic} is made anew")
            self._kafka.make_anew(topic)
        elif self._left:
            for _ in range(min(self._left, self._chance.choice((1, 1, 2, 8)))):
                self._left -= 1
                self._announce()
        return self._chance.choice((0.3, 1.0, 3.0))

    def _announce(self) -> None:
        topic = self._chance.choice(sorted(CLUSTER.topics))
        says = f"r{self._left}"
        roll = self._chance.random()
        if roll < 0.2:
            there = len(self._kafka.topics.records[topic])
            says = f"{topic}-{self._kafka.group.ids.get(topic, 0)}/{there}"
            self._kafka.write(topic, says, b"\x01", b"nonsense %d" % self._left)
        elif topic == "models":
            self._kafka.write(topic, says, None, msgspec.json.encode(self._model(says)))
        else:
            key = self._chance.randint(1, 300).to_bytes(2, "big")
            self._kafka.write(topic, says, key, msgspec.json.encode(self._data(says)))

    def _data(self, says: str) -> dict[str, object]:
        start, many = self._chance.randint(0, 5), self._chance.randint(1, 50)
        return {
            "topic": f"samples:0:{start}:{start + many}",
            "input_format": "RAW",
            "input_config": {"data_reshape": self._chance.choice(SHAPES)},
            "description": says,
            "dataset_restrictions": "{}",
            "total_msg": many,
            "validation_rate": 0.1,
            "test_rate": 0.1,
        }

    def _model(self, says: str) -> dict[str, object]:
        return {
            "model_format": {"input_shape": self._chance.choice(SHAPES), "output_shape": "10"},
            "federated_params": {"federated_string_id": says, "data_restriction": canonical({}), "min_data": 10},
            "framework": "tf",
            "distributed": False,
            "incremental": False,
        }


class SimulatedReader(EmbeddedReader):
    """One life's member of the group. Another one takes its place when it is gone, and at times although it is not."""

    def __init__(self, kafka: Kafka, process: Process) -> None:
        super().__init__(kafka.group)
        self._kafka = kafka
        self._process = process
        self._life = process.life

    @property
    def _lives(self) -> bool:
        return self._process.alive and self._process.life == self._life

    def _join(self) -> None:
        leader = self._kafka.group.leader
        others = isinstance(leader, SimulatedReader) and leader is not self and leader._lives
        if not others or self._kafka.world.whim(0.05):
            super()._join()

    def commit(self, offsets: Mapping[Place, int], notes: Mapping[Place, str], *, wait: bool) -> None:
        """See `Reader.commit`."""
        world = self._kafka.world
        world.place(self._process, "before committing offsets")
        if world.befalls("refuse"):
            self._kafka.group.refuses = 1
        elif self._kafka.group.leader is self and not self._kafka.topics.away:
            for place, offset in offsets.items():
                if notes[place] == f"{place.topic}-{self._kafka.group.ids.get(place.topic, 0)}":
                    self._kafka.is_safe(place, offset)
        super().commit(offsets, notes, wait=wait)
        world.place(self._process, "after committing offsets")


class BridgeProcess(Process):
    """There are two, of one group."""

    def __init__(self, world: World, name: str, kafka: Kafka) -> None:
        super().__init__(world, name)
        self._kafka = kafka

    def start(self) -> None:
        self._look_at = 0
        self.open()
        self._begin(frozenset())

    def _begin(self, anew: frozenset[str]) -> None:
        self.bridge = Bridge(
            NAME,
            CLUSTER,
            SimulatedReader(self._kafka, self),
            SimulatedPublisher(self.world, self),
            self,
            decided=self._decided,
            anew=anew,
            max_records=self.world.chance.choice((3, 2000)),
        )
        self.bridge.subscribe()

    def step(self) -> float:
        assert self.database is not None
        self.database.hold()
        try:
            self.bridge.turn(0)
        except MadeAnew as error:  # as its process does
            self.bridge.stop()
            self.bridge.close()
            self._begin(error.topics)
            return 0.1
        for _ in range(self.world.chance.choice((0, 1, 1, 2))):
            self.bridge.publish(0)
        if self.world.micros >= self._look_at:
            self._look_at = self.world.micros + int(LOOK_EVERY_S * SECOND)
            with suppress(Unreachable):
                self.bridge.look({}, self._decided())
        return self.world.chance.uniform(0.1, 0.8)

    def _decided(self) -> dict[Place, tuple[str, int]]:
        assert self.database is not None
        try:
            return {Place(*key): told for key, told in stream_states.decided(self.database, NAME).items()}
        except DatabaseUnavailable as error:
            raise Unreachable(str(error)) from error
