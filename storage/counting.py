"""Counts of what one owner has, for the limits of commands that are rare: by index, over many owners at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from domain.ids import Id
from domain.values import Micros
from fedyard.wire.times import DAY
from storage.database import Database

_IN_FORCE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %s)"
_OF_OWNERS = "SELECT owner_id, count(*) FROM tokens WHERE owner_id {any:uuid}"
_COUNTS: dict[str, tuple[str, Micros]] = {
    "tokens": (f"{_OF_OWNERS} AND {_IN_FORCE} AND kind = 'token' GROUP BY 1", 0),
    "sessions": (f"{_OF_OWNERS} AND {_IN_FORCE} AND kind = 'session' GROUP BY 1", 0),
    "sign-ins": (f"{_OF_OWNERS} AND {_IN_FORCE} AND kind = 'sign_in' GROUP BY 1", 0),
    "tokens of a day": (f"{_OF_OWNERS} AND created_at > %s AND kind = 'token' GROUP BY 1", DAY),
    "accounts": (
        (
            "SELECT organisation_id, count(*) FROM accounts WHERE organisation_id {any:uuid}"
            " AND (disabled_at IS NULL OR disabled_at > %s) GROUP BY 1"
        ),
        0,
    ),
    "enrolments": (
        (
            "SELECT organisation_id, count(*) FROM enrolments WHERE organisation_id {any:uuid}"
            " AND used_at IS NULL AND site_id IS NULL AND expires_at > %s GROUP BY 1"
        ),
        0,
    ),
    "webhooks": (
        (
            "SELECT owner_id, count(*) FROM webhooks WHERE owner_id {any:uuid}"
            " AND state <> 'deleted' AND created_at <= %s GROUP BY 1"
        ),
        0,
    ),
    "checked archives": (
        (
            "SELECT project_id, count(*) FROM archives WHERE project_id {any:uuid}"
            " AND state = 'checked' AND state_at <= %s GROUP BY 1"
        ),
        0,
    ),
    "waiting deliveries": (
        (
            "SELECT webhook_id, count(*) FROM webhook_deliveries WHERE webhook_id {any:uuid}"
            " AND state = 'waiting' AND created_at <= %s GROUP BY 1"
        ),
        0,
    ),
    "workloads": (
        (
            "SELECT project_id, count(*) FROM workloads WHERE project_id {any:uuid}"
            " AND state IN ('wanted', 'starting', 'running') AND created_at <= %s GROUP BY 1"
        ),
        0,
    ),
    "secrets": (
        (
            "SELECT project_id, count(*) FROM project_secrets WHERE project_id {any:uuid}"
            " AND key_id <> '' AND set_at <= %s GROUP BY 1"
        ),
        0,
    ),
    "workloads of a day": (
        "SELECT project_id, count(*) FROM workloads WHERE project_id {any:uuid} AND created_at > %s GROUP BY 1",
        DAY,
    ),
    "rounds of a day": (
        "SELECT project_id, count(*) FROM project_rounds WHERE project_id {any:uuid} AND started_at > %s GROUP BY 1",
        DAY,
    ),
    "deployments of a configuration": (
        (
            "SELECT configuration_id, count(*) FROM deployments WHERE configuration_id {any:uuid}"
            " AND deleted_at IS NULL AND created_at <= %s GROUP BY 1"
        ),
        0,
    ),
    "projects": (
        (
            "SELECT coordinator_site_id, count(*) FROM projects WHERE coordinator_site_id {any:uuid}"
            " AND (archived_at IS NULL OR archived_at > %s) GROUP BY 1"
        ),
        0,
    ),
    "projects of a day": (
        (
            "SELECT coordinator_site_id, count(*) FROM projects WHERE coordinator_site_id {any:uuid}"
            " AND created_at > %s GROUP BY 1"
        ),
        DAY,
    ),
    "data of a deployment": (  # no more of them are counted than anybody asks for: others say how many there are
        (
            "SELECT run_id, (SELECT count(*) FROM (SELECT 1 FROM data_sources WHERE deployment_number ="
            " deployments.number AND data_sources.cluster = deployments.cluster LIMIT 101) AS found)"
            " FROM deployments WHERE run_id {any:uuid} AND created_at <= %s"
        ),
        0,
    ),
    "waiting records": (
        (
            "SELECT id, (SELECT count(*) FROM (SELECT 1 FROM quarantined_records WHERE state = 'waiting'"
            " AND quarantined_records.cluster = kafka_clusters.name LIMIT 1001) AS found)"
            " FROM kafka_clusters WHERE id {any:uuid} AND created_at <= %s"
        ),
        0,
    ),
    "deployments of a day": (
        "SELECT project_id, count(*) FROM deployments WHERE project_id {any:uuid} AND created_at > %s GROUP BY 1",
        DAY,
    ),
    "inferences of a day": (
        "SELECT project_id, count(*) FROM inferences WHERE project_id {any:uuid} AND created_at > %s GROUP BY 1",
        DAY,
    ),
    "matches": ("SELECT run_id, count(*) FROM matches WHERE run_id {any:uuid} AND created_at <= %s GROUP BY 1", 0),
    "adopted runs": (
        (
            "SELECT project_id, count(*) FROM runs WHERE project_id {any:uuid}"
            " AND kind = 'adopted' AND state IN ('created', 'running') AND created_at <= %s GROUP BY 1"
        ),
        0,
    ),
    "moved entries of a day": (
        (
            "SELECT site_id, count(*) FROM inbox WHERE site_id {any:uuid}"
            " AND state = 'moved' AND state_at > %s GROUP BY 1"
        ),
        DAY,
    ),
}
"""What -> its query, and how long before now the time lies that it compares with."""


def counted(database: Database, wanted: Iterable[tuple[str, Id]], now: Micros) -> dict[tuple[str, Id], int]:
    """(what, owner) -> how many; absent: none. One query for each kind that is asked for."""
    owners: dict[str, set[Id]] = defaultdict(set)
    for what, owner in wanted:
        owners[what].add(owner)
    found: dict[tuple[str, Id], int] = {}
    for what, of in sorted(owners.items()):
        sql, before = _COUNTS[what]
        found.update({(what, row[0]): row[1] for row in database.all(sql, database.many(of), now - before)})
    return found
