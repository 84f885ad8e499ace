"""What people see of federated models and the data for them: what was matched, what was not, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.clock import draw_id
from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.codec import THE_HUB, envelope_of
from domain.ids import derive
from fedyard.wire.answers import Match
from ops.matches import announced, announcements
from ops.runs import why
from storage.store import Changes, Store
from tests.actors.test_matching import data_value, model_value, report_of
from tests.domain.scenes import row
from tests.web.network import Caller, Network

SETTINGS = """
[images]
tensorflow_federated = "kafka-ml/federated:1"
[clusters.cloud]
bootstrap_servers = "cloud:9092"
model_topics = ["models"]
[clusters.edge]
bootstrap_servers = "edge:9092"
data_topics = ["data"]
"""


class Edge:
    """A hub that trains a federated model of one project."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.lead, self.site = net.site("lead"), net.site("site")
        self.project = net.project(self.lead, self.site)
        self.run = derive("federated run", self.project)
        run = row(r.Run, id=self.run, project_id=self.project, coordinator_site_id=self.lead.id, kind="deployment")
        deployment = row(
            sr.Deployment,
            run_id=self.run,
            number=1,
            project_id=self.project,
            cluster="cloud",
            string_id="i1ewgcrt",
            contract_json="{}",
            state="training",
        )
        with Store(net.database).deciding() as transaction:
            transaction.write(Changes(rows={r.Run: [run], sr.Deployment: [deployment]}))
        self.offset = 0

    def announce(self, *values: bytes) -> None:
        for value in values:
            self.offset += 1
            cluster = "cloud" if b"model_format" in value else "edge"
            command = sc.TakeRecord(
                cluster=cluster,
                cluster_id=cluster,
                topic="announced",
                topic_id="its id",
                partition=0,
                offset=self.offset,
                at=self.offset * 1_000_000,
                key=None,
                value=value,
                purpose="model" if cluster == "cloud" else "data",
            )
            self.net.publisher.send([envelope_of(command, id=draw_id(), by=THE_HUB, at=1)])

    def matches(self, by: Caller) -> list[dict[str, Any]]:
        return list(by.ok("GET", f"/v1/runs/{self.run}/matches")["items"])


@pytest.fixture
def edge(make_net: Callable[..., Network], tmp_path: Path) -> Edge:
    (tmp_path / "streams.toml").write_text(SETTINGS)
    return Edge(make_net(streams=str(tmp_path / "streams.toml")))


def test_what_fits_and_what_does_not_is_said(edge: Edge) -> None:
    edge.announce(
        model_value(),
        data_value(),
        data_value("few:0:0:400", total_msg=400),
        data_value("avro:0:0:1000", input_format="AVRO", input_config={}),
        data_value("kept:0:0:1000", dataset_restrictions='{"secret": "MARK"}'),
    )
    fits, few, avro, kept = edge.matches(edge.lead)
    assert (fits["misfits"], fits["state"], fits["data_topic"]) == ([], "preparing", "digits:0:0:1000")
    assert (fits["workload_id"], len(fits["client_id"])) == (None, 8)
    assert [each["code"] for each in few["misfits"]] == ["amount"]
    assert "600 records are missing" in few["misfits"][0]["detail"]
    assert few["id"] is None
    assert [each["code"] for each in avro["misfits"]] == ["format"]
    assert "AVRO" in avro["misfits"][0]["detail"]
    assert [each["code"] for each in kept["misfits"]] == ["restrictions"]
    assert "MARK" not in json.dumps(edge.matches(edge.lead))
    assert "kept" not in json.dumps(edge.matches(edge.lead))
    assert "MARK" in json.dumps(edge.matches(edge.net.admin))
    assert edge.site.get(f"/v1/runs/{edge.run}/matches").status_code == 404


