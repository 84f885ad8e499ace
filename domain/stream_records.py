"""What the store keeps of streams: control records, data sources, models, training over Kafka. Form and units as in
domain/records.py, which lists them with all others."""

from __future__ import annotations

from domain.ids import Id
from domain.record import Record
from domain.values import Micros


class Counter(Record, frozen=True):
    """Numbers that people and Kafka-ML's programs know things by. last: the newest that was given away.
    changes: of the hub's history, when it was (domain/decisions/streams/numbers.py)."""

    TABLE = "stream_counters"
    KEY = ("name",)
    name: str
    last: int
    changes: int


class Architecture(Record, frozen=True):
    """A model that can be trained: Kafka-ML's MLModel. version: its newest; what belongs to one is there.

    number: its id for Kafka-ML's programs. distributed: a part of a chain, 0 or 1. father_id: of the part that it
    feeds; one is fed by one. deleted_at: since when it is not shown; its versions stay, for what was trained.
    """

    TABLE = "architectures"
    id: Id
    number: int
    project_id: Id
    name: str
    description: str
    framework: str
    distributed: int
    father_id: Id | None
    version: int
    created_by: Id
    created_at: Micros
    changed_at: Micros
    deleted_at: Micros | None = None


class ArchitectureVersion(Record, frozen=True):
    """What an architecture's code was, once and for all. sha256: of imports and code, with a zero byte between."""

    TABLE = "architecture_versions"
    KEY = ("architecture_id", "version")
    architecture_id: Id
    version: int
    framework: str
    distributed: int
    imports: str
    code: str
    sha256: str
    created_by: Id
    created_at: Micros


class Configuration(Record, frozen=True):
    """Architectures that are trained together. architectures_json: their ids; what feeds one of them belongs to it."""

    TABLE = "configurations"
    id: Id
    number: int
    project_id: Id
    name: str
    description: str
    architectures_json: str
    created_by: Id
    created_at: Micros
    changed_at: Micros
    deleted_at: Micros | None = None


class Deployment(Record, frozen=True):
    """A run (of kind `deployment`) that trains models on what streams bring: one for each of Kafka-ML's deployments.

    number: its id for people and for Kafka-ML's programs. contract_json: a `contract.Deployment`. cluster: of Kafka.
    location: where its jobs run. string_id: of a federated one, in its topics' names; empty otherwise. control_topic:
    in which its jobs find their data source, data_source_id: that one. attempts: at preparing its topics.
    configuration_id: the set of architectures that it was made of. deleted_at: since when it is not shown.
    prepared_at: since when its topics and data are there; then it waits for model files alone.
    """

    TABLE = "deployments"
    KEY = ("run_id",)
    run_id: Id
    number: int
    project_id: Id
    contract_json: str
    cluster: str
    location: str
    string_id: str
    control_topic: str
    state: str
    state_at: Micros
    created_at: Micros
    attempts: int = 0
    data_source_id: Id | None = None
    configuration_id: Id | None = None
    deleted_at: Micros | None = None
    prepared_at: Micros | None = None


class ModelFile(Record, frozen=True):
    """What a version of an architecture is as a file, before its training: TensorFlow's trainer reads one."""

    TABLE = "model_files"
    KEY = ("architecture_id", "version")
    architecture_id: Id
    version: int
    project_id: Id
    artifact_id: Id
    made_at: Micros


class TrainingResult(Record, frozen=True):
    """What training one architecture gave: a job has one, a chain of architectures one for each, lowest first.

    number: its id for Kafka-ML's programs. position: in the chain, from 0. workload_id: the job that makes it, once
    there is one; attempt: of that, the one that gave it. digest: of all that was given; model_format: `h5` or `pt`.
    The metrics are JSON as the job sends it, empty where it sent none; training_time in seconds, as text.
    deleted_at: since when it is not shown.
    """

    TABLE = "training_results"
    id: Id
    number: int
    run_id: Id
    task_run_id: Id
    project_id: Id
    architecture_id: Id
    version: int
    position: int
    state: str
    state_at: Micros
    created_at: Micros
    workload_id: Id | None = None
    attempt: int = 0
    reason: str = ""
    detail: str = ""
    train_metrics_json: str = ""
    val_metrics_json: str = ""
    test_metrics_json: str = ""
    confusion_matrix_json: str = ""
    training_time: str = ""
    digest: str = ""
    model_format: str = ""
    model_artifact_id: Id | None = None
    matrix_artifact_id: Id | None = None
    deleted_at: Micros | None = None


class DataSource(Record, frozen=True):
    """Data that were announced, as the record said. id: of the command that took the record.

    purpose: control (for a deployment) or data (for federated models). deployment_number: that its key names, if it is
    for a deployment. data_topic, unsupervised_topic: where the data lie (domain/streams/expressions.py).
    restrictions_json: canonical. shape: of one sample; empty: not said. announced_at: 0 if the record does not say.
    body: the record's value, with what nobody knows of. state: live, withdrawn, expired or superseded.
    match_key: what models that fit have as theirs; empty: none do. stream_id: the same for all that announce these data
    (domain/streams/matching.py).
    """

    TABLE = "data_sources"
    id: Id
    cluster: str
    topic: str
    partition: int
    log_offset: int
    purpose: str
    deployment_number: int | None
    data_topic: str
    unsupervised_topic: str | None
    input_format: str
    input_config_json: str
    description: str
    restrictions_json: str
    shape: str
    validation_rate: float
    test_rate: float
    total_msg: int | None
    incremental: bool
    announced_at: Micros
    taken_at: Micros
    body: bytes
    state: str
    state_at: Micros
    match_key: str = ""
    stream_id: Id | None = None


