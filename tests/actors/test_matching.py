"""Federated models and data, from the records in Kafka to the workers: in any order, and however often."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from actors.ticker import Ticker
from domain import codec
from domain import commands as c
from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.commands import Envelope
from domain.decisions.streams.settling import LAST_WORD_S
from domain.ids import Id, derive
from domain.needs import Needs
from domain.rules import Rules, StreamCluster, StreamRules
from domain.states import RunState
from domain.streams.matching import key_of_data, match_id, misfits, stream_of
from domain.values import Micros
from domain.workloads import spec_of
from fedyard.wire.times import SECOND
from storage.due import Due
from storage.loading_matches import MAX_ANNOUNCEMENTS
from storage.store import Changes
from storage.stream_states import overdue
from tests.domain.scenes import row
from tests.hub import START, Hub

SHAPES = {"mnist": "28 28", "cifar": "32 32 3"}
FEDERATED = {"tensorflow_federated": "kafka-ml/federated:1"}
KEPT: Micros = int(Rules().keep_quarantine_s * SECOND)


def model_value(string_id: str = "i1ewgcrt", shape: str = "28 28", **params: Any) -> bytes:
    """As the controller writes it; restrictions as Python's repr, if need be."""
    facts = {name: params.pop(name, False) for name in ("distributed", "incremental")}
    federated = {"federated_string_id": string_id, "data_restriction": "{}", "min_data": 1000} | params
    said = {"model_format": {"input_shape": shape, "output_shape": "10"}, "federated_params": federated}
    return json.dumps(said | {"framework": "tf"} | facts).encode()


def data_value(topic: str = "digits:0:0:1000", shape: str | None = "28 28", **fields: Any) -> bytes:
    """As the sink at the edge writes it."""
    config = {"data_type": "uint8", "label_type": "uint8", "data_reshape": shape, "label_reshape": "1"}
    said = {
        "topic": topic,
        "unsupervised_topic": None,
        "input_format": "RAW",
        "input_config": config,
        "description": "",
        "dataset_restrictions": "{}",
        "validation_rate": 0.2,
        "test_rate": 0.1,
        "total_msg": 1000,
        "incremental": False,
    }
    return json.dumps(said | fields).encode()


def report_of(asked: sc.PrepareStream, reason: Any = "", detail: str = "") -> sc.ReportStream:
    return sc.ReportStream(
        purpose=asked.purpose, about_id=asked.about_id, attempt=asked.attempt, reason=reason, detail=detail
    )


class Edge:
    """A hub at the edge that hears of models in one cluster of Kafka, and of data in another."""

    def __init__(self, hub: Hub, **options: Any) -> None:
        self.hub, self.offset = hub, 0
        self.site = hub.site(f"site {hub.sent}")
        self.project = hub.project([self.site])
        self.rule(**options)

    def rule(self, models_project: str | None = None, where: str = "hub", **options: Any) -> None:
        project = self.project if models_project is None else models_project
        cloud = StreamCluster(name="cloud", workload_bootstrap_servers="cloud:9092", models_project=project)
        edge = StreamCluster(name="edge", workload_bootstrap_servers="edge:9092", where=where, **options)
        self.hub.rules = Rules(clusters="hub=somewhere", streams=StreamRules(clusters=(cloud, edge), images=FEDERATED))

    def taken(self, cluster: str, value: bytes, **fields: Any) -> Envelope:
        self.offset += 1
        command = sc.TakeRecord(
            cluster=cluster,
            cluster_id=f"id of {cluster}",
            topic="announced",
            topic_id="its id",
            partition=0,
            offset=self.offset,
            at=START + self.offset,
            key=None,
            value=value,
            purpose=fields.get("purpose", "model" if cluster == "cloud" else "data"),
        )
        return codec.envelope_of(
            command, id=derive("record", self.project, self.offset), by=codec.THE_HUB, at=self.hub.clock.now()
        )

    def announce(self, *values: bytes) -> None:
        """Each is decided with all that follows, models in the cloud and data at the edge."""
        envelopes = [self.taken("cloud" if b"model_format" in value else "edge", value) for value in values]
        self.hub.batch(envelopes)
        self.hub.drain()

    def to_prepare(self) -> list[Envelope]:
        found, self.hub.done = self.hub.done, []
        return [each for each in found if isinstance(each.command, sc.PrepareStream)]

    def prepare(self, reason: Any = "", detail: str = "", cluster: str = "cloud") -> list[sc.PrepareStream]:
        """What the doing actor would have been given for that cluster; it reports twice. Elsewhere all is well."""
        found: list[sc.PrepareStream] = []
        while asked := [each.command for each in self.to_prepare() if isinstance(each.command, sc.PrepareStream)]:
            for each in asked:
                here = each.cluster == cluster
                for _ in range(2):
                    self.hub.ok(report_of(each, reason, detail) if here else report_of(each))
            found += [each for each in asked if each.cluster == cluster]
            if found and reason:
                break
        return found

    def matches(self) -> list[sr.Match]:
        return sorted(self.hub.rows(sr.Match, "project_id = %s", self.project), key=lambda each: each.id)

    def workers(self) -> list[r.Workload]:
        return [
            each for each in self.hub.rows(r.Workload) if (each.project_id, each.purpose) == (self.project, "worker")
        ]

    def run(self) -> r.Run:
        (found,) = self.hub.rows(r.Run, "project_id = %s", self.project)
        return found

    def models(self) -> list[sr.ModelAnnouncement]:
        return sorted(self.hub.rows(sr.ModelAnnouncement), key=lambda each: each.log_offset)

    def sources(self) -> list[sr.DataSource]:
        return sorted(self.hub.rows(sr.DataSource), key=lambda each: each.log_offset)

    def report(self, worker: r.Workload, phase: str, **more: Any) -> None:
        self.hub.ok(c.ReportWorkload(workload_id=worker.id, attempt=worker.attempt, phase=phase, uid="u", **more))


