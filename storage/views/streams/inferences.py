"""Inferences of a project, each with how its workload goes."""

from __future__ import annotations

import msgspec

from domain.ids import Id, Uuid
from domain.states import InferenceState, WorkloadState
from domain.stream_values import InferenceAsked
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.projects import may_see_members
from storage.views.resources import Resource, Time
from storage.views.sight import Clause, Cursor, Listed, Paging, page, row

_asked_decoder = msgspec.json.Decoder(InferenceAsked)


class Inference(Resource, frozen=True):
    """A service that answers over Kafka. number: its id for Kafka-ML's programs; result: of the training result.

    workload_state: how it runs, null before it is wanted; reason, detail: why it does not, or could not begin.
    """

    id: Uuid
    number: int
    project_id: Uuid
    result: int
    state: InferenceState
    state_at: Time
    framework: str
    distributed: bool
    group_id: str
    where: str
    asked: InferenceAsked
    workload_id: Uuid | None
    workload_state: WorkloadState | None
    reason: str
    detail: str
    created_by: Uuid
    created_at: Time


_INFERENCE = (
    "SELECT inferences.id, number, inferences.project_id, result_number, inferences.state, inferences.state_at,"
    " framework, distributed, group_id, location, asked_json, workload_id, workloads.state, inferences.reason,"
    " inferences.detail, workloads.reason, workloads.detail, created_by, inferences.created_at"
    " FROM inferences LEFT JOIN workloads ON workloads.id = workload_id"
)
_SHOWN = Clause("deleted_at IS NULL")


def of_project(database: Database, subject: Subject, project: Id, paging: Paging) -> Listed[Inference] | None:
    """Oldest first; None if the caller may not know of them."""
    if not may_see_members(database, subject, project):
        return None
    return page(
        database,
        _INFERENCE,
        [Clause("inferences.project_id = %s", (project,)), _SHOWN],
        paging,
        _inference,
        order=("inferences.created_at", "inferences.id"),
        cursor_of=lambda one: Cursor(one[18], one[0]),
    )


def inference(database: Database, subject: Subject, project: Id, key: Id) -> Inference | None:
    if not may_see_members(database, subject, project):
        return None
    wanted = Clause("inferences.id = %s AND inferences.project_id = %s", (key, project))
    found = row(database, _INFERENCE, [wanted, _SHOWN])
    return None if found is None else _inference(found)


def _inference(one: Row) -> Inference:
    key, number, project, result, state, state_at, framework, distributed, group, where, asked, *rest = one
    workload, workload_state, reason, detail, of_workload, in_detail, by, at = rest
    return Inference(
        id=key,
        number=number,
        project_id=project,
        result=result,
        state=state,
        state_at=time_text(state_at),
        framework=framework,
        distributed=bool(distributed),
        group_id=group,
        where=where,
        asked=_asked_decoder.decode(asked),
        workload_id=workload,
        workload_state=workload_state,
        reason=reason or of_workload or "",
        detail=detail or in_detail or "",
        created_by=by,
        created_at=time_text(at),
    )
