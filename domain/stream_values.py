"""What training over Kafka is to be, in Kafka-ML's own words: a part of commands, and of what is kept."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Framework = Literal["tf", "pth"]
Strategy = Literal["FedAvg", "FedOpt", "FedAdagrad", "FedAdam", "FedYogi"]
_Arguments = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\x00]*$")]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
_Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Deployment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What training is to be, in Kafka-ML's own words.

    stream_timeout: milliseconds without a record after which a limited incremental training ends.
    monitoring_metric, change, improvement: indefinite training reports again when val_<metric> moved by so much.
    data_restriction: an object, or one as JSON text. gpumem: how many devices, whatever its name says.
    """

    batch: _Count = 1
    tf_kwargs_fit: _Arguments = ""
    tf_kwargs_val: _Arguments = ""
    pth_kwargs_fit: _Arguments = ""
    pth_kwargs_val: _Arguments = ""
    conf_mat_settings: bool | None = False
    optimizer: _Word = "adam"
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 0.001
    loss: _Word = "sparse_categorical_crossentropy"
    metrics: _Word = "sparse_categorical_accuracy"
    incremental: bool = False
    indefinite: bool = False
    stream_timeout: _Count | None = 60_000
    monitoring_metric: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]*$")] | None = None
    change: Literal["up", "down", ""] | None = None
    improvement: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] | None = 0.05
    unsupervised: bool = False
    unsupervised_rounds: _Count = 5
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.9
    federated: bool = False
    agg_rounds: _Count = 15
    min_data: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 1000
    agg_strategy: Strategy = "FedAvg"
    data_restriction: dict[str, object] | Annotated[str, msgspec.Meta(max_length=16_384, pattern=r"^[^\x00]*$")] = (
        msgspec.field(default_factory=dict)
    )
    blockchain: bool = False
    gpumem: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0


InputFormat = Literal["RAW", "AVRO", "JSON", "TELEGRAF_STR_JSON"]
_TopicName = Annotated[str, msgspec.Meta(max_length=249, pattern=r"^[a-zA-Z0-9._-]*(?!\n)$")]
_NameOfCluster = Annotated[str, msgspec.Meta(max_length=63, pattern=r"^[a-z0-9-]*(?!\n)$")]


class InferenceAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An inference service as somebody asks for it. input_config: JSON, as its data source had it.

    limit, output_upper: of a part of a chain; below that largest value it hands on to the topic of the part above.
    Clusters: by their names; empty: that of deployments, and that of the input.
    """

    input_format: InputFormat
    input_config: Annotated[str, msgspec.Meta(max_length=16_384, pattern=r"^[^\x00]*$")]
    input_topic: _TopicName
    output_topic: _TopicName
    replicas: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    limit: Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)] | None = None
    output_upper: _TopicName = ""
    input_cluster: _NameOfCluster = ""
    output_cluster: _NameOfCluster = ""
    upper_cluster: _NameOfCluster = ""
    gpus: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
