"""A record of Kafka as the command that takes it: cut if it is too large, under its id (domain/streams/places.py)."""

from __future__ import annotations

from broker.reading import Place, Taken
from config.streams import Cluster
from domain import codec
from domain import stream_commands as sc
from domain.commands import Envelope
from domain.ids import Id, derive
from domain.streams.announcements import Flaw
from domain.streams.places import id_of
from domain.values import Micros

KEPT_OF_TOO_LARGE = 1024
MAX_HEADERS = 100
MAX_HEADER_BYTES = 16_384


class Intake:
    """Of one cluster."""

    def __init__(self, name: str, cluster: Cluster, cluster_id: str) -> None:
        self.name = name
        self.cluster_id = cluster_id
        self._purposes = cluster.topics
        self._max_bytes = cluster.max_record_bytes

    def envelope_of(self, taken: Taken, topic_id: str, now: Micros) -> Envelope:
        """The command that takes this record."""
        place = taken.place
        key, value, flaw = taken.key, taken.value or b"", ""
        if len(key or b"") + len(value) > self._max_bytes:
            flaw, value = "too_large", value[:KEPT_OF_TOO_LARGE]
            key = None if key is None else key[:KEPT_OF_TOO_LARGE]
        command = sc.TakeRecord(
            cluster=self.name,
            cluster_id=self.cluster_id,
            topic=place.topic,
            topic_id=topic_id,
            partition=place.partition,
            offset=taken.offset,
            at=taken.at,
            key=key,
            value=value,
            purpose=self._purposes[place.topic],  # type: ignore[arg-type]  # one of the three, by config/streams.py
            headers=_headers(taken),
            flaw=flaw,
        )
        return codec.envelope_of(command, id=id_of(command), by=codec.THE_HUB, at=now)

    def gap_of(self, place: Place, topic_id: str, gap: range, now: Micros) -> Envelope:
        """That records were gone before they were read. gap: their offsets, as far as one knows."""
        command = sc.ReportGap(
            cluster=self.name,
            cluster_id=self.cluster_id,
            topic=place.topic,
            topic_id=topic_id,
            partition=place.partition,
            start=gap.start,
            end=gap.stop,
        )
        id = derive(self.cluster_id, place.topic, topic_id, place.partition, "gap", gap.start, gap.stop)
        return codec.envelope_of(command, id=id, by=codec.THE_HUB, at=now)


def _headers(taken: Taken) -> list[sc.Header]:
    kept: list[sc.Header] = []
    left = MAX_HEADER_BYTES
    for name, value in taken.headers[:MAX_HEADERS]:
        left -= len(name.encode()) + len(value or b"")
        if left < 0 or len(name) > 1000:
            break
        kept.append((name, value))
    return kept


def dead_letter(topic: str, taken: Taken, flaw: Flaw, id: Id) -> sc.NewRecord:
    """A copy of a record that nobody understood, with where it came from."""
    origin: list[sc.Header] = [
        ("fedyard-id", id.encode()),
        ("fedyard-topic", taken.place.topic.encode()),
        ("fedyard-partition", str(taken.place.partition).encode()),
        ("fedyard-offset", str(taken.offset).encode()),
        ("fedyard-reason", flaw.code.encode()),
    ]
    value = taken.value or b""
    kept = value if len(value) <= sc.MAX_RECORD_BYTES else value[:KEPT_OF_TOO_LARGE]
    return sc.NewRecord(topic=topic, key=taken.key, value=kept, headers=[*origin, *_headers(taken)], once=False)
