"""What clusters are compared with: attempts at workloads, from when they are wanted until nothing of them is there."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from domain import records as r
from domain.ids import Id, is_id
from domain.values import Micros
from domain.workloads import owner_of, token_sha256, wanted_of
from fedyard.cluster.plan import Key, Wanted
from fedyard.cluster.port import AttemptId
from storage.database import Database
from storage.leadership import lead, step_down
from storage.places import places_to_end
from storage.tables import COLUMNS, select

_LEADER = 4_207_414
_BOTH = ", ".join(
    [f"workloads.{name}" for name in COLUMNS[r.Workload]] + [f"attempts.{name}" for name in COLUMNS[r.WorkloadAttempt]]
)
_FROM = f"SELECT {_BOTH} FROM workload_attempts AS attempts JOIN workloads ON workloads.id = attempts.workload_id"
_OF_CLUSTER = f"{_FROM} WHERE workloads.cluster = %s AND attempts.gone_at IS NULL ORDER BY attempts.created_at, 1"
_OF_IDS = f"{_FROM} WHERE workloads.cluster = %s AND workloads.id {{any:uuid}}"
_STILL = (
    "SELECT 1 FROM workload_attempts AS attempts JOIN workloads ON workloads.id = attempts.workload_id"
    " AND workloads.attempt = attempts.attempt WHERE attempts.workload_id = %s AND attempts.attempt = %s"
    " AND workloads.stop_at IS NULL AND attempts.ended_at IS NULL AND attempts.gone_at IS NULL"
    " AND (workloads.kind = 'service' OR attempts.uid = '')"
)
_SECRETS = f"{select(r.ProjectSecret)} WHERE project_id = %s AND key_id <> '' AND name {{any}}"
_LOGS = (
    "SELECT workloads.project_id, follows.workload_id, follows.attempt, follows.until_at, coalesce(heads.size_bytes, 0)"
    " FROM workload_follows AS follows JOIN workloads ON workloads.id = follows.workload_id"
    " JOIN workload_attempts AS attempts"
    " ON attempts.workload_id = follows.workload_id AND attempts.attempt = follows.attempt"
    " LEFT JOIN workload_log_heads AS heads"
    " ON heads.workload_id = follows.workload_id AND heads.attempt = follows.attempt"
    " WHERE workloads.cluster = %s AND attempts.gone_at IS NULL AND attempts.kept_at IS NULL"
)
"""Of what is followed, or was, and has not left its log yet."""
_KEPT = "SELECT 1 FROM workload_attempts WHERE workload_id = %s AND attempt = %s AND kept_at IS NOT NULL"
_WIDTH = len(COLUMNS[r.Workload])


def with_logs(database: Database, cluster: str, wanted: list[Wanted], now: Micros) -> list[Wanted]:
    """The same, and how far those logs were read that somebody has followed. Within a connection."""
    logs = {
        Key(one, attempt): (until_at > now, size) for _, one, attempt, until_at, size in database.all(_LOGS, cluster)
    }
    if not logs:
        return wanted
    return [
        one
        if one.key not in logs
        else msgspec.structs.replace(one, followed=logs[one.key][0], log_from=logs[one.key][1])
        for one in wanted
    ]


class WantedWorkloads:
    """Reads for reconcilers. key: that the owner, and the tokens of attempts, are derived from."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._key = key
        self.owner = owner_of(key)
        """Under which id the clusters know whose they are."""

    def token_sha256(self, workload: Id, attempt: int) -> str:
        """Of the one-time token of an attempt."""
        return token_sha256(self._key, workload, attempt)

    def lead(self) -> bool:
        """True if this process may act. PostgreSQL: an advisory lock that dies with this thread's connection."""
        return lead(self._database, _LEADER)

    def step_down(self) -> None:
        """Give up the connection, and with it the leadership."""
        step_down(self._database)

    def of_cluster(self, cluster: str, now: Micros) -> list[Wanted]:
        """Every attempt there of which something may be there, or shall be. Raises `DatabaseUnavailable`."""
        with self._database.connection():
            wanted = [self._wanted(row) for row in self._database.all(_OF_CLUSTER, cluster)]
            return with_logs(self._database, cluster, wanted, now)

    def followed(self, cluster: str, now: Micros) -> list[tuple[AttemptId, int]]:
        """Attempts there whose logs somebody follows, and how much of each the hub has. Raises
        `DatabaseUnavailable`."""
        with self._database.connection():
            return [
                (AttemptId(self.owner, project, workload, attempt), size_bytes)
                for project, workload, attempt, until_at, size_bytes in self._database.all(_LOGS, cluster)
                if until_at > now
            ]

    def known(self, cluster: str, ids: Iterable[Id]) -> list[Wanted]:
        """All attempts at these workloads, those that are gone among them. Raises `DatabaseUnavailable`."""
        asked = [one for one in ids if is_id(one)]
        if not asked:
            return []
        with self._database.connection():
            return [self._wanted(row) for row in self._database.all(_OF_IDS, cluster, self._database.many(asked))]

    def is_to_be_made(self, workload: Id, attempt: int) -> bool:
        """Whether that attempt shall be there as of now: a job that nobody has seen yet, or a service, not stopped, not
        ended, not replaced by another attempt. Raises `DatabaseUnavailable`."""
        with self._database.connection():
            return self._database.one(_STILL, workload, attempt) is not None

    def is_kept(self, workload: Id, attempt: int) -> bool:
        """Whether its evidence is on record. Raises `DatabaseUnavailable`."""
        with self._database.connection():
            return self._database.one(_KEPT, workload, attempt) is not None

    def places_to_end(self, cluster: str, now: Micros) -> list[Id]:
        """Archived projects that may have a place there (storage/places.py)."""
        return places_to_end(self._database, cluster, now)

    def secrets(self, project: Id, names: Iterable[str]) -> dict[str, r.ProjectSecret]:
        """Those that are set, shut, by name. Raises `DatabaseUnavailable`."""
        with self._database.connection():
            found = self._database.all(_SECRETS, project, self._database.many(names))
        return {row[1]: r.ProjectSecret(*row) for row in found}

    def _wanted(self, row: tuple[object, ...]) -> Wanted:
        workload, attempt = r.Workload(*row[:_WIDTH]), r.WorkloadAttempt(*row[_WIDTH:])  # type: ignore[arg-type]
        return wanted_of(workload, attempt, self.owner)