@pytest.fixture
def edge(hub: Hub) -> Edge:
    return Edge(hub)


def test_a_model_and_data_get_one_worker_with_all_that_it_has_to_know(edge: Edge) -> None:
    edge.announce(model_value(data_restriction="{'country': 'es'}"))
    assert edge.run().kind == "adopted"
    edge.announce(data_value(dataset_restrictions='{"country": "es"}'))
    (match,) = edge.matches()
    assert (match.state, match.run_id, match.workload_id) == ("preparing", edge.run().id, None)
    (asked,) = edge.prepare()
    assert (asked.cluster, asked.purpose, asked.about_id) == ("cloud", "workers", match.id)
    client = match.client_id
    assert {topic.name: topic.config for topic in asked.topics} == {
        "FED-i1ewgcrt-model_control_topic": {"max.message.bytes": "50000"},
        "FED-i1ewgcrt-model_data_topic": {"max.message.bytes": "10000000"},
        "FED-i1ewgcrt-agg_control_topic": {"max.message.bytes": "50000"},
        f"FED-i1ewgcrt-agg_data_topic-{client}": {"max.message.bytes": "10000000"},
    }
    assert {topic.partitions for topic in asked.topics} == {1}
    (worker,), (match,) = edge.workers(), edge.matches()
    assert (match.state, match.workload_id) == ("started", worker.id)
    spec = json.loads(worker.spec_json)
    name = f"federated-training-i1ewgcrt-worker-{client}"
    assert (worker.name, worker.cluster, worker.run_id) == (name, "hub", edge.run().id)
    assert (spec["object_name"], spec["image"], spec["kind"]) == (name, "kafka-ml/federated:1", "job")
    told = spec["environment"]
    assert json.loads(told.pop("INPUT_CONFIG"))["data_reshape"] == "28 28"
    assert told == {
        "KML_CLOUD_BOOTSTRAP_SERVERS": "cloud:9092",
        "DATA_BOOTSTRAP_SERVERS": "edge:9092",
        "DATA_TOPIC": "digits:0:0:1000",
        "INPUT_FORMAT": "RAW",
        "VALIDATION_RATE": "0.2",
        "TEST_RATE": "0.1",
        "TOTAL_MSG": "1000",
        "FEDERATED_MODEL_ID": "i1ewgcrt",
        "FEDERATED_CLIENT_ID": client,
        "NVIDIA_VISIBLE_DEVICES": "none",
        "CASE": "1",
    }
    attempts = edge.hub.rows(r.WorkloadAttempt, "workload_id = %s", worker.id)
    assert [each.site_id for each in attempts] == [None]  # it holds no seat of ours, and enrols as nobody


def test_devices_are_the_settings(edge: Edge) -> None:
    edge.rule(worker_gpus=2)
    edge.announce(model_value(), data_value())
    edge.prepare()
    spec = json.loads(edge.workers()[0].spec_json)
    assert spec["resources"]["gpus"] == {"nvidia.com/gpu": 2}
    assert spec["environment"]["NVIDIA_VISIBLE_DEVICES"] == "all"


