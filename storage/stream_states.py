"""How the bridge finds its clusters of Kafka, and how far it has come: told by it every few seconds, read by the web
and by the operator's command line. No decision reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from domain.values import Micros
from fedyard.wire.times import SECOND
from storage.database import Database

HEARD_WITHIN: Micros = 60 * SECOND
"""What was told longer ago tells nothing: then the bridge itself is missed, which is a part of its own."""
_KEEP: Micros = 3600 * SECOND
FORGOTTEN = (
    "quarantined_records WHERE taken_at < %s",
    (
        "data_sources WHERE state = 'superseded' AND purpose = 'data' AND state_at < %s AND NOT EXISTS"
        " (SELECT 1 FROM matches WHERE matches.stream_id = data_sources.stream_id AND source_id = data_sources.id)"
    ),
    (
        "model_announcements WHERE state = 'superseded' AND state_at < %s AND NOT EXISTS"
        " (SELECT 1 FROM matches WHERE matches.string_id = model_announcements.string_id"
        " AND model_id = model_announcements.id)"
    ),
)
"""Rows that go by `ForgetRecordsBefore`: looked for by who asks for it, deleted by the decision."""


class ToldPartition(NamedTuple):
    """end: of the log, None: not known. taken: the next offset to be read. oldest_at: when the oldest record was
    written that was handed on and is not decided."""

    cluster: str
    topic: str
    partition: int
    topic_id: str
    end: int | None
    taken: int
    committed: int | None
    oldest_at: Micros | None


class Lag(NamedTuple):
    """A partition of a control topic. decided_offset: up to there; None: nothing yet. at: when that was told."""

    cluster: str
    topic: str
    partition: int
    end_offset: int | None
    taken_offset: int
    committed_offset: int | None
    decided_offset: int | None
    oldest_at: Micros | None
    process: str
    at: Micros

    @property
    def to_committed(self) -> int | None:
        """Records that are not committed."""
        return None if self.end_offset is None else max(0, self.end_offset - (self.committed_offset or 0))

    @property
    def to_decided(self) -> int | None:
        """Records that are not decided."""
        if self.end_offset is None:
            return None
        done = self.committed_offset or 0 if self.decided_offset is None else self.decided_offset + 1
        return max(0, self.end_offset - done)


class BridgeState(NamedTuple):
    """A cluster as one bridge finds it. trouble: empty if there is none. under_way: read, and not handed on yet."""

    cluster: str
    process: str
    trouble: str
    under_way: int
    under_way_bytes: int
    at: Micros


def tell(
    database: Database,
    state: BridgeState,
    partitions: Iterable[ToldPartition],
    counted: Mapping[str, int],
) -> None:
    """counted: since the last time. Raises `DatabaseUnavailable`."""
    with database.connection():
        database.execute(_BRIDGE, (*state[:2], state.trouble[:1000], *state[3:]))
        database.execute(_FORGET_BRIDGES, (state.at - _KEEP,))
        for each in partitions:
            database.execute(_PARTITION, (*each, state.process, state.at))
        for what, count in sorted(counted.items()):
            if count:
                database.execute(_COUNT, (state.cluster, what, count))


def tell_ends(database: Database, cluster: str, ends: Mapping[tuple[str, int], int]) -> None:
    """How long partitions are that no bridge has, and nothing else of them. Raises `DatabaseUnavailable`."""
    with database.connection():
        for (topic, partition), end in sorted(ends.items()):
            database.execute(_END, (end, cluster, topic, partition))


def decided(database: Database, cluster: str) -> dict[tuple[str, int], tuple[str, int]]:
    """(topic, partition) -> topic id, and the offset up to which all is decided. Raises `DatabaseUnavailable`."""
    with database.connection():
        rows = database.all(_DECIDED, cluster)
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


def bridges(database: Database, now: Micros) -> list[BridgeState]:
    """What was told lately. Raises `DatabaseUnavailable`."""
    with database.connection():
        return [BridgeState(*row) for row in database.all(_BRIDGES, now - HEARD_WITHIN)]


def lags(database: Database) -> list[Lag]:
    """Of every partition that was ever told of. Raises `DatabaseUnavailable`."""
    with database.connection():
        return [Lag(*row) for row in database.all(_LAGS)]


def counts(database: Database) -> dict[tuple[str, str], int]:
    """(cluster, what) -> how often, over all processes and their restarts. Raises `DatabaseUnavailable`."""
    with database.connection():
        return {(row[0], row[1]): row[2] for row in database.all(_COUNTS)}


def overdue(database: Database, before: Micros) -> bool:
    """Whether there is anything that is forgotten once it is so old. Raises `DatabaseUnavailable`."""
    with database.connection():
        return any(database.one(f"SELECT id FROM {each} LIMIT 1", before) is not None for each in FORGOTTEN)


_BRIDGE = (
    "INSERT INTO stream_bridges (cluster, process, trouble, under_way, under_way_bytes, at)"
    " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (cluster, process) DO UPDATE SET trouble = EXCLUDED.trouble,"
    " under_way = EXCLUDED.under_way, under_way_bytes = EXCLUDED.under_way_bytes, at = EXCLUDED.at"
)
_FORGET_BRIDGES = "DELETE FROM stream_bridges WHERE at < %s"
_PARTITION = (
    "INSERT INTO stream_partitions (cluster, topic, partition, topic_id, end_offset, taken_offset, committed_offset,"
    " oldest_at, process, at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (cluster, topic, partition) DO UPDATE SET topic_id = EXCLUDED.topic_id,"
    " end_offset = EXCLUDED.end_offset, taken_offset = EXCLUDED.taken_offset,"
    " committed_offset = EXCLUDED.committed_offset, oldest_at = EXCLUDED.oldest_at, process = EXCLUDED.process,"
    " at = EXCLUDED.at"
)
_END = "UPDATE stream_partitions SET end_offset = %s WHERE cluster = %s AND topic = %s AND partition = %s"
_COUNT = (
    "INSERT INTO stream_counts (cluster, what, count) VALUES (%s, %s, %s)"
    " ON CONFLICT (cluster, what) DO UPDATE SET count = stream_counts.count + EXCLUDED.count"
)
_DECIDED = "SELECT topic, partition, topic_id, decided_offset FROM stream_positions WHERE cluster = %s"
_BRIDGES = (
    "SELECT cluster, process, trouble, under_way, under_way_bytes, at FROM stream_bridges WHERE at > %s"
    " ORDER BY cluster, process"
)
_LAGS = (
    "SELECT told.cluster, told.topic, told.partition, told.end_offset, told.taken_offset, told.committed_offset,"
    " stream_positions.decided_offset, told.oldest_at, told.process, told.at FROM stream_partitions told"
    " LEFT JOIN stream_positions ON stream_positions.cluster = told.cluster AND stream_positions.topic = told.topic"
    " AND stream_positions.partition = told.partition AND stream_positions.topic_id = told.topic_id"
    " ORDER BY told.cluster, told.topic, told.partition"
)
_COUNTS = "SELECT cluster, what, count FROM stream_counts ORDER BY cluster, what"
