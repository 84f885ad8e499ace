"""Properties of librdkafka for one cluster: where it is, and what its settings file says of TLS and SASL.

The file is one `name=value` a line, as Kafka's own tools take it; `#` begins a comment. What it holds are secrets: none
of it is told in errors or logs but names.
"""

from __future__ import annotations

from pathlib import Path

from config.settings import SettingsError
from config.streams import Cluster, Streams

OURS = frozenset(
    {
        "acks",
        "allow.auto.create.topics",
        "auto.offset.reset",
        "bootstrap.servers",
        "delivery.timeout.ms",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "group.id",
        "isolation.level",
        "linger.ms",
        "message.max.bytes",
        "message.timeout.ms",
        "metadata.broker.list",
        "partition.assignment.strategy",
        "queue.buffering.max.ms",
        "request.required.acks",
        "transactional.id",
    }
)
"""What the hub says itself, since its promises hang on it; under each name that librdkafka has for it."""


def properties_of(name: str, cluster: Cluster) -> dict[str, str]:
    """For any client of this cluster. Raises `SettingsError` naming the cluster, the file and the line."""
    return {"bootstrap.servers": cluster.bootstrap_servers, "client.id": "fedyard", **_read(name, cluster)}


def check_properties(streams: Streams) -> None:
    """That every cluster's settings file can be read. Raises `SettingsError` as `properties_of` does."""
    for name, cluster in streams.clusters.items():
        properties_of(name, cluster)


def _read(name: str, cluster: Cluster) -> dict[str, str]:
    if not cluster.settings_file:
        return {}
    where = f"cluster {name!r}: settings_file {cluster.settings_file}"
    try:
        lines = Path(cluster.settings_file).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SettingsError(f"{where} cannot be read: {why}") from None
    said: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not (key and equals):
            raise SettingsError(f"{where}, line {number}: write name=value")
        if key in OURS:
            raise SettingsError(f"{where}, line {number}: {key} is not yours to set here")
        if key in said:
            raise SettingsError(f"{where}, line {number}: {key} is set twice")
        said[key] = value
    return said