def test_whatever_comes_again_starts_nothing_again(edge: Edge) -> None:
    for _ in range(3):
        edge.announce(data_value(), model_value(), data_value(description="once more"))
        edge.prepare()
    assert len(edge.matches()) == len(edge.workers()) == 1
    assert [each.state for each in edge.models()] == ["superseded", "superseded", "live"]
    assert [each.state for each in edge.sources()] == ["superseded"] * 5 + ["live"]


def test_data_that_come_late_get_a_worker_too_and_what_does_not_fit_gets_none(edge: Edge) -> None:
    edge.announce(model_value())
    edge.announce(
        data_value("few:0:0:999", total_msg=999),
        data_value("avro:0:0:1000", input_format="AVRO", input_config={"data_scheme": "{}", "label_scheme": "{}"}),
        data_value("other:0:0:1000", "28 28 1"),
        data_value("online", total_msg=None, incremental=True),
        data_value("fits:0:0:5000", total_msg=5000),
    )
    edge.prepare()
    assert [each.data_cluster for each in edge.matches()] == ["edge"]
    (worker,) = edge.workers()
    assert json.loads(worker.spec_json)["environment"]["DATA_TOPIC"] == "fits:0:0:5000"


def test_without_a_run_there_is_no_worker_and_with_the_setting_it_is_tried_again(edge: Edge) -> None:
    edge.rule(models_project="")
    edge.announce(model_value(), data_value())
    assert edge.matches() == edge.to_prepare() == edge.hub.rows(r.Run) == []
    edge.rule()
    edge.announce(model_value())
    assert len(edge.matches()) == 1


def test_kafka_that_is_away_is_waited_for_and_what_is_refused_is_said(edge: Edge) -> None:
    edge.announce(model_value(), data_value())
    (looked,) = edge.prepare("not_reached", "edge", cluster="edge")
    (first,) = edge.prepare("not_reached", "cloud")
    (again,) = edge.prepare("refused", "FED-i1ewgcrt-model_data_topic: no rights")
    assert (looked.attempt, first.attempt, again.attempt) == (1, 3, 4)
    (match,) = edge.matches()
    assert (match.state, match.reason, match.workload_id) == ("ended", "refused", None)
    assert "no rights" in match.detail
    edge.announce(data_value())
    assert [each.attempt for each in edge.prepare()] == [6]
    assert [each.state for each in edge.matches()] == ["started"]


def test_data_are_looked_at_where_they_are_before_anything_is_made(edge: Edge) -> None:
    edge.announce(
        model_value(), data_value("digits:0:0:600,digits:1:7:7,digits:2:0:400", unsupervised_topic="more:0:3:9")
    )
    (asked,) = edge.to_prepare()
    command = asked.command
    assert isinstance(command, sc.PrepareStream)
    assert (command.cluster, command.topics, command.needs) == ("edge", [], ["digits", "more"])
    assert [(each.topic, each.partition, each.start, each.end) for each in command.ranges] == [
        ("digits", 0, 0, 600),
        ("digits", 2, 0, 400),
        ("more", 0, 3, 9),
    ]
    edge.hub.ok(report_of(command))
    edge.hub.ok(report_of(command))
    assert edge.workers() == []
    edge.prepare()
    told = json.loads(edge.workers()[0].spec_json)["environment"]
    assert (told["DATA_TOPIC"], told["UNSUPERVISED_TOPIC"]) == ("digits:0:0:600,digits:2:0:400", "more:0:3:9")


def test_one_cluster_for_both_is_asked_once(edge: Edge) -> None:
    edge.announce(model_value())
    edge.hub.batch([edge.taken("cloud", data_value(), purpose="data")])
    edge.hub.drain()
    (asked,) = edge.prepare()
    assert (len(asked.topics), asked.needs, len(asked.ranges)) == (4, ["digits"], 1)
    assert len(edge.workers()) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"topic": "digits", "total_msg": 1000}, "data_unfit"),
        ({"topic": "digits:0:0:0,digits:1:5:5", "total_msg": 1000}, "data_empty"),
        ({"topic": "digits:0:0:60", "total_msg": 1000}, "data_inconsistent"),
    ],
)
def test_data_that_nobody_can_be_trained_on_are_told(edge: Edge, fields: dict[str, Any], reason: str) -> None:
    edge.announce(model_value(), data_value(**fields))
    assert edge.to_prepare() == []
    assert [(each.state, each.reason) for each in edge.matches()] == [("ended", reason)]


