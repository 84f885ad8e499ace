"""The door of Kafka-ML's containers over HTTP, with bodies as their programs send them."""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
import urllib3
from urllib3.fields import RequestField
from werkzeug.test import TestResponse

from config.clock import draw_id
from domain import stream_commands as sc
from domain.codec import THE_HUB, envelope_of
from domain.commands import AnyCommand, ReportWorkload
from domain.streams.door import secret_of
from fedyard.cluster.port import Phase
from fedyard.wire.chunks import CHUNK_BYTES
from tests.blobs import noise
from tests.databases import fresh_postgres, fresh_sqlite
from tests.waiting import until
from tests.web.network import TASKS, Network, network
from web.serving.app import WITHOUT_SECRET, web_of

STREAMS = """
[clusters.cloud]
bootstrap_servers = "localhost:9"
control_topics = ["CONTROL"]
[images]
pytorch_training = "kml/pth"
"""
CODE = """
class Net:
    def loss_fn(self): ...
    def optimizer(self): ...
    def metrics(self): ...

model = Net()
"""
SAID: dict[str, Any] = {
    "train_metrics": {"loss": [1.0, 0.5]},
    "val_metrics": {"loss": [1.1, 0.6]},
    "test_metrics": {"loss": [0.7]},
    "training_time": 1.23456,
    "confusion_matrix": [[3, 0], [1, 2]],
}
_offsets = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("door")
    (folder / "streams.toml").write_text(STREAMS)
    if request.param == "postgres":
        url = fresh_postgres(request.getfixturevalue("postgres"))
    else:
        url = fresh_sqlite(folder / "store.sqlite")
    made = network(url, folder, streams=str(folder / "streams.toml"))
    yield made
    made.close()


class Job:
    """Of a deployment of one PyTorch architecture, whose data are there."""

    def __init__(self, net: Network) -> None:
        self.net = net
        net.made += 1
        self.site = net.site(f"door {net.made}")
        made = {"name": f"door {net.made}", "tasks": TASKS, "sealed": "optional"}
        self.project = self.site.ok("POST", "/v1/projects", made)["id"]
        torch = {"name": "net", "framework": "pth", "imports": "import torch", "code": CODE}
        architecture = self.site.ok("POST", f"/v1/projects/{self.project}/architectures", torch)["id"]
        body = {"contract": {"pth_kwargs_fit": "max_epochs=2"}, "architecture_ids": [architecture]}
        started = self.site.ok("POST", f"/v1/projects/{self.project}/deployments", body)
        self.deployment, self.number = started["id"], started["number"]
        self.announce()
        self.send(sc.ReportStream(purpose="training", about_id=self.deployment, attempt=1))
        (result,) = self.shown()["results"]
        self.rid, self.workload = result["number"], result["workload_id"]

    def send(self, command: AnyCommand) -> None:
        self.net.publisher.send([envelope_of(command, id=draw_id(), by=THE_HUB, at=self.net.publisher._clock.now())])

    def announce(self) -> None:
        value = {
            "topic": "data:0:0:10",
            "unsupervised_topic": None,
            "input_format": "RAW",
            "input_config": {"data_type": "float32", "label_type": "int64", "data_reshape": "4", "label_reshape": "1"},
            "description": "",
            "dataset_restrictions": {},
            "validation_rate": 0.1,
            "test_rate": 0.1,
            "total_msg": 10,
            "incremental": False,
        }
        self.send(
            sc.TakeRecord(
                cluster="cloud",
                cluster_id="k",
                topic="CONTROL",
                topic_id="t",
                partition=0,
                offset=next(_offsets),
                at=1,
                key=self.number.to_bytes(2, "big"),
                value=json.dumps(value).encode(),
                purpose="control",
            )
        )

    def shown(self) -> dict[str, Any]:
        return dict(self.site.ok("GET", f"/v1/deployments/{self.deployment}"))

    def result(self) -> dict[str, Any]:
        return dict(self.site.ok("GET", f"/v1/training-results/{self.rid}"))

    def secret(self, attempt: int = 1) -> str:
        return secret_of(web_of(self.net.app).workload_key, self.workload, attempt)

    def call(
        self, method: str, what: str, *, secret: str | None = None, rid: int | None = None, **more: Any
    ) -> TestResponse:
        """As urllib and requests do: without a token, and without a wish to wait."""
        path = f"/w/{secret or self.secret()}/{what}/{rid or self.rid}"
        return self.net.app.test_client().open(path, method=method, **more)

    def metrics(self, said: object, **more: Any) -> TestResponse:
        body = urlencode({"data": said if isinstance(said, str) else json.dumps(said)}).encode()
        kind = "application/x-www-form-urlencoded"
        return self.call("POST", "results_metrics", data=body, content_type=kind, **more)

    def give(self, said: object = None, *files: tuple[str, str, bytes], **more: Any) -> TestResponse:
        """`data` has no content type, as with requests."""
        text = said if isinstance(said, str) else json.dumps(SAID if said is None else said)
        fields = [RequestField("data", text)]
        fields += [RequestField(name, content, filename=filename) for name, filename, content in files]
        for one in fields:
            one.make_multipart()
        body, kind = urllib3.encode_multipart_formdata(fields)
        return self.call("POST", "results", data=body, content_type=kind, **more)

    def trained(self, content: bytes = b"weights", **said: Any) -> TestResponse:
        return self.give({**SAID, **said}, ("trained_model", "trained_model.pt", content))


