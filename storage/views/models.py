"""The models of a project: every global model that was made, as a version."""

from __future__ import annotations

import msgspec

from domain.ids import Id
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.projects import may_see_members
from storage.views.resources import Model
from storage.views.sight import Clause, Cursor, Listed, Paging, page, row, rows

_BEFORE = (
    "(SELECT before.version FROM models before WHERE before.project_id = models.project_id"
    " AND before.version < models.version AND {} ORDER BY before.version DESC LIMIT 1)"
)
"""Mostly the one before it: so it is looked for from there back."""
_OF_MESSAGE = _BEFORE.format("before.message_id = models.begun_with")
_OF_EPOCH = _BEFORE.format("before.epoch = models.epoch")
_OF_START = (
    "(SELECT workloads.model_version FROM project_rounds JOIN workloads ON workloads.id = project_rounds.workload_id"
    " WHERE project_rounds.project_id = models.project_id AND project_rounds.epoch = models.epoch"
    " AND project_rounds.number = models.round)"
)
_OF_TASK = "(SELECT {} FROM task_runs WHERE task_runs.run_id = models.run_id AND task_runs.seq = models.task_seq)"
_SCORE = (
    "(SELECT rounds.score_json FROM rounds"
    f" WHERE rounds.task_run_id = {_OF_TASK.format('task_runs.id')} AND rounds.number = models.round)"
)
_MODEL = (
    "SELECT project_id, version, run_id, task_seq, task, round, message_id, artifact_id, digest, size_bytes, "
    "metrics_json, created_at, epoch, "
    f"CASE WHEN begun_with IS NOT NULL THEN {_OF_MESSAGE} "
    f"WHEN epoch IS NOT NULL THEN coalesce({_OF_EPOCH}, {_OF_START}) END AS begun_with_version, "
    f"{_OF_TASK.format('task_runs.best_version')} AS best_version, {_SCORE} AS score_json FROM models"
)
"""With the version that each began with: a checkpoint with the one before it of its epoch, or what that was started
with."""
_metrics = msgspec.json.Decoder(dict[str, float])


def of_project(
    database: Database, subject: Subject, project: Id, paging: Paging, *, newest_first: bool = False
) -> Listed[Model] | None:
    """By version; None unless the subject is an active member, or sees everything."""
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
        newest_first=newest_first,
    )


def newest(database: Database, subject: Subject, project: Id, limit: int) -> list[Model]:
    """The newest versions, the newest first; none unless the subject is an active member (or may see everything)."""
    if not may_see_members(database, subject, project):
        return []
    where = [Clause("project_id = %s", (project,))]
    return [_model(one) for one in rows(database, _MODEL, where, "ORDER BY version DESC LIMIT %s", limit)]


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
    _, version, run, task_seq, task, number, message, artifact, digest, size, metrics, created_at, epoch, *rest = one
    begun_with, best, score = rest
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
        begun_with=begun_with,
        best=best == version,
        score={} if score is None else _metrics.decode(score),
    )
