"""Streams under faults: a data source that announces all the time, Kafka as a victim, and what became of each record.

Every record has a name of its own. What a delivery report came for was promised: the hub has it once. What no report
came for may be there, once as well. Pure but for the announcer: names and the store's rows in, sentences out.
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
from chaos.kafka import CONTROL_TOPIC
from chaos.stack import CLOCK, Server
from config.clock import Micros, wait_for
from devservers.kafka import PrivateNoida
from domain.stream_commands import NewRecord
from fedyard.wire.times import SECOND
from storage.database import Database

EVERY_S = (0.05, 0.4)
WRITTEN_WITHIN_S = 5.0
TAKEN_WITHIN_S = 60.0
"""Longer than from a record's report to its decision, with every fault in between."""
_ROWS = "SELECT data_topic FROM data_sources"
_QUARANTINED = "SELECT reason, detail FROM quarantined_records"


def findings(
    promised: Mapping[str, Micros],
    tried: Iterable[str],
    taken: Sequence[str],
    quarantined: Sequence[str],
    restores: Sequence[tuple[Micros, Micros]] = (),
) -> dict[str, list[str]]:
    """Each zero of the table with the sentences that break it.

    promised: name -> when its report came. tried: all names. taken: those of the store's rows, as often as they are
    there. restores: from the begin of each backup until its hub was ready; what was announced shortly before one, or
    in it, may have been decided in a history that is gone.
    """
    there = Counter(taken)
    return {
        "announcements lost": [
            f"{name} was written, and the hub does not know it"
            for name, at in promised.items()
            if name not in there
            and not any(begun - TAKEN_WITHIN_S * SECOND <= at <= ready for begun, ready in restores)
        ],
        "announcements doubled": [f"{name} is there {count} times" for name, count in there.items() if count > 1],
        "announcements that nobody wrote": [f"{name} is there" for name in there.keys() - set(tried)],
        "announcements not understood": list(quarantined),
    }


class Announcer:
    """Writes records on a thread of its own, from `start` until `quiet`."""

    def __init__(self, kafka: PrivateNoida, seed: int) -> None:
        self._kafka = kafka
        self._chance = random.Random(f"{seed} announcements")
        self._ending = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="announcer")
        self.promised: dict[str, Micros] = {}
        self.tried: list[str] = []

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

    def findings(self, database: Database, restores: Sequence[tuple[Micros, Micros]]) -> dict[str, list[str]]:
        with database.connection():
            taken = [str(name).partition(":")[0] for (name,) in database.all(_ROWS)]
            quarantined = [f"{reason}: {detail}" for reason, detail in database.all(_QUARANTINED)]
        return findings(self.promised, self.tried, taken, quarantined, restores)

    def all_taken(self, database: Database, restores: Sequence[tuple[Micros, Micros]]) -> bool:
        return not self.findings(database, restores)["announcements lost"]

    def _run(self) -> None:
        topics = KafkaTopics({"bootstrap.servers": self._kafka.bootstrap_servers}, within_s=WRITTEN_WITHIN_S)
        try:
            while not wait_for(self._ending, self._chance.uniform(*EVERY_S)):
                with self._writing:
                    self._announce(topics)
        finally:
            topics.close()

    def _announce(self, topics: KafkaTopics) -> None:
        name = f"data-{len(self.tried)}"
        self.tried.append(name)
        key = self._chance.randrange(1, 1000).to_bytes(2, "big")
        try:
            topics.write([NewRecord(CONTROL_TOPIC, key, body(name))])
        except (Unreachable, NotAccepted):
            return  # nobody knows whether it is there
        self.promised[name] = CLOCK.now()

    def _kill(self, thread: Server) -> Undo:
        """This broker saves once a second: what it has reported is let come to rest first, for a real one keeps it."""
        with self._writing:
            self._kafka.settle()
            self._kafka.kill()
        return lambda: thread.do(self._kafka.start)

    def _freeze(self) -> Undo:
        self._kafka.pause()
        return self._kafka.go_on


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