def test_ranges_do_not_go_on_for_ever(edge: Edge) -> None:
    edge.announce(model_value(incremental=True), data_value(incremental=True, total_msg=None))
    assert [each.reason for each in edge.matches()] == ["data_unfit"]
    edge.announce(data_value(incremental=True, total_msg=1000, unsupervised_topic="more"))
    (asked,) = edge.prepare(cluster="edge")
    assert (asked.needs, len(asked.ranges)) == (["digits", "more"], 1)
    told = json.loads(edge.workers()[0].spec_json)["environment"]
    assert (told["CASE"], told["UNSUPERVISED_TOPIC"]) == ("2", "more")


def test_data_whose_records_are_gone_have_expired(edge: Edge) -> None:
    edge.announce(model_value(), data_value())
    edge.prepare("range_gone", "digits 0: begins at 500", cluster="edge")
    assert [(each.reason, each.detail) for each in edge.matches()] == [("range_gone", "digits 0: begins at 500")]
    assert [each.state for each in edge.sources()] == ["expired"]
    edge.announce(model_value("another"))
    assert len(edge.matches()) == 1
    edge.announce(data_value())
    edge.prepare()
    assert [each.state for each in edge.matches()] == ["started", "started"]


def test_where_no_worker_may_be_it_is_said(edge: Edge) -> None:
    stranger = edge.hub.site("a stranger")
    edge.rule(where=f"site:{stranger.id}")
    edge.announce(model_value(), data_value())
    edge.prepare()
    (match,) = edge.matches()
    assert (match.state, match.reason) == ("ended", "place")
    assert stranger.id in match.detail
    edge.rule(where=f"site:{edge.site.id}")
    edge.announce(data_value())
    edge.prepare()
    (worker,) = edge.workers()
    assert worker.cluster == f"site:{edge.site.id}"
    assert [each.kind for each in edge.hub.inbox(edge.site)][-1] == "workload_wanted"


def test_data_that_were_announced_anew_and_do_not_fit_any_more_end_the_worker(edge: Edge) -> None:
    edge.announce(model_value(), data_value())
    edge.prepare()
    edge.announce(data_value(dataset_restrictions='{"country": "es"}'))
    (match,), (worker,) = edge.matches(), edge.workers()
    assert (match.state, match.reason) == ("ended", "restrictions")
    assert worker.stop_at is not None
    edge.announce(data_value())
    assert edge.to_prepare() == []
    assert edge.matches() == [match]  # this model has seen these data


def test_data_that_are_withdrawn_end_their_workers_and_begin_nothing(edge: Edge) -> None:
    admin = edge.hub.account(edge.hub.organisation("operators"), "admin")
    edge.announce(model_value(), data_value(), data_value("more:0:0:1000"))
    edge.prepare()
    withdrawn = edge.sources()[0]
    edge.hub.ok(sc.WithdrawDataSource(data_source_id=withdrawn.id), admin)
    ended, goes_on = sorted(edge.matches(), key=lambda each: each.state)
    assert (ended.source_id, ended.reason, goes_on.state) == (withdrawn.id, "data_gone", "started")
    assert {each.id: each.stop_at is not None for each in edge.workers()} == {
        ended.workload_id: True,
        goes_on.workload_id: False,
    }
    edge.announce(model_value("another"))
    assert [each.stream_id for each in edge.matches() if each.string_id == "another"] == [goes_on.stream_id]


def test_data_that_fit_again_before_any_worker_was_started_get_one(edge: Edge) -> None:
    edge.announce(model_value(), data_value())
    edge.announce(data_value(total_msg=1))
    assert [each.reason for each in edge.matches()] == ["amount"]
    edge.announce(data_value())
    edge.prepare()
    assert [(each.state, each.reason) for each in edge.matches()] == [("started", "")]
    assert len(edge.workers()) == 1


def test_the_newest_announcement_counts_even_if_an_older_one_comes_later(edge: Edge) -> None:
    fits = edge.taken("edge", data_value())
    newer = edge.taken("edge", data_value(dataset_restrictions='{"country": "es"}'))
    edge.announce(model_value())
    for envelope in (newer, fits):
        edge.hub.batch([envelope])
        edge.hub.drain()
    assert edge.matches() == []
    assert [each.state for each in edge.sources()] == ["superseded", "live"]


