"""Places that shall go: where an archived project had something run, at the hub's clusters and at sites alike."""

from __future__ import annotations

from domain.ids import Id
from domain.infrastructure import FILES_KEPT_S
from domain.values import Micros
from fedyard.wire.times import SECOND
from storage.database import Database

_PLACES = (
    "SELECT DISTINCT workloads.project_id FROM workloads JOIN projects ON projects.id = workloads.project_id"
    " WHERE workloads.cluster = %s AND workloads.place_gone_at IS NULL AND projects.archived_at < %s"
    " AND (projects.archived_at < %s OR NOT EXISTS (SELECT 1 FROM workloads AS parts"
    " WHERE parts.project_id = workloads.project_id AND parts.cluster = workloads.cluster AND parts.part <> ''))"
    " AND NOT EXISTS (SELECT 1 FROM workload_attempts AS attempts JOIN workloads AS others"
    " ON others.id = attempts.workload_id WHERE others.project_id = workloads.project_id"
    " AND others.cluster = workloads.cluster AND attempts.gone_at IS NULL) ORDER BY 1 LIMIT 100"
)


def places_to_end(database: Database, cluster: str, now: Micros) -> list[Id]:
    """Archived projects that may have a place there, of whose workloads nothing is there any more; 100 at most.

    Where one had files besides, they are kept for a while. Raises `DatabaseUnavailable`.
    """
    with database.connection():
        found = database.all(_PLACES, cluster, now, now - FILES_KEPT_S * SECOND)
    return [row[0] for row in found]
