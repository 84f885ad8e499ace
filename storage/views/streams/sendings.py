"""Data sources that are announced once more, as the web shows them."""

from __future__ import annotations

from domain.ids import Id, Uuid
from domain.states import SendingState
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database
from storage.views.projects import may_see_members
from storage.views.resources import Resource, Time
from storage.views.sight import Clause, row


class Sending(Resource, frozen=True):
    """A data source that is announced once more, to a deployment. topic: where to. partition, log_offset: where the
    record lies, once it is `sent`. reason: why it `failed`."""

    id: Uuid
    data_source_id: Uuid
    deployment_number: int
    project_id: Uuid
    cluster: str
    topic: str
    state: SendingState
    state_at: Time
    reason: str
    detail: str
    partition: int | None
    log_offset: int | None
    created_by: Uuid
    created_at: Time


_SENDING = (
    "SELECT id, data_source_id, deployment_number, project_id, cluster, topic, state, state_at, reason, detail,"
    ' "partition", log_offset, created_by, created_at FROM stream_sendings'
)


def sending(database: Database, subject: Subject, key: Id) -> Sending | None:
    """None if there is none that the caller may know of."""
    found = row(database, _SENDING, [Clause("id = %s", (key,))])
    if found is None or not may_see_members(database, subject, found[3]):
        return None
    ident, source, number, project, cluster, topic, state, state_at, *rest = found
    reason, detail, partition, log_offset, created_by, created_at = rest
    return Sending(
        id=ident,
        data_source_id=source,
        deployment_number=number,
        project_id=project,
        cluster=cluster,
        topic=topic,
        state=SendingState(state),
        state_at=time_text(state_at),
        reason=reason,
        detail=detail,
        partition=partition,
        log_offset=log_offset,
        created_by=created_by,
        created_at=time_text(created_at),
    )