def test_a_run_that_is_stopped_takes_its_workers_along_and_its_model_matches_nothing_more(edge: Edge) -> None:
    edge.announce(model_value(), data_value(), data_value("more:0:0:1000"))
    edge.prepare()
    edge.hub.ok(c.StopRun(run_id=edge.run().id), edge.site)
    assert all(each.stop_at is not None for each in edge.workers())
    assert {(each.state, each.reason) for each in edge.matches()} == {("ended", "run_ended")}
    assert [(each.state, each.match_key) for each in edge.models()] == [("expired", "")]
    edge.announce(data_value("late:0:0:1000"), model_value())
    assert len(edge.matches()) == 2


def test_what_was_superseded_before_its_run_ended_stays_so_and_is_forgotten(edge: Edge) -> None:
    edge.announce(model_value(), model_value())
    edge.hub.ok(c.StopRun(run_id=edge.run().id), edge.site)
    assert [each.state for each in edge.models()] == ["superseded", "expired"]
    edge.hub.clock.sleep(edge.hub.rules.keep_quarantine_s + 1)
    edge.hub.ok(sc.ForgetRecords())
    assert [each.state for each in edge.models()] == ["expired"]


def test_a_match_whose_run_ends_while_its_topics_are_made_starts_nothing(edge: Edge) -> None:
    edge.announce(model_value(), data_value())
    edge.hub.ok(c.StopRun(run_id=edge.run().id), edge.site)
    edge.prepare()
    assert edge.workers() == []
    assert [each.reason for each in edge.matches()] == ["run_ended"]


def test_a_run_that_ends_just_before_the_topics_are_there_gets_no_worker(edge: Edge) -> None:
    edge.announce(model_value(), data_value())
    for _ in range(2):  # the data are there, and then the topics
        (asked,) = [each.command for each in edge.to_prepare() if isinstance(each.command, sc.PrepareStream)]
        report = report_of(asked)
        if asked.cluster == "edge":
            edge.hub.ok(report)
    edge.hub.batch([edge.hub.envelope(c.StopRun(run_id=edge.run().id), edge.site), edge.hub.envelope(report)])
    edge.hub.drain()
    assert edge.workers() == []
    assert [(each.state, each.reason) for each in edge.matches()] == [("ended", "run_ended")]


def test_a_model_that_is_announced_twice_at_once_is_adopted_once(edge: Edge) -> None:
    edge.announce(model_value(), model_value(), data_value())
    (project,) = edge.hub.rows(r.Project, "id = %s", edge.project)
    assert (edge.run().number, project.last_run_number) == (1, 1)
    events = edge.hub.rows(r.Event, "run_id = %s", edge.run().id)
    assert sorted(each.kind for each in events) == ["run_created", "run_started"]
    assert len(edge.matches()) == 1


def test_a_run_whose_next_worker_is_on_its_way_goes_on(edge: Edge) -> None:
    edge.announce(model_value(), data_value())
    edge.prepare()
    edge.announce(data_value("more:0:0:1000"))
    edge.report(edge.workers()[0], "failed", reason="exit_code", exit_code=1, gone=True)
    assert edge.run().state == "running"
    edge.prepare()
    assert [each.state for each in edge.workers()].count("wanted") == 1


def test_superseded_announcements_are_forgotten_but_for_what_was_matched(edge: Edge) -> None:
    for _ in range(3):
        edge.announce(model_value(), data_value(), data_value("lonely:0:0:1000", "7"))
    edge.hub.ok(sc.ForgetRecords())
    assert (len(edge.models()), len(edge.sources())) == (3, 6)
    assert not overdue(edge.hub.database, edge.hub.clock.now() - KEPT)
    edge.hub.clock.sleep(edge.hub.rules.keep_quarantine_s + 1)
    assert overdue(edge.hub.database, edge.hub.clock.now() - KEPT)
    edge.hub.ok(sc.ForgetRecords())
    assert not overdue(edge.hub.database, edge.hub.clock.now() - KEPT)
    assert [each.state for each in edge.models()] == ["superseded", "live"]
    assert [(each.shape, each.state) for each in edge.sources()] == [
        ("28 28", "superseded"),
        ("28 28", "live"),
        ("7", "live"),
    ]


@pytest.mark.parametrize("string_id", ["a_b", "...", "_", "A" * 64, "0"])
def test_a_model_of_any_name_gets_workers_that_can_be_read(edge: Edge, string_id: str) -> None:
    """Its name is somebody else's to say, and not all of them are names of objects."""
    edge.announce(model_value(string_id), data_value())
    edge.prepare()
    (worker,) = edge.workers()
    assert spec_of(worker).environment["FEDERATED_MODEL_ID"] == string_id
    assert (spec_of(worker).object_name == worker.name) == (string_id == "0")


