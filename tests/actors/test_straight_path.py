"""A whole run, decided on both databases."""

from __future__ import annotations

import json

from domain import records as r
from fedyard.wire.notices import Notice
from tests.hub import Hub


def test_a_run_of_two_rounds_succeeds_and_everybody_is_told(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites)

    run = hub.start(project, sites[0])
    assert hub.run(run).state == "running"
    hub.whole_round(run, sites, 1)
    assert hub.round(run, 1).state == "completed"
    assert hub.run(run).state == "running"
    hub.whole_round(run, sites, 2)

    ended = hub.run(run)
    assert (ended.state, ended.reason, ended.number, ended.attempt) == ("succeeded", "completed", 1, 1)
    assert hub.task(run).state == "succeeded"
    assert [hub.seat(run, site).state for site in sites] == ["done"] * 3
    kinds = [entry.kind for entry in hub.inbox(sites[1])]
    assert kinds == [
        Notice.MEMBER_ADMITTED,
        Notice.INVITED,
        Notice.ROUND_STARTED,
        Notice.ROUND_COMPLETED,
        Notice.INVITED,
        Notice.ROUND_STARTED,
        Notice.ROUND_COMPLETED,
        Notice.TASK_ENDED,
        Notice.RUN_ENDED,
    ]
    coordinators = [entry.kind for entry in hub.inbox(sites[0])]
    assert coordinators.count(Notice.MESSAGE) == 6
    assert coordinators.count(Notice.AGGREGATE) == 2
    assert [entry.seq for entry in hub.inbox(sites[0])] == list(range(1, len(coordinators) + 1))
    assert len(hub.rows(r.Message, "kind = 'model'")) == 2
    assert len(hub.rows(r.Submission)) == 6


def test_the_model_of_a_round_is_what_the_next_one_starts_from(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    hub.whole_round(run, sites, 1)

    invited = [entry for entry in hub.inbox(sites[1]) if entry.kind == Notice.INVITED][-1]
    assert invited.message_id == hub.round(run, 1).model_message_id
    facts = json.loads(invited.facts_json)
    assert facts["report_seq"] == 2
    assert facts["task"]["name"] == "train"


def test_the_version_of_a_run_counts_the_commands_that_changed_it(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    hub.whole_round(run, sites, 1)
    assert hub.run(run).version == 1 + 2 + 2 + 1
