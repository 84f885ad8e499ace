"""Federated models that were announced, and what has become of them: which data fit, which do not, and why.

Whoever coordinates the run of a model sees what was found for it. Of data that do not fit he is told what his own model
asks for; what they are like, admins and auditors alone.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from domain import stream_records as sr
from domain.ids import Id, Uuid
from domain.states import AnnouncementState, MatchState, RunState, WorkloadState
from domain.streams.matching import (
    Misfit,
    case_of,
    misfits,
    misfits_of_model,
    newest_model,
    sentence,
    sentence_of_model,
    shape_of_data,
)
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database
from storage.tables import COLUMNS, select
from storage.views.resources import Resource, Time
from storage.views.runs import sees_whole
from storage.views.sight import Clause, Cursor, Listed, Paging, own, page, row, rows, sees_everything


class ModelAnnouncement(Resource, frozen=True):
    """A federated model that was announced. restrictions: JSON. case: of its workers, Kafka-ML's number. run_id: of the
    run that it belongs to; null: none. matches: data that it was matched with, workers: those of them that have a
    worker that goes on. why: what keeps it from being matched at all; empty: nothing."""

    id: Uuid
    cluster: str
    topic: str
    partition: int
    offset: int
    string_id: str
    input_shape: str
    output_shape: str
    restrictions: str
    min_data: int
    framework: str
    distributed: bool
    incremental: bool
    case: int
    state: AnnouncementState
    run_id: Uuid | None
    matches: int
    workers: int
    why: str
    announced_at: Time
    taken_at: Time


class Unfit(Resource, frozen=True):
    """One thing that does not fit: a code, and a sentence."""

    code: Misfit
    detail: str


class Match(Resource, frozen=True):
    """A run's model and data. id, state, reason, detail, client_id, workload_id and workload_state: of what has come of
    the pair; null or empty: it was never matched. misfits: of data that do not fit as they are now. cluster: of the
    data, in Kafka; data_topic, total_msg: null where the caller may not know.
    """

    source_id: Uuid
    source_state: AnnouncementState
    cluster: str
    data_topic: str | None
    total_msg: int | None
    misfits: list[Unfit]
    id: Uuid | None = None
    state: MatchState | None = None
    reason: str = ""
    detail: str = ""
    client_id: str = ""
    workload_id: Uuid | None = None
    workload_state: WorkloadState | None = None
    since: Time | None = None


_COUNTED = (
    ", (SELECT count(*) FROM matches WHERE matches.string_id = model_announcements.string_id"
    " AND matches.cluster = model_announcements.cluster)"
    ", (SELECT count(*) FROM matches JOIN workloads ON workloads.id = matches.workload_id"
    " WHERE matches.string_id = model_announcements.string_id AND matches.cluster = model_announcements.cluster"
    " AND workloads.state IN ('wanted', 'starting', 'running'))"
    ", runs.state"
)
_NAMED = ", ".join(f"model_announcements.{name}" for name in COLUMNS[sr.ModelAnnouncement])
_ANNOUNCED = (
    f"SELECT {_NAMED}{_COUNTED} FROM model_announcements LEFT JOIN runs ON runs.id = model_announcements.run_id"
)
_SOURCES = select(sr.DataSource)
_MODEL_WIDTH = len(COLUMNS[sr.ModelAnnouncement])
_OWN_SIDE = {
    Misfit.SHAPE: "the data's shape is another one than {shape!r}",
    Misfit.RESTRICTIONS: "the data's restrictions are not those of the model, {restriction}",
}
"""What is said of it to who may not know what the data are like."""


def announcements(
    database: Database, subject: Subject, paging: Paging, images: Collection[str], *, state: str | None
) -> Listed[ModelAnnouncement]:
    """Oldest first: admins and auditors see all, others those of runs that they coordinate."""
    where = []
    if not sees_everything(subject):
        where.append(own("runs.coordinator_site_id", subject))
    if state is not None:
        where.append(Clause("model_announcements.state = %s", (state,)))
    return page(
        database,
        _ANNOUNCED,
        where,
        paging,
        lambda one: _announcement(one, images),
        order=("model_announcements.taken_at", "model_announcements.id"),
        cursor_of=lambda one: Cursor(sr.ModelAnnouncement(*one[:_MODEL_WIDTH]).taken_at, one[0]),
    )


def of_run(
    database: Database, subject: Subject, run: Id, paging: Paging, images: Collection[str]
) -> Listed[Match] | None:
    """All data that are announced or were matched, oldest first, as they fit the run's model; none for a run without
    one. None where the subject may not see all of the run."""
    state = row(database, "SELECT state FROM runs", [Clause("id = %s", (run,))])
    if state is None or not sees_whole(database, subject, run):
        return None
    model = model_of(database, run)
    if model is None:
        return Listed(items=[], next=None)
    found_for = [
        (sr.Match(*one[:-1]), one[-1]) for one in rows(database, _MATCHED, [Clause("matches.run_id = %s", (run,))])
    ]
    matched: dict[Id, tuple[sr.Match | None, str | None]] = {
        each.stream_id: (each, worker) for each, worker in found_for
    }
    known = [Clause("purpose = 'data'"), Clause(_CONCERNED, (run,))]
    everything = sees_everything(subject)

    def shown(one: tuple[object, ...]) -> Match:
        source = sr.DataSource(*one)  # type: ignore[arg-type]
        found = misfits(model, source, RunState(state[0]), images)
        match, workload_state = matched.get(source.stream_id or "", (None, None))
        open_to = everything or match is not None
        said = [Unfit(code=each, detail=_said(each, model, source, whole=open_to)) for each in found]
        return _match(source, said, match, workload_state, whole=open_to)

    return page(
        database,
        _SOURCES,
        known,
        paging,
        shown,
        order=("taken_at", "id"),
        cursor_of=lambda one: Cursor(sr.DataSource(*one).taken_at, one[0]),
    )


def model_of(database: Database, run: Id) -> sr.ModelAnnouncement | None:
    """The newest announcement of a run's model, a live one if there is any. For who may see the run."""
    found = rows(database, select(sr.ModelAnnouncement), [Clause("run_id = %s", (run,))])
    models = [sr.ModelAnnouncement(*one) for one in found]
    return newest_model([each for each in models if each.state == AnnouncementState.LIVE] or models) if models else None