def test_a_flood_of_data_makes_no_more_matches_than_a_run_may_have(edge: Edge) -> None:
    """Each makes topics before it may have a worker: whoever may announce could have the hub make as many."""
    edge.hub.rules = msgspec.structs.replace(edge.hub.rules, workloads_per_day=3)
    edge.announce(model_value(), *(data_value(f"digits:0:{n}:{n + 1000}") for n in range(3)))
    edge.announce(*(data_value(f"digits:0:{n}:{n + 1000}") for n in range(3, 6)))
    assert len(edge.matches()) == 3
    edge.announce(model_value(min_data=999))
    assert len(edge.matches()) == 3
    edge.announce(data_value("digits:0:0:1000", description="again"))
    assert (len(edge.matches()), len(edge.prepare())) == (3, 3)


def test_a_flood_of_models_makes_no_more_runs_than_the_project_may_have(edge: Edge) -> None:
    edge.hub.rules = msgspec.structs.replace(edge.hub.rules, workloads_per_project=2)
    edge.announce(*(model_value(f"model-{n}") for n in range(4)))
    assert len(edge.hub.rows(r.Run, "project_id = %s", edge.project)) == 2
    edge.announce(model_value("model-5"), model_value("model-0"))
    assert len(edge.hub.rows(r.Run, "project_id = %s", edge.project)) == 2


def test_a_decision_looks_at_no_more_than_the_newest_announcements(edge: Edge) -> None:
    """Of the same data, and of data that fit: the decider would else hold whatever was announced in its memory."""

    def source(number: int, topic: str) -> sr.DataSource:
        fields = {"data_topic": topic, "input_format": "RAW", "restrictions_json": "{}", "shape": "28 28"}
        fields |= {"cluster": "edge", "purpose": "data", "state": "live", "total_msg": 1000}
        made = row(sr.DataSource, id=derive("flood", number), announced_at=number, **fields)
        return msgspec.structs.replace(made, match_key=key_of_data(made), stream_id=stream_of(made))

    same = [source(number, "digits:0:0:1000") for number in range(MAX_ANNOUNCEMENTS + 5)]
    others = [
        source(MAX_ANNOUNCEMENTS + 5 + number, f"digits:1:{number}:2000") for number in range(MAX_ANNOUNCEMENTS + 5)
    ]
    with edge.hub.store.deciding() as transaction:
        transaction.write(Changes(rows={sr.DataSource: [*same, *others]}))
        loaded = transaction.load(Needs(matched_data={same[-1].id}), START)
        assert len({each.id for each in loaded.records if isinstance(each, sr.DataSource)}) == MAX_ANNOUNCEMENTS
    edge.announce(model_value())
    assert len(edge.matches()) == MAX_ANNOUNCEMENTS


def test_an_adopted_run_ends_with_its_workers(edge: Edge) -> None:
    edge.announce(model_value(), data_value(), data_value("more:0:0:1000"))
    edge.prepare()
    one, other = edge.workers()
    edge.report(one, "failed", reason="exit_code", exit_code=1, gone=True)
    assert edge.run().state == "running"
    edge.report(other, "succeeded", exit_code=0, gone=True)
    assert (edge.run().state, edge.run().reason) == ("succeeded", "completed")
    assert sorted(each.reason for each in edge.matches()) == ["worker_failed", "worker_succeeded"]


def test_an_adopted_run_without_workers_fails(edge: Edge) -> None:
    edge.announce(model_value(), data_value())
    edge.prepare()
    edge.report(edge.workers()[0], "failed", reason="exit_code", exit_code=1, gone=True)
    assert (edge.run().state, edge.run().reason) == ("failed", "too_few")


