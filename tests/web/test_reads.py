"""Lists, filters, pages; a fixed number of queries; the stream; what operators read."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from config.clock import SystemClock
from config.processes import STREAM_WORKERS, WORKERS
from devservers.postgres import PrivatePostgres
from fedyard.wire.times import SECOND
from storage.clocks import Reported, report
from tests.databases import lent_postgres
from tests.streams import settings_file
from tests.waiting import until
from tests.web.network import Network, network
from tests.web.test_refusals import slug
from tests.web.test_waiting import message
from web.api.table import operations
from web.serving.app import release, web_of

ROOT = Path(__file__).resolve().parents[2]


def test_pages_are_whole_and_in_order(net: Network) -> None:
    made = [net.organisation(f"number {number}") for number in range(7)]
    seen: list[str] = []
    path = "/v1/organisations?limit=3"
    pages = 0
    while path:
        page = net.admin.ok("GET", path)
        seen += [item["id"] for item in page["items"]]
        path = f"/v1/organisations?limit=3&after={page['next']}" if page["next"] else ""
        pages += 1
    assert seen[-7:] == made
    assert len(seen) == len(set(seen)) == 8
    assert pages == 3


def test_times_are_rfc_3339(net: Network) -> None:
    site = net.site("oslo")
    shown = net.admin.ok("GET", f"/v1/sites/{site.id}")
    assert len(shown["created_at"]) == len("2026-11-22T03:27:54.000000Z")
    assert shown["created_at"].endswith("Z")


def test_filters(net: Network) -> None:
    oslo, bergen, tromso = net.site("oslo"), net.site("bergen"), net.site("tromso")
    first = net.project(oslo, bergen, name="first")
    second = net.project(tromso, name="second")
    run = net.run(oslo, first)

    def ids(path: str) -> list[str]:
        return [item["id"] for item in net.admin.ok("GET", path)["items"]]

    assert ids("/v1/projects?name=second") == [second]
    assert ids(f"/v1/projects?coordinator={oslo.id}") == [first]
    assert ids(f"/v1/projects?member={bergen.id}") == [first]
    assert ids(f"/v1/projects?member={bergen.id}&name=second") == []
    assert set(ids(f"/v1/sites?project={first}")) == {oslo.id, bergen.id}
    assert ids("/v1/sites?state=silent") == []
    organisation = oslo.ok("GET", "/v1/me")["organisation_id"]
    assert ids(f"/v1/sites?organisation={organisation}&state=online") == [oslo.id]
    assert ids("/v1/runs?state=running") == [run]
    assert ids(f"/v1/runs?project={second}") == []
    assert ids(f"/v1/projects/{first}/runs?state=failed") == []
    oslo.ok("POST", f"/v1/runs/{run}/stop", {"reason": "enough"})
    assert ids(f"/v1/runs?project={first}&state=cancelled") == [run]


def test_a_run_costs_the_same_however_many_seats(net: Network, caplog: pytest.LogCaptureFixture) -> None:
    organisation = net.organisation("all")
    sites = [net.site(f"site {number}", organisation) for number in range(9)]
    small = net.run(sites[0], net.project(sites[0], sites[1], name="small"))
    large = net.run(sites[0], net.project(*sites, name="large"))

    def queries(path: str) -> int:
        caplog.clear()
        with caplog.at_level("DEBUG", "peewee"):
            sites[0].ok("GET", path)
        return len([one for one in caplog.records if one.getMessage()[2:].startswith("SELECT")])

    small_path, large_path = f"/v1/runs/{small}", f"/v1/runs/{large}"
    assert queries(small_path) == queries(large_path) == 10
    assert queries(small_path) == queries(large_path) == 1  # nothing has changed

    assert len(sites[0].ok("GET", large_path)["tasks"][0]["seats"]) == 9


def test_an_answer_of_the_inbox_has_a_bound_of_bytes(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    before = bergen.ok("GET", "/v1/inbox")["last_seq"]
    body = b"x" * 250_000
    for _ in range(20):
        oslo.ok("POST", "/v1/messages", message(project, [bergen.id], body))
    answer = bergen.ok("GET", f"/v1/inbox?after={before}")
    assert len(answer["items"]) == 16
    rest = bergen.ok("GET", f"/v1/inbox?after={answer['items'][-1]['seq']}")
    assert len(rest["items"]) == 4
    assert answer["last_seq"] == rest["last_seq"] == rest["items"][-1]["seq"]


def test_acknowledged_entries_do_not_come_again_and_others_do(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    for _ in range(3):
        oslo.ok("POST", "/v1/messages", message(project, [bergen.id]))
    last = bergen.ok("GET", "/v1/inbox")["last_seq"]
    assert bergen.ok("PUT", "/v1/inbox/acknowledged", {"through": last - 1}) == {"acknowledged_seq": last - 1}
    for _ in range(2):
        again = bergen.ok("GET", "/v1/inbox")
        assert [entry["seq"] for entry in again["items"]] == [last]
        assert again["acknowledged_seq"] == last - 1
    assert slug(bergen.call("PUT", "/v1/inbox/acknowledged", {"through": last + 1}), 409) == "history_went_back"


def test_deliveries_move_on(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    sent = oslo.ok("POST", "/v1/messages", message(project, [bergen.id]))["ids"][0]

    def state() -> str:
        return str(oslo.ok("GET", f"/v1/messages/{sent}")["deliveries"][0]["state"])

    assert state() == "queued"
    last = bergen.ok("GET", "/v1/inbox")["last_seq"]
    until(lambda: state() == "delivered")
    bergen.ok("PUT", "/v1/inbox/acknowledged", {"through": last})
    assert state() == "acknowledged"


def test_any_call_of_a_site_is_a_beat_and_a_use_of_its_token(net: Network) -> None:
    site = net.site("oslo")
    site.ok("GET", "/v1/me")
    until(lambda: net.admin.ok("GET", f"/v1/sites/{site.id}")["seen_at"] is not None)
    before = net.admin.ok("GET", f"/v1/sites/{site.id}")["seen_at"]
    beat = site.call("PUT", f"/v1/sites/{site.id}/heartbeat")
    assert (beat.status_code, beat.get_json()) == (202, {"heartbeat_every_s": 30.0})
    until(lambda: net.admin.ok("GET", f"/v1/sites/{site.id}")["seen_at"] > before)
    assert net.admin.ok("GET", f"/v1/tokens?owner={site.id}")["items"][0]["used_at"] is not None


def test_beats_are_packed(net: Network) -> None:
    site = net.site("oslo")
    for _ in range(50):
        site.ok("GET", "/v1/me")
    web_of(net.app).heartbeats.flush()
    assert sum(len(pack.beats) for pack in net.publisher.beats) < 25


def test_an_agent_says_its_version_which_is_told_once(net: Network) -> None:
    site, beats = net.site("oslo"), web_of(net.app).heartbeats

    def told(agent: str) -> str | None:
        site.ok("GET", "/v1/me", headers={"User-Agent": agent})
        beats.flush()
        return net.admin.ok("GET", f"/v1/sites/{site.id}")["health"]["agent_version"]

    assert told("curl/8.1") is None
    assert [told("fedyard/0.2.0"), told("fedyard/0.2.0"), told("fedyard/<b>")] == ["0.2.0"] * 3
    assert told("fedyard/0.3.0+a1") == "0.3.0+a1"
    packed = [said.version for pack in net.publisher.beats for said in pack.versions]
    assert packed == ["0.2.0", "0.3.0+a1"]
    net.publisher.down = True
    site.ok("GET", "/v1/me", headers={"User-Agent": "fedyard/0.4.0"})
    until(lambda: beats.lost > 0)
    net.publisher.down = False
    assert told("fedyard/0.4.0") == "0.4.0"


def test_beats_that_the_broker_does_not_take_are_counted_and_forgotten(net: Network) -> None:
    site = net.site("oslo")
    beats = web_of(net.app).heartbeats
    beats.flush()
    net.publisher.down = True
    assert site.get("/v1/me").status_code == 200
    until(lambda: beats.lost == 1)
    net.publisher.down = False
    assert "fedyard_beats_lost_total 1.0" in net.admin.get("/metrics").get_data(as_text=True)


class TestStream:
    ACCEPT = {"Accept": "text/event-stream"}

    def parse(self, text: str) -> list[dict[str, Any]]:
        """The events of a stream; their id and kind must agree with the content."""
        events = []
        for block in text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "data" in lines:
                event = json.loads(lines["data"])
                assert (lines["id"], lines["event"]) == (str(event["seq"]), event["kind"])
                events.append(event)
        return events

    def test_it_ends_with_the_run(self, net: Network, threads: ThreadPoolExecutor) -> None:
        oslo, bergen = net.site("oslo"), net.site("bergen")
        run = net.run(oslo, net.project(oslo, bergen))
        path = f"/v1/runs/{run}/events"
        reading = threads.submit(lambda: oslo.get(path, headers=self.ACCEPT).get_data(as_text=True))
        until(lambda: web_of(net.app).waiters.open == 1)
        net.report(bergen, run, "ready", 1)
        oslo.ok("POST", f"/v1/runs/{run}/stop", {})
        events = self.parse(reading.result(20))
        assert events == oslo.ok("GET", f"{path}?limit=200")["items"]
        assert "seat_ready" in [event["kind"] for event in events]
        assert events[-1]["kind"] == "run_cancelled"
        until(lambda: web_of(net.app).waiters.open == 0)

        missed = oslo.get(path, headers={**self.ACCEPT, "Last-Event-ID": str(events[-2]["seq"])})
        assert self.parse(missed.get_data(as_text=True)) == events[-1:]
        over = oslo.get(path, headers={**self.ACCEPT, "Last-Event-ID": str(events[-1]["seq"])})
        assert over.status_code == 204

    def test_who_may_not_see_the_run_gets_none(self, net: Network) -> None:
        oslo, bergen = net.site("oslo"), net.site("bergen")
        run = net.run(oslo, net.project(oslo))
        assert slug(bergen.get(f"/v1/runs/{run}/events", headers=self.ACCEPT), 404) == "not_found"

    def test_a_bad_place_is_400(self, net: Network) -> None:
        oslo = net.site("oslo")
        run = net.run(oslo, net.project(oslo))
        headers = {**self.ACCEPT, "Last-Event-ID": "x"}
        assert slug(oslo.get(f"/v1/runs/{run}/events", headers=headers), 400) == "malformed"

    def test_it_counts_as_a_poll(self, make_net: Callable[..., Network], threads: ThreadPoolExecutor) -> None:
        net = make_net(waiting_polls=4)
        oslo = net.site("oslo")
        run = net.run(oslo, net.project(oslo))
        path = f"/v1/runs/{run}/events"
        reading = [threads.submit(lambda: oslo.get(path, headers=self.ACCEPT).get_data()) for _ in range(4)]
        until(lambda: web_of(net.app).waiters.open == 4)
        assert slug(oslo.get(path, headers=self.ACCEPT), 503) == "too_many_polls"
        release(net.app)
        assert all(b"run_started" in one.result(20) for one in reading)

    def test_it_ends_when_its_token_is_revoked(self, net: Network, threads: ThreadPoolExecutor) -> None:
        oslo = net.site("oslo")
        run = net.run(oslo, net.project(oslo))
        second = oslo.ok("POST", "/v1/tokens", {"label": "second"})
        reader = net.stranger(second["token"])
        reading = threads.submit(lambda: reader.get(f"/v1/runs/{run}/events", headers=self.ACCEPT).get_data())
        until(lambda: web_of(net.app).waiters.open == 1)
        oslo.ok("DELETE", f"/v1/tokens/{second['id']}")
        net.report(oslo, run, "ready", 1)
        assert b"seat_ready" not in reading.result(20)


@pytest.fixture
def threads() -> Any:
    with ThreadPoolExecutor(10) as pool:
        yield pool


def test_operators_see_how_it_goes(net: Network) -> None:
    oslo = net.site("oslo")
    net.run(oslo, net.project(oslo))
    oslo.call("POST", "/v1/projects", {"name": "twice", "tasks": []})
    text = net.admin.get("/metrics").get_data(as_text=True)
    assert 'fedyard_runs_live{state="running"} 1.0' in text
    assert 'fedyard_sites{state="online"} 1.0' in text
    assert 'fedyard_sites{state="silent"} 0.0' in text
    assert "fedyard_outbox_rows 0.0" in text
    assert "fedyard_polls_waiting 0.0" in text
    assert "fedyard_polls_refused_total 0.0" in text
    assert 'fedyard_decision_seconds_count{kind="start_run"} 1.0' in text
    assert 'fedyard_queue_wait_seconds_count{kind="start_run"} 1.0' in text
    assert net.stranger(None).get("/healthz").get_json() == {"status": "ok"}
    ready = net.stranger(None).get("/readyz")
    until(lambda: net.stranger(None).get("/readyz").status_code == 200)
    parts = ["database", "broker", "signals", *WORKERS, "clocks", "stand_by", "clusters", "artifacts"]
    assert list(ready.get_json()["parts"]) == parts
    named = ", ".join(parts)
    assert f"`{{status, history, parts: {{{named}}}}}`" in (ROOT / "docs" / "api.md").read_text()
    assert f"`GET /readyz` names the part that is down: {named}." in (ROOT / "docs" / "operations.md").read_text()


def test_a_wrong_clock_shows_and_keeps_the_hub_from_being_ready(make_net: Callable[..., Network]) -> None:
    net = make_net()
    now = SystemClock().now()
    report(net.database, Reported("ticker@a:1", "ticker", 691_200 * SECOND), now)
    report(net.database, Reported("ticker@b:2", "ticker", -SECOND), now)
    assert 'fedyard_clock_offset_seconds{role="ticker"} 691200.0' in net.admin.get("/metrics").get_data(as_text=True)
    report(net.database, Reported("decider@a:3", "decider", -31 * SECOND), now)
    ready = net.admin.get("/readyz")
    assert ready.status_code == 503
    assert "decider 31 s behind" in ready.get_json()["parts"]["clocks"]


def test_a_decider_that_is_frozen_while_nobody_writes_is_named(postgres: PrivatePostgres, tmp_path: Path) -> None:
    """Its place in a process of its own, nobody else would notice: no command waits."""
    with lent_postgres(postgres) as url:
        net = network(url, tmp_path)
        now = SystemClock().now()
        for process, silent_s in (
            ("ticker@a:1", 0),
            ("relay@a:2", 0),
            ("doer@a:4", 0),
            ("reconciler@a:5", 0),
            ("decider@a:3", 31),
        ):
            report(net.database, Reported(process, process.partition("@")[0], 0), now - silent_s * SECOND)
        ready = net.admin.get("/readyz")
        assert (ready.status_code, ready.get_json()["status"]) == (503, "not ready")
        assert "decider@a:3, was heard of 31 s ago" in ready.get_json()["parts"]["decider"]
        assert net.stranger(None).get("/readyz").get_json()["parts"]["decider"] == "down"
        net.close()


@pytest.mark.parametrize("away", ["doer", "bridge"])
def test_without_whom_the_hub_serves_is_named_and_stops_nothing(
    postgres: PrivatePostgres, tmp_path: Path, away: str
) -> None:
    with lent_postgres(postgres) as url:
        net = network(url, tmp_path, streams=settings_file(tmp_path))
        now = SystemClock().now()
        for place, role in enumerate((*WORKERS, *STREAM_WORKERS)):
            report(net.database, Reported(f"{role}@a:{place}", role, 0), now - (31 * SECOND if role == away else 0))
        until(lambda: net.admin.get("/readyz").status_code == 200)
        ready = net.admin.get("/readyz").get_json()
        assert ready["status"] == "ready"
        assert f"{away}@a:{[*WORKERS, *STREAM_WORKERS].index(away)}, was heard of 31 s ago" in ready["parts"][away]
        assert net.stranger(None).get("/readyz").get_json()["parts"][away] == "down"
        net.close()


def test_a_silent_stand_by_is_named_and_stops_nothing(postgres: PrivatePostgres, tmp_path: Path) -> None:
    with lent_postgres(postgres) as url:
        net = network(url, tmp_path)
        now = SystemClock().now()
        for process, silent_s in (("decider@a:3", 31), ("decider@b:4", 1)):
            report(net.database, Reported(process, "decider", 0), now - silent_s * SECOND)
        until(lambda: net.admin.get("/readyz").status_code == 200)
        parts = net.admin.get("/readyz").get_json()["parts"]
        assert parts["decider"] == "ok"
        assert "decider@a:3, was heard of 3" in parts["stand_by"]
        net.close()


def test_commands_are_counted_by_kind_and_outcome(make_net: Callable[..., Network]) -> None:
    net = make_net()
    net.organisation("x")
    net.account(net.organisation("y"), "member").call("POST", "/v1/organisations", {"name": "z"})

    def counted() -> bool:
        text = net.admin.get("/metrics").get_data(as_text=True)
        return (
            'fedyard_commands_total{kind="create_organisation",outcome="accepted"} 3.0' in text
            and 'fedyard_commands_total{kind="create_organisation",outcome="rejected"} 1.0' in text
        )

    until(counted)


def test_the_description_names_every_call(net: Network) -> None:
    described = net.stranger(None).get("/openapi.json").get_json()
    calls = {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert calls == {(operation.path, operation.method.lower()) for operation in operations() if operation.described}
    names = [operation.name for operation in operations()]
    assert len(names) == len(set(names))


def test_a_message_body_comes_back_as_it_went(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    body = bytes(range(256))
    sent = oslo.ok("POST", "/v1/messages", message(project, [bergen.id], body))["ids"][0]
    shown = bergen.ok("GET", f"/v1/messages/{sent}")
    assert base64.b64decode(shown["body"]) == body
    assert (shown["size_bytes"], shown["kind"]) == (256, "message")
    empty = oslo.ok("POST", "/v1/messages", message(project, [bergen.id], b""))["ids"][0]
    assert bergen.ok("GET", f"/v1/messages/{empty}")["body"] == ""


def test_a_run_of_many_rounds_shows_the_newest(net: Network) -> None:
    oslo = net.site("oslo")
    run = net.run(oslo, net.project(oslo))
    with net.database.connection():
        (task,) = net.database.one("SELECT id FROM task_runs WHERE run_id = %s", run) or ()
        net.database.execute("UPDATE task_runs SET round = 150 WHERE id = %s", (task,))
        for number in range(2, 151):
            net.database.execute(
                "INSERT INTO rounds (task_run_id, number, run_id, state, reason, quorum, deadline_at, started_at, "
                "stage_at, metrics_json) VALUES (%s, %s, %s, 'completed', '', 1, 1, 1, 1, '{}')",
                (task, number, run),
            )
    shown = oslo.ok("GET", f"/v1/runs/{run}")["tasks"][0]["rounds"]
    assert [each["number"] for each in shown] == list(range(51, 151))
