"""A record of Kafka becomes exactly one row, and what people do with it afterwards."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.codec import THE_HUB, envelope_of
from domain.decide import decide
from domain.decisions.draft import Decision, State
from domain.decisions.streams.clusters import id_of
from domain.rules import Rules
from domain.streams.places import id_of as id_of_record
from domain.sweeps import ForgetRecordsBefore
from domain.values import Subject
from tests.domain.scenes import CAUSE, NOW, SECOND, refusal, row
from tests.domain.scenes import written as of_kind
from tests.domain.streams.test_announcements import DATA, MODEL

ADMIN = Subject(kind="account", id="00000000-0000-4000-8000-0000000000f0", role="admin")


def taking(value: dict[str, Any] | bytes, purpose: str = "control", **fields: Any) -> sc.TakeRecord:
    said = {
        "cluster": "cloud",
        "cluster_id": "k",
        "topic": "CONTROL",
        "topic_id": "t",
        "partition": 2,
        "offset": 7,
        "at": 5,
        "key": b"\x01\x2c",
        "value": value if isinstance(value, bytes) else msgspec.json.encode(value),
        "purpose": purpose,
        "headers": [("h", b"v"), ("none", None)],
    }
    return sc.TakeRecord(**said | fields)  # type: ignore[arg-type]


RECORD = id_of_record(taking(b"", topic_id="t"))
"""Of whatever is taken from that place."""


def decide_on(
    rows: list[Any], command: Any, *, by: Subject = THE_HUB, rules: Rules | None = None, **state: Any
) -> Decision:
    """A record under its own id, anything else under any."""
    ident = id_of_record(command) if isinstance(command, sc.TakeRecord) else CAUSE
    return decide(State(rows, **state), envelope_of(command, id=ident, by=by, at=NOW), NOW, rules or Rules())


def test_data_for_a_deployment() -> None:
    decision = decide_on([], taking(DATA | {"of_tomorrow": 1}), by=THE_HUB)
    (source,) = of_kind(decision, sr.DataSource)
    assert source == sr.DataSource(
        id=RECORD,
        cluster="cloud",
        topic="CONTROL",
        partition=2,
        log_offset=7,
        purpose="control",
        deployment_number=300,
        data_topic="automl:0:0:70000",
        unsupervised_topic=None,
        input_format="RAW",
        input_config_json='{"data_reshape":"28 28","data_type":"uint8","label_reshape":"","label_type":"uint8"}',
        description="digits",
        restrictions_json="{}",
        shape="28 28",
        validation_rate=0.2,
        test_rate=0.1,
        total_msg=70_000,
        incremental=False,
        announced_at=5,
        taken_at=NOW,
        body=msgspec.json.encode(DATA | {"of_tomorrow": 1}),
        state="live",
        state_at=NOW,
    )
    assert not of_kind(decision, r.Event)


@pytest.mark.parametrize(
    ("purpose", "value", "became"),
    [
        ("control", DATA, sr.DataSource),
        ("data", DATA, sr.DataSource),
        ("model", MODEL, sr.ModelAnnouncement),
        ("control", MODEL, sr.QuarantinedRecord),
        ("model", DATA, sr.QuarantinedRecord),
        ("data", b"?", sr.QuarantinedRecord),
        ("data", b"", sr.QuarantinedRecord),
    ],
)
def test_every_record_becomes_one_row(purpose: str, value: Any, became: type[r.Record]) -> None:
    decision = decide_on([], taking(value, purpose), by=THE_HUB)
    rows = [
        each
        for each in decision.records
        if isinstance(each, (sr.DataSource, sr.ModelAnnouncement, sr.QuarantinedRecord))
    ]
    assert [type(each) for each in rows] == [became]
    assert rows[0].id == RECORD
    (position,) = of_kind(decision, sr.StreamPosition)
    assert (position.topic_id, position.decided_offset) == ("t", 7)


def test_of_many_that_nobody_understands_no_more_events_are_made() -> None:
    """They are kept, and counted; events would be kept for ever."""
    for waiting, events in ((999, 1), (1000, 0)):
        decision = decide_on([], taking(b"?"), counts={("waiting records", id_of("cloud")): waiting})
        assert len(of_kind(decision, sr.QuarantinedRecord)) == 1
        assert len(of_kind(decision, r.Event)) == events


@pytest.mark.parametrize(("purpose", "value"), [("data", DATA), ("model", MODEL), ("data", b"?")])
def test_nothing_was_announced_in_the_future(purpose: str, value: Any) -> None:
    """Whoever writes says when: what is said for next year would be the newest of its kind until then."""
    decision = decide_on([], taking(value, purpose, at=NOW + 1), by=THE_HUB)
    kinds = (sr.DataSource, sr.ModelAnnouncement, sr.QuarantinedRecord)
    assert [one.announced_at for one in decision.records if isinstance(one, kinds)] == [NOW]


def test_what_nobody_understands_is_kept_as_it_came_and_an_event() -> None:
    decision = decide_on([], taking(b"\xff?"), by=THE_HUB)
    (record,) = of_kind(decision, sr.QuarantinedRecord)
    assert (record.key, record.value, record.headers_json) == (b"\x01\x2c", b"\xff?", '[["h","dg=="],["none",null]]')
    assert (record.reason, record.state, record.cluster_id, record.topic_id) == ("not_json", "waiting", "k", "t")
    (event,) = of_kind(decision, r.Event)
    assert (event.stream_id, event.kind) == (id_of("cloud"), "record_quarantined")
    assert msgspec.json.decode(event.facts_json) == {
        "record_id": RECORD,
        "topic": "CONTROL",
        "partition": 2,
        "offset": 7,
        "reason": "not_json",
    }


def test_the_bridge_may_say_that_it_took_only_a_beginning() -> None:
    (record,) = of_kind(decide_on([], taking(DATA, flaw="too_large"), by=THE_HUB), sr.QuarantinedRecord)
    assert record.reason == "too_large"


@pytest.mark.parametrize(
    ("known", "offset", "topic_id", "moves_to"),
    [(3, 7, "t", 7), (9, 7, "t", None), (9, 7, "made anew", 7), (7, 7, "t", None)],
)
def test_how_far_a_partition_is_decided(known: int, offset: int, topic_id: str, moves_to: int | None) -> None:
    place = {"cluster": "cloud", "topic": "CONTROL", "partition": 2}
    before = row(sr.StreamPosition, **place, topic_id="t", decided_offset=known)
    decision = decide_on([before], taking(DATA, offset=offset, topic_id=topic_id), by=THE_HUB)
    assert [each.decided_offset for each in of_kind(decision, sr.StreamPosition)] == (
        [] if moves_to is None else [moves_to]
    )


@pytest.mark.parametrize(("start", "end", "gone", "at"), [(3, 10, 7, 9), (12, 12, None, -1)])
def test_what_was_gone_is_an_event(start: int, end: int, gone: int | None, at: int) -> None:
    command = sc.ReportGap("cloud", "k", "CONTROL", "t", 2, start, end)
    before = row(sr.StreamPosition, cluster="cloud", topic="CONTROL", partition=2, topic_id="t", decided_offset=2)
    decision = decide_on([before], command, by=THE_HUB)
    (event,) = of_kind(decision, r.Event)
    assert msgspec.json.decode(event.facts_json)["gone"] == gone
    assert of_kind(decision, sr.StreamPosition)[0].decided_offset == at


def waiting(**fields: Any) -> sr.QuarantinedRecord:
    said = {
        "id": CAUSE,
        "cluster": "cloud",
        "topic": "CONTROL",
        "purpose": "control",
        "value": msgspec.json.encode(DATA),
        "headers_json": '[["h","dg=="],["none",null]]',
        "reason": "no_key",
        "state": "waiting",
    }
    return row(sr.QuarantinedRecord, **said | fields)


def test_a_replayed_record_is_taken_once_more() -> None:
    decision = decide_on([waiting()], sc.ReplayRecord(CAUSE, 300), by=THE_HUB)
    (follow_up,) = decision.follow_ups
    assert follow_up.command == taking(DATA, cluster_id="", topic_id="", partition=0, offset=0, at=0)
    assert decision.answer.became_id == follow_up.id  # type: ignore[union-attr]
    assert of_kind(decision, sr.QuarantinedRecord)[0].state == "replayed"


@pytest.mark.parametrize(
    ("record", "number", "problem"),
    [
        (waiting(), None, "impossible"),
        (waiting(value=b"?"), 1, "impossible"),
        (waiting(reason="too_large"), 1, "impossible"),
        (waiting(state="purged"), 1, "not_now"),
    ],
)
def test_what_cannot_be_replayed(record: sr.QuarantinedRecord, number: int | None, problem: str) -> None:
    decision = decide_on([record], sc.ReplayRecord(CAUSE, number), by=THE_HUB)
    assert refusal(decision)[1] == problem


def test_what_is_read_out_of_quarantine_moves_no_position() -> None:
    taken = decide(State(), envelope_of(taking(DATA), id=CAUSE, by=THE_HUB, at=NOW), NOW, Rules())
    assert [type(each) for each in taken.records] == [sr.DataSource]


def test_purged_records_hold_nothing_any_more() -> None:
    decision = decide_on([waiting()], sc.PurgeRecords([CAUSE]), by=THE_HUB)
    (record,) = of_kind(decision, sr.QuarantinedRecord)
    assert (record.state, record.key, record.value, record.headers_json) == ("purged", None, b"", "[]")


def test_old_records_go() -> None:
    decision = decide_on([], sc.ForgetRecords(), by=THE_HUB, rules=Rules(keep_quarantine_s=100))
    assert decision.sweeps == (ForgetRecordsBefore(NOW - 100 * SECOND),)


@pytest.mark.parametrize(
    "command",
    [sc.ReplayRecord(CAUSE), sc.PurgeRecords([CAUSE]), sc.WithdrawDataSource(CAUSE), taking(DATA), sc.ForgetRecords()],
)
def test_nobody_else_may(command: Any) -> None:
    site = row(r.Site, id="00000000-0000-4000-8000-0000000000f1")
    decision = decide_on([waiting(), site], command, by=Subject(kind="site", id=site.id))
    assert (decision.accepted, decision.status) == (False, 403)


def test_data_are_withdrawn_once() -> None:
    source = row(sr.DataSource, id=CAUSE, cluster="cloud", state="live")
    decision = decide_on([source], sc.WithdrawDataSource(CAUSE, "a mistake"), by=THE_HUB)
    assert of_kind(decision, sr.DataSource)[0].state == "withdrawn"
    assert msgspec.json.decode(of_kind(decision, r.Event)[0].facts_json) == {
        "data_source_id": CAUSE,
        "reason": "a mistake",
    }
    again = decide_on([row(sr.DataSource, id=CAUSE, state="withdrawn")], sc.WithdrawDataSource(CAUSE), by=THE_HUB)
    assert (again.accepted, again.records) == (True, ())
    ended = decide_on([row(sr.DataSource, id=CAUSE, state="expired")], sc.WithdrawDataSource(CAUSE), by=THE_HUB)
    assert not ended.accepted


@pytest.mark.parametrize(
    ("known", "became"),
    [
        (row(sr.DataSource, id=RECORD, state="withdrawn"), "data_source"),
        (row(sr.ModelAnnouncement, id=RECORD), "model_announcement"),
        (row(sr.QuarantinedRecord, id=RECORD, state="purged"), "quarantined"),
    ],
)
def test_a_record_that_is_known_changes_nothing_whatever_was_forgotten(known: r.Record, became: str) -> None:
    decision = decide_on([known], taking(DATA))
    assert decision.answer.became == became  # type: ignore[union-attr]
    assert [type(each) for each in decision.records] == [sr.StreamPosition]
    assert decision.follow_ups == ()


def test_an_id_tells_every_record_from_every_other_one() -> None:
    others = [
        taking(DATA),
        taking(DATA, cluster_id="other"),
        taking(DATA, topic="OTHER"),
        taking(DATA, topic_id="other"),
        taking(DATA, partition=3),
        taking(DATA, offset=8),
        taking(DATA, topic_id=""),
        taking(DATA, topic_id="", at=6),
        taking(DATA, topic_id="", key=b"\x01"),
        taking(MODEL, topic_id=""),
    ]
    assert len({id_of_record(one) for one in others}) == len(others)
    same = [taking(MODEL), taking(DATA, at=6), taking(DATA, key=None), taking(DATA, cluster="named otherwise")]
    assert {id_of_record(one) for one in same} == {id_of_record(taking(DATA))}
