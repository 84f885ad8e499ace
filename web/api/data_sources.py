"""Data sources: what was announced in Kafka. Announcing one once more is a noun of its own (sendings.py)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.results import Withdrawn
from domain.states import AnnouncementState
from domain.stream_commands import WithdrawDataSource
from domain.values import Reason
from storage.views.sight import Listed
from storage.views.streams import data_sources as views
from storage.views.streams.data_sources import DataSource
from web.http.answers import answer
from web.http.auth import PEOPLE
from web.http.bodies import Body, PageQuery
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.writing import write
from web.problems import not_found


class Withdrawal(Body, frozen=True):
    reason: Reason = ""


class DataSourcesQuery(PageQuery, frozen=True):
    """deployment: the number that their keys name."""

    deployment: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] | UnsetType = UNSET
    state: AnnouncementState | UnsetType = UNSET


def listed(call: Call) -> Response:
    query: DataSourcesQuery = call.query
    found = views.data_sources(
        call.web.database,
        call.caller.subject,
        call.paging,
        deployment=given(query.deployment),
        state=given(query.state),
    )
    return answer(found)


def read(call: Call) -> Response:
    found = views.data_source(call.web.database, call.caller.subject, call.id("data_source_id"))
    if found is None:
        raise not_found("data source", call.id("data_source_id"))
    return answer(found)


def withdraw(call: Call) -> Response:
    body: Withdrawal = call.body
    return write(call, WithdrawDataSource(data_source_id=call.id("data_source_id"), reason=body.reason))


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/data-sources",
        name="list_data_sources",
        about="Data that were announced in Kafka (admin, auditor; members those for their projects' deployments)",
        does=listed,
        query=DataSourcesQuery,
        answers={200: Listed[DataSource]},
    ),
    Operation(
        method="GET",
        path="/v1/data-sources/{data_source_id}",
        name="read_data_source",
        about="One of them",
        does=read,
        answers={200: DataSource},
    ),
    Operation(
        method="POST",
        path="/v1/data-sources/{data_source_id}/withdraw",
        name="withdraw_data_source",
        about="Have nothing more begin with these data (admin)",
        does=withdraw,
        who=PEOPLE,
        scope="write",
        body=Withdrawal,
        optional=True,
        write=True,
        answers={200: Withdrawn},
    ),
)