def test_a_sites_client_reads_what_the_hub_says(edge: Edge) -> None:
    edge.announce(model_value(), data_value(), data_value("avro:0:0:1000", input_format="AVRO", input_config={}))
    fits, avro = msgspec.convert(edge.matches(edge.lead), list[Match])
    assert (fits.state, fits.data_topic, fits.misfits) == ("preparing", "digits:0:0:1000", [])
    assert (avro.state, avro.data_topic, [each.code for each in avro.misfits]) == (None, None, ["format"])


def test_a_worker_is_named_and_the_newest_announcement_of_its_data_is_shown(edge: Edge) -> None:
    edge.announce(model_value(), data_value())
    for number in range(2):  # the data are there, then the topics
        asked = edge.net.publisher.done[number].command
        assert isinstance(asked, sc.PrepareStream)
        edge.net.publisher.send([envelope_of(report_of(asked), id=draw_id(), by=THE_HUB, at=1)])
    edge.announce(data_value(description="once more"))
    (found,) = edge.matches(edge.lead)
    assert (found["state"], found["workload_state"], found["source_state"]) == ("started", "wanted", "live")
    worker = edge.lead.ok("GET", f"/v1/workloads/{found['workload_id']}")
    assert worker["name"] == f"federated-training-i1ewgcrt-worker-{found['client_id']}"


def test_the_operator_is_told_why_a_run_has_no_workers(edge: Edge) -> None:
    edge.announce(model_value())
    assert "  No data are announced in the data_topics of any cluster." in (why(edge.net.database, edge.run, 0) or [])
    edge.announce(data_value("few:0:0:400", total_msg=400), data_value())
    told = why(edge.net.database, edge.run, 0) or []
    assert "Its federated model i1ewgcrt has 0 workers at the edge." in told
    assert "  few:0:0:400 in edge does not fit: 600 records are missing: there are 400, the model asks for 1000" in told
    assert "  digits:0:0:1000 in edge is matched, preparing" in told
    assert not any("decider" in line for line in told)
    edge.announce(model_value("elsewhere"))
    ours, other = map(announced, announcements(edge.net.database, ["tensorflow_federated"], None))
    assert f"i1ewgcrt in cloud, since 1970-01-01T00:00:01.000000Z  live  run {edge.run}  1 match, 0 workers" in ours
    assert "no run  0 matches, 0 workers: no run of this hub trains model elsewhere" in other
    assert announcements(edge.net.database, ["tensorflow_federated"], "superseded") == []


def test_pages_of_matches(edge: Edge) -> None:
    edge.announce(model_value(), *(data_value(f"data{number}:0:0:1000") for number in range(5)))
    path, seen = f"/v1/runs/{edge.run}/matches?limit=2", []
    page = edge.lead.ok("GET", path)
    while True:
        seen += [each["data_topic"] for each in page["items"]]
        if page["next"] is None:
            break
        page = edge.lead.ok("GET", f"{path}&after={page['next']}")
    assert seen == [f"data{number}:0:0:1000" for number in range(5)]


def test_announcements_of_models_with_what_keeps_them_from_being_matched(edge: Edge) -> None:
    ledger = json.loads(model_value("withaledger")) | {"blockchain": {"rpc_url": "http://chain"}}
    edge.announce(model_value(), data_value(), model_value("elsewhere"), json.dumps(ledger).encode())
    path = "/v1/model-announcements"
    ours, elsewhere, chained = edge.net.admin.ok("GET", path)["items"]
    assert (ours["run_id"], ours["matches"], ours["workers"], ours["why"]) == (edge.run, 1, 0, "")
    assert (ours["case"], ours["min_data"], ours["restrictions"]) == (1, 1000, "{}")
    assert (elsewhere["run_id"], elsewhere["matches"]) == (None, 0)
    assert "models_project" in elsewhere["why"]
    assert "ledger" in chained["why"]
    assert [each["string_id"] for each in edge.lead.ok("GET", path)["items"]] == ["i1ewgcrt"]
    assert edge.site.ok("GET", path)["items"] == []
    assert edge.net.admin.ok("GET", f"{path}?state=superseded")["items"] == []
