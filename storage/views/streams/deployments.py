"""Deployments and the results of training, for people. The log's tail of a job that has failed stands beside it."""

from __future__ import annotations

from typing import Any

import msgspec

from domain import stream_records as sr
from domain.ids import Id, Uuid
from domain.states import DeploymentState, ResultState, RunState
from domain.stream_values import Deployment as ContractOf
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database
from storage.tables import COLUMNS
from storage.views.projects import may_see_members
from storage.views.resources import Resource, Time, time_or_none
from storage.views.sight import Clause, Cursor, Listed, Paging, acting_member_of, own, page, row, rows, sees_everything

LOG_SHOWN_BYTES = 4096
"""Of the end of a log, beside a result that did not come. All that is kept of it has the workload."""


class TrainingResult(Resource, frozen=True):
    """What training one architecture gave. number: its id for Kafka-ML's programs, position: in its chain, from 0.

    workload_id: the job that makes it. train_metrics, val_metrics, test_metrics, confusion_matrix: as its job said
    them; null where it said none. log_tail: of its job, where that ended without it; to
    those who coordinate the project.
    """

    id: Uuid
    number: int
    deployment_id: Uuid
    project_id: Uuid
    architecture_id: Uuid
    version: int
    position: int
    state: ResultState
    state_at: Time
    created_at: Time
    workload_id: Uuid | None
    reason: str
    detail: str
    train_metrics: Any
    val_metrics: Any
    test_metrics: Any
    confusion_matrix: Any
    training_time_s: float | None
    model_format: str
    model_artifact_id: Uuid | None
    matrix_artifact_id: Uuid | None
    log_tail: str | None


class DeploymentHead(Resource, frozen=True):
    """id: of its run. number: that a data source names it by. state: what it waits for, run_state: how its run is."""

    id: Uuid
    number: int
    project_id: Uuid
    configuration_id: Uuid | None
    state: DeploymentState
    state_at: Time
    run_state: RunState
    reason: str
    detail: str
    created_at: Time
    deadline_at: Time
    ended_at: Time | None
    cluster: str
    where: str
    control_topic: str
    string_id: str
    data_source_id: Uuid | None


class Deployment(DeploymentHead, frozen=True):
    """contract: what it was asked for."""

    contract: ContractOf
    results: list[TrainingResult]


_DEPLOYMENT_WIDTH = len(COLUMNS[sr.Deployment])
_DEPLOYMENTS = (
    f"SELECT {', '.join(f'deployments.{name}' for name in COLUMNS[sr.Deployment])}, runs.state, runs.reason,"
    " runs.detail, runs.deadline_at, runs.ended_at FROM deployments JOIN runs ON runs.id = deployments.run_id"
)
_RESULTS = (
    f"SELECT {', '.join(f'training_results.{name}' for name in COLUMNS[sr.TrainingResult])} FROM training_results"
)
_SHOWN = "deleted_at IS NULL"
_LOG = "SELECT log FROM workload_evidence WHERE workload_id = %s ORDER BY attempt DESC LIMIT 1"
_contracts = msgspec.json.Decoder(ContractOf)


def deployments_of(database: Database, subject: Subject, project: Id, paging: Paging) -> Listed[DeploymentHead] | None:
    """Those of a project that are not deleted; None if the caller may not know of them."""
    if not may_see_members(database, subject, project):
        return None
    return page(
        database,
        _DEPLOYMENTS,
        [Clause(f"deployments.project_id = %s AND deployments.{_SHOWN}", (project,))],
        paging,
        lambda one: DeploymentHead(**_head(one)),
        order=("deployments.created_at", "deployments.run_id"),
        cursor_of=lambda one: Cursor(one[_CREATED_AT], one[0]),
    )


def everywhere(database: Database, subject: Subject, paging: Paging) -> Listed[DeploymentHead]:
    """Those of all projects that the subject is a member of, the newest first."""
    return page(
        database,
        _DEPLOYMENTS,
        [Clause(f"deployments.{_SHOWN}"), *_seen(subject, "deployments")],
        paging,
        lambda one: DeploymentHead(**_head(one)),
        order=("deployments.created_at", "deployments.run_id"),
        cursor_of=lambda one: Cursor(one[_CREATED_AT], one[0]),
        newest_first=True,
    )


