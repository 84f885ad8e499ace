"""The clusters of Kafka that the hub listens to, and what its training over streams needs: from the file that
FEDYARD_STREAMS names, and from the variables that Kafka-ML's two back-ends were given (docs/streams.md has both).

A contradiction or an odd value raises `SettingsError` at start, naming where it stands.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

from config.processes import STREAM_WORKERS, WORKERS
from config.settings import CLUSTER_NAME, Settings, SettingsError
from domain.ids import is_id
from domain.rules import StreamCluster, StreamRules

FROM_ENVIRONMENT = "environment"
"""What FEDYARD_STREAMS says where there is no file, and the old variables say everything."""
MAX_GPUS = 64
TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
MAX_CONTROL_TOPIC = 190


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cluster of Kafka.

    workload_bootstrap_servers: as workloads reach it; empty: the same. control_topics: data sources for deployments;
    model_topics: federated models; data_topics: data for federated models. settings_file: properties of librdkafka,
    for TLS and SASL. since: RFC 3339; what is older is not taken at the first start; empty: everything.
    dead_letter_topic: where copies of records go that nobody understood; empty: nowhere. where: what workloads for its
    data run on: a cluster that FEDYARD_CLUSTERS names, or site:<id>. models_project: the project that gets the runs of
    models that were announced by somebody else; empty: there are none. worker_gpus: devices (nvidia.com/gpu) that each
    federated worker on its data is given; it sees none else.
    """

    bootstrap_servers: str
    workload_bootstrap_servers: str = ""
    group: str = "fedyard"
    control_topics: list[str] = []
    model_topics: list[str] = []
    data_topics: list[str] = []
    settings_file: str = ""
    since: str = ""
    dead_letter_topic: str = ""
    max_record_bytes: int = 65_536
    where: str = "hub"
    models_project: str = ""
    worker_gpus: int = 0

    @property
    def topics(self) -> dict[str, str]:
        """By topic that the bridge reads, its purpose: control, model or data."""
        purposes = (("control", self.control_topics), ("model", self.model_topics), ("data", self.data_topics))
        return {topic: purpose for purpose, topics in purposes for topic in topics}

    @property
    def since_ms(self) -> int | None:
        """Milliseconds since the epoch; None: from the earliest record on."""
        return int(datetime.fromisoformat(self.since).timestamp() * 1000) if self.since else None