class Cloud(Edge):
    """A hub that trains the model itself: the announcement names its deployment."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.deployed = derive("deployed", self.project)
        run = row(r.Run, id=self.deployed, project_id=self.project, coordinator_site_id=self.site.id, kind="deployment")
        deployment = row(
            sr.Deployment,
            run_id=run.id,
            number=1,
            project_id=self.project,
            cluster="cloud",
            string_id="i1ewgcrt",
            contract_json="{}",
            state="training",
        )
        with hub.store.deciding() as transaction:
            transaction.write(Changes(rows={r.Run: [run], sr.Deployment: [deployment]}))


@pytest.fixture
def cloud(hub: Hub) -> Cloud:
    return Cloud(hub)


def test_workers_belong_to_the_deployment_that_the_announcement_names(cloud: Cloud) -> None:
    cloud.announce(model_value(), data_value())
    cloud.prepare()
    assert [each.run_id for each in cloud.workers()] == [cloud.deployed]
    assert cloud.run().kind == "deployment"


def test_a_deployment_that_is_stopped_without_workers_leaves_no_model_to_match(cloud: Cloud) -> None:
    cloud.announce(model_value())
    assert [each.state for each in cloud.models()] == ["live"]
    cloud.hub.ok(c.StopRun(run_id=cloud.deployed), cloud.site)
    assert [(each.state, each.match_key) for each in cloud.models()] == [("expired", "")]


def test_without_any_worker_left_the_deployment_has_too_few(cloud: Cloud) -> None:
    cloud.announce(model_value(), data_value())
    cloud.prepare()
    cloud.report(cloud.workers()[0], "failed", reason="out_of_memory", exit_code=137, gone=True)
    assert (cloud.run().state, cloud.run().reason) == ("failed", "too_few")


class Kept:
    """As a publisher: what a ticker has sent."""

    def __init__(self) -> None:
        self.sent: list[Envelope] = []

    def send(self, envelopes: list[Envelope]) -> None:
        self.sent += envelopes

    def ready(self) -> str | None:
        return None

    def close(self) -> None:
        pass


def test_the_ticker_has_the_last_word_looked_at_where_there_are_streams(cloud: Cloud) -> None:
    cloud.announce(model_value(), data_value())
    cloud.prepare()
    cloud.report(cloud.workers()[0], "succeeded", exit_code=0, gone=True)
    kept = Kept()
    clock, due = cloud.hub.clock, Due(cloud.hub.database)
    tickers = [
        Ticker(due, kept, clock, silent_after_s=1e9, keep_artifacts_s=1e9, streams=streams) for streams in (False, True)
    ]
    clock.sleep(LAST_WORD_S - 1)
    for wait in (0, 2):
        clock.sleep(wait)
        for ticker in tickers:
            ticker.tick()
            settling = [each for each in kept.sent if isinstance(each.command, sc.SettleWorkers)]
            assert bool(settling) == (wait == 2 and ticker is tickers[1])
    cloud.hub.batch(settling)
    assert (cloud.run().state, cloud.run().reason) == ("failed", "too_few")


def test_workers_that_ended_well_leave_the_controller_a_last_word(cloud: Cloud) -> None:
    cloud.announce(model_value(), data_value())
    cloud.prepare()
    cloud.report(cloud.workers()[0], "succeeded", exit_code=0, gone=True)
    assert cloud.run().state == "running"
    (match,) = cloud.matches()
    assert match.check_at is not None
    cloud.hub.clock.sleep(LAST_WORD_S / 2)
    cloud.announce(data_value("late:0:0:1000"))
    cloud.prepare()
    cloud.hub.clock.sleep(LAST_WORD_S)
    cloud.hub.ok(sc.SettleWorkers(run_id=cloud.deployed))
    assert cloud.run().state == "running"
    assert [each.check_at for each in cloud.matches()] == [None, None]
    late = next(each for each in cloud.workers() if each.state == "wanted")
    cloud.report(late, "succeeded", exit_code=0, gone=True)
    cloud.hub.clock.sleep(LAST_WORD_S - 1)
    cloud.hub.ok(sc.SettleWorkers(run_id=cloud.deployed))
    assert cloud.run().state == "running"
    cloud.hub.clock.sleep(2)
    cloud.hub.ok(sc.SettleWorkers(run_id=cloud.deployed))
    assert (cloud.run().state, cloud.run().reason) == ("failed", "too_few")
    assert all(each.check_at is None for each in cloud.matches())


def test_a_new_announcement_costs_what_it_matches(edge: Edge) -> None:
    """Neither how many others there are counts, nor how often they were announced."""
    models = [model_value(f"model-{number}", f"{number} 28") for number in range(30)]
    sources = [data_value(f"data{number}:0:0:{number}", f"{number % 3} 28", total_msg=number) for number in range(60)]
    for _ in range(3):
        edge.announce(*models, *sources, model_value("wants", "2 28", min_data=50))
    (wants,) = [each for each in edge.models() if each.string_id == "wants" and each.state == "live"]
    few = data_value("few:0:0:0", "7 28", total_msg=0)
    edge.announce(few, few)
    source = [each for each in edge.sources() if each.data_topic == "few:0:0:0"][-1]
    with edge.hub.store.deciding() as transaction:
        of_model = transaction.load(Needs(matched_models={wants.id}), 0).records
        of_data = transaction.load(Needs(matched_data={source.id}), 0).records
    known = {(each.total_msg, each.state) for each in of_model if isinstance(each, sr.DataSource)}
    made_of, now = ({(total, state) for total in (50, 53, 56, 59)} for state in ("superseded", "live"))
    assert known == made_of | now
    assert {each.id for each in of_model if isinstance(each, sr.ModelAnnouncement)} == {wants.id}
    assert {each.id for each in of_data if isinstance(each, sr.DataSource | sr.ModelAnnouncement)} == {source.id}


@pytest.mark.parametrize("back", [True, False])
def test_a_worker_at_a_silent_site_is_waited_for_a_while(cloud: Cloud, back: bool) -> None:
    cloud.rule(where=f"site:{cloud.site.id}")
    cloud.announce(model_value(), data_value())
    cloud.prepare()
    (worker,) = cloud.workers()
    running = c.ReportWorkload(workload_id=worker.id, attempt=1, phase="running", uid="u")
    cloud.hub.ok(running, cloud.site)
    cloud.hub.clock.sleep(1000)
    cloud.hub.ok(c.MarkSitesSilent(site_ids=[cloud.site.id]))
    cloud.hub.ok(c.LoseWorkloads(site_id=cloud.site.id))
    assert [each.state for each in cloud.workers()] == ["lost"]
    assert ([each.state for each in cloud.matches()], cloud.run().state) == (["started"], "running")
    if back:
        cloud.hub.ok(running, cloud.site)
    cloud.hub.clock.sleep(LAST_WORD_S + 1)
    cloud.hub.ok(sc.SettleWorkers(run_id=cloud.deployed))
    assert cloud.run().reason == ("" if back else "too_few")


VALUES = [
    *(model_value(f"model-{number}", shape) for number, shape in enumerate(["28 28", "28 28", "32 32 3", "7"])),
    model_value("learns", incremental=True),
    model_value("chain", "28 28 1", distributed=True, min_data=10),
    model_value("picky", data_restriction='{"a": [1]}'),
    *(data_value(f"data{number}:0:0:{n}", total_msg=n) for number, n in enumerate([1, 10, 1000, 5000])),
    data_value("cifar:0:0:5000", "32 32 3", total_msg=5000),
    data_value("online", total_msg=None, incremental=True),
    data_value("restricted:0:0:1000", dataset_restrictions="{'a': [1.0]}"),
    data_value("avro:0:0:1000", input_format="AVRO", input_config={}),
]


@pytest.mark.parametrize("seed", range(6))
def test_a_random_walk_ends_with_one_worker_for_each_pair_that_fits(hub: Hub, seed: int) -> None:
    """Announcements in any order and repeated, many or few in a batch; what follows from them late, and twice."""
    chance = random.Random(seed)
    edge = Edge(hub)
    waiting = [edge.taken("cloud" if b"model_format" in one else "edge", one) for one in VALUES for _ in range(2)]
    chance.shuffle(waiting)
    topics: list[sc.PrepareStream] = []
    while waiting or topics:
        step = chance.random()
        if waiting and step < 0.5:
            many = chance.randint(1, 4)
            hub.batch(waiting[:many])
            if chance.random() < 0.3:
                hub.batch(waiting[:many])  # delivered once more
            del waiting[:many]
        elif step < 0.7 or not topics:
            hub.drain()
        else:
            one = topics[chance.randrange(len(topics))]
            hub.ok(report_of(one))
            if chance.random() < 0.7:
                topics.remove(one)
        topics += [each.command for each in edge.to_prepare() if isinstance(each.command, sc.PrepareStream)]
        if not waiting and not topics:
            hub.drain()
            topics += [each.command for each in edge.to_prepare() if isinstance(each.command, sc.PrepareStream)]
    live_models = [each for each in edge.models() if each.state == "live"]
    live_data = [each for each in edge.sources() if each.state == "live"]
    assert (len(live_models), len(live_data)) == (7, 8)
    fitting = _fitting(live_models, live_data)
    assert len(fitting) == 2 * 2 + 1 + 1 + 3 + 1
    assert {each.id for each in edge.matches()} == fitting
    assert {each.state for each in edge.matches()} == {"started"}
    assert sorted(each.workload_id or "" for each in edge.matches()) == sorted(each.id for each in edge.workers())
    assert len(edge.workers()) == len(fitting)


def _fitting(models: list[sr.ModelAnnouncement], sources: list[sr.DataSource]) -> set[Id]:
    """Each with each."""
    pairs = [(model, data) for model in models for data in sources]
    return {match_id(*pair) for pair in pairs if not misfits(*pair, RunState.RUNNING, FEDERATED)}
