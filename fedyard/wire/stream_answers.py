"""What the hub answers of training over streams, as far as a site takes it (answers.py has all else)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from fedyard.wire import types as w
from fedyard.wire.answers import MAX_ITEMS, Answer

Code = Annotated[str, Meta(max_length=65_536, pattern="^[^\x00]*$")]
Topic = Annotated[str, Meta(max_length=249, pattern=r"^[a-zA-Z0-9._-]*(?!\n)$")]


class Architecture(Answer, frozen=True, kw_only=True):
    """A model that can be trained. father_id: of what it feeds, in a chain. version: its newest."""

    id: w.Uuid
    number: w.Seq
    name: w.Name
    description: w.Text = ""
    framework: w.Slug
    distributed: bool = False
    father_id: w.Uuid | None = None
    version: w.Number


class ArchitectureVersion(Answer, frozen=True, kw_only=True):
    """Its code in a version; None to who may not read it."""

    version: w.Number
    framework: w.Slug
    distributed: bool = False
    imports: Code | None = None
    code: Code | None = None
    sha256: w.Digest


class ModelFile(Answer, frozen=True, kw_only=True):
    architecture_id: w.Uuid
    version: w.Number
    artifact_id: w.Uuid


class Configuration(Answer, frozen=True, kw_only=True):
    """Architectures that are trained together."""

    id: w.Uuid
    number: w.Seq
    name: w.Name
    description: w.Text = ""
    architecture_ids: Annotated[list[w.Uuid], Meta(max_length=MAX_ITEMS)] = []


class Numbered(Answer, frozen=True, kw_only=True):
    """What was made or changed, with its number; version: of an architecture; state: of an inference."""

    id: w.Uuid
    number: w.Seq
    version: w.Number | None = None
    state: w.Slug | None = None


class DataSource(Answer, frozen=True, kw_only=True):
    """Data that were announced. deployment_number: that the record's key names. data_topic: with its ranges."""

    id: w.Uuid
    cluster: w.Name
    deployment_number: w.Seq | None = None
    data_topic: w.Text
    input_format: w.Name = ""
    input_config: msgspec.Raw = msgspec.Raw(b"{}")
    total_msg: w.Seq | None = None
    state: w.Slug
    announced_at: w.At | None = None


class Sending(Answer, frozen=True, kw_only=True):
    """Data that are announced once more. topic: where to. reason, detail: why that failed."""

    id: w.Uuid
    state: w.Slug
    topic: Annotated[str, Meta(max_length=250)]
    reason: w.Text = ""
    detail: w.Text = ""


class Asked(Answer, frozen=True, kw_only=True):
    """What an inference reads and writes."""

    input_topic: Topic
    output_topic: Topic
    input_cluster: w.Name = ""


class Inference(Answer, frozen=True, kw_only=True):
    """A service that answers over Kafka. result: the number of the training result."""

    id: w.Uuid
    number: w.Seq
    result: w.Seq
    state: w.Slug
    asked: Asked
    workload_state: w.Slug | None = None
    reason: w.Text = ""
    detail: w.Text = ""


class StreamBridge(Answer, frozen=True, kw_only=True):
    """A cluster of Kafka as the hub's bridge finds it. trouble: what is wrong, empty if nothing is."""

    cluster: w.Name
    process: w.Name
    trouble: w.Text = ""
    under_way: w.Seq = 0
    under_way_bytes: w.Seq = 0
    told_at: w.At


class StreamPartition(Answer, frozen=True, kw_only=True):
    """How far a partition of a control topic is taken in, in offsets."""

    cluster: w.Name
    topic: Topic
    partition: w.Seq
    end_offset: w.Large | None = None
    taken_offset: w.Large
    committed_offset: w.Large | None = None
    decided_offset: w.Large | None = None
    lag_committed: w.Large | None = None
    lag_decided: w.Large | None = None
    oldest_at: w.At | None = None
    process: w.Name = ""
    told_at: w.At


class StreamsStatus(Answer, frozen=True, kw_only=True):
    bridges: Annotated[list[StreamBridge], Meta(max_length=MAX_ITEMS)]
    partitions: Annotated[list[StreamPartition], Meta(max_length=MAX_ITEMS)]


class Quarantined(Answer, frozen=True, kw_only=True):
    """A record that nobody understood. reason: a code; detail: the sentence."""

    id: w.Uuid
    cluster: w.Name
    topic: Topic
    partition: w.Seq
    log_offset: w.Large
    purpose: w.Name
    announced_at: w.At | None = None
    taken_at: w.At
    size_bytes: w.Seq
    reason: w.Name
    detail: w.Text = ""
    state: w.Slug
    state_at: w.At


class QuarantinedContent(Quarantined, frozen=True, kw_only=True):
    """With what it holds; of one that was too large, its beginning. None for who may not read it."""

    key: w.Body | None = None
    value: w.Body | None = None

    def __repr__(self) -> str:
        return f"QuarantinedContent(id={self.id!r}, size_bytes={self.size_bytes})"


class RecordReplayed(Answer, frozen=True, kw_only=True):
    """became_id: of the row that the record becomes, once that is decided."""

    id: w.Uuid
    became_id: w.Uuid


class RecordsPurged(Answer, frozen=True, kw_only=True):
    purged: Annotated[list[w.Uuid], Meta(max_length=MAX_ITEMS)]


class ModelAnnouncement(Answer, frozen=True, kw_only=True):
    """A federated model that was announced. run_id: of the run that it belongs to; None: none. matches: data that it
    was matched with, workers: those of them that have a worker that goes on. why: what keeps it from being matched."""

    id: w.Uuid
    cluster: w.Name
    topic: Topic
    string_id: w.Name
    min_data: w.Seq = 0
    framework: w.Slug
    state: w.Slug
    run_id: w.Uuid | None = None
    matches: w.Seq = 0
    workers: w.Seq = 0
    why: w.Text = ""
    announced_at: w.At
