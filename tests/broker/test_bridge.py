"""The bridge: nothing is lost, nothing is committed before it is safe, and what comes twice is the same command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from broker.bridge import READ_AGAIN, Bridge, MadeAnew
from broker.embedded_reading import EmbeddedGroup, EmbeddedReader
from broker.kafka_reading import KafkaReader
from broker.kafka_writing import KafkaTopics
from broker.port import BrokerUnavailable, Sending, Sent
from broker.reading import Committed, Place
from broker.streams import EmbeddedTopics, NotAccepted, Unreachable
from config.clock import SystemClock
from config.streams import Cluster
from devservers.kafka import PrivateKafka, PrivateNoida, PrivateTansu
from domain import stream_commands as sc
from domain.commands import Envelope
from domain.ids import derive
from tests.broker import raw
from tests.domain.streams.test_announcements import DATA
from tests.waiting import until

CONTROL = Place("control", 0)
WITHIN_S = 20.0


@dataclass
class Kept:
    """A publisher that keeps what it is sent; `away` says that it is."""

    envelopes: list[Envelope] = field(default_factory=list)
    away: bool = False

    def send(self, envelopes: Sequence[Envelope]) -> None:
        if self.away:
            raise BrokerUnavailable("RabbitMQ is away")
        self.envelopes += envelopes

    def begin(self, envelopes: Sequence[Envelope], failed: Callable[[], None]) -> Sending:
        self.send(envelopes)
        return Sent()

    def ready(self) -> str | None:
        return None

    def close(self) -> None:
        """Nothing to let go of."""

    @property
    def records(self) -> list[sc.TakeRecord]:
        return [one.command for one in self.envelopes if isinstance(one.command, sc.TakeRecord)]

    @property
    def gaps(self) -> list[sc.ReportGap]:
        return [one.command for one in self.envelopes if isinstance(one.command, sc.ReportGap)]

    @property
    def taken(self) -> list[str]:
        """The ids of the commands that take records."""
        return [one.id for one in self.envelopes if isinstance(one.command, sc.TakeRecord)]

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.envelopes]


class World:
    """A cluster in memory with a control topic, and bridges of one group."""

    def __init__(self, **fields: Any) -> None:
        self.topics = EmbeddedTopics()
        self.group = EmbeddedGroup(self.topics)
        self.cluster = Cluster("here", control_topics=["control"], **fields)
        self.publisher = Kept()
        self.topics.create([sc.NewTopic("control"), sc.NewTopic("dead")])

    def announce(self, *values: bytes | None) -> None:
        self.topics.write([sc.NewRecord("control", b"\x07", value or b"") for value in values])

    def bridge(self, **more: Any) -> Bridge:
        reader = EmbeddedReader(self.group)
        bridge = Bridge("cloud", self.cluster, reader, self.publisher, SystemClock(), self.topics, **more)
        bridge.subscribe()
        bridge.turn(0)
        return bridge

    @property
    def committed(self) -> int | None:
        there = self.group.offsets.get(CONTROL)
        return None if there is None else there.offset


def commit(bridge: Bridge) -> None:
    bridge._commit(wait=True)


def test_a_record_is_a_command_whose_id_says_where_it_lay() -> None:
    world = World()
    world.announce(b"{}")
    bridge = world.bridge()
    bridge.turn(0)
    assert bridge.publish(0)
    (envelope,) = world.publisher.envelopes
    assert envelope.id == derive("embedded", "control", "control-0", 0, 0)
    assert envelope.by.kind == "hub"
    assert envelope.command == sc.TakeRecord(
        "cloud", "embedded", "control", "control-0", 0, 0, 0, b"\x07", b"{}", "control"
    )


def test_nothing_is_committed_before_the_confirm() -> None:
    world = World()
    world.announce(b"a", b"b")
    world.publisher.away = True
    bridge = world.bridge()
    bridge.turn(0)
    assert not bridge.publish(0)
    commit(bridge)
    assert world.committed is None
    world.publisher.away = False
    assert bridge.publish(0)
    commit(bridge)
    assert world.committed == 2


def test_the_highest_contiguous_offset_is_committed() -> None:
    world = World()
    world.announce(b"a", b"b", b"c")
    bridge = world.bridge()
    bridge.turn(0)
    items = bridge._partitions[CONTROL].items
    items[0].confirmed = items[2].confirmed = True
    commit(bridge)
    assert world.committed == 1
    items[0].confirmed = True
    commit(bridge)
    assert world.committed == 3


def test_what_was_not_committed_comes_again_as_the_same_commands() -> None:
    world = World()
    world.announce(b"a", b"b")
    for _ in range(2):
        bridge = world.bridge()
        bridge.turn(0)
        bridge.publish(0)  # and it dies before it commits
    first, second = world.publisher.ids[:2], world.publisher.ids[2:]
    assert first == second
    assert len(set(first)) == 2


@pytest.mark.parametrize(
    ("decided", "again"),
    [(("control-0", 2), [0, 1, 2]), (("control-0", 0), [0, 1, 2]), (None, [0, 1, 2]), (("control-9", 2), [0, 1, 2])],
)
def test_what_a_restored_store_has_forgotten_comes_again_as_the_same_commands(decided: Any, again: list[int]) -> None:
    """What it has not is read again, and as it decides out of order some of what it has."""
    world = World()
    world.announce(b"a", b"b", b"c")
    first = world.bridge()
    first.turn(0)
    first.publish(0)
    first.close()
    sent = world.publisher.ids
    world.publisher.envelopes.clear()
    second = world.bridge(decided=lambda: {} if decided is None else {CONTROL: decided})
    second.turn(0)
    second.publish(0)
    assert [one.offset for one in world.publisher.records] == again
    assert world.publisher.ids == sent
    commit(second)
    assert world.committed == 3


def test_no_more_than_so_much_is_read_again() -> None:
    world = World()
    world.announce(*[b"%d" % number for number in range(READ_AGAIN + 5)])
    world.group.offsets[CONTROL] = Committed(READ_AGAIN + 5, "control-0")
    bridge = world.bridge(decided=lambda: {CONTROL: ("control-0", READ_AGAIN + 1)})
    bridge.turn(0)
    bridge.publish(0)
    assert world.publisher.records[0].offset == 2


def test_a_store_that_does_not_answer_is_waited_for() -> None:
    world = World()
    world.announce(b"a")

    def away() -> Any:
        raise Unreachable("the database is away")

    bridge = world.bridge(decided=away)
    assert bridge.turn(0) == 0
    assert bridge.trouble == "the database is away"


def test_a_topic_that_was_made_anew_has_other_commands() -> None:
    world = World()
    world.announce(b"a")
    bridge = world.bridge()
    bridge.turn(0)
    bridge.publish(0)
    commit(bridge)
    world.group.make_anew("control")
    world.announce(b"a", b"b", b"c")
    bridge.turn(0)
    bridge.publish(0)
    with pytest.raises(MadeAnew) as noticed:
        bridge.turn(0)
    bridge.close()
    world.group.offsets[CONTROL] = Committed(2, "")  # a cluster may keep what was committed, without its note
    again = world.bridge(anew=noticed.value.topics)
    again.turn(0)
    again.publish(0)
    assert [(one.topic_id, one.offset, one.value) for one in world.publisher.records] == [
        ("control-0", 0, b"a"),
        ("control-1", 0, b"a"),
        ("control-1", 1, b"b"),
        ("control-1", 2, b"c"),
    ]
    assert len(set(world.publisher.ids)) == 4


def test_a_topic_made_anew_that_brings_nothing_is_noticed_where_one_looks() -> None:
    world = World()
    bridge = world.bridge()
    world.group.make_anew("control")
    bridge.check_topics()
    with pytest.raises(MadeAnew):
        bridge.turn(0)


def test_what_was_committed_of_another_topic_of_the_name_counts_nothing() -> None:
    world = World()
    world.announce(b"a", b"b")
    world.group.offsets[CONTROL] = Committed(1, "another")
    bridge = world.bridge()
    bridge.turn(0)
    bridge.publish(0)
    assert [one.value for one in world.publisher.records] == [b"a", b"b"]
    assert world.publisher.gaps == []


def test_where_topics_have_no_ids_what_a_record_says_tells_it() -> None:
    world = World()
    reader = EmbeddedReader(world.group)
    reader.topic_ids = lambda topics: dict.fromkeys(topics, "")  # type: ignore[method-assign]
    bridge = Bridge("cloud", world.cluster, reader, world.publisher, SystemClock())
    bridge.subscribe()
    for value in (b"a", b"a", b"b"):
        bridge.turn(0)
        world.announce(value)
        bridge.turn(0)
        bridge.publish(0)
        world.group.make_anew("control")
        bridge.turn(0)
    a, again, b = world.publisher.taken
    assert a == again  # the same words, at the same time: the same announcement
    assert a != b


def test_a_slow_broker_pauses_partitions_and_polling_goes_on() -> None:
    world = World()
    world.announce(*[b"x"] * 100)
    world.publisher.away = True
    bridge = world.bridge(max_records=10)  # one poll brings a batch: the bound is looked at after it
    world.announce(*[b"y"] * 100)
    assert sum(bridge.turn(0) for _ in range(20)) == 0
    assert bridge.under_way()[0] == 100
    world.publisher.away = False
    assert bridge.publish(0)
    assert sum(bridge.turn(0) for _ in range(3)) == 100


def test_bytes_are_bounded_as_well() -> None:
    world = World()
    world.announce(b"x" * 2000)
    bridge = world.bridge(max_bytes=1000)
    bridge.turn(0)
    world.announce(b"x")
    assert bridge.turn(0) == 0
    bridge.publish(0)
    bridge.turn(0)
    assert bridge.turn(0) == 1


def test_what_is_revoked_is_given_up_and_the_next_one_takes_it() -> None:
    world = World()
    world.announce(b"a", b"b")
    first = world.bridge()
    first.turn(0)
    second = world.bridge()
    second.turn(0)
    assert first.publish(0)
    assert world.publisher.envelopes == []  # nothing of it is under way any more
    assert first.under_way() == (0, 0)
    second.publish(0)
    commit(first)
    assert world.committed is None
    commit(second)
    assert world.committed == 2
    assert first.states() == []


def test_what_is_revoked_is_committed_as_far_as_it_is_safe_before_another_has_it() -> None:
    world = World()
    world.announce(b"a")
    first = world.bridge()
    first.turn(0)
    first.publish(0)
    assert world.committed is None
    first.revoked([CONTROL])
    assert (world.committed, first.states()) == (1, [])


def test_leaving_commits_what_is_safe() -> None:
    world = World()
    world.announce(b"a")
    bridge = world.bridge()
    bridge.turn(0)
    bridge.publish(0)
    world.announce(b"b")
    bridge.turn(0)
    bridge.close()
    assert world.committed == 1


def test_a_refused_commit_is_counted_and_made_again() -> None:
    world = World()
    world.announce(b"a")
    world.group.refuses = 1
    bridge = world.bridge()
    bridge.turn(0)
    bridge.publish(0)
    commit(bridge)
    assert (world.committed, bridge.counted.commits_refused) == (None, 1)
    commit(bridge)
    assert (world.committed, bridge.counted.commits) == (1, 1)


def test_what_is_gone_is_told_and_then_the_earliest_is_read() -> None:
    world = World()
    world.announce(b"a")
    bridge = world.bridge()
    bridge.turn(0)
    bridge.publish(0)
    bridge.close()
    world.announce(*[b"x"] * 9)
    world.topics.first["control"] = 5
    again = world.bridge()
    again.turn(0)
    again.publish(0)
    assert [(gap.start, gap.end) for gap in world.publisher.gaps] == [(1, 5)]
    assert again.counted.gone == 4
    assert [one.offset for one in world.publisher.records] == [0, 5, 6, 7, 8, 9]


def test_of_a_log_that_ends_before_what_was_read_nothing_is_said_to_be_gone() -> None:
    world = World()
    world.announce(*[b"x"] * 9)
    bridge = world.bridge()
    bridge.turn(0)
    bridge.publish(0)
    commit(bridge)
    bridge.close()
    del world.topics.records["control"][4:]
    again = world.bridge()
    again.turn(0)
    again.publish(0)
    assert (world.publisher.gaps, again.counted.gone) == ([], 0)
    assert [one.offset for one in world.publisher.records[9:]] == [0, 1, 2, 3]


def test_what_goes_while_it_is_read_is_told_as_well() -> None:
    world = World()
    bridge = world.bridge()
    world.announce(*[b"x"] * 4)
    world.topics.first["control"] = 3
    for _ in range(2):
        bridge.turn(0)
    bridge.publish(0)
    assert [(gap.start, gap.end) for gap in world.publisher.gaps] == [(0, 3)]
    assert [one.offset for one in world.publisher.records] == [3]


def test_a_first_start_begins_with_what_is_young_enough() -> None:
    world = World(since="2026-01-01T00:00:00Z")
    world.announce(b"old")
    bridge = world.bridge()
    world.announce(b"young")
    bridge.turn(0)
    bridge.publish(0)
    assert [one.value for one in world.publisher.records] == [b"young"]


def test_a_cluster_that_is_away_is_waited_for() -> None:
    world = World()
    world.announce(b"a")
    world.topics.away = "it is away"
    bridge = world.bridge()
    assert bridge.turn(0) == 0
    assert bridge.trouble == "it is away"
    world.topics.away = ""
    for _ in range(2):
        bridge.turn(0)
    bridge.publish(0)
    assert bridge.trouble is None
    assert [one.value for one in world.publisher.records] == [b"a"]


def test_a_topic_that_is_not_there_yet_keeps_no_other_one_waiting() -> None:
    world = World(model_topics=["later"])
    world.announce(b"a")
    bridge = world.bridge()
    bridge.turn(0)
    world.topics.create([sc.NewTopic("later")])
    world.topics.write([sc.NewRecord("later", None, b"m")])
    for _ in range(2):
        bridge.turn(0)
    bridge.publish(0)
    assert [(one.purpose, one.value) for one in world.publisher.records] == [("control", b"a"), ("model", b"m")]


def test_what_is_too_large_is_cut() -> None:
    world = World(max_record_bytes=2048)
    world.announce(b"x" * 2048)
    bridge = world.bridge()
    bridge.turn(0)
    bridge.publish(0)
    (record,) = world.publisher.records
    assert (record.flaw, record.value) == ("too_large", b"x" * 1024)


def test_what_nobody_understands_goes_to_the_dead_letter_topic_with_its_origin() -> None:
    world = World(dead_letter_topic="dead")
    world.announce(b"?", msgspec.json.encode(DATA))
    bridge = world.bridge()
    bridge.turn(0)
    bridge.publish(0)
    (copy,) = world.topics.records["dead"]
    assert (copy.key, copy.value) == (b"\x07", b"?")
    assert copy.headers == [
        ("fedyard-id", world.publisher.ids[0].encode()),
        ("fedyard-topic", b"control"),
        ("fedyard-partition", b"0"),
        ("fedyard-offset", b"0"),
        ("fedyard-reason", b"not_json"),
    ]
    assert bridge.counted.flawed == 1


def test_what_is_read_again_is_copied_to_the_dead_letter_topic_no_second_time() -> None:
    world = World(dead_letter_topic="dead")
    world.announce(b"?")
    for _ in range(2):
        bridge = world.bridge(decided=lambda: {CONTROL: ("control-0", 0)})
        bridge.turn(0)
        bridge.publish(0)
        bridge.close()
    assert len(world.publisher.records) == 2
    assert len(world.topics.records["dead"]) == 1


def test_the_oldest_record_that_may_not_be_decided_is_known() -> None:
    world = World()
    world.announce(*[b"x"] * 3)
    bridge = world.bridge()
    bridge.turn(0)
    bridge.publish(0)
    commit(bridge)
    (state,) = bridge.states()
    assert (state.taken, state.committed, state.oldest_at) == (3, 3, 0)
    bridge.look({CONTROL: 3}, {CONTROL: ("control-0", 1)})
    assert bridge.states()[0].oldest_at == 0
    bridge.look({CONTROL: 3}, {CONTROL: ("another", 2)})
    assert bridge.states()[0].oldest_at == 0
    bridge.look({CONTROL: 3}, {CONTROL: ("control-0", 2)})
    assert bridge.states()[0].oldest_at is None


# on real brokers


@pytest.fixture(params=["noida", "tansu"])
def kafka(request: pytest.FixtureRequest) -> PrivateKafka:
    server: PrivateKafka = request.getfixturevalue(request.param)
    return server


def properties(server: PrivateKafka) -> dict[str, Any]:
    """Quick to notice who has gone, as far as each of them lets one."""
    session = 1500 if isinstance(server, PrivateTansu) else 6000
    return {
        "bootstrap.servers": server.bootstrap_servers,
        "session.timeout.ms": session,
        "heartbeat.interval.ms": 300,
        "fetch.wait.max.ms": 20,
    }


def make_topic(server: PrivateKafka, name: str, partitions: int = 1) -> None:
    admin = AdminClient(properties_of_admin(server))
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(WITHIN_S)


def delete_topic(server: PrivateKafka, name: str) -> None:
    admin = AdminClient(properties_of_admin(server))
    admin.delete_topics([name])[name].result(WITHIN_S)


def properties_of_admin(server: PrivateKafka) -> dict[str, Any]:
    return {"bootstrap.servers": server.bootstrap_servers, "log_level": 0}


def produce(server: PrivateKafka, topic: str, values: Sequence[bytes], partition: int = 0) -> None:
    producer = Producer({**properties_of_admin(server), "batch.num.messages": 1})
    for value in values:
        producer.produce(topic, value, key=b"\x07", partition=partition)
    assert producer.flush(WITHIN_S) == 0


@contextmanager
def running(server: PrivateKafka, topic: str, publisher: Kept, **fields: Any) -> Iterator[Bridge]:
    """A bridge with its two threads."""
    cluster = Cluster(server.bootstrap_servers, control_topics=[topic], **fields)
    reader = KafkaReader(properties(server), f"group-{topic}")
    bridge = Bridge("cloud", cluster, reader, publisher, SystemClock(), KafkaTopics(properties_of_admin(server)))
    stop = threading.Event()

    def poll() -> None:
        bridge.subscribe()
        while not stop.is_set():
            bridge.turn(0.05)

    threads = [threading.Thread(target=poll), threading.Thread(target=bridge.run_publishing)]
    for thread in threads:
        thread.start()
    try:
        yield bridge
    finally:
        stop.set()
        bridge.stop()
        for thread in threads:
            thread.join()
        bridge.close()


def test_records_come_once_and_after_a_restart_no_more(kafka: PrivateKafka) -> None:
    topic = "bridge-once"
    make_topic(kafka, topic, 2)
    produce(kafka, topic, [b"%d" % number for number in range(20)], 0)
    publisher = Kept()
    with running(kafka, topic, publisher):
        until(lambda: len(publisher.records) == 20)
        produce(kafka, topic, [b"more"], 1)
        until(lambda: len(publisher.records) == 21)
    with running(kafka, topic, publisher) as again:
        produce(kafka, topic, [b"last"], 1)
        until(lambda: len(publisher.records) == 22)
        until(lambda: {state.committed for state in again.states()} == {20, 2})
    assert len(set(publisher.ids)) == 22
    assert [one.value for one in publisher.records if one.partition == 0] == [b"%d" % number for number in range(20)]
    assert {one.at > 1_700_000_000_000_000 for one in publisher.records} == {True}


def test_a_topic_made_anew_between_two_starts(kafka: PrivateKafka) -> None:
    """On both: tansu gives topics ids, noida-db gives them none."""
    topic = "bridge-anew"
    make_topic(kafka, topic)
    produce(kafka, topic, [b"a", b"b"])
    publisher = Kept()
    with running(kafka, topic, publisher):
        until(lambda: len(publisher.records) == 2)
    delete_topic(kafka, topic)
    make_topic(kafka, topic)
    produce(kafka, topic, [b"a"])
    with running(kafka, topic, publisher):
        until(lambda: len(publisher.records) == 3)
    assert len(set(publisher.taken)) == 3
    assert [one.offset for one in publisher.records] == [0, 1, 0]


def test_a_topic_made_anew_while_it_is_read(noida: PrivateKafka) -> None:
    """What tansu answers then kills librdkafka, and the process with it."""
    topic = "bridge-anew-running"
    make_topic(noida, topic)
    produce(noida, topic, [b"a", b"b"])
    publisher = Kept()
    with running(noida, topic, publisher):
        until(lambda: len(publisher.records) == 2)
        delete_topic(noida, topic)
        make_topic(noida, topic)
        produce(noida, topic, [b"a"])
        until(lambda: len(publisher.records) == 3)
    assert len(set(publisher.taken)) == 3


def test_odd_headers_and_times_hold_up_nothing(noida: PrivateKafka) -> None:
    """A header's name that is no UTF-8 ended the bridge, and each that came after it; one that had read some records
    before died of it."""
    topic = "bridge-odd"
    make_topic(noida, topic)
    produce(noida, topic, [b"before"] * 50)
    raw.write(noida.bootstrap_servers, topic, b"a", at_ms=2**62, headers={b"\xff\xfe": b"x"})
    raw.write(noida.bootstrap_servers, topic, b"b", at_ms=253_402_300_800_000, headers={b"known": b"x", b"\xff": b"x"})
    produce(noida, topic, [b"c"])
    publisher = Kept()
    with running(noida, topic, publisher):
        until(lambda: len(publisher.records) == 53)
    assert [(one.value, one.headers) for one in publisher.records[50:]] == [(b"a", []), (b"b", []), (b"c", [])]
    assert [one.at for one in publisher.records[50:52]] == [0, 0]


def test_records_of_a_transaction_that_was_aborted_are_none(noida: PrivateKafka) -> None:
    topic = "bridge-aborted"
    make_topic(noida, topic)
    producer = Producer({**properties_of_admin(noida), "transactional.id": topic})
    producer.init_transactions(WITHIN_S)
    for value, end in ((b"no", producer.abort_transaction), (b"yes", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, key=b"\x07", partition=0)
        producer.flush(WITHIN_S)
        end(WITHIN_S)
    publisher = Kept()
    with running(noida, topic, publisher) as bridge:
        until(lambda: publisher.records)
        until(lambda: [state.committed for state in bridge.states()] == [3])
    assert [one.value for one in publisher.records] == [b"yes"]


def test_records_that_are_gone_are_told(noida: PrivateKafka) -> None:
    topic = "bridge-gone"
    make_topic(noida, topic)
    produce(noida, topic, [b"%d" % number for number in range(10)])
    publisher = Kept()
    with running(noida, topic, publisher) as bridge:
        until(lambda: len(publisher.records) == 10)
        until(lambda: [state.committed for state in bridge.states()] == [10])
    produce(noida, topic, [b"%d" % number for number in range(10, 20)])
    admin = AdminClient(properties_of_admin(noida))
    for future in admin.delete_records([TopicPartition(topic, 0, 15)]).values():
        future.result(WITHIN_S)
    with running(noida, topic, publisher):
        until(lambda: len(publisher.records) == 15)
    assert [(gap.start, gap.end) for gap in publisher.gaps] == [(10, 15)]
    assert [one.offset for one in publisher.records][10:] == [15, 16, 17, 18, 19]


def test_a_first_start_begins_where_since_says(noida: PrivateKafka) -> None:
    topic = "bridge-since"
    make_topic(noida, topic)
    producer = Producer({**properties_of_admin(noida), "batch.num.messages": 1})
    now = datetime.now(UTC)
    for hours in (3, 2, 1):
        at_ms = int((now - timedelta(hours=hours)).timestamp() * 1000)
        producer.produce(topic, b"%d" % hours, timestamp=at_ms, partition=0)
        assert producer.flush(WITHIN_S) == 0
    publisher = Kept()
    with running(noida, topic, publisher, since=(now - timedelta(hours=2.5)).isoformat()):
        until(lambda: len(publisher.records) == 2)
    assert [one.value for one in publisher.records] == [b"2", b"1"]


def test_settings_that_librdkafka_refuses_are_told_without_what_they_are() -> None:
    with pytest.raises(NotAccepted, match=r"security\.protocol") as refused:
        KafkaReader({"bootstrap.servers": "127.0.0.1:1", "security.protocol": "a secret"}, "group")
    assert "a secret" not in str(refused.value)


def test_sasl_and_tls_reach_librdkafka() -> None:
    """As far as one can see without such a broker: a mechanism that it does not know is refused, and these are not."""
    with pytest.raises(NotAccepted):
        KafkaReader(
            {"bootstrap.servers": "127.0.0.1:1", "security.protocol": "SASL_SSL", "sasl.mechanism": "X"}, "group"
        )
    for mechanism in ("SCRAM-SHA-512", "OAUTHBEARER"):
        said = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": mechanism,
            "sasl.username": "u",
            "sasl.password": "p",
        }
        KafkaReader({"bootstrap.servers": "127.0.0.1:1", **said}, "group").close()


def test_who_is_fenced_by_another_of_its_name_ends(noida: PrivateNoida, tmp_path: Path) -> None:
    """Its bridge is begun anew then. The consumer itself says once that it is over, and is silent ever after."""
    topic, named = tmp_path.name, {**properties(noida), "group.instance.id": "one"}
    make_topic(noida, topic)
    first, second = KafkaReader(named, topic), KafkaReader(named, topic)
    try:
        heard = Heard()
        first.subscribe([topic], heard)
        until(lambda: first.poll(0.1, 10) or heard.places)
        second.subscribe([topic], Heard())
        end = time.monotonic() + WITHIN_S

        def both() -> None:
            while time.monotonic() < end:
                second.poll(0.1, 10)
                first.poll(0.1, 10)

        with pytest.raises(NotAccepted, match="fenced"):
            both()
        with pytest.raises(NotAccepted, match="fenced"):
            first.poll(0, 10)
    finally:
        first.close()
        second.close()


class Heard:
    """Only which places one was given."""

    def __init__(self) -> None:
        self.places: list[Place] = []

    def assigned(self, places: Sequence[Place]) -> None:
        self.places += places

    def revoked(self, places: Sequence[Place]) -> None: ...

    def lost(self, places: Sequence[Place]) -> None: ...

    def out_of_range(self, place: Place) -> None: ...

    def committed(self, offsets: Mapping[Place, int]) -> None: ...

    def refused(self, fact: str) -> None: ...
