"""What the door of Kafka-ML's containers shows: whose attempt it is, what a result is made of, and what it gave."""

from __future__ import annotations

from typing import NamedTuple

from domain import records as r
from domain.ids import Id
from domain.streams.door import numbers_in
from domain.streams.training import INFERENCE, TRAINING
from domain.values import Subject
from domain.workloads import is_open, spec_of
from storage.database import Database
from storage.tables import COLUMNS
from storage.views.sight import Clause, row

_WIDTH = len(COLUMNS[r.Workload])
_BOTH = ", ".join(
    [f"workloads.{name}" for name in COLUMNS[r.Workload]] + [f"attempts.{name}" for name in COLUMNS[r.WorkloadAttempt]]
)
_AT_DOOR = (
    f"SELECT {_BOTH}, sites.id, sites.organisation_id FROM workloads JOIN workload_attempts AS attempts"
    " ON attempts.workload_id = workloads.id AND attempts.attempt = workloads.attempt"
    " JOIN projects ON projects.id = workloads.project_id JOIN sites ON sites.id = projects.coordinator_site_id"
)
_OF_RESULT = (
    "SELECT results.project_id, results.state, results.model_format, results.model_artifact_id, versions.framework,"
    " versions.code, results.architecture_id, results.version, model_files.artifact_id"
    " FROM training_results AS results"
    " JOIN architecture_versions AS versions"
    " ON versions.architecture_id = results.architecture_id AND versions.version = results.version"
    " LEFT JOIN model_files"
    " ON model_files.architecture_id = results.architecture_id AND model_files.version = results.version"
)


class AtDoor(NamedTuple):
    """An attempt that may come in. subject: in whose name. numbers: of the results that it was told of."""

    workload_id: Id
    attempt: int
    project_id: Id
    subject: Subject
    purpose: str
    numbers: frozenset[int]


class OfResult(NamedTuple):
    """What it is trained from (of TensorFlow a file), and what was given for it."""

    project_id: Id
    state: str
    model_format: str
    model_artifact_id: Id | None
    framework: str
    code: str
    architecture_id: Id
    version: int
    file_artifact_id: Id | None


def at_door(database: Database, ident: Id) -> AtDoor | None:
    """The newest attempt at what is for streams, while it may run."""
    found = row(database, _AT_DOOR, [Clause("workloads.id = %s AND workloads.purpose <> ''", (ident,))])
    if found is None:
        return None
    of, newest = r.Workload(*found[:_WIDTH]), r.WorkloadAttempt(*found[_WIDTH:-2])
    if of.purpose not in (TRAINING, INFERENCE) or of.stop_at is not None or not is_open(newest):
        return None
    subject = Subject(kind="site", id=found[-2], organisation_id=found[-1])
    return AtDoor(of.id, newest.attempt, of.project_id, subject, of.purpose, numbers_in(spec_of(of).environment))


def of_result(database: Database, number: int) -> OfResult | None:
    found = row(database, _OF_RESULT, [Clause("results.number = %s", (number,))])
    return None if found is None else OfResult(*found)
