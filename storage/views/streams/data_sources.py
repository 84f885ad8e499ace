"""Data sources as the web shows them: to admins and auditors, and to members of the project whose deployment they are
for."""

from __future__ import annotations

import msgspec

from domain.ids import Id, Uuid
from domain.states import AnnouncementState
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.resources import Resource, Time
from storage.views.sight import Clause, Cursor, Listed, Paging, member_of, page, row


class DataSource(Resource, frozen=True):
    """Data that were announced in Kafka. deployment_number: that its key names. restrictions: as they are compared.

    body: the record's value as it came. announced_at: null if the record does not say.
    """

    id: Uuid
    cluster: str
    topic: str
    partition: int
    log_offset: int
    purpose: str
    deployment_number: int | None
    data_topic: str
    unsupervised_topic: str | None
    input_format: str
    input_config: msgspec.Raw
    description: str
    restrictions: msgspec.Raw
    shape: str
    validation_rate: float
    test_rate: float
    total_msg: int | None
    incremental: bool
    announced_at: Time | None
    taken_at: Time
    state: AnnouncementState
    state_at: Time
    body: bytes


_SOURCE = (
    "SELECT data_sources.id, data_sources.cluster, data_sources.topic, data_sources.partition,"
    " data_sources.log_offset, data_sources.purpose, data_sources.deployment_number, data_sources.data_topic,"
    " data_sources.unsupervised_topic, data_sources.input_format, data_sources.input_config_json,"
    " data_sources.description, data_sources.restrictions_json, data_sources.shape, data_sources.validation_rate,"
    " data_sources.test_rate, data_sources.total_msg, data_sources.incremental, data_sources.announced_at,"
    " data_sources.taken_at, data_sources.state, data_sources.state_at, data_sources.body FROM data_sources"
    " LEFT JOIN deployments ON deployments.number = data_sources.deployment_number"
    " AND deployments.cluster = data_sources.cluster"
)


def data_source(database: Database, subject: Subject, key: Id) -> DataSource | None:
    """None if there is none that the caller may know of."""
    found = row(database, _SOURCE, [Clause("data_sources.id = %s", (key,)), *_seen(subject)])
    return None if found is None else _made(found)


def data_sources(
    database: Database, subject: Subject, paging: Paging, *, deployment: int | None, state: str | None
) -> Listed[DataSource]:
    """A page of those that the caller may know of, oldest first."""
    where = _seen(subject)
    if deployment is not None:
        where.append(Clause("data_sources.deployment_number = %s", (deployment,)))
    if state is not None:
        where.append(Clause("data_sources.state = %s", (state,)))
    return page(
        database,
        _SOURCE,
        where,
        paging,
        _made,
        order=("data_sources.taken_at", "data_sources.id"),
        cursor_of=lambda one: Cursor(one[19], one[0]),
    )


def _seen(subject: Subject) -> list[Clause]:
    return member_of("deployments.project_id", subject)


def _made(one: Row) -> DataSource:
    values = dict(zip(DataSource.__struct_fields__, one, strict=True))
    announced_at = values["announced_at"]
    return DataSource(
        **values
        | {
            "input_config": msgspec.Raw(values["input_config"].encode()),
            "restrictions": msgspec.Raw(values["restrictions"].encode()),
            "incremental": bool(values["incremental"]),
            "announced_at": time_text(announced_at) if announced_at else None,
            "taken_at": time_text(values["taken_at"]),
            "state_at": time_text(values["state_at"]),
        }
    )
