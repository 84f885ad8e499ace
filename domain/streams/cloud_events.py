"""What happens in runs, as others hear of it over Kafka: CloudEvents 1.0 in JSON (structured mode), one a record.

An event is thin, as a webhook's is (domain/webhooks.py): ids, numbers, states and codes. What people wrote, payloads
and metrics are not in it. A record's key is the run's id, or the workload's where no run is concerned: what has one key
lies in one partition, in the order in which it happened. `id` is the same however often an event is sent.

docs/runs.events.v1.schema.json, drawn from the classes below, has the form of every type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from domain.events import EventKind
from domain.ids import Id, Uuid, derive
from domain.records import Event
from fedyard.wire.times import time_text

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
SCHEMA = "urn:fedyard:runs.events.v1"
_CODE_OR_ID = re.compile(r"[a-z][a-z0-9_.-]{0,63}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(dict[str, Any])
Code = str | UnsetType
Number = int | UnsetType


class _Data(msgspec.Struct, frozen=True, kw_only=True):
    project_id: Uuid
    run_id: Uuid | UnsetType = UNSET
    reason: Code = UNSET


class RunData(_Data, frozen=True, kw_only=True):
    """A run. number, attempt: as people count it. restart_of: the run before it."""

    number: Number = UNSET
    attempt: Number = UNSET
    state: Code = UNSET
    restart_of: Uuid | UnsetType = UNSET
    model_version: Number = UNSET


class TaskData(_Data, frozen=True, kw_only=True):
    """A task of a run. from_run: where its rounds were carried over from."""

    task: Code = UNSET
    round: Number = UNSET
    first_round: Number = UNSET
    from_run: Uuid | UnsetType = UNSET


class RoundData(_Data, frozen=True, kw_only=True):
    """A round of a task. seats, submissions: how many. by_s: how much longer it may take, in seconds."""

    task: Code = UNSET
    round: Number = UNSET
    quorum: Number = UNSET
    seats: Number = UNSET
    submissions: Number = UNSET
    model_version: Number = UNSET
    model_message_id: Uuid | UnsetType = UNSET
    by_s: float | UnsetType = UNSET


class SeatData(_Data, frozen=True, kw_only=True):
    """A site's seat in a round."""

    task: Code = UNSET
    round: Number = UNSET
    site_id: Uuid | UnsetType = UNSET


class WorkloadData(_Data, frozen=True, kw_only=True):
    """A workload, and the attempt that it is about. replicas: as wanted."""

    workload_id: Uuid | UnsetType = UNSET
    attempt: Number = UNSET
    state: Code = UNSET
    exit_code: Number = UNSET
    replicas: Number = UNSET


class ResultData(_Data, frozen=True, kw_only=True):
    """What a deployment's job gives for one architecture. number: of the result, as Kafka-ML's programs count; version:
    of the architecture."""

    result_id: Uuid | UnsetType = UNSET
    number: Number = UNSET
    architecture_id: Uuid | UnsetType = UNSET
    version: Number = UNSET


class DataSourceData(_Data, frozen=True, kw_only=True):
    """Data that were announced for a deployment. number: the deployment's."""

    data_source_id: Uuid | UnsetType = UNSET
    number: Number = UNSET


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope. source: the project's address at the hub. subject: the run, or the workload where no run is
    concerned. sequence: of the project's events; those of one subject grow with it, with gaps."""

    specversion: Literal["1.0"]
    id: Uuid
    source: str
    type: str
    subject: Uuid
    time: str
    datacontenttype: Literal["application/json"]
    dataschema: str
    sequence: str
    data: Any


_BY_SUBJECT: Mapping[str, type[_Data]] = {
    "run": RunData,
    "task": TaskData,
    "round": RoundData,
    "seat": SeatData,
    "workload": WorkloadData,
    "result": ResultData,
}
KINDS: Mapping[EventKind, type[_Data]] = {
    **{kind: data for kind in EventKind for subject, data in _BY_SUBJECT.items() if kind.startswith(f"{subject}_")},
    EventKind.RECEIPT_MISSING: SeatData,
    EventKind.DATA_ARRIVED: DataSourceData,
    EventKind.DATA_NOT_USED: DataSourceData,
}
"""What is told, and the form of its data."""


class Told(NamedTuple):
    """As it is written. key: the subject's id as ASCII text."""

    key: bytes
    value: bytes


def type_of(kind: EventKind) -> str:
    """As `fedyard.run_started.v1`."""
    return f"fedyard.{kind.value}.v1"


def id_of(event: Event) -> Id:
    """From its hash, so that after a restore another event under the same number has another one."""
    return derive(event.stream_id, "event", event.seq, event.hash)


def record_of(event: Event) -> Told | None:
    """An event of a project's stream as a record; None if it is none that is told."""
    try:
        kind = EventKind(event.kind)
    except ValueError:  # of a newer version of the hub: whoever knows it tells it
        return None
    if kind not in KINDS:
        return None
    data = _data_of(KINDS[kind], event)
    subject: object = event.run_id or getattr(data, "workload_id", None)
    if not isinstance(subject, str):
        return None
    told = CloudEvent(
        specversion="1.0",
        id=id_of(event),
        source=f"/v1/projects/{event.stream_id}",
        type=type_of(kind),
        subject=subject,
        time=time_text(event.at),
        datacontenttype="application/json",
        dataschema=f"{SCHEMA}#{kind.value}",
        sequence=f"{event.seq:020d}",
        data=data,
    )
    return Told(key=subject.encode(), value=_encoder.encode(told))


def _data_of(form: type[_Data], event: Event) -> _Data:
    facts = _decoder.decode(event.facts_json)
    said = {name: facts[name] for name in form.__struct_fields__ if _can_be_told(facts.get(name))}
    said |= {"project_id": event.stream_id}
    said |= {"run_id": event.run_id} if event.run_id else {}
    said |= {"site_id": event.site_id} if event.site_id and "site_id" in form.__struct_fields__ else {}
    try:
        return msgspec.convert(said, form)
    except msgspec.ValidationError:  # told by a newer version of the hub in another form; what is certain is told
        return form(project_id=event.stream_id, run_id=event.run_id or UNSET)


def _can_be_told(fact: object) -> bool:
    """A number, or a code (an id is one): a sentence that somebody wrote is none."""
    return isinstance(fact, int | float) or (isinstance(fact, str) and bool(_CODE_OR_ID.fullmatch(fact)))


def schema() -> dict[str, Any]:
    """JSON Schema of what lies in the topic: one of the types, each with the form of its data."""
    forms = sorted({data.__name__: data for data in KINDS.values()}.items())
    (envelope, *_), components = msgspec.json.schema_components(
        [CloudEvent, *(form for _, form in forms)], ref_template="#/$defs/{name}"
    )
    types = {
        kind.value: {
            "$anchor": kind.value,
            "allOf": [envelope],
            "properties": {
                "type": {"const": type_of(kind)},
                "dataschema": {"const": f"{SCHEMA}#{kind.value}"},
                "data": {"$ref": f"#/$defs/{data.__name__}"},
            },
        }
        for kind, data in sorted(KINDS.items())
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        "title": "runs.events.v1",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in types],
        "$defs": {**components, **types},
    }
