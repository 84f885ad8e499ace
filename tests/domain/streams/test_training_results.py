"""What jobs give through their door, once each; what comes late; and how jobs end that have given nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors import sweeper
from domain import commands as c
from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.streams import jobs, training_results
from domain.ids import derive
from fedyard.cluster.port import Phase, Reason
from tests.domain.scenes import PROJECT, SECOND, by_site, draft, row
from tests.domain.streams.deployed import COORDINATOR, LOWER, ONE, TORCH, UPPER, Yard, uploaded


@pytest.fixture
def yard() -> Yard:
    return Yard()


def metrics(yard: Yard, number: int, train: str, attempt: int = 1) -> sc.TakeMetrics:
    workload = yard.result(number).workload_id or ""
    return sc.TakeMetrics(workload_id=workload, attempt=attempt, number=number, train_metrics_json=train)


def test_metrics_are_kept_as_far_as_they_have_come(yard: Yard) -> None:
    yard.trained()
    yard.ok(metrics(yard, 1, '{"loss":[2]}'), COORDINATOR)
    yard.ok(metrics(yard, 1, '{"loss":[2,1]}'), COORDINATOR)
    assert (yard.result(1).train_metrics_json, yard.result(1).state) == ('{"loss":[2,1]}', "deployed")


def test_a_result_has_its_files_and_its_numbers(yard: Yard) -> None:
    run = yard.trained()
    said = {"train_metrics_json": '{"loss":[1]}', "test_metrics_json": "[]", "training_time": "1.5"}
    answer = yard.ok(yard.give(1, matrix=uploaded(derive("matrix")), **said), COORDINATOR)
    result = yard.result(1)
    assert answer == {"id": result.id, "number": 1, "state": "finished"}
    assert (result.train_metrics_json, result.test_metrics_json, result.training_time) == ('{"loss":[1]}', "[]", "1.5")
    model, matrix = (yard.row(r.Artifact, key) for key in (result.model_artifact_id, result.matrix_artifact_id))
    assert {(one.state, one.kind, one.owner_site_id) for one in (model, matrix)} == {
        ("stored", "result", COORDINATOR.id)
    }
    assert yard.row(r.ArtifactTotal, PROJECT).live_bytes == 10
    assert yard.row(r.ArtifactShare, PROJECT, COORDINATOR.id).declared_count == 0
    assert yard.run(run) == ("running", "")


def test_the_run_has_succeeded_when_its_job_has_ended(yard: Yard) -> None:
    run = yard.trained()
    yard.ok(yard.give(1), COORDINATOR)
    yard.see(yard.jobs()[0], Phase.SUCCEEDED)
    assert (yard.run(run), yard.results()) == (("succeeded", "completed"), [(1, "finished", "")])
    assert yard.deployment(run).state == "ended"


def test_one_whose_answer_was_lost_counts_once(yard: Yard) -> None:
    """Also where Keras has written its model anew, in other bytes."""
    yard.trained()
    yard.ok(yard.give(1), COORDINATOR)
    before = yard.result(1)
    again = msgspec.structs.replace(yard.give(1), model=uploaded(derive("another"), 7))
    assert yard.ok(again, COORDINATOR)["state"] == "finished"
    assert yard.result(1) == before
    assert yard.row(r.ArtifactTotal, PROJECT).live_count == 1


def test_another_one_of_the_same_attempt_is_refused(yard: Yard) -> None:
    yard.trained()
    yard.ok(yard.give(1), COORDINATOR)
    assert yard.refused(yard.give(1, b"other"), COORDINATOR) == (409, "result_taken")


def test_late_metrics_never_take_the_place_of_the_final_ones(yard: Yard) -> None:
    yard.trained()
    yard.ok(yard.give(1, train_metrics_json="final"), COORDINATOR)
    yard.ok(metrics(yard, 1, "late"), COORDINATOR)
    assert yard.result(1).train_metrics_json == "final"


def test_what_was_stopped_stays_stopped(yard: Yard) -> None:
    run = yard.trained()
    give = yard.give(1)
    yard.ok(c.StopRun(run_id=run), COORDINATOR)
    assert yard.refused(give, COORDINATOR)[0] == 409
    assert yard.refused(metrics(yard, 1, "late"), COORDINATOR)[0] == 409
    assert yard.results() == [(1, "stopped", "stopped")]


def test_a_job_that_shall_stop_gives_nothing_any_more_though_its_run_goes_on(yard: Yard) -> None:
    run = yard.trained()
    (job,) = yard.jobs()
    yard.ok(c.StopWorkload(workload_id=job.id), COORDINATOR)
    assert yard.refused(yard.give(1), COORDINATOR) == (409, "workload_ended")
    assert (yard.run(run)[0], yard.results()) == ("running", [(1, "deployed", "")])


def test_what_was_given_before_the_stop_stays(yard: Yard) -> None:
    run = yard.trained()
    yard.ok(yard.give(1), COORDINATOR)
    yard.ok(c.StopRun(run_id=run), COORDINATOR)
    assert yard.results() == [(1, "finished", "")]


@pytest.mark.parametrize(
    ("phase", "reason", "code", "said"),
    [
        (Phase.SUCCEEDED, Reason.NONE, 0, "no_result"),  # exit code 0 means nothing
        (Phase.FAILED, Reason.EXIT_CODE, 1, "exit_code"),
        (Phase.FAILED, Reason.OUT_OF_MEMORY, 137, "out_of_memory"),
    ],
)
def test_a_job_that_ends_without_a_result_has_failed(
    yard: Yard, phase: Phase, reason: Reason, code: int, said: str
) -> None:
    run = yard.trained()
    yard.see(yard.jobs()[0], phase, reason, code)
    assert (yard.run(run), yard.results()) == (("failed", said), [(1, "failed", said)])
    assert f"exit code {code}" in yard.result(1).detail


def test_of_a_chain_all_results_must_be_there(yard: Yard) -> None:
    run = yard.trained(UPPER)  # what feeds it comes with it
    yard.ok(yard.give(1), COORDINATOR)
    yard.see(yard.jobs()[0], Phase.SUCCEEDED)
    assert (yard.run(run), yard.results()) == (
        ("failed", "no_result"),
        [(1, "finished", ""), (2, "failed", "no_result")],
    )
    run = yard.trained(LOWER, UPPER)
    for number in (3, 4):
        yard.ok(yard.give(number), COORDINATOR)
    yard.see(yard.jobs()[1], Phase.SUCCEEDED)
    assert yard.run(run) == ("succeeded", "completed")


def test_the_next_attempt_trains_a_chain_anew(yard: Yard) -> None:
    yard.trained(UPPER, LOWER, attempts=2)
    yard.ok(yard.give(1), COORDINATOR)
    (job,) = yard.jobs()
    late = yard.give(2)
    yard.see(job, Phase.FAILED, Reason.NODE_LOST, None)
    assert yard.refused(late, COORDINATOR) == (409, "workload_ended")
    first = yard.result(1).model_artifact_id
    for number in (1, 2):
        yard.ok(yard.give(number, b"second", attempt=2), COORDINATOR)
    assert yard.result(1).model_artifact_id != first
    assert yard.results() == [(1, "finished", ""), (2, "finished", "")]


def test_a_job_that_has_given_everything_and_lingers_has_succeeded(yard: Yard) -> None:
    run = yard.trained(UPPER, ONE)
    for number in (1, 2):
        yard.ok(yard.give(number), COORDINATOR)
    later = yard.row(r.Run, run).deadline_at
    assert later - yard.now > 500_000 * SECOND  # another job is still waited for
    yard.ok(yard.give(3), COORDINATOR)
    soon = yard.row(r.Run, run).deadline_at
    assert soon == yard.now + 600 * SECOND
    yard.now = soon
    yard.ok(c.PassDeadline(run_id=run, task_seq=None, round=None, deadline_at=soon))
    assert (yard.run(run), yard.results()) == (("succeeded", "completed"), [(n, "finished", "") for n in (1, 2, 3)])
    assert all(job.stop_at is not None for job in yard.jobs())


def test_an_upload_whose_bytes_may_have_been_swept_is_not_taken(yard: Yard) -> None:
    """They lie in the store before any record knows them."""
    yard.trained()
    yard.asked_before_s = 1801
    assert yard.refused(yard.give(1), COORDINATOR) == (409, "not_stored")
    yard.asked_before_s = 1799
    assert yard.ok(yard.give(1), COORDINATOR)["state"] == "finished"
    assert training_results.WAITS_S * 2 * SECOND <= sweeper.UNKNOWN_AFTER


def refusing(yard: Yard, number: int, why: str = "too large") -> sc.RefuseResult:
    workload = yard.result(number).workload_id or ""
    return sc.RefuseResult(workload_id=workload, attempt=1, number=number, detail=why)


def test_a_job_whose_result_was_refused_is_not_waited_for_for_ever(yard: Yard) -> None:
    """TensorFlow's waits for other data then, and would until the deadline of its run."""
    run = yard.trained(ONE, TORCH)
    yard.ok(refusing(yard, 1), COORDINATOR)
    assert yard.row(r.Run, run).deadline_at - yard.now > 500_000 * SECOND  # the other one trains
    yard.ok(yard.give(2), COORDINATOR)
    soon = yard.row(r.Run, run).deadline_at
    assert soon == yard.now + 600 * SECOND
    yard.now = soon
    yard.ok(c.PassDeadline(run_id=run, task_seq=None, round=None, deadline_at=soon))
    assert yard.run(run) == ("failed", "result_refused")
    assert yard.results() == [(1, "failed", "result_refused"), (2, "finished", "")]
    assert yard.result(1).detail == "too large"
    assert all(job.stop_at is not None for job in yard.jobs())


