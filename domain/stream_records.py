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


RECORDS: tuple[type[Record], ...] = (
    Counter,
    Architecture,
    ArchitectureVersion,
    Configuration,
    Deployment,
    TrainingResult,
)