@pytest.fixture
def job(net: Network) -> Job:
    return Job(net)


def problem(response: TestResponse) -> tuple[int, str]:
    return response.status_code, response.get_json()["type"].removeprefix("/problems/")


def test_a_job_reads_its_model_tells_how_it_goes_and_gives_its_result(job: Job) -> None:
    model = job.call("GET", "results")
    assert (model.status_code, model.get_data(as_text=True)) == (200, CODE)
    assert job.metrics({"train_metrics": {"loss": [1]}, "val_metrics": {"loss": [2]}}).status_code == 200
    assert (job.result()["train_metrics"], job.result()["state"]) == ({"loss": [1]}, "deployed")
    content, matrix = noise(CHUNK_BYTES + 1000), b"png"
    files = [("trained_model", "trained_model.pt", content), ("confussion_matrix", "m.png", matrix)]
    assert job.give(None, *files).status_code == 200
    result = job.result()
    assert {name: result[name] for name in SAID if name != "training_time"} == {
        name: value for name, value in SAID.items() if name != "training_time"
    }
    assert (result["state"], result["model_format"], result["training_time_s"]) == ("finished", "pt", 1.2346)
    assert job.site.get(f"/v1/artifacts/{result['model_artifact_id']}").data == content
    assert job.site.get(f"/v1/artifacts/{result['matrix_artifact_id']}").data == matrix


def test_the_trained_model_is_read_as_kafka_ml_hands_it_out(job: Job) -> None:
    job.trained(b"weights")
    read = job.net.app.test_client().get(f"/w/{job.secret()}/results/model/{job.rid}")
    assert (read.status_code, read.data) == (200, b"weights")
    assert (read.headers["ML-Framework"], read.headers["Access-Control-Expose-Headers"]) == ("pth", "ML-Framework")
    assert (read.content_type, "model.pth" in read.headers["Content-Disposition"]) == (
        "application/force-download",
        True,
    )


