"""Commands of the streams: what control topics of Kafka bring, and what becomes of it. Form and units as in
domain/commands.py, which lists them with all others."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from domain.command import Command
from domain.values import Micros

ClusterName = Annotated[str, msgspec.Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9-]*(?!\n)$")]
TopicName = Annotated[str, msgspec.Meta(min_length=1, max_length=249, pattern=r"^[a-zA-Z0-9._-]*(?!\n)$")]
Partition = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
LogOffset = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Purpose: TypeAlias = Literal["control", "model", "data"]
"""What a topic is for: data sources for deployments, federated models, data for federated models."""
MAX_RECORD_BYTES = 1_048_576
Header = tuple[Annotated[str, msgspec.Meta(max_length=1000)], bytes | None]


class TakeRecord(Command, frozen=True, tag="take_record"):
    """A record that was read from a topic. Its id derives from all that tells it from any other record.

    cluster_id, topic_id: the cluster's own; a topic that was deleted and made anew has another one. at: when the record
    was written; 0: it does not say. flaw: why it was not taken as it is, a code; then value is its beginning.
    """

    cluster: ClusterName
    cluster_id: Annotated[str, msgspec.Meta(max_length=100)]
    topic: TopicName
    topic_id: Annotated[str, msgspec.Meta(max_length=100)]
    partition: Partition
    offset: LogOffset
    at: Micros
    key: Annotated[bytes, msgspec.Meta(max_length=MAX_RECORD_BYTES)] | None
    value: Annotated[bytes, msgspec.Meta(max_length=MAX_RECORD_BYTES)]
    purpose: Purpose
    headers: Annotated[list[Header], msgspec.Meta(max_length=100)] = []
    flaw: Annotated[str, msgspec.Meta(max_length=30, pattern="^[a-z_]*$")] = ""