def test_a_refused_result_that_is_given_better_counts(yard: Yard) -> None:
    run = yard.trained()
    yard.ok(refusing(yard, 1), COORDINATOR)
    assert (yard.result(1).state, yard.result(1).reason) == ("deployed", "result_refused")
    yard.ok(yard.give(1), COORDINATOR)
    yard.ok(refusing(yard, 1, "late"), COORDINATOR)
    yard.see(yard.jobs()[0], Phase.SUCCEEDED)
    assert (yard.run(run), yard.results()) == (("succeeded", "completed"), [(1, "finished", "")])
    assert yard.result(1).detail == ""


def test_a_job_that_ends_when_its_result_was_refused_says_so(yard: Yard) -> None:
    run = yard.trained()
    yard.ok(refusing(yard, 1), COORDINATOR)
    yard.see(yard.jobs()[0], Phase.SUCCEEDED)
    assert (yard.run(run), yard.results()) == (("failed", "result_refused"), [(1, "failed", "result_refused")])


@pytest.mark.parametrize(("reason", "state"), [(Reason.SITE_SILENT, "deployed"), (Reason.SITE_RETIRED, "failed")])
def test_a_job_at_a_site_that_is_silent_may_run_on(yard: Yard, reason: Reason, state: str) -> None:
    yard.trained()
    made = draft([one for rows in yard.state.rows.values() for one in rows.values()])
    jobs.ended(made, msgspec.structs.replace(yard.jobs()[0], state="lost", reason=reason))
    assert made.have(sr.TrainingResult, yard.result(1).id).state == state