class Streams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them. images: by framework and task, as `tensorflow_training`. door_url: where workloads reach the web.
    cloud: the cluster that deployments use. events_cluster: that what happens is told to; empty: it is not.
    websocket_port: where people look on at what their inferences answer; 0: nowhere."""

    clusters: dict[str, Cluster] = {}
    images: dict[str, str] = {}
    door_url: str = ""
    cloud: str = "cloud"
    events_cluster: str = ""
    events_topic: str = "runs.events.v1"
    websocket_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0

    def rules(self) -> StreamRules:
        """What decisions have to know of it."""
        clusters = tuple(
            StreamCluster(
                name=name,
                workload_bootstrap_servers=each.workload_bootstrap_servers or each.bootstrap_servers,
                control_topics=tuple(each.control_topics),
                model_topics=tuple(each.model_topics),
                data_topics=tuple(each.data_topics),
                where=each.where,
                models_project=each.models_project,
                worker_gpus=each.worker_gpus,
                written_topics=tuple(
                    filter(None, (each.dead_letter_topic, self.events_topic if name == self.events_cluster else ""))
                ),
            )
            for name, each in sorted(self.clusters.items())
        )
        return StreamRules(clusters=clusters, images=self.images, door_url=self.door_url, cloud=self.cloud)


def workers_of(settings: Settings) -> tuple[str, ...]:
    """The processes that this hub has beside the web."""
    return (*WORKERS, *STREAM_WORKERS) if settings.streams else WORKERS


IMAGES = {
    "TENSORFLOW_TRAINING_MODEL_IMAGE": "tensorflow_training",
    "TENSORFLOW_INFERENCE_MODEL_IMAGE": "tensorflow_inference",
    "PYTORCH_TRAINING_MODEL_IMAGE": "pytorch_training",
    "PYTORCH_INFERENCE_MODEL_IMAGE": "pytorch_inference",
    "TENSORFLOW_FEDERATED_TRAINING_MODEL_IMAGE": "tensorflow_federated",
    "PYTORCH_FEDERATED_TRAINING_MODEL_IMAGE": "pytorch_federated",
}
OLD_VARIABLES: dict[str, tuple[str, ...]] = {
    "BOOTSTRAP_SERVERS": ("clusters", "cloud", "bootstrap_servers"),
    "KML_CLOUD_BOOTSTRAP_SERVERS": ("clusters", "cloud", "bootstrap_servers"),
    "CONTROL_TOPIC": ("clusters", "cloud", "control_topics"),
    "MODEL_LOGGER_TOPIC": ("clusters", "cloud", "model_topics"),
    "MODEL_CONTROL_TOPIC": ("clusters", "cloud", "model_topics"),
    "FEDERATED_BOOTSTRAP_SERVERS": ("clusters", "edge", "bootstrap_servers"),
    "DATA_CONTROL_TOPIC": ("clusters", "edge", "data_topics"),
    "BACKEND_URL": ("door_url",),
    **{variable: ("images", name) for variable, name in IMAGES.items()},
}
"""A variable of Kafka-ML's back-ends -> where the same is said in the file."""
_OLD_DEFAULTS = {
    "BOOTSTRAP_SERVERS": {
        "CONTROL_TOPIC": "KAFKA_ML_CONTROL_TOPIC",
        "MODEL_LOGGER_TOPIC": "FEDERATED_MODEL_CONTROL_TOPIC",
    },
    "KML_CLOUD_BOOTSTRAP_SERVERS": {"MODEL_CONTROL_TOPIC": "FEDERATED_MODEL_CONTROL_TOPIC"},
    "FEDERATED_BOOTSTRAP_SERVERS": {"DATA_CONTROL_TOPIC": "FEDERATED_DATA_CONTROL_TOPIC"},
}
"""What a back-end that is given the first took for granted, where nothing else says it."""


def open_streams(settings: Settings, environment: Mapping[str, str] = os.environ) -> Streams:
    """As the operator chose: nothing, unless FEDYARD_STREAMS says where it stands. Raises `SettingsError`."""
    if not settings.streams:
        return Streams()
    said = {} if settings.streams == FROM_ENVIRONMENT else _read(Path(settings.streams))
    _add_old_variables(said, environment)
    try:
        streams = msgspec.convert(said, Streams)
    except msgspec.ValidationError as error:
        raise SettingsError(f"FEDYARD_STREAMS ({settings.streams}): {error}") from None
    flaw = _flaw_of(streams) or _flaw_of_places(streams, frozenset(settings.cluster_places()))
    if flaw:
        raise SettingsError(f"FEDYARD_STREAMS ({settings.streams}): {flaw}")
    return streams


def door_url(settings: Settings) -> str:
    """Where Kafka-ML's containers reach the web. Raises `SettingsError` where they could not."""
    url = open_streams(settings).door_url or settings.callback_url
    if settings.streams and "results" in url:
        raise SettingsError(
            f"{url} has `results` in it, which the trainers replace wherever it stands: say another address in "
            "door_url of FEDYARD_STREAMS"
        )
    return url


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = ": `fedyard-hub up` alone has private brokers" if str(path) == "private" else ""
        raise SettingsError(f"FEDYARD_STREAMS is {str(path)!r}, which cannot be read: {error.strerror}{hint}") from None
    except ValueError as error:
        raise SettingsError(f"FEDYARD_STREAMS is {str(path)!r}, which is no TOML: {error}") from None


def _add_old_variables(said: dict[str, Any], environment: Mapping[str, str]) -> None:
    """What they say, beside the file; the same twice is no contradiction."""
    for variable, place in OLD_VARIABLES.items():
        if environment.get(variable):
            _add(said, place, environment[variable], variable)
    for variable, defaults in _OLD_DEFAULTS.items():
        for name, value in defaults.items() if environment.get(variable) else ():
            table, key = _table(said, OLD_VARIABLES[name][:-1]), OLD_VARIABLES[name][-1]
            table.setdefault(key, [value])