def test_an_upload_that_comes_ten_times_counts_once(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    assert [job.trained(b"weights %d" % n).status_code for n in range(3)] == [200] * 3
    first = job.result()
    assert job.site.get(f"/v1/artifacts/{first['model_artifact_id']}").data == b"weights 0"
    with caplog.at_level(logging.WARNING):
        assert job.trained(b"weights", training_time=2).status_code == 409
    (refused,) = caplog.records
    assert (refused.getMessage(), refused.unit["result"]) == ("a job's result refused", job.rid)
    assert job.secret() not in str(vars(refused))


def test_an_upload_that_becomes_nothing_leaves_nothing(job: Job) -> None:
    """Whoever has a way in could else fill the disk with it: what nobody knows of is looked for once an hour."""
    job.trained(b"weights")
    blobs = web_of(job.net.app).hub.blobs
    before = {one.artifact for one in blobs.stored()}
    large = noise(CHUNK_BYTES + 1)
    assert job.trained(large).status_code == 200  # the same, once more
    assert job.trained(large, training_time=2).status_code == 409
    assert job.give("no JSON", ("trained_model", "m.pt", large)).status_code == 400
    assert (
        job.give(None, ("trained_model", "m.pt", large), ("confusion_matrix", "m.png", b"x" * 17_000_000)).status_code
        == 413
    )
    cut = b'--b\r\nContent-Disposition: form-data; name="trained_model"; filename="m.pt"\r\n\r\n' + large
    assert job.call("POST", "results", data=cut, content_type="multipart/form-data; boundary=b").status_code == 400
    assert {one.artifact for one in blobs.stored()} == before
    assert job.net.app.test_client().get(f"/w/{job.secret()}/results/model/{job.rid}").data == b"weights"


def test_it_is_answered_once_decided_and_never_accepted_for_later(
    make_net: Callable[..., Network], tmp_path: Path
) -> None:
    (tmp_path / "streams.toml").write_text(STREAMS)
    job = Job(make_net(streams=str(tmp_path / "streams.toml")))
    web_of(job.net.app).waiters.release()  # as while the server stops: nobody waits any more
    assert problem(job.trained()) == (503, "undecided")
    assert problem(job.metrics({})) == (503, "undecided")
    assert job.result()["state"] == "finished"


def test_while_the_broker_is_away_nothing_is_taken(job: Job) -> None:
    job.net.publisher.down = True
    try:
        assert job.trained().status_code == 503
    finally:
        job.net.publisher.down = False
    assert job.trained().status_code == 200


def test_numbers_that_are_none_are_kept_as_null(job: Job) -> None:
    """Python's json writes NaN."""
    assert job.metrics('{"train_metrics": {"loss": [NaN, 1, -Infinity]}}').status_code == 200
    assert job.result()["train_metrics"] == {"loss": [None, 1, None]}


def test_epochs_may_be_many(job: Job) -> None:
    loss = [n / 7 for n in range(60_000)]
    assert job.metrics({"train_metrics": {"loss": loss}}).status_code == 200
    assert job.result()["train_metrics"]["loss"] == loss
    assert job.trained(train_metrics={"loss": [n / 7 for n in range(200_000)]}).status_code == 200
    result = job.result()
    assert (len(result["train_metrics"]["loss"]), result["train_metrics"]["loss"][-1]) == (50_000, 199_999 / 7)
    assert "every 4th value" in result["detail"]


@pytest.mark.parametrize(
    ("said", "files", "status"),
    [
        (None, [], 400),
        (None, [("trained_model", "m.pt", b"")], 400),
        (None, [("another", "m.pt", b"x")], 400),
        (None, [("trained_model", "m.pt", b"x"), ("trained_model", "m.pt", b"y")], 400),
        (None, [("trained_model", "m.pt", b"x"), ("data", "", b"{}")], 400),
        ("no json", [("trained_model", "m.pt", b"x")], 400),
        ("[" * 100_000, [("trained_model", "m.pt", b"x")], 400),
        ([], [("trained_model", "m.pt", b"x")], 400),
        ({"train_metrics": 3}, [("trained_model", "m.pt", b"x")], 400),
        ({"train_metrics": ["\ud800"]}, [("trained_model", "m.pt", b"x")], 400),
        ({"training_time": "long"}, [("trained_model", "m.pt", b"x")], 400),
        ({}, [("trained_model", "m.pt", b"x")], 200),  # PyTorch says less, and so may others
        ({"test_metrics": []}, [("trained_model", "m.pt", b"x"), ("more", "", b"x" * 100)], 200),
    ],
)
def test_what_is_no_result_is_refused(job: Job, said: object, files: list[Any], status: int) -> None:
    assert job.give(said, *files).status_code == status
    told = until(lambda: job.result() if job.result()["state"] == "finished" or job.result()["reason"] else None)
    assert (told["state"], told["reason"]) == (("finished", "") if status == 200 else ("deployed", "result_refused"))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"data=%7B%7D", "application/x-www-form-urlencoded"),
        (b"--b\r\nnonsense", "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n{}\r\n', "multipart/form-data; boundary=b"),
        (b"", "multipart/form-data"),
    ],
)
def test_a_result_is_a_whole_multipart_body(job: Job, body: bytes, kind: str) -> None:
    assert job.call("POST", "results", data=body, content_type=kind).status_code == 400


@pytest.mark.parametrize("body", [b"", b"data", b"data=x", b"data=%7B%7D&data=%7B%7D", b"\xff=1", b"other=%7B%7D"])
def test_metrics_are_a_form_with_json_in_it(job: Job, body: bytes) -> None:
    answer = job.call("POST", "results_metrics", data=body, content_type="application/x-www-form-urlencoded")
    assert problem(answer) == (400, "malformed")


def test_data_for_a_deployment_are_told_of_a_hundred_times(job: Job) -> None:
    for _ in range(102):
        job.announce()
    with job.net.database.connection():
        sql = "SELECT count(*) FROM events WHERE run_id = %s AND kind = 'data_not_used'"
        assert job.net.database.one(sql, job.deployment) == (99,)


def test_nobody_else_comes_in(job: Job) -> None:
    other = Job(job.net)
    for refused in (
        job.call("GET", "results", secret=other.secret()),
        job.call("GET", "results", rid=other.rid),
        job.call("GET", "results", secret=job.secret(2)),
        job.call("GET", "results", secret="0" * 104),
        job.call("GET", "results", secret=job.secret()[:-1] + ("0" if job.secret()[-1] != "0" else "1")),
        job.metrics({}, rid=other.rid),
        job.give(None, ("trained_model", "m.pt", b"x"), secret=other.secret()),
    ):
        assert problem(refused) == (401, "token_not_valid")
        assert job.secret() not in refused.get_data(as_text=True)
    assert job.call("GET", "results", secret="short").status_code == 404


