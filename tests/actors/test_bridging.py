"""What the bridge's process does beside reading: it tells what is wrong, and asks for retention."""

from __future__ import annotations

import threading
from pathlib import Path

from confluent_kafka import Consumer

from actors.bridging import FORGETS_EVERY_S, UNREAD_AFTER_S, Crossing, Forgetting
from config.streams import Cluster
from devservers.kafka import PrivateNoida
from domain import stream_commands as sc
from fedyard.wire.times import SECOND
from storage.stream_states import BridgeState, ToldPartition, bridges, lags, tell
from storage.views.sight import Paging
from storage.views.streams.quarantine import quarantined
from tests import streams
from tests.broker.test_bridge import Kept, make_topic, produce, properties
from tests.hub import Hub
from tests.waiting import until

KEEP_S = 3600.0


def test_old_records_go_and_young_ones_stay(hub: Hub) -> None:
    publisher = Kept()
    forgetting = Forgetting(hub.database, publisher, hub.clock, KEEP_S)
    hub.rules = hub.rules.__class__(keep_quarantine_s=KEEP_S)
    now = hub.clock.now()
    young = streams.quarantined(hub.database, value=b"young", taken_at=now)
    forgetting.turn()
    assert publisher.envelopes == []
    streams.quarantined(hub.database, value=b"old", taken_at=now - int((KEEP_S + 1) * SECOND))
    forgetting.turn()
    assert publisher.envelopes == [], "it looks every ten minutes"
    hub.clock.sleep(FORGETS_EVERY_S)
    forgetting.turn()
    (envelope,) = publisher.envelopes
    assert isinstance(envelope.command, sc.ForgetRecords)
    hub.send(envelope.command)
    assert [one.id for one in quarantined(hub.database, Paging(10)).items] == [young]


def test_a_partition_that_no_bridge_has_is_named_and_its_end_is_told(
    noida: PrivateNoida, hub: Hub, tmp_path: Path
) -> None:
    """Somebody else's member of the group has all of them, as one has that was killed and is not missed yet."""
    topic, group = tmp_path.name, {"group.id": tmp_path.name, "auto.offset.reset": "earliest"}
    make_topic(noida, topic)
    produce(noida, topic, [b"?"])
    stranger = Consumer({**properties(noida), **group})
    stranger.subscribe([topic])
    until(lambda: stranger.poll(0.1) is not None)
    cluster = Cluster(noida.bootstrap_servers, group=topic, control_topics=[topic])
    crossing = Crossing("cloud", cluster, Kept(), hub.database, hub.clock, threading.Event())
    try:
        crossing.tell()
        assert [one.trouble for one in bridges(hub.database, hub.clock.now())] == [""], "it may come to it yet"
        hub.clock.sleep(UNREAD_AFTER_S)
        tell(hub.database, BridgeState("cloud", "bridge@a:1", "", 0, 0, 0), [partition_of(topic, end=0)], {})
        crossing.tell()
        (told,) = bridges(hub.database, hub.clock.now())
        assert told.trouble == f"nobody reads {topic}/0: group {topic} has given it to no bridge"
        assert [(one.end_offset, one.to_decided) for one in lags(hub.database)] == [(1, 1)]
    finally:
        stranger.close()
        crossing.join(0)


def partition_of(topic: str, end: int) -> ToldPartition:
    return ToldPartition("cloud", topic, 0, "t", end, 0, 0, None)


def test_topics_that_are_not_there_are_all_named(noida: PrivateNoida, hub: Hub) -> None:
    cluster = Cluster(noida.bootstrap_servers, group="none", control_topics=["none-a"], model_topics=["none-b"])
    stop = threading.Event()
    crossing = Crossing("cloud", cluster, Kept(), hub.database, hub.clock, stop)
    try:
        crossing.start()
        named = "there is no topic none-a, none-b"
        until(lambda: [one.trouble for one in bridges(hub.database, hub.clock.now())] == [named])
    finally:
        stop.set()
        crossing.join(10)