def test_one_job_fails_and_the_others_go_on(yard: Yard) -> None:
    run = yard.trained(ONE, TORCH)
    one, torch = yard.jobs()
    yard.see(one, Phase.SUCCEEDED)
    assert yard.run(run) == ("running", "")
    yard.ok(yard.give(2), COORDINATOR)
    yard.see(torch, Phase.SUCCEEDED)
    assert yard.run(run) == ("failed", "no_result")
    assert yard.results() == [(1, "failed", "no_result"), (2, "finished", "")]


def test_an_indefinite_one_gives_results_of_their_own(yard: Yard) -> None:
    run = yard.start(indefinite=True, incremental=True, monitoring_metric="model", change="up")
    yard.announce(run, topic="live", total_msg=None, incremental=True)
    yard.prepared(run)
    first, again, second = (yard.give(1, said, indefinite=True) for said in (b"a", b"a", b"b"))
    assert yard.ok(first, COORDINATOR)["number"] == 2
    assert yard.ok(again, COORDINATOR)["number"] == 2
    assert yard.ok(second, COORDINATOR)["number"] == 3
    assert yard.results() == [(1, "deployed", ""), (2, "finished", ""), (3, "finished", "")]
    yard.see(yard.jobs()[0], Phase.SUCCEEDED)
    assert (yard.results()[0], yard.run(run)) == ((1, "stopped", "ended"), ("succeeded", "completed"))


def test_only_the_door_of_its_job_takes_it(yard: Yard) -> None:
    yard.trained(ONE, TORCH)
    give = yard.give(1)
    other = yard.result(2).workload_id or ""
    assert yard.refused(msgspec.structs.replace(give, workload_id=other), COORDINATOR) == (404, "not_found")
    assert yard.refused(give, by_site(1)) == (404, "not_found")
    assert yard.refused(msgspec.structs.replace(give, attempt=2), COORDINATOR) == (404, "not_found")


