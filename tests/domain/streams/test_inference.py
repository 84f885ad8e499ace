"""Inference: topics first, then the service; what it is told, what may not be, and how it goes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.attempts import want
from domain.ids import derive
from domain.rules import Rules, StreamCluster, StreamRules
from domain.stream_values import InferenceAsked
from domain.streams.serving import clusters_of, flaw_of, topics_on
from domain.values import Asked
from domain.workloads import spec_of
from tests.domain.scenes import (
    CAUSE,
    NOW,
    PROJECT,
    RUN,
    SITES,
    answer,
    by_account,
    by_site,
    came_to,
    decided,
    detail,
    draft,
    project,
    row,
    written,
)

NET, RESULT, WORKLOAD = (derive("inference", name) for name in ("net", "result", "workload"))
ID = derive(CAUSE, "inference")


def cluster(name: str) -> StreamCluster:
    return StreamCluster(name=name, workload_bootstrap_servers=f"{name}:9092")


RULES = Rules(
    clusters="hub=processes",
    streams=StreamRules(
        clusters=(cluster("cloud"), cluster("edge")),
        images={"tensorflow_inference": "kafka-ml/tf:1", "pytorch_inference": "kafka-ml/pth:1"},
        door_url="http://hub",
    ),
)
ASKED = InferenceAsked(input_format="RAW", input_config='{"data_type":"uint8"}', input_topic="in", output_topic="out")


def world(framework: str = "tf", *, distributed: bool = False, **fields: Any) -> list[Any]:
    """A finished result of the project, number 7."""
    result = {"id": RESULT, "number": 7, "project_id": PROJECT, "run_id": RUN, "architecture_id": NET, "version": 2}
    result |= {"state": "finished", "model_artifact_id": derive("artifact")}
    return [
        *project(2),
        row(sr.TrainingResult, **(result | fields)),
        row(sr.ArchitectureVersion, architecture_id=NET, version=2, framework=framework, distributed=int(distributed)),
    ]


def starting(**fields: Any) -> sc.StartInference:
    own = {name: fields.pop(name) for name in ("project_id", "result", "where") if name in fields}
    return sc.StartInference(
        **({"project_id": PROJECT, "result": 7} | own), asked=msgspec.structs.replace(ASKED, **fields)
    )


def inference(state: str = "preparing", **fields: Any) -> sr.Inference:
    asked = msgspec.structs.replace(ASKED, input_cluster="cloud", output_cluster="cloud", upper_cluster="cloud")
    usual = {"id": ID, "number": 4, "project_id": PROJECT, "result_number": 7, "framework": "tf", "location": "hub"}
    usual |= {"cluster": "cloud", "input_topic": "in", "group_id": "inf7-4", "state": state}
    return row(sr.Inference, **(usual | {"asked_json": msgspec.json.encode(asked).decode()} | fields))


def serving(workload: str = "running", **fields: Any) -> list[Any]:
    """An inference and its workload in this state."""
    return [
        inference(**({"state": "serving", "workload_id": WORKLOAD} | fields)),
        row(r.Workload, id=WORKLOAD, project_id=PROJECT, cluster="hub", kind="service", state=workload, attempt=1),
        row(r.WorkloadAttempt, workload_id=WORKLOAD, attempt=1, state=workload, addresses_json="{}"),
    ]


def reported(**fields: Any) -> sc.ReportStream:
    return sc.ReportStream(**({"purpose": "inference", "about_id": ID, "attempt": 1} | fields))


def test_its_topics_are_asked_for_before_anything_runs() -> None:
    decision = decided(starting(replicas=3), world(), by_site(0), rules=RULES)
    assert (decision.status, answer(decision)) == (
        201,
        {"id": ID, "project_id": PROJECT, "number": 1, "state": "preparing"},
    )
    (asked,) = [each.command for each in decision.follow_ups]
    assert asked == sc.PrepareStream(
        cluster="cloud",
        purpose="inference",
        about_id=ID,
        topics=[sc.NewTopic(name="in", partitions=3), sc.NewTopic(name="out", partitions=3)],
    )
    assert not written(decision, r.Workload)
    (made,) = written(decision, sr.Inference)
    assert (made.group_id, made.framework, made.result_id) == ("inf7-1", "tf", RESULT)


def test_it_is_wanted_once_its_topics_are_there() -> None:
    decision = decided(reported(), [*world(), inference()], rules=RULES)
    (workload,) = written(decision, r.Workload)
    spec = spec_of(workload)
    assert (workload.name, workload.purpose, workload.cluster) == ("model-inference-4", "inference", "hub")
    assert (spec.kind, spec.image, spec.object_name, spec.replicas, spec.port) == (
        "service",
        "kafka-ml/tf:1",
        "model-inference-4",
        1,
        None,
    )
    assert spec.labels == {"name": "model-inference-4", "app": "inference4"}
    assert spec.environment == {
        "INPUT_BOOTSTRAP_SERVERS": "cloud:9092",
        "OUTPUT_BOOTSTRAP_SERVERS": "cloud:9092",
        "MODEL_URL": "{door}/results/model/7",
        "MODEL_ARCH_URL": "{door}/results/7",
        "INPUT_FORMAT": "RAW",
        "INPUT_CONFIG": '{"data_type":"uint8"}',
        "INPUT_TOPIC": "in",
        "OUTPUT_TOPIC": "out",
        "GROUP_ID": "inf7-4",
    }
    (now,) = written(decision, sr.Inference)
    assert (now.state, now.workload_id) == ("serving", workload.id)


def test_a_part_of_a_chain_has_its_topics_made_in_each_cluster_one_after_the_other() -> None:
    asked = {"output_cluster": "edge", "upper_cluster": "cloud", "output_upper": "upper", "limit": 0.9}
    decision = decided(starting(**asked), world(distributed=True), by_site(0), rules=RULES)
    (made,) = written(decision, sr.Inference)
    (first,) = [each.command for each in decision.follow_ups]
    assert isinstance(first, sc.PrepareStream)
    assert (first.cluster, [one.name for one in first.topics]) == ("cloud", ["in", "upper"])
    rows = [*world(distributed=True), made]
    second = decided(reported(), rows, rules=RULES)
    (then,) = [each.command for each in second.follow_ups]
    assert isinstance(then, sc.PrepareStream)
    assert (then.cluster, then.attempt, [one.name for one in then.topics]) == ("edge", 2, ["out"])
    (between,) = written(second, sr.Inference)
    assert (between.state, between.step) == ("preparing", 2)
    last = decided(reported(attempt=2), [*world(distributed=True), between], rules=RULES)
    environment = spec_of(written(last, r.Workload)[0]).environment
    assert (environment["UPPER_BOOTSTRAP_SERVERS"], environment["LIMIT"]) == ("cloud:9092", "0.9")
    assert environment["OUTPUT_BOOTSTRAP_SERVERS"] == "edge:9092"


def test_topics_that_cannot_be_made_are_why_it_has_failed() -> None:
    decision = decided(reported(reason="refused", detail="no right"), [*world(), inference()], rules=RULES)
    (failed,) = written(decision, sr.Inference)
    assert (failed.state, failed.reason, failed.detail) == ("failed", "refused", "no right")
    assert not written(decision, r.Workload)


@pytest.mark.parametrize(
    "there",
    [inference("stopped"), inference("failed"), inference("serving", workload_id=WORKLOAD), inference(step=2)],
    ids=["stopped", "failed", "serving", "of a step before"],
)
def test_a_report_that_comes_late_changes_nothing(there) -> None:
    decision = decided(reported(), [*world(), there], rules=RULES)
    assert decision.accepted
    assert not written(decision, r.Workload)
    assert not written(decision, sr.Inference)


def test_of_one_that_is_not_there_a_report_changes_nothing() -> None:
    assert decided(reported(), world(), rules=RULES).accepted


def test_for_a_project_that_was_archived_meanwhile_nothing_starts() -> None:
    rows = [one for one in world() if not isinstance(one, r.Project)] + [project(2, archived_at=NOW)[1], inference()]
    decision = decided(reported(), rows, rules=RULES)
    assert (written(decision, sr.Inference)[0].state, written(decision, r.Workload)) == ("failed", [])


@pytest.mark.parametrize("fields", [{"images": {}}, {"clusters": (cluster("edge"),)}], ids=["image", "cluster"])
def test_settings_that_changed_meanwhile_are_why_it_has_failed(fields) -> None:
    now = msgspec.structs.replace(RULES, streams=msgspec.structs.replace(RULES.streams, **fields))
    decision = decided(reported(), [*world(), inference()], rules=now)
    (failed,) = written(decision, sr.Inference)
    assert (failed.state, failed.reason, written(decision, r.Workload)) == ("failed", "settings", [])
    assert failed.detail


def test_devices_come_with_the_runtime_that_shows_them() -> None:
    asked = msgspec.json.encode(
        msgspec.structs.replace(ASKED, gpus=2, input_cluster="cloud", output_cluster="cloud")
    ).decode()
    decision = decided(reported(), [*world(), inference(asked_json=asked)], rules=RULES)
    spec = spec_of(written(decision, r.Workload)[0])
    assert spec.resources.gpus == {"nvidia.com/gpu": 2}
    assert (spec.placement.runtime_class, spec.environment["NVIDIA_VISIBLE_DEVICES"]) == ("nvidia", "all")


@pytest.mark.parametrize(
    ("command", "rows", "by", "came"),
    [
        (starting(), world(), by_site(1), "forbidden"),
        (starting(project_id=NET), world(), by_site(0), "not_found"),
        (starting(result=8), world(), by_site(0), "not_found"),
        (starting(), world(project_id=NET), by_site(0), "not_found"),
        (starting(), world(deleted_at=NOW), by_site(0), "not_found"),
        (starting(), world(state="deployed", model_artifact_id=None), by_site(0), "not_now"),
        (starting(), world(model_artifact_id=None), by_site(0), "not_now"),
        (starting(input_cluster="far"), world(), by_site(0), "impossible"),
        (starting(output_cluster="far"), world(), by_site(0), "impossible"),
        (starting(where="moon"), world(), by_site(0), "impossible"),
        (starting(limit=0.5), world(), by_site(0), "impossible"),
        (starting(output_topic="in"), world(), by_site(0), "impossible"),
        (starting(where=f"site:{SITES[1]}"), world(), by_site(0), "accepted"),
        (starting(), world("pth"), by_site(0), "accepted"),
    ],
)
def test_who_may_start_one_and_what_cannot_be_served(command, rows, by, came) -> None:
    assert came_to(decided(command, rows, by, rules=RULES)) == came


def test_without_its_image_or_a_cluster_of_kafka_nothing_is_served() -> None:
    bare = msgspec.structs.replace(RULES, streams=msgspec.structs.replace(RULES.streams, images={}))
    assert "tensorflow_inference" in detail(decided(starting(), world(), by_site(0), rules=bare))
    none = msgspec.structs.replace(RULES, streams=StreamRules())
    assert "no cluster of Kafka" in detail(decided(starting(), world(), by_site(0), rules=none))


def test_a_second_pytorch_inference_on_a_topic_is_refused() -> None:
    """Its container reads with one group whatever it is told, so each would get some of the records."""
    there = inference("serving", id=WORKLOAD, framework="pth", group_id="group_id")
    assert came_to(decided(starting(), [*world("pth"), there], by_site(0), rules=RULES)) == "name_taken"
    for other in (
        msgspec.structs.replace(there, state="stopped"),
        msgspec.structs.replace(there, input_topic="elsewhere"),
        msgspec.structs.replace(there, cluster="edge"),
        msgspec.structs.replace(there, group_id="inf7-4"),
    ):
        assert decided(starting(), [*world("pth"), other], by_site(0), rules=RULES).accepted
    assert decided(starting(), [*world(), there], by_site(0), rules=RULES).accepted


@pytest.mark.parametrize(
    "topic",
    ["control", "control.7", "models", "data", "runs.events.v1", "__consumer_offsets", "FED-i1ewgcrt-model_data_topic"],
)
def test_a_topic_of_the_hub_is_no_inferences(topic: str) -> None:
    """The hub would show it to whoever is a member of the project, and who reads it would believe what is written."""
    cloud = StreamCluster(
        name="cloud",
        control_topics=("control",),
        model_topics=("models",),
        data_topics=("data",),
        written_topics=("runs.events.v1",),
    )
    clusters = (cloud, cluster("edge"))
    rules = msgspec.structs.replace(RULES, streams=msgspec.structs.replace(RULES.streams, clusters=clusters))
    for asked in (starting(input_topic=topic), starting(output_topic=topic)):
        assert "name another" in detail(decided(asked, world(), by_site(0), rules=rules))
    elsewhere = decided(starting(input_topic="data", input_cluster="edge"), world(), by_site(0), rules=rules)
    assert elsewhere.accepted


def test_a_topic_of_another_projects_inference_is_not_shared() -> None:
    other = inference("stopped", id=WORKLOAD, project_id=derive("another"))
    for asked in (starting(input_topic="out", output_topic="mine"), starting(input_topic="mine", output_topic="in")):
        assert came_to(decided(asked, [*world(), other], by_site(0), rules=RULES)) == "name_taken"
    for gone in (msgspec.structs.replace(other, deleted_at=NOW), msgspec.structs.replace(other, project_id=PROJECT)):
        assert decided(starting(), [*world(), gone], by_site(0), rules=RULES).accepted


def test_one_that_never_comes_to_run_counts_for_its_day() -> None:
    rules = msgspec.structs.replace(RULES, workloads_per_day=3)
    counts = {("inferences of a day", PROJECT): 3}
    assert came_to(decided(starting(), world(), by_site(0), rules=rules, counts=counts)) == "too_many"


def test_nothing_is_wanted_that_nobody_could_read() -> None:
    """What would be written would fail whoever lists it, or decides about it."""
    odd = msgspec.structs.replace(spec_of(row(r.Workload, spec_json='{"kind":"job","image":"i"}')), object_name="a_b")
    made = draft(project(2), rules=RULES)
    with pytest.raises(msgspec.ValidationError, match="object_name"):
        want(made, WORKLOAD, made.have(r.Project, PROJECT), Asked(name="n", spec=odd, where="hub"))
    assert made.get(r.Workload, WORKLOAD) is None


def test_what_is_stopped_goes_and_is_shown_until_it_is_gone() -> None:
    stop = sc.StopInference(project_id=PROJECT, inference_id=ID)
    delete = sc.DeleteInference(project_id=PROJECT, inference_id=ID)
    decision = decided(stop, [*world(), *serving()], by_site(0))
    assert (answer(decision)["state"], written(decision, r.Workload)[0].stop_at) == ("stopped", NOW)
    still = [*world(), *serving(state="stopped")]
    assert came_to(decided(delete, still, by_site(0))) == "in_use"
    gone = [*world(), *serving("stopped", state="stopped")]
    assert written(decided(delete, gone, by_site(0)), sr.Inference)[0].deleted_at == NOW
    ended = written(decided(delete, [*world(), *serving("failed")], by_site(0)), sr.Inference)
    assert [(one.state, one.deleted_at) for one in ended] == [("stopped", NOW)]
    again = decided(stop, gone, by_site(0))
    assert (answer(again)["state"], written(again, sr.Inference)) == ("stopped", [])


@pytest.mark.parametrize(("state", "came"), [("preparing", "in_use"), ("failed", "accepted"), ("stopped", "accepted")])
def test_what_is_deleted_does_not_run(state, came) -> None:
    delete = sc.DeleteInference(project_id=PROJECT, inference_id=ID)
    assert came_to(decided(delete, [*world(), inference(state)], by_site(0))) == came


def test_one_that_is_being_prepared_stops_at_once() -> None:
    stop = sc.StopInference(project_id=PROJECT, inference_id=ID)
    decision = decided(stop, [*world(), inference()], by_site(0))
    assert answer(decision)["state"] == "stopped"


@pytest.mark.parametrize(
    ("by", "came"), [(by_site(1), "forbidden"), (by_account("admin", NET)[0], "accepted"), (by_site(0), "accepted")]
)
def test_who_may_stop_it(by, came) -> None:
    stop = sc.StopInference(project_id=PROJECT, inference_id=ID)
    rows = [*world(), inference(), by_account("admin", NET)[1]]
    assert came_to(decided(stop, rows, by)) == came
    elsewhere = [*world(), inference(project_id=NET), by_account("admin", NET)[1]]
    assert came_to(decided(stop, elsewhere, by)) in ("not_found", "forbidden")


@pytest.mark.parametrize(
    ("fields", "distributed", "says"),
    [
        ({"output_upper": "up"}, False, "only a part of a chain"),
        ({"output_upper": "up"}, True, "name limit"),
        ({"input_topic": ""}, False, "input_topic is empty"),
        ({"output_topic": "in"}, False, "different topics"),
        ({"output_upper": "out", "limit": 1.0}, True, "different topics"),
        ({"input_config": "{"}, False, "no JSON object"),
        ({"input_config": "[]"}, False, "no JSON object"),
    ],
)
def test_what_cannot_be_served_is_said(fields, says, *, distributed) -> None:
    assert says in (flaw_of(msgspec.structs.replace(ASKED, **fields), distributed=distributed) or "")


def test_its_topics_by_cluster() -> None:
    asked = msgspec.structs.replace(
        ASKED, input_cluster="a", output_cluster="b", upper_cluster="a", output_upper="up", limit=1.0
    )
    assert flaw_of(asked, distributed=True) is None
    assert [(one, topics_on(asked, one)) for one in clusters_of(asked)] == [("a", ["in", "up"]), ("b", ["out"])]
