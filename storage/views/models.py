"""The models of a project: every global model that was made, as a version."""

from __future__ import annotations

import msgspec

from domain.ids import Id
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.projects import may_see_members
from storage.views.resources import Model
from storage.views.sight import Clause, Cursor, Listed, Paging, page, row

_MODEL = (
    "SELECT project_id, version, run_id, task_seq, task, round, message_id, artifact_id, digest, size_bytes, "
    "metrics_json, created_at, epoch FROM models"
)
_metrics = msgspec.json.Decoder(dict[str, float])


def of_project(database: Database, subject: Subject, project: Id, paging: Paging) -> Listed[Model] | None:
    """From the first version on; None unless the subject is an active member (or may see everything)."""
    if not may_see_members(database, subject, project):
        return None
    return page(
        database,
        _MODEL,
        [Clause("project_id = %s", (project,))],
        paging,
        _model,
        order=("version", "project_id"),
        cursor_of=lambda one: Cursor(one[1], one[0]),
    )


def begun_with(database: Database, workload: Id) -> Id | None:
    """The artifact of the model that a workload begins with, if it was said. Whoever asks must be that workload."""
    found = row(
        database,
        "SELECT models.artifact_id FROM workloads JOIN models"
        " ON models.project_id = workloads.project_id AND models.version = workloads.model_version",
        [Clause("workloads.id = %s", (workload,))],
    )
    return None if found is None else found[0]


def _model(one: Row) -> Model:
    _, version, run, task_seq, task, number, message, artifact, digest, size, metrics, created_at, epoch = one
    return Model(
        version=version,
        run_id=run,
        task_seq=task_seq,
        task=task or None,
        round=number,
        epoch=epoch,
        message_id=message,
        artifact_id=artifact,
        digest=digest,
        size_bytes=size,
        metrics=_metrics.decode(metrics),
        created_at=time_text(created_at),
    )
