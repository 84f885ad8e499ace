"""Clusters of Kafka, as far as something is told of them: the owners of streams of events."""

from __future__ import annotations

from domain import stream_records as sr
from domain.decisions.draft import Draft
from domain.ids import Id, derive
from domain.needs import Needs


def id_of(name: str) -> Id:
    """Of the cluster of this name."""
    return derive("kafka cluster", name)


def needs_of_cluster(name: str) -> Needs:
    """For `stream_of`."""
    return Needs(kafka_clusters={name})


def stream_of(draft: Draft, name: str, cluster_id: str | None = None) -> tuple[str, Id]:
    """Where events of this cluster go. cluster_id: the cluster's own, if one knows."""
    known = draft.get(sr.KafkaCluster, id_of(name))
    if known is None:
        draft.put(sr.KafkaCluster(id=id_of(name), name=name, cluster_id=cluster_id or "", created_at=draft.now))
    elif cluster_id is not None and known.cluster_id != cluster_id:
        draft.change(known, cluster_id=cluster_id)
    return "kafka", id_of(name)
