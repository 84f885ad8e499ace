"""How the bridge does, as the web shows it."""

from __future__ import annotations

from domain.values import Micros
from fedyard.wire.times import time_text
from storage import stream_states
from storage.database import Database
from storage.views.resources import Resource, Time


class StreamPartition(Resource, frozen=True):
    """A partition of a control topic. lag_committed, lag_decided: records of it that are not, null if nobody knows.

    oldest_at: when the oldest record was written that was handed on and is not decided. told_at: when that was told.
    """

    cluster: str
    topic: str
    partition: int
    end_offset: int | None
    taken_offset: int
    committed_offset: int | None
    decided_offset: int | None
    lag_committed: int | None
    lag_decided: int | None
    oldest_at: Time | None
    process: str
    told_at: Time


class StreamBridge(Resource, frozen=True):
    """A cluster as one bridge finds it. trouble: what is wrong, empty if nothing is."""

    cluster: str
    process: str
    trouble: str
    under_way: int
    under_way_bytes: int
    told_at: Time


class StreamsStatus(Resource, frozen=True):
    bridges: list[StreamBridge]
    partitions: list[StreamPartition]


def status(database: Database, now: Micros) -> StreamsStatus:
    """Of all clusters that are listened to."""
    return StreamsStatus(
        bridges=[
            StreamBridge(
                cluster=one.cluster,
                process=one.process,
                trouble=one.trouble,
                under_way=one.under_way,
                under_way_bytes=one.under_way_bytes,
                told_at=time_text(one.at),
            )
            for one in stream_states.bridges(database, now)
        ],
        partitions=[
            StreamPartition(
                cluster=one.cluster,
                topic=one.topic,
                partition=one.partition,
                end_offset=one.end_offset,
                taken_offset=one.taken_offset,
                committed_offset=one.committed_offset,
                decided_offset=one.decided_offset,
                lag_committed=one.to_committed,
                lag_decided=one.to_decided,
                oldest_at=None if not one.oldest_at else time_text(one.oldest_at),
                process=one.process,
                told_at=time_text(one.at),
            )
            for one in stream_states.lags(database)
        ],
    )
