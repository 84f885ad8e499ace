"""The shell around decisions: once each, all or nothing, in order, announced."""

from __future__ import annotations

import threading

import pytest

from actors.deciding import decide_batch
from domain import codec
from domain import commands as c
from domain import records as r
from domain.rules import Rules
from domain.states import Report
from storage.database import Database
from storage.store import Store
from tests.hub import Hub


def test_the_same_command_three_times_is_decided_once(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    envelope = hub.envelope(c.StartRun(project_id=project), sites[0])
    in_one_batch = hub.batch([envelope, envelope])
    in_a_later_one = hub.batch([envelope])
    assert len(hub.rows(r.Run)) == 1
    assert in_one_batch.outcomes == in_a_later_one.outcomes
    assert in_a_later_one.outcomes[envelope.id].status == 201


def test_a_rejection_stays_a_rejection(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    run = hub.start(project, sites[0])
    envelope = hub.envelope(c.StartRun(project_id=project), sites[0])
    assert hub.batch([envelope]).outcomes[envelope.id].state == "rejected"
    hub.ok(c.StopRun(run_id=run), sites[0])
    assert hub.batch([envelope]).outcomes[envelope.id].state == "rejected"


def test_a_batch_sees_what_it_has_decided_itself(hub: Hub) -> None:
    sites = hub.sites(3)
    run = hub.start(hub.project(sites), sites[0])
    reports = [hub.envelope(hub.reporting(run, site, Report.READY), site) for site in sites]
    hub.batch(reports)
    assert hub.round(run, 1).state == "training"
    assert hub.run(run).version == 1 + 3


def test_reports_that_arrive_out_of_order_in_a_batch_are_put_in_order(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    accept = hub.envelope(hub.reporting(run, sites[1], Report.ACCEPT, seq=1), sites[1])
    ready = hub.envelope(hub.reporting(run, sites[1], Report.READY, seq=2), sites[1])
    batch = hub.batch([ready, accept])
    assert batch.early == {}
    assert hub.seat(run, sites[1]).state == "ready"


def test_an_early_report_is_postponed_and_on_its_last_try_rejected(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    hub.report(run, sites[1], Report.ACCEPT)
    early = hub.envelope(hub.reporting(run, sites[1], Report.READY, seq=5), sites[1])
    assert list(hub.batch([early]).early) == [early.id]
    assert hub.rows(r.Outcome, "id = %s", early.id) == []
    batch = decide_batch(hub.store, [early], hub.clock.now(), Rules(), frozenset([early.id]))
    assert (batch.outcomes[early.id].state, batch.outcomes[early.id].status) == ("rejected", 409)
    assert "the next one has seq 2 (its seat's report_seq is 1)" in batch.outcomes[early.id].answer_json


def test_a_decision_that_breaks_leaves_nothing_behind(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    good = hub.envelope(c.StartRun(project_id=project), sites[0])
    poison = codec.envelope_of(c.RecordHeartbeats(beats=[], token_uses=[]), id=good.id[:-1] + "0", by=good.by, at=1)
    with pytest.raises(AssertionError, match="packed is never decided"):
        hub.batch([good, poison])
    assert hub.rows(r.Run) == []
    assert hub.rows(r.Outcome, "id = %s", good.id) == []
    assert hub.batch([good]).outcomes[good.id].state == "accepted"


def test_two_deciders_at_once_decide_each_command_once(hub: Hub) -> None:
    sites = hub.sites(4)
    run = hub.start(hub.project(sites), sites[0])
    reports = [hub.envelope(hub.reporting(run, site, Report.READY), site) for site in sites]
    failures: list[BaseException] = []

    def decide_all() -> None:
        try:
            for envelope in reports:
                decide_batch(Store(hub.database), [envelope], hub.clock.now(), Rules())
        except Exception as error:  # noqa: BLE001 - whatever it was, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=decide_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert hub.round(run, 1).state == "training"
    assert hub.run(run).version == 1 + 4
    assert {box.last_seq for box in hub.rows(r.Mailbox)} == {3, 5}


def test_what_somebody_waits_for_is_announced(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    hub.heard.clear()
    waited = hub.envelope(hub.reporting(run, sites[1], Report.READY), sites[1])
    hub.batch([waited])
    (heard,) = hub.heard
    assert [decided.id for decided in heard.decided] == [waited.id]
    assert heard.runs == {run: 2}


def test_losing_rights_voids_the_caches_of_tokens(hub: Hub) -> None:
    site = hub.site("one")
    hub.heard.clear()
    hub.ok(c.RetireSite(site_id=site.id), site)
    assert [heard.tokens for heard in hub.heard] == [True, False]  # then what it has still to run is called off


def test_the_lean_lane_only_moves_times_forward(hub: Hub, database: Database) -> None:
    site = hub.site("one")
    hub.store.record_heartbeats([c.Beat(site.id, 50, 3), c.Beat(site.id, 40, 2)], [c.TokenUse(site.id, 7)])
    hub.store.record_heartbeats([c.Beat(site.id, 45, 9)], [])
    with database.connection():
        assert database.all("SELECT seen_at, handed_out FROM site_beats") == [(50, 9)]
        assert database.all("SELECT used_at FROM token_uses") == [(7,)]


def test_the_newest_version_that_an_agent_said_is_kept(hub: Hub, database: Database) -> None:
    site, other = hub.site("one"), hub.site("other")
    said = [c.AgentVersion(site.id, "0.3", 5), c.AgentVersion(other.id, "1", 1), c.AgentVersion(site.id, "0.2", 4)]
    hub.store.record_heartbeats([], [], said)
    hub.store.record_heartbeats([], [], [c.AgentVersion(site.id, "0.1", 3), c.AgentVersion(other.id, "2", 2)])
    with database.connection():
        found = dict(database.all("SELECT site_id, version FROM site_agents"))
    assert found == {site.id: "0.3", other.id: "2"}


def test_a_follow_up_lies_in_the_outbox_until_it_is_published(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    batch = hub.batch([hub.envelope(c.StopRun(run_id=run), sites[0])])
    assert [row.id for row in hub.store.outbox(hub.clock.now() + 1, 10)] == [e.id for e in batch.follow_ups]
    assert hub.store.outbox(hub.clock.now() - 10, 10) == []
    hub.store.forget_outbox(e.id for e in batch.follow_ups)
    assert hub.store.outbox(hub.clock.now() + 1, 10) == []
