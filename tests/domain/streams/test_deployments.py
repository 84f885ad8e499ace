"""Deployments: what they wait for, what their jobs are told, and how they end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain import commands as c
from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.progress.stage import spec_of
from domain.decisions.streams.deployments import workers_gone
from domain.rules import Rules, StreamRules
from domain.stream_values import Deployment
from domain.streams.training import key_of
from fedyard.cluster.port import Phase, Reason
from tests.domain.scenes import PROJECT, answer, by_site, detail, draft, refusal
from tests.domain.streams.deployed import CLOUD, COORDINATOR, FIT, IMAGES, LOWER, ONE, RULES, TORCH, UPPER, Yard


@pytest.fixture
def yard() -> Yard:
    return Yard()


def test_it_waits_for_its_data_and_no_job_with_it(yard: Yard) -> None:
    run = yard.start()
    assert (yard.deployment(run).number, yard.deployment(run).state) == (1, "waiting")
    assert (yard.run(run), yard.results(), yard.jobs()) == (("running", ""), [(1, "created", "")], [])


def test_a_run_of_the_projects_tasks_has_room_beside_it(yard: Yard) -> None:
    yard.start()
    assert yard.ok(c.StartRun(project_id=PROJECT), COORDINATOR)["state"] == "running"
    assert yard.refused(c.StartRun(project_id=PROJECT), COORDINATOR) == (409, "run_live")


def test_what_makes_model_files_counts_as_well_where_workloads_are_bounded() -> None:
    start = sc.StartDeployment(project_id=PROJECT, contract=Deployment(**FIT), architecture_ids=[ONE])
    one = msgspec.structs.replace(RULES, workloads_per_project=1)
    assert refusal(Yard(files=False).decide(start, COORDINATOR, one)) == (409, "too_many")
    assert Yard().decide(start, COORDINATOR, one).accepted


def test_one_that_is_stopped_before_its_jobs_counts_for_its_day(yard: Yard) -> None:
    """A federated one has made topics by then."""
    start = sc.StartDeployment(project_id=PROJECT, contract=Deployment(**FIT), architecture_ids=[ONE])
    two = msgspec.structs.replace(RULES, workloads_per_day=2)
    for _ in range(2):
        decision = yard.decide(start, COORDINATOR, two)
        yard.ok(c.StopRun(run_id=answer(decision)["id"]), COORDINATOR)
    assert refusal(yard.decide(start, COORDINATOR, two)) == (409, "too_many")


def test_a_flood_of_data_for_one_deployment_is_told_of_a_hundred_times(yard: Yard) -> None:
    """Events are kept for ever."""
    run = yard.start()
    for _ in range(110):
        yard.announce(run)
    kinds = [each.kind for each in yard.state.rows[r.Event].values()]
    assert (kinds.count("data_arrived"), kinds.count("data_not_used")) == (1, 99)


def test_numbers_go_on(yard: Yard) -> None:
    first, second = yard.start(), yard.start(ONE, TORCH)
    assert [yard.deployment(run).number for run in (first, second)] == [1, 2]
    assert [number for number, _, _ in yard.results()] == [1, 2, 3]


def test_what_its_data_say_is_prepared_in_a_topic_of_its_own_without_empty_ranges(yard: Yard) -> None:
    run = yard.start()
    yard.announce(run)
    prepare = yard.prepare
    assert (prepare.cluster, prepare.purpose, prepare.about_id, prepare.attempt) == ("cloud", "training", run, 1)
    assert prepare.topics == [sc.NewTopic(f"CONTROL.{run}.1")]
    assert prepare.needs == ["data"]
    assert prepare.ranges == [sc.Range("data", 0, 0, 5), sc.Range("data", 2, 3, 8)]
    (record,) = prepare.records
    said = msgspec.json.decode(record.value)
    assert (record.topic, record.key) == (f"CONTROL.{run}.1", b"\x01")
    assert (said["topic"], said["total_msg"], said["of_tomorrow"]) == ("data:0:0:5,data:2:3:8", 10, [1])
    assert (yard.deployment(run).state, yard.jobs()) == ("preparing", [])


def test_in_the_shared_topic_its_record_lies_already(yard: Yard) -> None:
    run = yard.start(control="shared")
    yard.announce(run)
    assert (yard.prepare.topics, yard.prepare.records, yard.prepare.needs) == ([], [], ["data"])
    (task,) = yard.rows(r.TaskRun)
    assert spec_of(task).workloads[0].spec.environment["CONTROL_TOPIC"] == "CONTROL"


def test_in_the_shared_topic_what_was_announced_before_it_would_be_read_instead(yard: Yard) -> None:
    yard.announce(1)
    early = yard.rows(sr.DataSource)[0].id
    run = yard.start(control="shared")
    yard.announce(run)
    ended = yard.row(r.Run, run)
    assert (ended.state, ended.reason) == ("failed", "announced_before")
    assert early in ended.detail
    assert yard.jobs() == []


def test_in_a_topic_of_its_own_it_does_not_matter_what_was_announced_before(yard: Yard) -> None:
    yard.announce(1)
    run = yard.start()
    yard.announce(run)
    assert yard.deployment(run).state == "preparing"


@pytest.mark.parametrize(
    ("number", "key"), [(1, b"\x01"), (255, b"\xff"), (256, b"\x01\x00"), (300, b"\x01\x2c"), (70_000, b"\x01\x11\x70")]
)
def test_a_number_is_as_few_bytes_as_it_takes(number: int, key: bytes) -> None:
    assert key_of(number) == key


def test_once_its_ground_is_prepared_each_job_is_wanted(yard: Yard) -> None:
    run = yard.start(ONE, LOWER, UPPER)
    yard.announce(run)
    yard.prepared(run)
    chain, single = yard.jobs()
    assert (chain.name, single.name) == ("distributed-model-training-2-3", "model-training-1")
    assert {one.purpose for one in (chain, single)} == {"training"}
    attempt = yard.row(r.WorkloadAttempt, single.id, 1)
    assert (single.run_id, attempt.site_id, yard.rows(r.Seat)) == (run, None, [])
    told = msgspec.json.decode(single.spec_json)
    assert (told["image"], told["object_name"]) == ("kml/tf", "model-training-1")
    assert told["environment"]["RESULT_URL"] == "{door}/results/1"
    assert told["environment"]["CONTROL_TOPIC"] == f"CONTROL.{run}.1"
    assert told["environment"]["BOOTSTRAP_SERVERS"] == "kafka:9092"
    assert yard.results() == [(n, "deployed", "") for n in (1, 2, 3)]
    assert {yard.result(n).workload_id for n in (2, 3)} == {chain.id}
    assert [yard.result(n).architecture_id for n in (2, 3)] == [LOWER, UPPER]


def test_devices_are_asked_for(yard: Yard) -> None:
    yard.start(gpumem=2)
    (task,) = yard.rows(r.TaskRun)
    spec = spec_of(task).workloads[0].spec
    assert (spec.resources.gpus, spec.placement.runtime_class) == ({"nvidia.com/gpu": 2}, "nvidia")


def test_a_federated_one_waits_for_no_data_but_for_its_topics(yard: Yard) -> None:
    run = yard.start(federated=True)
    string_id = yard.deployment(run).string_id
    assert len(string_id) == 8
    assert {topic.name for topic in yard.prepare.topics} == {
        f"FED-{string_id}-model_control_topic",
        f"FED-{string_id}-model_data_topic",
        f"FED-{string_id}-agg_control_topic",
        "MODELS",
        f"CONTROL.{run}.1",
    }
    assert (yard.prepare.records, yard.prepare.ranges) == ([], [])
    yard.announce(run)
    assert "at the edge" in yard.events("data_not_used")[0]["why"]
    yard.prepared(run)
    (job,) = yard.jobs()
    assert job.name == "federated-model-training-controller-1"
    assert msgspec.json.decode(job.spec_json)["environment"]["FEDERATED_STRING_ID"] == string_id


@pytest.mark.parametrize(
    ("contract", "said", "reason"),
    [
        ({}, {"total_msg": 11}, "data_inconsistent"),
        ({}, {"topic": "data:0:4:4,data:1:0:0", "total_msg": 0}, "data_empty"),
        ({}, {"topic": "data", "total_msg": None, "incremental": True}, "data_unfit"),
        ({"incremental": True}, {}, "data_unfit"),
    ],
)
def test_data_that_nothing_can_be_trained_on_fail_it_before_any_job(
    yard: Yard, contract: dict[str, Any], said: dict[str, Any], reason: str
) -> None:
    run = yard.start(**contract)
    yard.announce(run, **said)
    assert (yard.run(run), yard.jobs()) == (("failed", reason), [])
    assert yard.results() == [(1, "failed", reason)]
    assert yard.deployment(run).state == "ended"


def test_a_total_that_is_not_said_is_what_the_ranges_have(yard: Yard) -> None:
    yard.announce(yard.start(), total_msg=None)
    assert msgspec.json.decode(yard.prepare.records[0].value)["total_msg"] == 10


def test_incremental_training_follows_a_topic(yard: Yard) -> None:
    yard.announce(yard.start(incremental=True), topic="live", total_msg=None, incremental=True, test_rate=0.0)
    assert (yard.prepare.needs, yard.prepare.ranges) == (["live"], [])
    assert msgspec.json.decode(yard.prepare.records[0].value)["topic"] == "live"


def test_unlabelled_data_are_looked_at_as_well(yard: Yard) -> None:
    yard.announce(yard.start(unsupervised=True), unsupervised_topic="more:0:0:0,more:1:2:9")
    assert yard.prepare.needs == ["data", "more"]
    assert yard.prepare.ranges[-1] == sc.Range("more", 1, 2, 9)
    assert msgspec.json.decode(yard.prepare.records[0].value)["unsupervised_topic"] == "more:1:2:9"


@pytest.mark.parametrize("reason", ["topic_missing", "range_gone", "range_ahead", "not_reached"])
def test_what_is_not_there_fails_it_before_any_job(yard: Yard, reason: str) -> None:
    run = yard.start()
    yard.announce(run)
    yard.prepared(run, reason, "data:0")
    assert (yard.run(run), yard.jobs(), yard.results()) == (("failed", reason), [], [(1, "failed", reason)])


def test_the_first_data_count_and_late_ones_are_told(yard: Yard) -> None:
    run = yard.start()
    yard.announce(run, cluster="edge")
    yard.announce(run)
    yard.announce(run)
    assert [one["why"][:10] for one in yard.events("data_not_used")] == ["they lie i", "it has its"]
    yard.ok(c.StopRun(run_id=run), COORDINATOR)
    yard.announce(run)
    assert yard.events("data_not_used")[-1]["why"] == "the deployment has cancelled"
    yard.announce(run, key=b"\x07")  # nobody's
    assert (len(yard.events("data_not_used")), len(yard.events("data_arrived"))) == (3, 1)


def test_a_report_of_what_is_over_changes_nothing(yard: Yard) -> None:
    run = yard.start()
    yard.announce(run)
    yard.prepared(run, attempt=2)
    assert yard.jobs() == []
    yard.ok(c.StopRun(run_id=run), COORDINATOR)
    yard.prepared(run, attempt=1)
    assert (yard.jobs(), yard.run(run)) == ([], ("cancelled", "stopped"))
    yard.prepared(run, attempt=1, reason="range_gone")
    assert yard.run(run) == ("cancelled", "stopped")


def test_stopping_it_ends_what_it_started(yard: Yard) -> None:
    run = yard.trained(ONE, TORCH)
    yard.ok(c.StopRun(run_id=run, reason="enough"), COORDINATOR)
    assert yard.results() == [(1, "stopped", "stopped"), (2, "stopped", "stopped")]
    assert all(job.stop_at is not None for job in yard.jobs())
    assert (yard.run(run), yard.deployment(run).state) == (("cancelled", "stopped"), "ended")


def test_its_deadline_fails_what_it_has_not_got(yard: Yard) -> None:
    run = yard.trained(ONE, TORCH)
    yard.ok(yard.give(1), COORDINATOR)
    yard.now = yard.row(r.Run, run).deadline_at
    yard.ok(c.PassDeadline(run_id=run, task_seq=None, round=None, deadline_at=yard.now))
    assert yard.results() == [(1, "finished", ""), (2, "failed", "run_deadline")]
    assert all(job.stop_at is not None for job in yard.jobs())


def test_it_is_not_restarted(yard: Yard) -> None:
    run = yard.start()
    assert yard.refused(c.RestartRun(run_id=run), COORDINATOR) == (422, "impossible")


@pytest.mark.parametrize(
    ("contract", "architectures", "refused"),
    [
        ({"blockchain": True, "federated": True}, [ONE], (501, "not_done_here")),
        ({"agg_strategy": "FedOpt", "federated": True}, [ONE], (422, "impossible")),
        ({"incremental": True}, [TORCH], (422, "impossible")),
        ({"tf_kwargs_fit": ""}, [ONE], (422, "impossible")),
        ({}, [], (422, "impossible")),
        ({}, [PROJECT], (404, "not_found")),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_asked_for(
    yard: Yard, contract: dict[str, Any], architectures: list[str], refused: tuple[int, str]
) -> None:
    asked = Deployment(**{**FIT, **contract})
    command = sc.StartDeployment(project_id=PROJECT, contract=asked, architecture_ids=architectures)
    assert yard.refused(command, COORDINATOR) == refused


def test_it_is_the_coordinators_to_start(yard: Yard) -> None:
    command = sc.StartDeployment(project_id=PROJECT, contract=Deployment(**FIT), architecture_ids=[ONE])
    assert yard.refused(command, by_site(1))[0] in (403, 404)


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        (StreamRules(), "FEDYARD_STREAMS"),
        (StreamRules(clusters=(CLOUD,)), "no image"),
        (StreamRules(clusters=(CLOUD,), images=IMAGES, cloud="other"), "other"),
    ],
)
def test_what_the_operator_has_not_set_is_named(yard: Yard, streams: StreamRules, said: str) -> None:
    command = sc.StartDeployment(project_id=PROJECT, contract=Deployment(**FIT), architecture_ids=[ONE])
    rules = Rules(clusters="hub=processes:/nowhere", streams=streams)
    refused = yard.decide(command, COORDINATOR, rules)
    assert refusal(refused) == (422, "impossible")
    assert said in detail(refused)


def test_a_project_that_takes_sealed_payloads_alone_has_none() -> None:
    command = sc.StartDeployment(project_id=PROJECT, contract=Deployment(**FIT), architecture_ids=[ONE])
    assert Yard(sealed="required").refused(command, COORDINATOR) == (422, "unsealed")


def test_it_is_deleted_when_its_results_are(yard: Yard) -> None:
    run = yard.trained()
    delete = sc.DeleteDeployment(run_id=run)
    assert yard.refused(delete, COORDINATOR) == (409, "not_now")
    (job,) = yard.jobs()
    yard.ok(yard.give(1), COORDINATOR)
    yard.see(job, Phase.SUCCEEDED)
    assert yard.run(run) == ("succeeded", "completed")
    assert yard.refused(delete, COORDINATOR) == (409, "not_now")
    yard.ok(sc.DeleteResult(number=1), COORDINATOR)
    yard.ok(delete, COORDINATOR)
    assert yard.deployment(run).deleted_at is not None


def test_a_controller_is_stopped_when_nobody_is_left_at_the_edge(yard: Yard) -> None:
    run = yard.start(federated=True)
    yard.prepared(run)
    made = draft([*(one for rows in yard.state.rows.values() for one in rows.values())], rules=Rules())
    workers_gone(made, made.have(r.Run, run), "all 2 workers are gone")
    assert (made.have(r.Run, run).state, made.have(r.Run, run).reason) == ("failed", "too_few")


def test_an_attempt_that_was_evicted_is_followed_by_another(yard: Yard) -> None:
    run = yard.trained(attempts=2)
    (job,) = yard.jobs()
    yard.see(job, Phase.FAILED, Reason.EVICTED, None)
    (job,) = yard.jobs()
    assert (job.state, job.attempt, yard.results()) == ("wanted", 2, [(1, "deployed", "")])
    yard.see(job, Phase.FAILED, Reason.EVICTED, None)
    assert (yard.run(run), yard.results()) == (("failed", "evicted"), [(1, "failed", "evicted")])


def test_none_follows_one_that_has_given_everything(yard: Yard) -> None:
    run = yard.trained(attempts=3)
    (job,) = yard.jobs()
    yard.ok(yard.give(1), COORDINATOR)
    yard.see(job, Phase.FAILED, Reason.EVICTED, None)
    assert (yard.jobs()[0].attempt, yard.run(run)) == (1, ("succeeded", "completed"))