def _add(said: dict[str, Any], place: tuple[str, ...], text: str, variable: str) -> None:
    table, key = _table(said, place[:-1]), place[-1]
    value: str | list[str] = [text] if key.endswith("_topics") else text
    if table.setdefault(key, value) != value:
        raise SettingsError(
            f"{variable} is {text!r}, and {'.'.join(place)} is {table[key]!r} by another variable or in the file of "
            "FEDYARD_STREAMS: say it once"
        )


def _table(said: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        said = said.setdefault(name, {})
        if not isinstance(said, dict):
            raise SettingsError(f"FEDYARD_STREAMS: {'.'.join(path)} is no table")
    return said


def _flaw_of(streams: Streams) -> str:
    """Why this cannot be meant; empty if nothing is wrong."""
    unknown = sorted(set(streams.images) - set(IMAGES.values()))
    if unknown:
        return f"images.{unknown[0]} is none of {', '.join(IMAGES.values())}"
    if "results" in streams.door_url:
        return "door_url has `results` in it, which the trainers replace wherever it stands: take another host or path"
    for said, name in (("cloud", streams.cloud), ("events_cluster", streams.events_cluster)):
        if name not in (*streams.clusters, "", "cloud"):
            return f"{said} is {name!r}, and there is no such cluster"
    for name, cluster in streams.clusters.items():
        flaw = _flaw_of_cluster(cluster) if CLUSTER_NAME.fullmatch(name) else "small letters, digits and dashes"
        if flaw:
            return f"cluster {name!r}: {flaw}"
    return ""


def _flaw_of_places(streams: Streams, there: frozenset[str]) -> str:
    """there: the clusters of FEDYARD_CLUSTERS. A hub without any starts no worker, and `hub` says no more than that."""
    for name, cluster in streams.clusters.items():
        place, _, site = cluster.where.partition(":")
        if place == "site" and is_id(site):
            continue
        if cluster.data_topics and cluster.where not in (there or {"hub"}):
            known = ", ".join(sorted(there)) or "none"
            return (
                f"cluster {name!r}: workers for its data shall run at {cluster.where!r}, and FEDYARD_CLUSTERS names "
                f"{known}: set where to one of these or to site:<id>, or name it there"
            )
    return ""


def _flaw_of_cluster(cluster: Cluster) -> str:
    topics = [*cluster.control_topics, *cluster.model_topics, *cluster.data_topics]
    odd = [topic for topic in filter(None, [*topics, cluster.dead_letter_topic]) if not TOPIC.fullmatch(topic)]
    if odd or "" in topics:
        return f"{(odd or [''])[0]!r} is no name of a topic"
    long = [topic for topic in cluster.control_topics if len(topic) > MAX_CONTROL_TOPIC]
    if long:
        return (
            f"topic {long[0]!r} has {len(long[0])} characters: {MAX_CONTROL_TOPIC} at most, for topics of deployments "
            "have a run's id and a number behind it, and Kafka takes 249"
        )
    twice = [topic for topic in topics if topics.count(topic) > 1]
    if twice:
        return f"topic {twice[0]!r} is named twice"
    if cluster.dead_letter_topic in topics:
        return f"topic {cluster.dead_letter_topic!r} is read, and gets what nobody understood: that would never end"
    if not cluster.bootstrap_servers:
        return "bootstrap_servers is empty"
    if not 1024 <= cluster.max_record_bytes <= 1_048_576:
        return "max_record_bytes must be between 1024 and 1048576"
    if not 0 <= cluster.worker_gpus <= MAX_GPUS:
        return f"worker_gpus is {cluster.worker_gpus}: each worker may have 0 to {MAX_GPUS} devices"
    if cluster.models_project and not is_id(cluster.models_project):
        return f"models_project is {cluster.models_project!r}: it must be the id of a project"
    return _flaw_of_time(cluster.since)


def _flaw_of_time(since: str) -> str:
    try:
        if since and datetime.fromisoformat(since).tzinfo is None:
            return f"since is {since!r}, without a time zone: write e.g. 2026-03-01T00:00:00Z"
    except ValueError:
        return f"since is {since!r}: write a time as 2026-03-01T00:00:00Z"
    return ""
