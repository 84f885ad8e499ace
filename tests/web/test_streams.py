"""Streams over HTTP: how the bridge does, what lies in quarantine, and data sources."""

from __future__ import annotations

import base64

import msgspec
import pytest

from config.clock import SystemClock
from storage import stream_states
from storage.stream_states import BridgeState, ToldPartition
from tests import streams
from tests.domain.streams.test_announcements import DATA
from tests.web.network import Network


@pytest.fixture
def told(net: Network) -> Network:
    """A bridge has told what it does."""
    state = BridgeState("cloud", "bridge@a:1", "there is no topic later", 3, 300, SystemClock().now())
    partition = ToldPartition("cloud", "control", 0, "t", 12, 10, 8, 1_000_000)
    stream_states.tell(net.database, state, [partition], {"records": 10, "flawed": 0})
    stream_states.tell(net.database, state, [partition], {"records": 2})
    return net


def test_lag_is_told_to_committed_and_to_decided(told: Network) -> None:
    found = told.admin.ok("GET", "/v1/streams")
    (bridge,), (partition,) = found["bridges"], found["partitions"]
    assert (bridge["trouble"], bridge["under_way"]) == ("there is no topic later", 3)
    assert (partition["lag_committed"], partition["lag_decided"], partition["decided_offset"]) == (4, 4, None)
    assert partition["oldest_at"] == "1970-01-01T00:00:01.000000Z"


def test_metrics_count_over_restarts(told: Network) -> None:
    streams.quarantined(told.database)
    text = told.admin.get("/metrics").get_data(as_text=True)
    assert 'fedyard_stream_records_total{cluster="cloud",what="records"} 12.0' in text
    assert 'fedyard_stream_lag{cluster="cloud",partition="0",to="committed",topic="control"} 4.0' in text
    assert 'fedyard_stream_lag{cluster="cloud",partition="0",to="decided",topic="control"} 4.0' in text
    assert 'fedyard_stream_quarantined{cluster="cloud",reason="not_json"} 1.0' in text
    assert 'fedyard_stream_oldest_seconds{cluster="cloud"}' in text


def test_what_nobody_understood_is_shown_to_an_admin_and_its_content_to_no_auditor(net: Network) -> None:
    record = streams.quarantined(net.database, value=b"a secret")
    (listed,) = net.admin.ok("GET", "/v1/streams/quarantine?state=waiting")["items"]
    assert (listed["id"], listed["reason"], listed["size_bytes"]) == (record, "not_json", 8)
    assert "value" not in listed
    assert net.admin.ok("GET", f"/v1/streams/quarantine/{record}")["value"] == base64.b64encode(b"a secret").decode()
    assert (
        net.account(net.organisation("auditors"), "auditor").ok("GET", f"/v1/streams/quarantine/{record}")["value"]
        is None
    )


def test_a_record_is_replayed_for_the_deployment_that_is_named(net: Network) -> None:
    value = msgspec.json.encode(DATA)
    record = streams.quarantined(net.database, value=value, reason="no_key", key=None)
    refused = net.admin.call("POST", f"/v1/streams/quarantine/{record}/replay")
    assert (refused.status_code, refused.get_json()["type"]) == (422, "/problems/impossible")
    became = net.admin.ok("POST", f"/v1/streams/quarantine/{record}/replay", {"deployment": 300})["became_id"]
    source = net.admin.ok("GET", f"/v1/data-sources/{became}")
    assert (source["deployment_number"], source["data_topic"]) == (300, "automl:0:0:70000")
    assert (source["input_config"]["data_reshape"], base64.b64decode(source["body"])) == ("28 28", value)
    again = net.admin.call("POST", f"/v1/streams/quarantine/{record}/replay", {"deployment": 300})
    assert again.get_json()["type"] == "/problems/not_now"


def test_a_record_is_purged_once(net: Network) -> None:
    record = streams.quarantined(net.database)
    assert net.admin.ok("DELETE", f"/v1/streams/quarantine/{record}") == {"purged": [record]}
    found = net.admin.ok("GET", f"/v1/streams/quarantine/{record}")
    assert (found["state"], found["key"], found["value"]) == ("purged", None, "")
    assert net.admin.ok("DELETE", f"/v1/streams/quarantine/{record}") == {"purged": []}


def test_data_sources_are_listed_by_deployment_and_state_and_withdrawn(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    source = streams.announced(net.database, net.project(oslo), number=5)
    streams.announced(net.database, net.project(bergen, name="other"), number=6)
    assert [one["id"] for one in net.admin.ok("GET", "/v1/data-sources?deployment=5")["items"]] == [source]
    assert [one["id"] for one in oslo.ok("GET", "/v1/data-sources")["items"]] == [source]
    said = net.admin.ok("POST", f"/v1/data-sources/{source}/withdraw", {"reason": "a mistake"})
    assert said == {"id": source, "state": "withdrawn"}
    assert net.admin.ok("POST", f"/v1/data-sources/{source}/withdraw") == said
    assert [one["id"] for one in net.admin.ok("GET", "/v1/data-sources?state=withdrawn")["items"]] == [source]
    assert oslo.ok("GET", "/v1/data-sources?state=live")["items"] == []