def test_the_way_in_ends_with_the_attempt(job: Job) -> None:
    job.send(ReportWorkload(workload_id=job.workload, attempt=1, uid="u", phase=Phase.SUCCEEDED, exit_code=0))
    assert job.trained().status_code == 401
    result = job.result()
    assert (result["state"], result["reason"], job.shown()["run_state"]) == ("failed", "no_result", "failed")


def test_a_failed_one_shows_the_end_of_its_log(job: Job) -> None:
    seen = {"uid": "u", "phase": Phase.SUCCEEDED, "exit_code": 0, "log": b"no such model\n", "events": []}
    job.send(ReportWorkload(workload_id=job.workload, attempt=1, **seen))
    assert job.result()["log_tail"] == "no such model\n"
    member = job.net.site("member of the door")
    member.ok("PUT", f"/v1/projects/{job.project}/members/{member.id}", {})
    job.site.ok("PUT", f"/v1/projects/{job.project}/members/{member.id}", {})
    shown = member.ok("GET", f"/v1/training-results/{job.rid}")
    assert (shown["state"], shown["log_tail"]) == ("failed", None)


def test_a_stop_closes_it_and_what_was_stopped_stays_so(job: Job) -> None:
    job.site.ok("POST", f"/v1/deployments/{job.deployment}/stop", {"reason": "enough"})
    assert job.trained().status_code == 401
    assert (job.result()["state"], job.shown()["run_state"]) == ("stopped", "cancelled")


def test_nobody_is_shown_the_way_in(job: Job) -> None:
    workload = job.site.ok("GET", f"/v1/workloads/{job.workload}")
    assert workload["spec"]["environment"]["RESULT_URL"] == f"{{door}}/results/{job.rid}"
    everything = [
        job.shown(),
        workload,
        job.site.ok("GET", f"/v1/runs/{job.deployment}"),
        job.site.ok("GET", f"/v1/runs/{job.deployment}/events"),
        [msgspec.to_builtins(one) for one in job.net.publisher.sent],
    ]
    assert job.secret() not in str(everything)


@pytest.mark.parametrize(
    ("path", "logged"),
    [("/w/abc/results/5", "/w/.../results/5"), ("/w/abc", "/w/..."), ("/v1/workloads/w/abc", "/v1/workloads/w/abc")],
)
def test_the_log_of_requests_leaves_the_way_in_out(path: str, logged: str) -> None:
    assert WITHOUT_SECRET.sub(r"\1...", path) == logged


def test_results_are_stopped_and_deleted_by_their_numbers(job: Job) -> None:
    path = f"/v1/training-results/{job.rid}"
    assert problem(job.site.call("DELETE", path)) == (409, "not_now")
    assert job.site.ok("POST", f"{path}/stop")["state"] == "stopped"
    assert job.site.ok("DELETE", path)["state"] == "stopped"
    assert job.site.get(path).status_code == 404
    assert job.site.ok("DELETE", f"/v1/deployments/{job.deployment}")["state"] == "ended"
    assert job.site.get(f"/v1/deployments/{job.deployment}").status_code == 404
    assert job.site.ok("GET", f"/v1/projects/{job.project}/deployments")["items"] == []


def test_how_training_goes_is_counted(job: Job) -> None:
    def counted(name: str, state: str) -> float:
        text = job.net.admin.get("/metrics").get_data(as_text=True)
        return float(re.search(rf'^{name}{{state="{state}"}} (\S+)$', text, re.MULTILINE)[1])

    before = counted("fedyard_training_results", "finished"), counted("fedyard_training_results", "failed")
    job.trained()
    assert counted("fedyard_training_results", "finished") == before[0] + 1
    assert counted("fedyard_training_results", "failed") == before[1]
    assert counted("fedyard_deployments", "training") >= 1


def test_they_are_listed_for_the_projects_members_alone(job: Job) -> None:
    (listed,) = job.site.ok("GET", f"/v1/projects/{job.project}/deployments")["items"]
    assert (listed["id"], listed["number"], listed["state"]) == (job.deployment, job.number, "training")
    stranger = job.net.site("stranger")
    for path in (
        f"/v1/projects/{job.project}/deployments",
        f"/v1/deployments/{job.deployment}",
        f"/v1/training-results/{job.rid}",
    ):
        assert stranger.get(path).status_code == 404
