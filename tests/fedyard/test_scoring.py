"""Agents against a real hub: rounds that draw some of the seats, and models that are scored at the sites."""

from __future__ import annotations

from fedyard.agent.state import State
from fedyard.wire.sampling import drawn
from tests.fedyard.world import project_of
from tests.waiting import until

TWO = {"sample": 2, "sample_of": "count"}


def test_rounds_draw_two_of_three_and_all_three_score(sites) -> None:
    north, east, south = sites
    (south.path / "blind").touch()
    project = project_of(
        sites, rounds=3, contract=TWO, score_every=2, best={"metric": "score.total"}, stop_early={"metric": "sites"}
    )
    run_id = project.start()
    run = project.finished(run_id)
    assert (run.state, run.reason) == ("succeeded", "completed")
    (task,), ids = run.tasks, sorted(site.site_id for site in sites)
    for here in task.rounds:
        taking_part = drawn(run_id, 1, here.number, ids, 2)
        assert sorted(s.site_id for s in here.submissions) == taking_part
        assert (here.quorum, here.drawn, here.metrics["sites"]) == (2, 2, 2.0)
        for site in sites:  # who rests computes nothing
            assert (f"train {here.number}" in site.calls()) == (site.site_id in taking_part)
    first, second, third = task.rounds
    assert (first.score, first.scores) == ({}, [])
    for here in (second, third):
        said = {one.site_id: (one.metrics, one.reason.partition(" (line")[0]) for one in here.scores}
        seeing = ({"total": float(here.number), "samples": 10.0}, "")
        blind = ({}, "score: there is no test data here")
        assert said == {north.site_id: seeing, east.site_id: seeing, south.site_id: blind}
        assert here.score == {"total": float(here.number), "samples": 20.0}
    assert task.best is not None
    assert (task.best.round, task.best.value, task.best.model_version) == (3, 3.0, third.model_version)
    versions = project.sites[0].client.models(project.id)
    assert [(one.version, one.best, one.score.get("total")) for one in versions] == [
        (1, False, None),
        (2, False, 2.0),
        (3, True, 3.0),
    ]
    assert {seat.state for seat in task.seats} == {"done"}
    # a participant sees its own scores, and the mean
    seen = east.client.run(run_id).tasks[0].rounds[2]
    assert [one.site_id for one in seen.scores] == [east.site_id]
    assert seen.score == third.score
    # what has left the house is on record there
    left = State(east.path / "state.sqlite").egress.latest(99, kind="score")
    assert [(one.round, one.metrics, one.outcome) for one in left] == [
        (number, {"total": float(number), "samples": 10.0}, "ok") for number in (3, 2)
    ]


def test_an_agent_killed_while_it_scores_comes_back(sites) -> None:
    _, east, _ = sites
    east.hold("score")
    project = project_of(sites, rounds=1, score_every=1)
    run_id = project.start()
    until(lambda: "score 1" in east.calls())
    project.stands(run_id, east, "scoring 1")
    east.kill()
    east.release("score")
    east.start()
    run = project.finished(run_id)
    assert (run.state, run.reason) == ("succeeded", "completed")
    (here,) = run.tasks[0].rounds
    assert here.score == {"total": 1.0, "samples": 30.0}
    assert east.calls().count("score 1") == 2
    assert {seat.state for seat in run.tasks[0].seats} == {"done"}
