"""A data source that is announced once more: with all that its record said, for a deployment that can read it."""

from __future__ import annotations

import json

import msgspec
import pytest

from domain import stream_commands as sc
from domain import stream_records as sr
from domain.ids import Id, derive
from domain.rules import Rules, StreamRules
from domain.streams.training import key_of
from tests.domain.scenes import by_account, by_site
from tests.domain.streams.deployed import CLOUD, COORDINATOR, Yard

BODY = {
    "topic": "data:0:0:5",
    "unsupervised_topic": "more:0:0:9",
    "input_format": "RAW",
    "input_config": {"data_type": "float32", "label_type": "int64", "data_reshape": "4", "label_reshape": None},
    "description": "noon",
    "dataset_restrictions": {"site": ["a"]},
    "validation_rate": 0.25,
    "test_rate": 0.0,
    "total_msg": 5,
    "incremental": False,
    "of_tomorrow": {"kept": True},
}


@pytest.fixture
def yard() -> Yard:
    return Yard()


def announced(yard: Yard, run: Id, **more: object) -> sr.DataSource:
    yard.announce(run, **{**BODY, **more})  # type: ignore[arg-type]
    return yard.rows(sr.DataSource)[-1]


def sending(yard: Yard, source: sr.DataSource, number: int) -> sr.Sending:
    made = yard.ok(sc.SendDataSource(data_source_id=source.id, deployment_number=number), COORDINATOR)
    return yard.row(sr.Sending, made["id"])


def report(one: sr.Sending, **fields: object) -> sc.ReportStream:
    return sc.ReportStream(purpose="resend", about_id=one.id, attempt=1, **fields)  # type: ignore[arg-type]


def test_it_is_announced_with_all_that_its_record_said(yard: Yard) -> None:
    first, second = yard.start(), yard.start()
    source = announced(yard, first)
    one = sending(yard, source, 2)
    assert (one.state, one.topic, one.cluster, one.deployment_number) == ("sending", "CONTROL", "cloud", 2)
    prepare = yard.prepare
    assert (prepare.cluster, prepare.purpose, prepare.about_id) == ("cloud", "resend", one.id)
    (record,) = prepare.records
    assert (record.topic, record.key, record.once) == ("CONTROL", key_of(2), False)
    assert json.loads(record.value) == BODY
    assert record.value == source.body
    assert yard.deployment(second).state == "waiting"


def test_it_has_ended_with_its_delivery_report(yard: Yard) -> None:
    run = yard.start()
    yard.start()
    one = sending(yard, announced(yard, run), 2)
    yard.ok(report(one, written=[sc.Written(topic="CONTROL", partition=2, offset=7)]))
    ended = yard.row(sr.Sending, one.id)
    assert (ended.state, ended.reason, ended.partition, ended.log_offset) == ("sent", "", 2, 7)
    yard.ok(report(one, reason="not_reached"))
    assert yard.row(sr.Sending, one.id) == ended
    yard.ok(sc.ReportStream(purpose="resend", about_id=derive("nobody's"), attempt=1))


def test_a_failure_is_told_as_one(yard: Yard) -> None:
    run = yard.start()
    yard.start()
    one = sending(yard, announced(yard, run), 2)
    yard.ok(report(one, reason="not_reached", detail="_TRANSPORT: nobody there"))
    ended = yard.row(sr.Sending, one.id)
    assert (ended.state, ended.reason, ended.detail) == ("failed", "not_reached", "_TRANSPORT: nobody there")
    assert (ended.partition, ended.log_offset) == (None, None)


def test_what_comes_back_by_the_topic_trains_the_other_deployment(yard: Yard) -> None:
    first, second = yard.start(), yard.start()
    sending(yard, announced(yard, first), 2)
    (record,) = yard.prepare.records
    yard.announce(second, key=record.key, **msgspec.json.decode(record.value))
    assert yard.deployment(second).state == "preparing"
    assert yard.prepare.needs == ["data", "more"]


def test_who_may(yard: Yard) -> None:
    source = announced(yard, yard.start())
    command = sc.SendDataSource(data_source_id=source.id, deployment_number=1)
    assert yard.refused(command, by_site(1)) == (403, "forbidden")
    stranger, account = by_account("member", derive("far away"))
    yard.state.put(account)
    assert yard.refused(command, stranger) == (404, "not_found")
    nowhere = sc.SendDataSource(data_source_id=source.id, deployment_number=9)
    assert yard.refused(nowhere, COORDINATOR) == (404, "not_found")
    unknown = sc.SendDataSource(data_source_id=derive("nobody's"), deployment_number=1)
    assert yard.refused(unknown, COORDINATOR) == (404, "not_found")


def test_what_its_jobs_could_not_read_is_refused(yard: Yard) -> None:
    run = yard.start()
    source = announced(yard, run)
    command = sc.SendDataSource(data_source_id=source.id, deployment_number=1)
    for field, value in (("purpose", "data"), ("state", "withdrawn"), ("cluster", "edge")):
        before = yard.state.rows[sr.DataSource][(source.id,)]
        yard.state.put(msgspec.structs.replace(source, **{field: value}))
        assert yard.refused(command, COORDINATOR) == (422, "impossible"), field
        yard.state.put(before)
    without = Rules(streams=StreamRules(clusters=(msgspec.structs.replace(CLOUD, control_topics=()),)))
    refused = yard.decide(command, COORDINATOR, without)
    assert (refused.accepted, refused.status) == (False, 422)


def test_a_topic_that_is_read_no_more_is_left_for_the_one_that_is(yard: Yard) -> None:
    source = announced(yard, yard.start())
    rules = Rules(streams=StreamRules(clusters=(msgspec.structs.replace(CLOUD, control_topics=("NEWER", "NEWEST")),)))
    decided = yard.decide(sc.SendDataSource(data_source_id=source.id, deployment_number=1), COORDINATOR, rules)
    assert decided.accepted
    assert [one.topic for one in yard.rows(sr.Sending)] == ["NEWER"]


def test_an_ended_deployment_gets_no_more_data(yard: Yard) -> None:
    run = yard.start()
    source = announced(yard, run)
    yard.prepared(run, "topic_missing")
    command = sc.SendDataSource(data_source_id=source.id, deployment_number=1)
    assert yard.refused(command, COORDINATOR) == (409, "run_finished")


def test_a_federated_deployment_trains_at_the_edge(yard: Yard) -> None:
    source = announced(yard, yard.start())
    yard.start(federated=True)
    command = sc.SendDataSource(data_source_id=source.id, deployment_number=2)
    assert yard.refused(command, COORDINATOR) == (422, "impossible")