def test_what_has_no_room_is_refused_and_comes_again(yard: Yard) -> None:
    yard.trained()
    large = msgspec.structs.replace(yard.give(1), model=uploaded(derive("large"), 5_000_000_000))
    assert yard.refused(large, COORDINATOR) == (413, "too_large")
    assert yard.results() == [(1, "deployed", "")]
    yard.ok(yard.give(1), COORDINATOR)


def test_what_its_coordinator_has_not_finished_uploading_is_no_obstacle(yard: Yard) -> None:
    yard.trained()
    site = COORDINATOR.id
    yard.state.put(r.ArtifactShare(project_id=PROJECT, site_id=site, declared_bytes=10**11, declared_count=16))
    yard.ok(yard.give(1), COORDINATOR)
    assert yard.row(r.ArtifactShare, PROJECT, site).declared_count == 16


# by people


def stop(number: int) -> sc.StopResult:
    return sc.StopResult(number=number)


def test_a_result_is_stopped_with_its_job_and_what_else_that_makes(yard: Yard) -> None:
    run = yard.trained(UPPER, LOWER, ONE)
    chain, single = yard.jobs()
    yard.ok(stop(1), COORDINATOR)
    assert yard.results() == [(1, "stopped", "stopped"), (2, "stopped", "stopped"), (3, "deployed", "")]
    assert [yard.row(r.Workload, one.id).stop_at is not None for one in (chain, single)] == [True, False]
    assert yard.refused(stop(1), COORDINATOR) == (409, "not_now")
    yard.ok(yard.give(3), COORDINATOR)
    yard.see(single, Phase.SUCCEEDED)
    assert yard.run(run) == ("cancelled", "stopped")


def test_one_that_waits_is_stopped_at_once(yard: Yard) -> None:
    run = yard.start(ONE, TORCH)
    yard.ok(stop(1), COORDINATOR)
    assert (yard.run(run), yard.results()) == (("running", ""), [(1, "stopped", "stopped"), (2, "created", "")])
    yard.announce(run)
    yard.prepared(run)
    assert [job.name for job in yard.jobs()] == ["model-training-2"]
    other = yard.start()
    yard.ok(stop(3), COORDINATOR)
    assert (yard.run(other), yard.deployment(other).state) == (("cancelled", "stopped"), "ended")


def test_a_job_that_people_stop_stops_its_result(yard: Yard) -> None:
    run = yard.trained()
    (job,) = yard.jobs()
    yard.ok(c.StopWorkload(workload_id=job.id, reason="too dear"), COORDINATOR)
    yard.see(job, Phase.FAILED, Reason.SIGNALLED, 143)
    assert (yard.run(run), yard.results()) == (("cancelled", "stopped"), [(1, "stopped", "stopped")])


def test_what_has_ended_is_deleted_with_its_files(yard: Yard) -> None:
    yard.trained()
    delete = sc.DeleteResult(number=1)
    assert yard.refused(delete, COORDINATOR) == (409, "not_now")
    yard.ok(yard.give(1), COORDINATOR)
    decision = yard.decide(delete, COORDINATOR)
    assert [one.command for one in decision.follow_ups] == [
        c.DeleteArtifact(artifact_id=yard.result(1).model_artifact_id or "")
    ]
    assert yard.result(1).deleted_at is not None
    assert not yard.decide(delete, COORDINATOR).follow_ups


@pytest.mark.parametrize(("state", "kept"), [("preparing", True), ("serving", True), ("stopped", False)])
def test_what_a_service_answers_with_stays(yard: Yard, state: str, kept: bool) -> None:
    yard.trained()
    yard.ok(yard.give(1), COORDINATOR)
    yard.state.put(row(sr.Inference, id=derive("inference"), number=4, result_number=1, state=state))
    if kept:
        assert yard.refused(sc.DeleteResult(number=1), COORDINATOR) == (409, "in_use")
    else:
        yard.ok(sc.DeleteResult(number=1), COORDINATOR)


def test_what_never_began_is_deleted_and_stopped_with_it(yard: Yard) -> None:
    run = yard.start()
    yard.ok(sc.DeleteResult(number=1), COORDINATOR)
    assert (yard.run(run), yard.results()) == (("cancelled", "stopped"), [(1, "stopped", "stopped")])


@pytest.mark.parametrize("command", [stop(1), sc.DeleteResult(number=1)])
def test_they_are_the_coordinators_to_change(yard: Yard, command: Any) -> None:
    yard.start()
    assert yard.refused(command, by_site(1))[0] in (403, 404)


def test_none_is_there(yard: Yard) -> None:
    assert yard.refused(stop(9), COORDINATOR) == (404, "not_found")