def count_working(database: Database, run: Id) -> int:
    """Workers of a federated run that go on. For who may see the run."""
    with database.connection():
        found = database.one(
            "SELECT count(*) FROM matches JOIN workloads ON workloads.id = matches.workload_id"
            " WHERE matches.run_id = %s AND workloads.state IN ('wanted', 'starting', 'running')",
            run,
        )
    return 0 if found is None else int(found[0])


_MATCHED = (
    f"SELECT {', '.join(f'matches.{name}' for name in COLUMNS[sr.Match])}, workloads.state FROM matches"
    " LEFT JOIN workloads ON workloads.id = matches.workload_id"
)
_CONCERNED = (
    "(state = 'live' OR id IN (SELECT source_id FROM matches WHERE run_id = %s AND NOT EXISTS"
    " (SELECT 1 FROM data_sources again WHERE again.stream_id = matches.stream_id AND again.state = 'live')))"
)
"""Live ones, and of those that have become a match the last word."""


def _said(misfit: Misfit, model: sr.ModelAnnouncement, source: sr.DataSource, *, whole: bool) -> str:
    if whole or misfit not in _OWN_SIDE:
        return sentence(misfit, model, source)
    return _OWN_SIDE[misfit].format(shape=shape_of_data(model), restriction=model.restriction_json)


def _match(
    source: sr.DataSource, found: list[Unfit], match: sr.Match | None, workload_state: str | None, *, whole: bool
) -> Match:
    said = Match(
        source_id=source.id,
        source_state=AnnouncementState(source.state),
        cluster=source.cluster,
        data_topic=source.data_topic if whole else None,
        total_msg=source.total_msg if whole else None,
        misfits=found,
    )
    if match is None:
        return said
    return msgspec.structs.replace(
        said,
        id=match.id,
        state=MatchState(match.state),
        reason=match.reason,
        detail=match.detail,
        client_id=match.client_id,
        workload_id=match.workload_id,
        workload_state=None if workload_state is None else WorkloadState(workload_state),
        since=time_text(match.state_at),
    )


def _announcement(one: tuple[object, ...], images: Collection[str]) -> ModelAnnouncement:
    model = sr.ModelAnnouncement(*one[:_MODEL_WIDTH])  # type: ignore[arg-type]
    matches, workers, run = one[_MODEL_WIDTH:]
    return ModelAnnouncement(
        id=model.id,
        cluster=model.cluster,
        topic=model.topic,
        partition=model.partition,
        offset=model.log_offset,
        string_id=model.string_id,
        input_shape=model.input_shape,
        output_shape=model.output_shape,
        restrictions=model.restriction_json,
        min_data=model.min_data,
        framework=model.framework,
        distributed=bool(model.distributed),
        incremental=bool(model.incremental),
        case=case_of(model),
        state=AnnouncementState(model.state),
        run_id=model.run_id,
        matches=int(str(matches)),
        workers=int(str(workers)),
        why=_why(model, None if run is None else RunState(str(run)), images),
        announced_at=time_text(model.announced_at),
        taken_at=time_text(model.taken_at),
    )


def _why(model: sr.ModelAnnouncement, run: RunState | None, images: Collection[str]) -> str:
    """What is so whatever the data are."""
    return "; ".join(sentence_of_model(each, model) for each in misfits_of_model(model, run, images))