class ModelAnnouncement(Record, frozen=True):
    """A federated model that was announced, as the record said. id: of the command that took the record.

    string_id: that its topics are named by. restriction_json: canonical. run_id: the run that it belongs to, if one is
    known. state: live, withdrawn, expired or superseded. match_key: what data that fit have as theirs; empty: none do.
    """

    TABLE = "model_announcements"
    id: Id
    cluster: str
    topic: str
    partition: int
    log_offset: int
    string_id: str
    input_shape: str
    output_shape: str
    restriction_json: str
    min_data: int
    framework: str
    distributed: bool
    incremental: bool
    blockchain: bool
    announced_at: Micros
    taken_at: Micros
    body: bytes
    state: str
    state_at: Micros
    run_id: Id | None = None
    match_key: str = ""


class QuarantinedRecord(Record, frozen=True):
    """A record that could not be understood, as it came. id: of the command that took it.

    reason: a code; detail: the sentence. state: waiting, replayed (it was understood after all), or purged, without
    its content. headers_json: pairs of a name and Base64.
    """

    TABLE = "quarantined_records"
    id: Id
    cluster: str
    cluster_id: str
    topic: str
    topic_id: str
    partition: int
    log_offset: int
    purpose: str
    announced_at: Micros
    taken_at: Micros
    key: bytes | None
    value: bytes
    headers_json: str
    reason: str
    detail: str
    state: str
    state_at: Micros


class Match(Record, frozen=True):
    """A federated model and data that fit it, and the seat of the worker that trains the one on the other.

    id: of the pair (domain/streams/matching.py). source_id, model_id: the announcements that made it; stream_id: the
    data, whoever announces them. cluster: of the model, data_cluster: of the data, in Kafka. string_id and client_id
    name its topics. location: where its worker runs. case_number: CASE. attempts: how often Kafka was
    asked. workload_id: its worker. reason, detail: why it ended. check_at: when it is looked whether its run
    still has no worker. checked_at: since when its data are known to be there.
    """

    TABLE = "matches"
    id: Id
    run_id: Id
    project_id: Id
    model_id: Id
    source_id: Id
    stream_id: Id
    cluster: str
    data_cluster: str
    string_id: str
    client_id: str
    location: str
    case_number: int
    state: str
    state_at: Micros
    created_at: Micros
    attempts: int = 1
    workload_id: Id | None = None
    reason: str = ""
    detail: str = ""
    check_at: Micros | None = None
    checked_at: Micros | None = None


class Inference(Record, frozen=True):
    """A service that answers over Kafka with the model of a training result.

    number: its id for Kafka-ML's programs. framework, distributed: of the version that was trained. cluster,
    input_topic, group_id: what it reads, and as which group. asked_json: an `InferenceAsked`. location: where it runs.
    step: which of the clusters of its topics is being prepared, from 1. workload_id: once it is wanted.
    """

    TABLE = "inferences"
    id: Id
    number: int
    project_id: Id
    result_id: Id
    result_number: int
    framework: str
    distributed: int
    cluster: str
    input_topic: str
    group_id: str
    asked_json: str
    location: str
    state: str
    state_at: Micros
    created_by: Id
    created_at: Micros
    step: int = 1
    reason: str = ""
    detail: str = ""
    workload_id: Id | None = None
    deleted_at: Micros | None = None


class Sending(Record, frozen=True):
    """A data source that is announced once more. topic: where to. partition, log_offset: where the record lies.

    reason: why it could not be written, as in a `ReportStream`.
    """

    TABLE = "stream_sendings"
    id: Id
    data_source_id: Id
    deployment_number: int
    project_id: Id
    cluster: str
    topic: str
    state: str
    state_at: Micros
    created_by: Id
    created_at: Micros
    reason: str = ""
    detail: str = ""
    partition: int | None = None
    log_offset: int | None = None


class KafkaCluster(Record, frozen=True):
    """A cluster that the hub listens to, by its name in the settings; its stream of events tells what was wrong with
    records. cluster_id: the cluster's own, when last heard."""

    TABLE = "kafka_clusters"
    id: Id
    name: str
    cluster_id: str
    created_at: Micros


class StreamPosition(Record, frozen=True):
    """Up to which offset the records of a partition are decided; -1: none. A topic made anew begins anew."""

    TABLE = "stream_positions"
    KEY = ("cluster", "topic", "partition")
    cluster: str
    topic: str
    partition: int
    topic_id: str
    decided_offset: int
    decided_at: Micros


RECORDS: tuple[type[Record], ...] = (
    Counter,
    Architecture,
    ArchitectureVersion,
    Configuration,
    Deployment,
    ModelFile,
    TrainingResult,
    DataSource,
    ModelAnnouncement,
    QuarantinedRecord,
    Match,
    Inference,
    Sending,
    KafkaCluster,
    StreamPosition,
)
