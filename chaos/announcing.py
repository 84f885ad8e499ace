"""Streams under faults: a data source that announces all the time, Kafka as a victim, and what became of each record.

Every record has a name of its own. What a delivery report came for was promised by Kafka; of what lies there in the end
the hub has each record once, by its place: a producer that got no answer may have written one twice. Pure but for the
announcer: records and the store's rows in, sentences out.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from broker.kafka_writing import KafkaTopics
from broker.streams import NotAccepted, Unreachable
from chaos.faults import FREEZE_S, SOON, Fault, Undo
from chaos.kafka import CONTROL_TOPIC, Place, everything_in
from chaos.stack import Server
from config.clock import wait_for
from devservers.kafka import PrivateNoida
from domain.stream_commands import NewRecord
from storage.database import Database

EVERY_S = (0.05, 0.4)
WRITTEN_WITHIN_S = 5.0
_ROWS = "SELECT partition, log_offset, data_topic FROM data_sources WHERE topic = %s"
_QUARANTINED = "SELECT reason, detail FROM quarantined_records"


def findings(
    promised: Iterable[str],
    written: Mapping[Place, str],
    taken: Sequence[tuple[Place, str]],
    quarantined: Sequence[str],
) -> dict[str, list[str]]:
    """Each zero of the table with the sentences that break it.

    promised: names whose report came. written: what lies in Kafka. taken: of the store's rows place and name, as often
    as they are there.
    """
    there = Counter(place for place, _ in taken)
    known = set(written.values())
    return {
        "announcements lost": [
            f"{name} lies at {_text(place)}, and the hub does not know it"
            for place, name in written.items()
            if place not in there
        ],
        "announcements doubled": [
            f"what lies at {_text(place)} is there {count} times" for place, count in there.items() if count > 1
        ],
        "announcements that nobody wrote": [
            f"{name} is there, of {_text(place)}" for place, name in taken if written.get(place) != name
        ],
        "announcements that Kafka lost": [
            f"{name} was reported, and does not lie there" for name in promised if name not in known
        ],
        "announcements not understood": list(quarantined),
    }


def _text(place: Place) -> str:
    return f"{CONTROL_TOPIC}:{place[0]}:{place[1]}"


class Announcer:
    """Writes records on a thread of its own, from `start` until `quiet`."""

    def __init__(self, kafka: PrivateNoida, seed: int) -> None:
        self._kafka = kafka
        self._chance = random.Random(f"{seed} announcements")
        self._ending = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="announcer")
        self._tried = 0
        self.promised: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def quiet(self) -> None:
        """No more of them."""
        self._ending.set()
        self._thread.join(2 * WRITTEN_WITHIN_S)

    def faults(self, thread: Server) -> list[Fault]:
        """Kafka dies, or stops to answer."""
        return [
            Fault("kill", "kafka", "", lambda _chance: self._kill(thread), within=SOON),
            Fault("freeze", "kafka", "", lambda _chance: self._freeze(), FREEZE_S),
        ]

    def findings(self, database: Database) -> dict[str, list[str]]:
        with database.connection():
            rows = database.all(_ROWS, CONTROL_TOPIC)
            quarantined = [f"{reason}: {detail}" for reason, detail in database.all(_QUARANTINED)]
        taken = [((int(partition), int(offset)), name_in(str(where))) for partition, offset, where in rows]
        return findings(self.promised, self._written(), taken, quarantined)

    def all_taken(self, database: Database) -> bool:
        return not self.findings(database)["announcements lost"]

    def _written(self) -> dict[Place, str]:
        found = everything_in(self._kafka)
        return {place: name_in(msgspec.json.decode(value)["topic"]) for place, value in found.items()}

    def _run(self) -> None:
        topics = KafkaTopics(
            {"bootstrap.servers": self._kafka.bootstrap_servers, "log_level": 0}, within_s=WRITTEN_WITHIN_S
        )
        try:
            while not wait_for(self._ending, self._chance.uniform(*EVERY_S)):
                with self._writing:
                    self._announce(topics)
        finally:
            topics.close()

    def _announce(self, topics: KafkaTopics) -> None:
        name = f"data-{self._tried}"
        self._tried += 1
        key = self._chance.randrange(1, 1000).to_bytes(2, "big")
        try:
            topics.write([NewRecord(CONTROL_TOPIC, key, body(name))])
        except (Unreachable, NotAccepted):
            return  # nobody knows whether it is there
        self.promised.append(name)

    def _kill(self, thread: Server) -> Undo:
        """This broker saves once a second: what it has reported is let come to rest first, for a real one keeps it."""
        with self._writing:
            self._kafka.settle()
            self._kafka.kill()
        return lambda: thread.do(self._kafka.start)

    def _freeze(self) -> Undo:
        self._kafka.pause()
        return self._kafka.go_on


def name_in(where: str) -> str:
    """Of an expression of where data lie, as `body` makes them."""
    return where.partition(":")[0]


def body(name: str) -> bytes:
    """An announcement of data of that name, as Kafka-ML's sinks write it."""
    config = {"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": ""}
    return msgspec.json.encode(
        {
            "topic": f"{name}:0:0:9",
            "unsupervised_topic": None,
            "input_format": "RAW",
            "input_config": config,
            "description": "",
            "dataset_restrictions": {},
            "validation_rate": 0.1,
            "test_rate": 0.1,
            "total_msg": 9,
            "incremental": False,
        }
    )
