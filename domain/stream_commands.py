"""Commands of the streams: what control topics of Kafka bring, and what becomes of it. Form and units as in
domain/commands.py, which lists them with all others."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from domain.command import Command
from domain.ids import Id
from domain.stream_values import Deployment, Framework, InferenceAsked
from domain.values import Digests, Micros, Name, Reason, Sha256, Size, Span, Text, Where
from fedyard.cluster.port import Resources

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


class ReportGap(Command, frozen=True, tag="report_gap"):
    """Records were gone before they were read: those from `start` on, before `end`. The same twice: the log ends before
    `start`, and nobody knows how many."""

    cluster: ClusterName
    cluster_id: Annotated[str, msgspec.Meta(max_length=100)]
    topic: TopicName
    topic_id: Annotated[str, msgspec.Meta(max_length=100)]
    partition: Partition
    start: LogOffset
    end: LogOffset


class ReplayRecord(Command, frozen=True, tag="replay_record"):
    """Read a quarantined record once more. deployment_number: in the place of what its key says."""

    record_id: Id
    deployment_number: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None


class PurgeRecords(Command, frozen=True, tag="purge_records"):
    """What is in these quarantined records goes; that they were there stays, until they are old."""

    record_ids: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=1000)]


class ForgetRecords(Command, frozen=True, tag="forget_records"):
    """Retention: quarantined records and superseded announcements that were kept long enough go."""


class WithdrawDataSource(Command, frozen=True, tag="withdraw_data_source"):
    """Nothing more shall begin with these data, and federated workers on them stop; what else has begun goes on."""

    data_source_id: Id
    reason: Reason = ""


# what is made in Kafka for runs, and what became of it

Preparation: TypeAlias = Literal["training", "inference", "workers", "resend"]
"""What it is for: the job of a run, a service that answers, workers of a federated run, a data source sent again."""
Obstacle: TypeAlias = Literal["", "topic_missing", "range_gone", "range_ahead", "not_reached", "refused"]
"""Why it could not be made; empty: it was. range_gone: records below the log's start; range_ahead: behind its end."""
TopicConfig = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=100)], Annotated[str, msgspec.Meta(max_length=1000)]],
    msgspec.Meta(max_length=50),
]


class NewTopic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A topic that shall be there. One that is there stays as it is."""

    name: TopicName
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    config: TopicConfig = {}


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Records that must be there: from `start` on, up to `end` and without it."""

    topic: TopicName
    partition: Partition
    start: LogOffset
    end: LogOffset


class NewRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record that is to be written. once: not where its topic has a record already, whichever that is."""

    topic: TopicName
    key: Annotated[bytes, msgspec.Meta(max_length=MAX_RECORD_BYTES)] | None
    value: Annotated[bytes, msgspec.Meta(max_length=MAX_RECORD_BYTES)]
    headers: Annotated[list[Header], msgspec.Meta(max_length=100)] = []
    once: bool = True


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a record lies, as its delivery report says."""

    topic: TopicName
    partition: Partition
    offset: LogOffset


class PrepareStream(Command, frozen=True, tag="prepare_stream"):
    """Make topics, see that others and ranges of records are there, then write records; in this order.

    about_id: what it is for, which the report names again. attempt: of that.
    """

    cluster: ClusterName
    purpose: Preparation
    about_id: Id
    attempt: Annotated[int, msgspec.Meta(ge=1)] = 1
    topics: Annotated[list[NewTopic], msgspec.Meta(max_length=1000)] = []
    needs: Annotated[list[TopicName], msgspec.Meta(max_length=1000)] = []
    ranges: Annotated[list[Range], msgspec.Meta(max_length=10_000)] = []
    records: Annotated[list[NewRecord], msgspec.Meta(max_length=100)] = []


class ReportStream(Command, frozen=True, tag="report_stream"):
    """What became of a `PrepareStream`. detail: which topic or range, in our words. written: what was written now."""

    purpose: Preparation
    about_id: Id
    attempt: Annotated[int, msgspec.Meta(ge=1)]
    reason: Obstacle = ""
    detail: Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\x00]*$")] = ""
    written: Annotated[list[Written], msgspec.Meta(max_length=100)] = []


# models that can be trained, and sets of them

MAX_CODE = 65_536
"""Characters of a model's code."""
MAX_IN_CONFIGURATION = 100
"""Architectures of one configuration."""
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CODE, pattern=r"^[^\x00]*$")]
Imports = Annotated[str, msgspec.Meta(max_length=16_384, pattern=r"^[^\x00]*$")]
ArchitectureIds = Annotated[list[Id], msgspec.Meta(max_length=MAX_IN_CONFIGURATION)]


class CreateArchitecture(Command, frozen=True, tag="create_architecture"):
    """father_id: of the architecture that it feeds, if it is a part of a chain."""

    project_id: Id
    name: Name
    framework: Framework
    code: Code
    imports: Imports = ""
    description: Text = ""
    distributed: bool = False
    father_id: Id | None = None


class ChangeArchitecture(Command, frozen=True, tag="change_architecture"):
    """All of it anew, as in `CreateArchitecture`; other code is another version."""

    project_id: Id
    architecture_id: Id
    name: Name
    framework: Framework
    code: Code
    imports: Imports = ""
    description: Text = ""
    distributed: bool = False
    father_id: Id | None = None


class DeleteArchitecture(Command, frozen=True, tag="delete_architecture"):
    project_id: Id
    architecture_id: Id


class CreateConfiguration(Command, frozen=True, tag="create_configuration"):
    """Architectures that are trained together; what feeds one of them is put with them."""

    project_id: Id
    name: Name
    architecture_ids: ArchitectureIds
    description: Text = ""


