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
