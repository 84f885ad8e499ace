"""What is told of runs over Kafka: thin, in one form, and none of it what people wrote."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest

from domain.events import EventKind
from domain.ids import derive
from domain.records import Event
from domain.streams.cloud_events import KINDS, SCHEMA, id_of, record_of, schema, type_of
from tests.schemas import PAGE, drawn

PROJECT, RUN, SITE, WORKLOAD = (derive(name) for name in ("project", "run", "site", "workload"))
VALID = jsonschema.Draft202012Validator(schema())


def event(kind: str, facts: dict[str, Any] | None = None, **fields: Any) -> Event:
    return Event(
        **{
            "stream_id": PROJECT,
            "seq": 7,
            "kind": kind,
            "at": 1_800_000_000_000_000,
            "command_id": derive("command"),
            "subject_kind": "account",
            "subject_id": derive("account"),
            "run_id": RUN,
            "site_id": None,
            "facts_json": json.dumps(facts or {}),
            "hash": "00" * 32,
        }
        | fields
    )


def told(one: Event) -> dict[str, Any]:
    record = record_of(one)
    assert record is not None
    said: dict[str, Any] = msgspec.json.decode(record.value)
    VALID.validate(said)
    return said


def test_an_event_is_a_cloud_event_under_its_runs_key() -> None:
    one = event("seat_trained", {"task": "train", "round": 2, "seconds": 7}, site_id=SITE)
    record = record_of(one)
    assert record is not None
    assert record.key == RUN.encode()
    assert told(one) == {
        "specversion": "1.0",
        "id": id_of(one),
        "source": f"/v1/projects/{PROJECT}",
        "type": "fedyard.seat_trained.v1",
        "subject": RUN,
        "time": "2027-01-15T08:00:00.000000Z",
        "datacontenttype": "application/json",
        "dataschema": f"{SCHEMA}#seat_trained",
        "sequence": "00000000000000000007",
        "data": {"project_id": PROJECT, "run_id": RUN, "site_id": SITE, "task": "train", "round": 2},
    }


def test_a_workload_without_a_run_is_its_own_subject() -> None:
    one = event("workload_failed", {"workload_id": WORKLOAD, "attempt": 2, "exit_code": 1}, run_id=None)
    said = told(one)
    assert said["subject"] == WORKLOAD
    assert said["data"] == {"project_id": PROJECT, "workload_id": WORKLOAD, "attempt": 2, "exit_code": 1}
    assert record_of(event("workload_failed", run_id=None)) is None


def test_what_people_wrote_is_not_told() -> None:
    facts = {"reason": "The patient is Ann", "detail": "x", "name": "y", "note": "z", "metrics": {"loss": 1.0}}
    for kind in KINDS:
        assert set(told(event(kind, facts))["data"]) == {"project_id", "run_id"}
    assert told(event("run_failed", {"reason": "too_few"}))["data"]["reason"] == "too_few"


def test_a_fact_in_another_form_holds_up_nothing() -> None:
    assert told(event("run_started", {"number": "seven", "attempt": 1}))["data"] == {
        "project_id": PROJECT,
        "run_id": RUN,
    }


def test_what_concerns_no_run_and_what_a_newer_hub_says_is_not_told() -> None:
    assert record_of(event("project_updated", run_id=None)) is None
    assert record_of(event("run_turned_inside_out")) is None


def test_another_event_under_the_same_number_has_another_id() -> None:
    assert id_of(event("run_started")) == id_of(event("run_started"))
    assert id_of(event("run_started")) != id_of(event("run_started", hash="11" * 32))


def test_every_event_of_runs_tasks_rounds_seats_and_workloads_is_told() -> None:
    subjects = ("run_", "task_", "round_", "seat_", "workload_", "result_")
    more = {EventKind.RECEIPT_MISSING, EventKind.DATA_ARRIVED, EventKind.DATA_NOT_USED}
    assert {kind for kind in EventKind if kind.startswith(subjects)} | more == set(KINDS)


def test_what_a_deployment_gives_and_gets_is_told_by_numbers() -> None:
    said = told(event("result_finished", {"result_id": WORKLOAD, "number": 7, "version": 2, "architecture_id": SITE}))
    assert said["data"]["number"] == 7
    assert said["data"]["architecture_id"] == SITE
    arrived = told(event("data_not_used", {"data_source_id": SITE, "number": 3, "why": "it has its data already"}))
    assert arrived["data"] == {"project_id": PROJECT, "run_id": RUN, "data_source_id": SITE, "number": 3}


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_has_its_schema(kind: EventKind) -> None:
    said = told(event(kind, {"workload_id": WORKLOAD}))
    assert said["type"] == type_of(kind)
    for flaw in ({"type": "fedyard.other.v1"}, {"data": {"run_id": RUN}}, {"subject": 7}, {"dataschema": SCHEMA}):
        assert not VALID.is_valid(said | flaw)


def test_the_schema_in_the_docs_is_drawn_from_the_code() -> None:
    assert PAGE.read_text() == drawn(), "python -m tests.schemas writes it anew"