class ChangeConfiguration(Command, frozen=True, tag="change_configuration"):
    """All of it anew."""

    project_id: Id
    configuration_id: Id
    name: Name
    architecture_ids: ArchitectureIds
    description: Text = ""


class DeleteConfiguration(Command, frozen=True, tag="delete_configuration"):
    project_id: Id
    configuration_id: Id


# training: deployments, and what their jobs give


Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Of a deployment or a result, as a path may have it; none has 0."""
MAX_METRICS_BYTES = 1_500_000
"""Of one result's metrics, as JSON: they travel in a command and lie in a row."""
JsonText = Annotated[str, msgspec.Meta(max_length=MAX_METRICS_BYTES, pattern=r"^[^\x00]*$")]


class StartDeployment(Command, frozen=True, tag="start_deployment"):
    """A run that trains architectures, each with those that feed it, once their data are announced.

    configuration_id: the set of them, or architecture_ids: those; one of both. where: its jobs run; None: where the
    settings say. attempts: at each job. resources: of each. control: its jobs find their data in a topic of their own,
    or in the one that all share. finish_within_s: from now on.
    """

    project_id: Id
    contract: Deployment
    configuration_id: Id | None = None
    architecture_ids: Annotated[list[Id], msgspec.Meta(max_length=100)] = []
    where: Where | None = None
    attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3
    resources: Resources = Resources()
    control: Literal["own", "shared"] = "own"
    finish_within_s: Span = 604_800.0


class PutModelFile(Command, frozen=True, tag="put_model_file"):
    """A version of an architecture as a file, before its training: an artifact of the project that was uploaded."""

    project_id: Id
    architecture_id: Id
    version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    artifact_id: Id


class EndDeployment(Command, frozen=True, tag="end_deployment"):
    """Its run has ended: what it started shall go, and what it has not got is stopped or failed."""

    run_id: Id


class DeleteDeployment(Command, frozen=True, tag="delete_deployment"):
    """It is not shown any more; its results have been deleted before."""

    run_id: Id


class StopResult(Command, frozen=True, tag="stop_result"):
    """The job that makes it shall go, and what else that makes stops with it."""

    number: Number
    reason: Reason = ""


class DeleteResult(Command, frozen=True, tag="delete_result"):
    """It is not shown any more, and its files expire."""

    number: Number


class TakeMetrics(Command, frozen=True, tag="take_metrics"):
    """What a job measured so far, all of it each time. As JSON; empty: none."""

    workload_id: Id
    attempt: Annotated[int, msgspec.Meta(ge=1)]
    number: Number
    train_metrics_json: JsonText = ""
    val_metrics_json: JsonText = ""


class RefuseResult(Command, frozen=True, tag="refuse_result"):
    """What a job gave was refused, for what it is or for want of room. It may send it again some times, and be refused
    again; TensorFlow's waits for other data then. detail: why."""

    workload_id: Id
    attempt: Annotated[int, msgspec.Meta(ge=1)]
    number: Number
    detail: Reason


class Uploaded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that a job gave: its chunks lie in the store of artifacts, under that id. digest: its tree digest."""

    artifact_id: Id
    size_bytes: Size
    digest: Sha256
    chunk_digests: Digests


class TakeResult(Command, frozen=True, tag="take_result"):
    """What a job gave for an architecture. digest: of what it said, for it may say it again.

    indefinite: it goes on, and this is a result of its own. model_format: `h5` or `pt`. matrix: an image. Its files
    belong to the project's coordinator, owner_site_id. note: what of its metrics was left out.
    """

    project_id: Id
    owner_site_id: Id
    workload_id: Id
    attempt: Annotated[int, msgspec.Meta(ge=1)]
    number: Number
    digest: Sha256
    model: Uploaded
    model_format: Literal["h5", "pt"]
    matrix: Uploaded | None = None
    train_metrics_json: JsonText = ""
    val_metrics_json: JsonText = ""
    test_metrics_json: JsonText = ""
    confusion_matrix_json: JsonText = ""
    training_time: Annotated[str, msgspec.Meta(max_length=40, pattern=r"^[0-9.]*(?!\n)$")] = ""
    indefinite: bool = False
    note: Reason = ""


# federated models, and data that fit them


class MatchModel(Command, frozen=True, tag="match_model"):
    """A model was announced: it gets a worker at all data that fit it and have none."""

    announcement_id: Id


class MatchData(Command, frozen=True, tag="match_data"):
    """Data were announced, or withdrawn: all models that they fit get a worker at them, or lose it."""

    source_id: Id


class AdoptModel(Command, frozen=True, tag="adopt_model"):
    """A model that is trained elsewhere gets a run of that project."""

    announcement_id: Id
    project_id: Id
    run_id: Id


class SettleWorkers(Command, frozen=True, tag="settle_workers"):
    """What has become of the workers of a federated run, and of the run without them."""

    run_id: Id


# services that answer


class StartInference(Command, frozen=True, tag="start_inference"):
    """Serve what training gave. result: its number. where: it runs, as of every workload."""

    project_id: Id
    result: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    asked: InferenceAsked
    where: Where = "hub"


class StopInference(Command, frozen=True, tag="stop_inference"):
    project_id: Id
    inference_id: Id


class DeleteInference(Command, frozen=True, tag="delete_inference"):
    project_id: Id
    inference_id: Id


class SendDataSource(Command, frozen=True, tag="send_data_source"):
    """Announce these data once more, for another deployment. deployment_number: that one's."""

    data_source_id: Id
    deployment_number: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
