"""A job's files over HTTP: with the token of its newest attempt, which is good for nothing else."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from domain.workloads import files_token_of
from fedyard.wire.chunks import CHUNK_BYTES
from tests.blobs import digest_of, digests_of, noise, pieces_of
from tests.web.network import TASKS, Caller, Network
from tests.web.test_artifacts import refusal, upload
from web.serving.app import web_of

LARGE = noise(CHUNK_BYTES + 1000)


class Job:
    """At the coordinator's own site, with an input and an output; `mine`: whoever has its token."""

    def __init__(self, net: Network) -> None:
        self.net = net
        net.made += 1
        self.site = net.site(f"site of files {net.made}")
        made = {"name": f"files {net.made}", "tasks": TASKS, "sealed": "optional"}
        self.project = self.site.ok("POST", "/v1/projects", made)["id"]
        self.input = upload(self.site, self.project, LARGE, "initial")
        spec = {
            "kind": "job",
            "image": "local/sh",
            "inputs": {"start": {"artifact_id": self.input}},
            "outputs": {"model": {}},
        }
        body = {"name": "w", "where": f"site:{self.site.id}", "spec": spec}
        self.id = self.site.ok("POST", f"/v1/projects/{self.project}/workloads", body)["id"]
        self.path = f"/v1/workloads/{self.id}"
        self.mine = self.with_token(1)

    def with_token(self, attempt: int) -> Caller:
        return self.net.stranger(files_token_of(web_of(self.net.app).workload_key, self.id, attempt))

    def declare(self, content: bytes, by: Caller | None = None, name: str = "model") -> Any:
        digests = digests_of(content)
        said = {
            "size_bytes": len(content),
            "digest": digest_of(content),
            "chunk_digests": base64.b64encode(digests).decode(),
        }
        return (by or self.mine).call("POST", f"{self.path}/outputs/{name}", said)

    def put(self, number: int, content: bytes, by: Caller | None = None) -> Any:
        path = f"{self.path}/outputs/model/chunks/{number}"
        return (by or self.mine).call("PUT", path, data=content, content_type="application/octet-stream")

    def shown(self) -> dict[str, Any]:
        return dict(self.site.ok("GET", self.path))


@pytest.fixture
def job(shared: Network) -> Job:
    return Job(shared)


def test_the_site_that_it_runs_at_is_told_of_its_files_and_given_its_token(job: Job) -> None:
    (told,) = job.site.ok("GET", f"/v1/sites/{job.site.id}/workloads")["items"]
    files = told["spec"]["files"]
    assert files["inputs"] == {"start": {"digest": digest_of(LARGE), "size_bytes": len(LARGE)}}
    assert files["outputs"] == {"model": True}
    token = files_token_of(web_of(job.net.app).workload_key, job.id, 1)
    assert told["spec"]["secrets"] == {files["token"]: token}
    assert token not in str(job.shown())


def test_it_reads_its_input_and_leaves_its_output(job: Job) -> None:
    answer = job.mine.get(f"{job.path}/inputs/start")
    assert (answer.status_code, answer.data) == (200, LARGE)
    assert job.mine.get(f"{job.path}/inputs/start", headers={"Range": "bytes=7-"}).data == LARGE[7:]
    declared = job.declare(LARGE)
    assert (declared.status_code, declared.get_json()["need"]) == (201, [0, 1])
    pieces = pieces_of(LARGE)
    assert refusal(job.put(0, pieces[0][:-1] + b"x")) == (422, "digest_mismatch")
    assert job.put(0, pieces[0]).status_code == 204
    assert refusal(job.mine.call("POST", f"{job.path}/outputs/model/complete"))[0] == 409
    assert job.shown()["outputs"]["model"]["stored_at"] is None
    assert job.put(1, pieces[1]).status_code == 204
    assert job.mine.call("POST", f"{job.path}/outputs/model/complete").status_code == 200
    shown = job.shown()
    assert shown["inputs"]["start"] == {
        "artifact_id": job.input,
        "digest": digest_of(LARGE),
        "size_bytes": len(LARGE),
    }
    left = shown["outputs"]["model"]
    assert (left["digest"], left["attempt"], left["stored_at"] is not None) == (digest_of(LARGE), 1, True)
    assert job.site.get(f"/v1/artifacts/{left['artifact_id']}").data == LARGE
    assert job.declare(LARGE).get_json()["need"] == []


def test_its_token_is_good_for_its_own_files_alone(job: Job) -> None:
    other = Job(job.net)
    for path in (f"/v1/artifacts/{job.input}", f"/v1/projects/{job.project}", job.path, f"{other.path}/inputs/start"):
        assert job.mine.get(path).status_code == 401, path
    for by in (job.site, job.with_token(2), other.mine, job.net.stranger("")):
        assert by.get(f"{job.path}/inputs/start").status_code == 401
        assert job.declare(b"x", by).status_code == 401
    assert refusal(job.mine.get(f"{job.path}/inputs/other")) == (404, "not_found")
    assert refusal(job.declare(b"x", name="other")) == (404, "not_found")
    assert refusal(job.put(0, b"x")) == (404, "not_found")
    for name in ("..", ".hidden", "a b"):
        assert job.mine.get(f"{job.path}/inputs/{name}").status_code == 404


def test_once_it_has_ended_its_token_is_worth_nothing(job: Job) -> None:
    end = {"attempt": 1, "phase": "failed", "reason": "exit_code", "exit_code": 1}
    job.site.ok("POST", f"{job.path}/report", end)
    assert job.mine.get(f"{job.path}/inputs/start").status_code == 401
    assert job.declare(b"x").status_code == 401


def test_who_says_that_it_has_succeeded_has_left_what_it_must(job: Job) -> None:
    job.site.ok("POST", f"{job.path}/report", {"attempt": 1, "phase": "succeeded", "exit_code": 0})
    shown = job.shown()
    assert (shown["state"], shown["reason"]) == ("failed", "outputs_missing")