def deployment(database: Database, subject: Subject, ident: Id) -> Deployment | None:
    with database.connection():
        where = [Clause(f"deployments.run_id = %s AND deployments.{_SHOWN}", (ident,)), *_seen(subject, "deployments")]
        found = row(database, _DEPLOYMENTS, where)
        if found is None:
            return None
        of_run = [Clause(f"training_results.run_id = %s AND {_SHOWN}", (ident,))]
        leads = _leads(database, subject, found[_PROJECT])
        results = [_result(database, one, leads=leads) for one in rows(database, _RESULTS, of_run, "ORDER BY number")]
    contract = _contracts.decode(sr.Deployment(*found[:_DEPLOYMENT_WIDTH]).contract_json)
    return Deployment(**_head(found), contract=contract, results=results)


def result(database: Database, subject: Subject, number: int) -> TrainingResult | None:
    """By its number; None if there is none that the caller may know of."""
    with database.connection():
        where = [Clause(f"training_results.number = %s AND {_SHOWN}", (number,)), *_seen(subject, "training_results")]
        found = row(database, _RESULTS, where)
        return None if found is None else _result(database, found, leads=_leads(database, subject, found[_OF_PROJECT]))


def by_state(database: Database) -> dict[str, int]:
    """How many there are that are not deleted; empty where none was ever started."""
    where = [Clause(f"deployments.{_SHOWN}")]
    return dict(rows(database, "SELECT state, count(*) FROM deployments", where, "GROUP BY state"))


def results_by_state(database: Database) -> dict[str, int]:
    where = [Clause(f"training_results.{_SHOWN}")]
    return dict(rows(database, "SELECT state, count(*) FROM training_results", where, "GROUP BY state"))


def _leads(database: Database, subject: Subject, project: Id) -> bool:
    """Logs of workloads are read by those who coordinate the project; to run the network is not enough."""
    mine = own("projects.coordinator_site_id", subject)
    return row(database, "SELECT 1 FROM projects", [Clause("projects.id = %s", (project,)), mine]) is not None


def _seen(subject: Subject, table: str) -> list[Clause]:
    return [] if sees_everything(subject) else [acting_member_of(f"{table}.project_id", subject)]


def _head(one: tuple[Any, ...]) -> dict[str, Any]:
    of = sr.Deployment(*one[:_DEPLOYMENT_WIDTH])
    run_state, reason, detail, deadline_at, ended_at = one[_DEPLOYMENT_WIDTH:]
    return {
        "id": of.run_id,
        "number": of.number,
        "project_id": of.project_id,
        "configuration_id": of.configuration_id,
        "state": DeploymentState(of.state),
        "state_at": time_text(of.state_at),
        "run_state": RunState(run_state),
        "reason": reason,
        "detail": detail,
        "created_at": time_text(of.created_at),
        "deadline_at": time_text(deadline_at),
        "ended_at": time_or_none(ended_at),
        "cluster": of.cluster,
        "where": of.location,
        "control_topic": of.control_topic,
        "string_id": of.string_id,
        "data_source_id": of.data_source_id,
    }


def _result(database: Database, one: tuple[Any, ...], *, leads: bool) -> TrainingResult:
    of = sr.TrainingResult(*one)
    return TrainingResult(
        id=of.id,
        number=of.number,
        deployment_id=of.run_id,
        project_id=of.project_id,
        architecture_id=of.architecture_id,
        version=of.version,
        position=of.position,
        state=ResultState(of.state),
        state_at=time_text(of.state_at),
        created_at=time_text(of.created_at),
        workload_id=of.workload_id,
        reason=of.reason,
        detail=of.detail,
        train_metrics=_json(of.train_metrics_json),
        val_metrics=_json(of.val_metrics_json),
        test_metrics=_json(of.test_metrics_json),
        confusion_matrix=_json(of.confusion_matrix_json),
        training_time_s=float(of.training_time) if of.training_time else None,
        model_format=of.model_format,
        model_artifact_id=of.model_artifact_id,
        matrix_artifact_id=of.matrix_artifact_id,
        log_tail=_log_tail(database, of) if leads else None,
    )


def _json(text: str) -> Any:
    return msgspec.json.decode(text) if text else None


def _log_tail(database: Database, of: sr.TrainingResult) -> str | None:
    if of.state != ResultState.FAILED or of.workload_id is None:
        return None
    found = database.one(_LOG, of.workload_id)
    return None if found is None else bytes(found[0])[-LOG_SHOWN_BYTES:].decode(errors="replace")


_CREATED_AT, _PROJECT = (list(COLUMNS[sr.Deployment]).index(name) for name in ("created_at", "project_id"))
_OF_PROJECT = list(COLUMNS[sr.TrainingResult]).index("project_id")
