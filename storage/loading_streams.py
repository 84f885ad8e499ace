"""What decisions about streams need, by queries of its own before the rest: part of storage/loading_apart.py."""

from __future__ import annotations

from collections.abc import Callable

from domain import records as r
from domain import stream_records as sr
from domain.needs import Needs
from domain.workloads import site_of
from storage.reader import Reader
from storage.tables import select


def _counters(reader: Reader, needs: Needs) -> Needs:
    reader.rows(sr.Counter, f"{select(sr.Counter)} WHERE name {{any}}", needs.counters)
    return Needs()


def _architectures(reader: Reader, needs: Needs) -> Needs:
    """All that projects have, for names and chains are among them; of what is trained the newest code, too."""
    projects = needs.architectures_of | needs.code_of
    found = reader.rows(sr.Architecture, _ARCHITECTURES, projects)
    reader.rows(sr.Configuration, _CONFIGURATIONS, projects)
    coded = [each for each in found if each.project_id in needs.code_of]
    wanted = needs.versions_of | {(each.id, each.version) for each in coded}
    for version in sorted({version for _, version in wanted}):
        of = {architecture for architecture, number in wanted if number == version}
        reader.rows(sr.ArchitectureVersion, _VERSIONS, of, version)
    reader.rows(sr.ModelFile, _FILES, {each.id for each in coded})
    return Needs()


def _deployments(reader: Reader, needs: Needs) -> Needs:
    """Deployments and their results; needed besides: their runs, and who may see them."""
    runs = set(needs.deployments)
    found = reader.rows(sr.TrainingResult, f"{_RESULTS} WHERE number {{any}}", needs.results)
    runs |= {each.run_id for each in found}
    numbered = reader.rows(sr.Deployment, f"{_DEPLOYMENTS} WHERE number {{any}}", needs.deployment_numbers)
    runs |= {each.run_id for each in numbered}
    reader.rows(sr.Deployment, f"{_DEPLOYMENTS} WHERE run_id {{any:uuid}}", runs)
    reader.rows(sr.TrainingResult, f"{_RESULTS} WHERE run_id {{any:uuid}}", runs)
    for each in numbered:  # in a topic that all share, what was announced first is what jobs read
        reader.all(sr.DataSource, _FIRST_OF_NUMBER, each.number, each.cluster, each.control_topic)
    led = {each.project_id for each in found} | {each.project_id for each in numbered}
    return Needs(runs=runs, led=led, counts={("data of a deployment", each.run_id) for each in numbered})


def _inferences(reader: Reader, needs: Needs) -> Needs:
    """Inferences and what they serve; needed besides: their projects with members, workloads, and sites of these."""
    results = reader.rows(sr.TrainingResult, f"{_RESULTS} WHERE number {{any}}", needs.served)
    for result in results:
        reader.rows(sr.ArchitectureVersion, _VERSIONS, [result.architecture_id], result.version)
    found = reader.rows(sr.Inference, f"{_INFERENCES} WHERE id {{any:uuid}}", needs.inferences)
    for topic in sorted(needs.inferences_on):
        reader.all(sr.Inference, _INFERENCES_ON, f'%"{topic}"%')
    reader.rows(sr.Inference, _SERVING, needs.serving)
    return Needs(
        members_of={each.project_id for each in found},
        sites={site for each in found if (site := site_of(each.location)) is not None},
        workloads={each.workload_id for each in found if each.workload_id is not None},
    )


_INFERENCES = select(sr.Inference)
_INFERENCES_ON = f"{_INFERENCES} WHERE deleted_at IS NULL AND asked_json LIKE %s"
"""Which topics they have stands in what was asked for alone; the decision leaves out what this finds too many."""
_SERVING = f"{_INFERENCES} WHERE state IN ('preparing', 'serving') AND result_number {{any}}"
_ARCHITECTURES = f"{select(sr.Architecture)} WHERE deleted_at IS NULL AND project_id {{any:uuid}}"
_CONFIGURATIONS = f"{select(sr.Configuration)} WHERE deleted_at IS NULL AND project_id {{any:uuid}}"
_VERSIONS = f"{select(sr.ArchitectureVersion)} WHERE version = %s AND architecture_id {{any:uuid}}"
_FILES = (
    f"{select(sr.ModelFile, 'model_files.')} JOIN artifacts ON artifacts.id = model_files.artifact_id"
    " AND artifacts.state = 'stored' WHERE architecture_id {any:uuid}"
)
"""Of those that are still there."""
_DEPLOYMENTS = select(sr.Deployment)
_RESULTS = select(sr.TrainingResult)
_FIRST_OF_NUMBER = (
    f"{select(sr.DataSource)} WHERE deployment_number = %s AND cluster = %s AND topic = %s"
    " ORDER BY taken_at, log_offset LIMIT 1"
)


def _announced(reader: Reader, needs: Needs) -> Needs:
    """What was announced; needed besides: the clusters where, whose streams tell what people do with it."""
    sources = reader.rows(sr.DataSource, f"{select(sr.DataSource)} WHERE id {{any:uuid}}", needs.data_sources)
    reader.rows(sr.ModelAnnouncement, f"{select(sr.ModelAnnouncement)} WHERE id {{any:uuid}}", needs.announcements)
    waiting = reader.rows(sr.QuarantinedRecord, f"{_QUARANTINED} WHERE id {{any:uuid}}", needs.quarantined)
    return Needs(kafka_clusters={each.cluster for each in sources} | {each.cluster for each in waiting})


_QUARANTINED = select(sr.QuarantinedRecord)


def _clusters(reader: Reader, needs: Needs) -> Needs:
    """Clusters, with their streams; how far records are decided."""
    found = reader.rows(sr.KafkaCluster, f"{select(sr.KafkaCluster)} WHERE name {{any}}", needs.kafka_clusters)
    reader.rows(r.Stream, f"{select(r.Stream)} WHERE id {{any:uuid}}", {each.id for each in found})
    for cluster, topic in sorted(needs.positions):
        reader.all(sr.StreamPosition, f"{select(sr.StreamPosition)} WHERE cluster = %s AND topic = %s", cluster, topic)
    return Needs()


def _sendings(reader: Reader, needs: Needs) -> Needs:
    reader.rows(sr.Sending, f"{select(sr.Sending)} WHERE id {{any:uuid}}", needs.sendings)
    return Needs()


STREAM_PARTS: tuple[tuple[frozenset[str], Callable[[Reader, Needs], Needs]], ...] = (
    (frozenset({"counters"}), _counters),
    (frozenset({"architectures_of", "code_of", "versions_of"}), _architectures),
    (frozenset({"served", "serving", "inferences", "inferences_on"}), _inferences),
    (frozenset({"data_sources", "announcements", "quarantined"}), _announced),
    (frozenset({"sendings"}), _sendings),
    (frozenset({"kafka_clusters", "positions"}), _clusters),
)
"""Any of these needs -> who loads what they name."""
DEPLOYMENT_PARTS: tuple[tuple[frozenset[str], Callable[[Reader, Needs], Needs]], ...] = (
    (frozenset({"deployments", "deployment_numbers", "results"}), _deployments),
)
"""The same of what hangs on workloads that were loaded before."""
