"""Records that nobody understood: what people do with them. An admin alone: they may be anybody's."""

from __future__ import annotations

import base64
from typing import get_args

import msgspec

from domain import results
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.access import find, need_admin, need_hub
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.streams.clusters import stream_of
from domain.events import EventKind
from domain.needs import Needs
from domain.states import QUARANTINE, QuarantineState, Step, follow
from domain.streams.announcements import Flaw, read
from domain.streams.training import key_of
from domain.sweeps import ForgetRecordsBefore
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND


def needs_of_replay_record(command: sc.ReplayRecord) -> Needs:
    return Needs(quarantined={command.record_id})


def replay_record(draft: Draft, command: sc.ReplayRecord) -> Decision:
    """Taken anew, as a command of its own, if it is understood now."""
    need_admin(draft.by)
    record = _waiting(draft, command)
    number = command.deployment_number
    key = record.key if number is None else key_of(number)
    said = read(record.purpose, key, record.value)
    if record.reason == "too_large":
        raise Refused(
            ProblemType.IMPOSSIBLE,
            f"record {record.id} was too large: only its beginning is here. Announce it again, in fewer bytes, or "
            "with a larger max_record_bytes",
        )
    if isinstance(said, Flaw):
        raise Refused(ProblemType.IMPOSSIBLE, f"record {record.id} cannot be understood ({said.code}): {said.detail}")
    draft.follow_up(_taking(record, key))
    _move(draft, record, Step.REPLAY)
    draft.event(stream_of(draft, record.cluster), EventKind.RECORD_REPLAYED, {"record_id": record.id})
    return draft.accept(results.RecordReplayed(id=record.id, became_id=draft.derive("follow-up")))


def _waiting(draft: Draft, command: sc.ReplayRecord) -> sr.QuarantinedRecord:
    record = find(draft, sr.QuarantinedRecord, "quarantined record", command.record_id)
    if record.state != QuarantineState.WAITING:
        raise Refused(ProblemType.NOT_NOW, f"record {record.id} is {record.state} already")
    return record


def _move(draft: Draft, record: sr.QuarantinedRecord, step: Step, **more: object) -> None:
    state = follow(QUARANTINE, QuarantineState(record.state), step)
    draft.change(record, state=state, state_at=draft.now, **more)


def _taking(record: sr.QuarantinedRecord, key: bytes | None) -> sc.TakeRecord:
    headers = msgspec.json.decode(record.headers_json, type=list[tuple[str, str | None]])
    purposes = get_args(sc.Purpose)
    return sc.TakeRecord(
        cluster=record.cluster,
        cluster_id=record.cluster_id,
        topic=record.topic,
        topic_id=record.topic_id,
        partition=record.partition,
        offset=record.log_offset,
        at=record.announced_at,
        key=key,
        value=record.value,
        purpose=purposes[purposes.index(record.purpose)],
        headers=[(name, None if value is None else base64.b64decode(value)) for name, value in headers],
    )


def needs_of_purge_records(command: sc.PurgeRecords) -> Needs:
    return Needs(quarantined=set(command.record_ids))


def purge_records(draft: Draft, command: sc.PurgeRecords) -> Decision:
    """Those that wait. What was replayed or purged before stays as it is."""
    need_admin(draft.by)
    purged: dict[str, list[str]] = {}
    for record_id in sorted(set(command.record_ids)):
        record = draft.get(sr.QuarantinedRecord, record_id)
        if record is not None and record.state == QuarantineState.WAITING:
            _move(draft, record, Step.PURGE, key=None, value=b"", headers_json="[]")
            purged.setdefault(record.cluster, []).append(record.id)
    for cluster, ids in sorted(purged.items()):
        draft.event(stream_of(draft, cluster), EventKind.RECORDS_PURGED, {"record_ids": ids})
    return draft.accept(results.RecordsPurged(purged=sorted(id for ids in purged.values() for id in ids)))


def needs_of_forget_records(_: sc.ForgetRecords) -> Needs:
    return Needs()


def forget_records(draft: Draft, _: sc.ForgetRecords) -> Decision:
    """By this decision's time, not by that of who asked for it."""
    need_hub(draft.by)
    draft.sweep(ForgetRecordsBefore(draft.now - int(draft.rules.keep_quarantine_s * SECOND)))
    return draft.accept(results.Done())
