"""Records that the bridge took from Kafka: each becomes exactly one row, whatever it says.

Whether anything begins with it, say those that it concerns (arrivals.py).
"""

from __future__ import annotations

import base64
from typing import Literal, TypeAlias

import msgspec

from domain import results
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.access import need_hub
from domain.decisions.draft import Decision, Draft
from domain.decisions.streams import arrivals
from domain.decisions.streams.clusters import id_of as id_of_cluster
from domain.decisions.streams.clusters import needs_of_cluster, stream_of
from domain.events import EventKind
from domain.needs import Needs
from domain.states import AnnouncementState, QuarantineState
from domain.streams.announcements import AnnouncedData, AnnouncedModel, Flaw, announced
from domain.streams.places import id_of

Became: TypeAlias = Literal["data_source", "model_announcement", "quarantined"]

MAX_WAITING_TOLD = 1000
"""Waiting records of a cluster up to which each is an event: these are kept for ever, and others say how many come."""
_WAITING = "waiting records"


def needs_of_take_record(command: sc.TakeRecord) -> Needs:
    said = announced(command)
    needs = arrivals.needs_of_arrival(command.cluster, command.purpose, said)
    needs.positions.add((command.cluster, command.topic))
    record = id_of(command)
    needs.add(Needs(data_sources={record}, announcements={record}, quarantined={record}))
    if isinstance(said, Flaw):
        needs.add(needs_of_cluster(command.cluster))
        needs.counts.add((_WAITING, id_of_cluster(command.cluster)))
    return needs


def take_record(draft: Draft, command: sc.TakeRecord) -> Decision:
    """A row of what it says, or of itself where nobody understands it."""
    need_hub(draft.by)
    if draft.envelope.id == id_of(command):  # else it is read out of quarantine, once more
        _move(draft, command, command.offset)
    known = _known(draft)
    if known is not None:
        return draft.accept(results.RecordTaken(id=draft.envelope.id, became=known), 201)
    match announced(command):
        case AnnouncedData() as said:
            source = _source(draft, command, said)
            draft.put(source)
            arrivals.data_source_arrived(draft, source)
            return draft.accept(results.RecordTaken(id=source.id, became="data_source"), 201)
        case AnnouncedModel() as said:
            model = _model(draft, command, said)
            draft.put(model)
            arrivals.model_arrived(draft, model)
            return draft.accept(results.RecordTaken(id=model.id, became="model_announcement"), 201)
        case Flaw() as flaw:
            quarantined = _quarantined(draft, command, flaw)
            draft.put(quarantined)
            facts = {
                "record_id": quarantined.id,
                "topic": command.topic,
                "partition": command.partition,
                "offset": command.offset,
                "reason": flaw.code,
            }
            _, cluster = stream = stream_of(draft, command.cluster, command.cluster_id)
            if draft.count(_WAITING, cluster) < MAX_WAITING_TOLD:
                draft.event(stream, EventKind.RECORD_QUARANTINED, facts)
            draft.add_to(_WAITING, cluster)
            return draft.accept(results.RecordTaken(id=quarantined.id, became="quarantined"), 201)


def _known(draft: Draft) -> Became | None:
    """What it has become already: a group that was set back reads it long after its outcome was forgotten."""
    key = draft.envelope.id
    if draft.get(sr.DataSource, key) is not None:
        return "data_source"
    if draft.get(sr.ModelAnnouncement, key) is not None:
        return "model_announcement"
    return None if draft.get(sr.QuarantinedRecord, key) is None else "quarantined"


def needs_of_report_gap(command: sc.ReportGap) -> Needs:
    needs = needs_of_cluster(command.cluster)
    needs.positions.add((command.cluster, command.topic))
    return needs


def report_gap(draft: Draft, command: sc.ReportGap) -> Decision:
    """An event says how many are gone; None where nobody knows."""
    need_hub(draft.by)
    shorter = command.start == command.end
    _move(draft, command, -1 if shorter else command.end - 1, anew=shorter)
    facts = {
        "topic": command.topic,
        "partition": command.partition,
        "start": command.start,
        "end": command.end,
        "gone": None if shorter else command.end - command.start,
    }
    draft.event(stream_of(draft, command.cluster, command.cluster_id), EventKind.RECORDS_GONE, facts)
    return draft.accept(results.Done())


def _move(draft: Draft, command: sc.TakeRecord | sc.ReportGap, offset: int, *, anew: bool = False) -> None:
    """How far the partition is decided: it goes back only where the topic is another one, or its log has shrunk."""
    known = draft.get(sr.StreamPosition, command.cluster, command.topic, command.partition)
    if known is None or anew or known.topic_id != command.topic_id or offset > known.decided_offset:
        draft.put(
            sr.StreamPosition(
                cluster=command.cluster,
                topic=command.topic,
                partition=command.partition,
                topic_id=command.topic_id,
                decided_offset=offset,
                decided_at=draft.now,
            )
        )


def _source(draft: Draft, command: sc.TakeRecord, said: AnnouncedData) -> sr.DataSource:
    return sr.DataSource(
        id=draft.envelope.id,
        cluster=command.cluster,
        topic=command.topic,
        partition=command.partition,
        log_offset=command.offset,
        purpose=command.purpose,
        announced_at=min(command.at, draft.now),
        taken_at=draft.now,
        body=command.value,
        state=AnnouncementState.LIVE,
        state_at=draft.now,
        **msgspec.structs.asdict(said),
    )


def _model(draft: Draft, command: sc.TakeRecord, said: AnnouncedModel) -> sr.ModelAnnouncement:
    return sr.ModelAnnouncement(
        id=draft.envelope.id,
        cluster=command.cluster,
        topic=command.topic,
        partition=command.partition,
        log_offset=command.offset,
        announced_at=min(command.at, draft.now),
        taken_at=draft.now,
        body=command.value,
        state=AnnouncementState.LIVE,
        state_at=draft.now,
        **msgspec.structs.asdict(said),
    )


def _quarantined(draft: Draft, command: sc.TakeRecord, flaw: Flaw) -> sr.QuarantinedRecord:
    headers = [(name, None if value is None else base64.b64encode(value).decode()) for name, value in command.headers]
    return sr.QuarantinedRecord(
        id=draft.envelope.id,
        cluster=command.cluster,
        cluster_id=command.cluster_id,
        topic=command.topic,
        topic_id=command.topic_id,
        partition=command.partition,
        log_offset=command.offset,
        purpose=command.purpose,
        announced_at=min(command.at, draft.now),
        taken_at=draft.now,
        key=command.key,
        value=command.value,
        headers_json=msgspec.json.encode(headers).decode(),
        reason=flaw.code,
        detail=flaw.detail,
        state=QuarantineState.WAITING,
        state_at=draft.now,
    )
