"""What the store keeps of streams: control records, data sources, models, training over Kafka. Form and units as in
domain/records.py, which lists them with all others."""

from __future__ import annotations

from domain.record import Record


class Counter(Record, frozen=True):
    """Numbers that people and Kafka-ML's programs know things by. last: the newest that was given away.
    changes: of the hub's history, when it was (domain/streams/numbers.py)."""

    TABLE = "stream_counters"
    KEY = ("name",)
    name: str
    last: int
    changes: int


RECORDS: tuple[type[Record], ...] = (Counter,)
