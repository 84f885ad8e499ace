"""Rounds that a project's own coordinator leads, for the project's members."""

from __future__ import annotations

import msgspec

from domain import records as r
from domain.ids import Id
from domain.states import PROJECT_ROUND_LIVE, ProjectRoundState
from domain.values import Micros, StageName, Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.tables import select
from storage.views.projects import may_see_members
from storage.views.resources import ProjectRound, ReportedStage, time_or_none
from storage.views.sight import Clause, Cursor, Listed, Paging, rows

_ROUND = select(r.ProjectRound)
_EPOCH = 2**31
"""Numbers of rounds are below: a cursor has epoch and number in one."""
_metrics = msgspec.json.Decoder(dict[str, float])
_counts = msgspec.json.Decoder(dict[str, int])
_stages = msgspec.json.Decoder(dict[StageName, Micros])


def of_project(database: Database, subject: Subject, project: Id, paging: Paging) -> Listed[ProjectRound] | None:
    """From the newest one on; None unless the subject is an active member (or may see everything)."""
    if not may_see_members(database, subject, project):
        return None
    where = [Clause("project_id = %s", (project,))]
    if paging.after is not None:
        where.append(Clause("(epoch, number) < (%s, %s)", divmod(paging.after.at, _EPOCH)))
    found = rows(database, _ROUND, where, "ORDER BY epoch DESC, number DESC LIMIT %s", paging.limit + 1)
    shown = [r.ProjectRound(*one) for one in found[: paging.limit]]
    following = Cursor(shown[-1].epoch * _EPOCH + shown[-1].number, project).text if len(found) > len(shown) else None
    return Listed(items=[_shown(one) for one in shown], next=following)


def newest(database: Database, project: Id) -> ProjectRound | None:
    """The one that goes on, or the last one that did. Whoever asks must be one who may see the members."""
    where = [Clause("project_id = %s", (project,))]
    found: list[Row] = rows(database, _ROUND, where, "ORDER BY epoch DESC, number DESC LIMIT 1")
    return _shown(r.ProjectRound(*found[0])) if found else None


def _shown(one: r.ProjectRound) -> ProjectRound:
    return ProjectRound(
        epoch=one.epoch,
        number=one.number,
        workload_id=one.workload_id,
        attempt=one.attempt,
        start=one.start,
        state=ProjectRoundState(one.state),
        stage=msgspec.convert(one.stage, StageName),
        reason=one.reason,
        started_at=time_text(one.started_at),
        stage_at=time_text(one.stage_at),
        deadline_at=time_text(one.deadline_at) if one.state in PROJECT_ROUND_LIVE else None,
        ended_at=time_or_none(one.ended_at),
        stages=[
            ReportedStage(name, time_text(at)) for name, at in sorted(_stages.decode(one.stages_json).items(), key=_at)
        ],
        counts=_counts.decode(one.counts_json),
        metrics=_metrics.decode(one.metrics_json),
        checkpoint_artifact_id=one.checkpoint_artifact_id,
        model_version=one.model_version,
    )


def _at(reported: tuple[StageName, Micros]) -> Micros:
    return reported[1]
