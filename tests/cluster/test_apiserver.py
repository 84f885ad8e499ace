"""The tests' API server behaves as a real 1.36 was seen to: each test is a fact of that one."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from kubernetes import client as kube
from kubernetes import config as kube_config
from kubernetes import watch as kube_watch

from tests.cluster.apiserver import PAUSE, SHELL, ApiServer

Json = dict[str, Any]
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LIVES = "trap 'exit 0' TERM; sleep 60 & wait"
LISTENS = "import socket; s = socket.create_server(('', 8080))\nwhile True: s.accept()[0].sendall(b'here')"


_numbers = itertools.count()


class Http:
    """Plain HTTP, as bytes go over the wire. Nothing is repeated by the client."""

    def __init__(self, server: ApiServer, token: str) -> None:
        self.server, self.token = server, token
        self.pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=2, read=10))
        self.headers: Any = {}

    def raw(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Content-Type": kind} if body is not None else {})
        data = None if body is None else json.dumps(body)
        answer = self.pool.request(method, self.server.url + path, body=data, headers=headers)
        self.headers = answer.headers
        return answer

    def __call__(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> tuple[int, Json]:
        answer = self.raw(method, path, body, kind)
        return answer.status, answer.json()

    def made(self, path: str, body: Any) -> Json:
        status, obj = self("POST", path, body)
        assert status == 201, obj
        return obj

    def got(self, path: str) -> Json:
        status, obj = self("GET", path)
        assert status == 200, obj
        return obj

    def watched(self, path: str) -> list[Json]:
        """All lines of a watch that ends by itself."""
        return [json.loads(line) for line in self.raw("GET", path).data.splitlines()]


class Room:
    """A namespace of a test's own."""

    def __init__(self, http: Http, name: str) -> None:
        self.http, self.name = http, name
        self.core = f"/api/v1/namespaces/{name}"
        self.jobs = f"/apis/batch/v1/namespaces/{name}/jobs"
        self.apps = f"/apis/apps/v1/namespaces/{name}"

    def job(self, name: str, script: str = "exit 0", **spec: Any) -> Json:
        return self.http.made(self.jobs, job(name, script, **spec))

    def pods(self, selector: str = "") -> list[Json]:
        found: list[Json] = self.http.got(f"{self.core}/pods?labelSelector={selector}")["items"]
        return found

    def finished(self, name: str) -> Json:
        """A Job, with its last condition."""

        def last() -> Json | None:
            found = self.http.got(f"{self.jobs}/{name}")
            return found if {"Complete", "Failed"} & set(conditions(found)) else None

        return until(last)

    def events(self, reason: str) -> list[str]:
        found = self.http.got(f"{self.core}/events?fieldSelector=reason={reason}")["items"]
        return [each["message"] for each in found]

    def waiting(self, name: str) -> str:
        """The reason for which the first container of a pod waits."""
        states = [c["state"] for c in self.http.got(f"{self.core}/pods/{name}")["status"].get("containerStatuses", [])]
        return str((states[0].get("waiting") or {}).get("reason", "")) if states else ""

    def phase(self, name: str) -> str:
        return str(self.http.got(f"{self.core}/pods/{name}")["status"]["phase"])


def conditions(obj: Json) -> list[str]:
    return [each["type"] for each in obj["status"].get("conditions", []) if each["status"] == "True"]


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def container(script: str = "exit 0", **fields: Any) -> Json:
    return {"name": "main", "image": SHELL, "command": ["sh", "-c", script]} | fields


def pod(name: str, script: str = "exit 0", **spec: Any) -> Json:
    own = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container(script)]} | spec
    return {"metadata": {"name": name}, "spec": own}


def job(name: str, script: str = "exit 0", pods: Json | None = None, **spec: Any) -> Json:
    return {
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": pod("", script, **(pods or {}))["spec"]}} | spec,
    }


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as opened:
        yield opened


@pytest.fixture(scope="module")
def http(server: ApiServer) -> Http:
    return Http(server, server.token)


@pytest.fixture
def room(server: ApiServer, http: Http) -> Iterator[Room]:
    name = f"room-{next(_numbers)}"
    http.made("/api/v1/namespaces", {"metadata": {"name": name}})
    until(lambda: http("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default")[0] == 200)
    yield Room(http, name)
    server.faults.clear()
    server.access.allow_again()
    http("DELETE", f"/api/v1/namespaces/{name}")
    server.loop.settle()


@pytest.fixture(scope="module")
def client(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[kube.ApiClient]:
    """The official one, by a context that is not the current one."""
    path = server.kubeconfig(tmp_path_factory.mktemp("kube") / "config")
    with kube_config.new_client_from_config(config_file=str(path), context="tests") as opened:
        yield opened


# ---------------------------------------------------------------- objects and versions


def test_the_server_alone_says_who_an_object_is(room):
    made = room.http.made(f"{room.core}/configmaps", {"metadata": {"name": "a", "uid": "mine"}, "data": {"k": "v"}})
    meta = made["metadata"]
    assert (made["kind"], made["apiVersion"], meta["namespace"]) == ("ConfigMap", "v1", room.name)
    assert len(meta["uid"]) == 36
    assert int(meta["resourceVersion"]) > 0
    assert meta["creationTimestamp"].endswith("Z")
    again = room.http.made(f"{room.core}/configmaps", {"metadata": {"generateName": "b-"}})
    assert again["metadata"]["name"].startswith("b-")
    assert int(again["metadata"]["resourceVersion"]) > int(meta["resourceVersion"])


def test_refusals_are_statuses_with_their_reasons(room):
    body = {"metadata": {"name": "a"}}
    room.http.made(f"{room.core}/configmaps", body)
    status, said = room.http("POST", f"{room.core}/configmaps", body)
    assert (status, said["reason"], said["message"]) == (409, "AlreadyExists", 'configmaps "a" already exists')
    assert said["details"] == {"name": "a", "kind": "configmaps"}
    status, said = room.http("GET", f"{room.jobs}/none")
    assert (status, said["reason"], said["message"]) == (404, "NotFound", 'jobs.batch "none" not found')
    assert said["details"] == {"name": "none", "kind": "jobs", "group": "batch"}
    status, said = room.http("POST", "/apis/batch/v1/namespaces/nowhere/jobs", job("a"))
    assert (status, said["message"]) == (404, 'namespaces "nowhere" not found')
    assert room.http("GET", "/apis/batch/v1/nonsense")[0] == 404
    assert room.http("PUT", f"{room.core}/configmaps")[0] == 405
    status, said = room.http("POST", f"{room.core}/configmaps", {"metadata": {"name": "b", "namespace": "other"}})
    assert (status, said["reason"]) == (400, "BadRequest")


def test_a_stale_version_is_a_conflict_and_no_change_makes_no_version(room):
    at = f"{room.core}/configmaps/a"
    first = room.http.made(f"{room.core}/configmaps", {"metadata": {"name": "a"}, "data": {"k": "1"}})
    status, second = room.http("PUT", at, first | {"data": {"k": "2"}})
    assert (status, second["data"]) == (200, {"k": "2"})
    status, said = room.http("PUT", at, first | {"data": {"k": "3"}})
    assert (status, said["reason"]) == (409, "Conflict")
    assert "the object has been modified" in said["message"]
    assert room.http("PUT", at, second)[1]["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    del first["metadata"]["resourceVersion"]
    assert room.http("PUT", at, first | {"data": {"k": "4"}})[0] == 200
    wrong = first | {"metadata": first["metadata"] | {"uid": "another"}}
    assert room.http("PUT", at, wrong)[0] == 409


def test_the_spec_counts_generations_and_status_is_apart(room):
    made = room.http.made(f"{room.apps}/deployments", deployment("d", 0))
    assert made["metadata"]["generation"] == 1
    at = f"{room.apps}/deployments/d"
    merge = "application/merge-patch+json"
    changed = room.http("PATCH", at, {"spec": {"paused": True}, "status": {"replicas": 77}}, merge)[1]
    assert changed["metadata"]["generation"] == 2
    assert changed["status"].get("replicas", 0) == 0
    changed = room.http("PATCH", at + "/status", {"spec": {"paused": False}, "status": {"collisionCount": 7}}, merge)[1]
    assert (changed["metadata"]["generation"], changed["spec"]["paused"], changed["status"]["collisionCount"]) == (
        2,
        True,
        7,
    )


def test_unknown_fields_are_warned_of_or_refused(room):
    body = job("a", suspend=True)
    body["spec"]["nonsense"] = 1
    room.http.made(room.jobs, body)
    assert room.http.headers["Warning"] == '299 - "unknown field \\"spec.nonsense\\""'
    status, said = room.http("POST", room.jobs + "?fieldValidation=Strict", body | {"metadata": {"name": "b"}})
    assert (status, said["reason"]) == (400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.nonsense"' in said["message"]
    status, said = room.http("POST", room.jobs, job("c", backoffLimit="many"))
    assert status == 400
    assert "cannot unmarshal string into Go struct field spec.backoffLimit" in said["message"]
    room.http.made(room.jobs + "?fieldValidation=Ignore", body | {"metadata": {"name": "d"}})
    assert "Warning" not in room.http.headers


def test_quantities_are_kept_in_their_shortest_form_and_list_items_without_their_kind(room):
    given = {"cpu": "1000m", "memory": "1024Mi", "ephemeral-storage": "64000000", "nvidia.com/gpu": 1}
    kept = {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "64M", "nvidia.com/gpu": "1"}
    made = room.http.made(f"{room.core}/pods", pod("a", containers=[container(resources={"limits": given})]))
    assert made["spec"]["containers"][0]["resources"] == {"limits": kept, "requests": kept}
    (listed,) = room.pods()
    assert not {"kind", "apiVersion"} & set(listed)
    half = [container(resources={"limits": {"cpu": "0.5", "memory": "1073741824"}})]
    made = room.http.made(f"{room.core}/pods", pod("b", containers=half))
    assert made["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "500m", "memory": "1073741824"}


def test_a_dry_run_stores_nothing(room):
    assert room.http("POST", f"{room.jobs}?dryRun=All", job("a"))[0] == 201
    assert room.http("GET", f"{room.jobs}/a")[0] == 404


@pytest.mark.parametrize(
    ("where", "body", "field"),
    [
        ("jobs", job("Bad_Name"), "metadata.name"),
        ("jobs", job("x" * 64), "spec.template.labels"),
        ("jobs", job("a", pods={"restartPolicy": "Always"}), "spec.template.spec.restartPolicy"),
        ("jobs", job("a", backoffLimit=-1), "spec.backoffLimit"),
        ("jobs", job("a", pods={"containers": []}), "spec.template.spec.containers"),
        ("jobs", job("a") | {"metadata": {"name": "a", "labels": {"k": "v" * 64}}}, "metadata.labels"),
        ("jobs", job("a") | {"metadata": {"name": "a", "labels": {"k k": ""}}}, "metadata.labels"),
        ("jobs", job("a", pods={"nodeSelector": {"k": "not ok"}}), "spec.template.spec.nodeSelector"),
        ("pods", pod("a", containers=[container(env=[{"name": "a=b"}])]), "spec.containers[0].env[0].name"),
        (
            "pods",
            pod("a", containers=[container(resources={"limits": {"cpu": "much"}})]),
            "spec.containers[0].resources.limits[cpu]",
        ),
        (
            "pods",
            pod("a", containers=[container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}})]),
            "spec.containers[0].resources.requests",
        ),
        ("pods", pod("a", containers=[container(), container()]), "spec.containers[1].name"),
        (
            "pods",
            pod("a", containers=[container(volumeMounts=[{"name": "v", "mountPath": "/v"}])]),
            "spec.containers[0].volumeMounts[0].name",
        ),
        ("pods", pod("a", tolerations=[{"operator": "Equal"}]), "spec.tolerations[0].operator"),
        ("services", {"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 1}]}}, "metadata.name"),
        ("services", {"metadata": {"name": "a"}, "spec": {}}, "spec.ports"),
        (
            "services",
            {"metadata": {"name": "a"}, "spec": {"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]}},
            "spec.ports[0].nodePort",
        ),
        ("secrets", {"metadata": {"name": "a"}, "data": {"a/b": ""}}, "data[a/b]"),
        (
            "persistentvolumeclaims",
            {"metadata": {"name": "a"}, "spec": {"accessModes": ["ReadWriteOnce"]}},
            "spec.resources[storage]",
        ),
        ("resourcequotas", {"metadata": {"name": "a"}, "spec": {"hard": {"pods": "few"}}}, "spec.hard[pods]"),
    ],
)
def test_what_is_invalid_is_refused_with_its_field(room, where, body, field):
    status, said = room.http("POST", room.jobs if where == "jobs" else f"{room.core}/{where}", body)
    assert (status, said["reason"]) == (422, "Invalid"), said
    assert field in [cause["field"] for cause in said["details"]["causes"]]
    assert "is invalid: " in said["message"]


def test_a_jobs_template_is_immutable_and_its_own_labels_stay(room):
    room.job("a", "exec sleep 60", suspend=False)
    made = until(lambda: (j := room.http.got(f"{room.jobs}/a"))["status"].get("startTime") and j)
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels["batch.kubernetes.io/job-name"] == labels["job-name"] == "a"
    assert labels["batch.kubernetes.io/controller-uid"] == made["metadata"]["uid"]
    merge = "application/merge-patch+json"
    change = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 9}}}}
    status, said = room.http("PATCH", f"{room.jobs}/a", change, merge)
    assert (status, said["details"]["causes"][0]["field"]) == (422, "spec.template")
    assert "field is immutable" in said["message"]
    assert room.http("PATCH", f"{room.jobs}/a", {"spec": {"ttlSecondsAfterFinished": 5}}, merge)[0] == 200


# ---------------------------------------------------------------- lists and watches


def test_lists_select_and_come_in_pieces(room):
    maps = f"{room.core}/configmaps"
    for name, tier in (("a", "web"), ("b", "web"), ("c", "db"), ("d", "")):
        room.http.made(
            maps, {"metadata": {"name": name, "labels": {"tier": tier, "test": "1"} if tier else {"test": "1"}}}
        )

    def names(query: str) -> list[str]:
        return [each["metadata"]["name"] for each in room.http.got(f"{maps}?{query}")["items"]]

    assert names("labelSelector=tier=web") == ["a", "b"]
    assert names("labelSelector=tier in (web,db),test") == ["a", "b", "c"]
    assert names("labelSelector=test,!tier") == ["d"]
    assert names("labelSelector=test,tier!=web") == ["c", "d"]
    assert names("labelSelector=tier notin (db)")[:2] == ["a", "b"]
    assert names("fieldSelector=metadata.name=c") == ["c"]
    assert room.http("GET", f"{maps}?fieldSelector=data.x=c")[0] == 400
    assert room.http("GET", f"{maps}?labelSelector=a=b=c")[0] == 400
    first = room.http.got(f"{maps}?labelSelector=test&limit=3")
    room.http.made(maps, {"metadata": {"name": "e", "labels": {"test": "1"}}})
    rest = room.http.got(f"{maps}?labelSelector=test&limit=3&continue={first['metadata']['continue']}")
    assert [each["metadata"]["name"] for each in first["items"] + rest["items"]] == ["a", "b", "c", "d"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "continue" not in rest["metadata"]


def test_a_forgotten_version_is_410_for_a_list_and_an_error_line_for_a_watch(server, room):
    maps = f"{room.core}/configmaps"
    room.http.made(maps, {"metadata": {"name": "a"}})
    first = room.http.got(f"{maps}?limit=1")["metadata"]
    room.http.made(maps, {"metadata": {"name": "b"}})
    server.compact()
    status, said = room.http("GET", f"{maps}?limit=1&continue={first['continue']}")
    assert (status, said["reason"]) == (410, "Expired")
    assert "continue parameter is too old" in said["message"]
    (line,) = room.http.watched(f"{maps}?watch=true&resourceVersion={first['resourceVersion']}&timeoutSeconds=5")
    assert (line["type"], line["object"]["code"], line["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_the_official_watch_raises_410_while_it_is_iterated(server, room, client):
    room.http.made(f"{room.core}/configmaps", {"metadata": {"name": "a"}})
    server.compact()
    listing = kube.CoreV1Api(client).list_namespaced_config_map
    stream = kube_watch.Watch().stream(listing, room.name, resource_version="1", timeout_seconds=5)
    with pytest.raises(kube.ApiException) as caught:
        next(stream)
    assert caught.value.status == 410


def test_a_watch_tells_what_happened_since_a_version(room):
    maps = f"{room.core}/configmaps"
    at = room.http.got(maps)["metadata"]["resourceVersion"]
    room.http.made(maps, {"metadata": {"name": "a", "labels": {"x": "1"}}})
    merge = "application/merge-patch+json"
    room.http("PATCH", f"{maps}/a", {"metadata": {"labels": {"x": "2"}}}, merge)
    room.http("PATCH", f"{maps}/a", {"metadata": {"labels": {"x": "1"}}}, merge)
    room.http("DELETE", f"{maps}/a")
    kinds = [line["type"] for line in room.http.watched(f"{maps}?watch=1&resourceVersion={at}&timeoutSeconds=1")]
    assert kinds == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    seen = room.http.watched(f"{maps}?watch=1&resourceVersion={at}&labelSelector=x=1&timeoutSeconds=1")
    assert [line["type"] for line in seen] == ["ADDED", "DELETED", "ADDED", "DELETED"]


def test_a_watch_without_a_version_begins_with_what_is_there_and_is_live(room):
    maps = f"{room.core}/configmaps"
    room.http.made(maps, {"metadata": {"name": "a", "labels": {"x": ""}}})
    answer = room.http.pool.request(
        "GET",
        f"{room.http.server.url}{maps}?watch=true&labelSelector=x&timeoutSeconds=20",
        headers={"Authorization": f"Bearer {room.http.token}"},
        preload_content=False,
    )
    lines = (json.loads(line) for line in answer)
    assert next(lines)["object"]["metadata"]["name"] == "a"
    room.http.made(maps, {"metadata": {"name": "b", "labels": {"x": ""}}})
    assert next(lines)["object"]["metadata"]["name"] == "b"
    answer.close()


def test_bookmarks_come_when_they_are_allowed(room):
    room.http.made(f"{room.core}/configmaps", {"metadata": {"name": "a"}})
    query = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    *added, mark = room.http.watched(f"{room.core}/configmaps?{query}&timeoutSeconds=1")
    assert {line["type"] for line in added} == {"ADDED"}
    assert (mark["type"], mark["object"]["metadata"]["annotations"]) == (
        "BOOKMARK",
        {"k8s.io/initial-events-end": "true"},
    )


# ---------------------------------------------------------------- patches


def test_the_kinds_of_patch(room):
    made = room.http.made(f"{room.apps}/deployments", deployment("d", 0))
    at = f"{room.apps}/deployments/d"
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": PAUSE}]}}}}
    obj = room.http("PATCH", at, strategic, "application/strategic-merge-patch+json")[1]
    assert sorted(each["name"] for each in obj["spec"]["template"]["spec"]["containers"]) == ["main", "side"]
    args = {
        "spec": {"template": {"spec": {"containers": [{"name": "main", "command": ["sh"], "args": ["-c", "true"]}]}}}
    }
    obj = room.http("PATCH", at, args, "application/strategic-merge-patch+json")[1]
    main = next(each for each in obj["spec"]["template"]["spec"]["containers"] if each["name"] == "main")
    assert (main["command"], main["args"]) == (["sh"], ["-c", "true"]), "lists of words are replaced"
    obj = room.http("PATCH", at, strategic, "application/merge-patch+json")[1]
    assert [each["name"] for each in obj["spec"]["template"]["spec"]["containers"]] == ["side"]
    added = [{"op": "add", "path": "/metadata/labels", "value": {"a": ""}}, {"op": "remove", "path": "/spec/paused"}]
    assert room.http("PATCH", at, added, "application/json-patch+json")[0] == 422, "there is nothing to remove"
    assert room.http("PATCH", at, added[:1], "application/json-patch+json")[1]["metadata"]["labels"] == {"a": ""}
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "spec": {"paused": True}}
    assert room.http("PATCH", at, stale, "application/merge-patch+json")[0] == 409
    assert room.http("PATCH", at, {}, "application/json")[0] == 415


def test_server_side_apply_makes_changes_and_guards_what_others_said(room):
    at = f"{room.core}/configmaps/a"

    def apply(manager: str, data: Json, *, force: bool = False) -> tuple[int, Json]:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}
        query = f"fieldManager={manager}" + ("&force=true" if force else "")
        return room.http("PATCH", f"{at}?{query}", body, "application/apply-patch+yaml")

    assert apply("one", {"k": "1", "l": "1"})[0] == 201
    status, same = apply("one", {"k": "1", "l": "1"})
    assert (status, same["metadata"]["managedFields"][0]["operation"]) == (200, "Apply")
    assert apply("one", {"k": "1"})[1]["data"] == {"k": "1"}, "what one says no more is gone"
    assert apply("two", {"m": "2"})[1]["data"] == {"k": "1", "m": "2"}
    status, said = apply("two", {"k": "2", "m": "2"})
    assert (status, said["reason"]) == (409, "Conflict")
    assert said["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.k'
    assert apply("two", {"k": "2", "m": "2"}, force=True)[1]["data"] == {"k": "2", "m": "2"}
    assert apply("one", {"k": "1"})[0] == 409
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    assert room.http("PATCH", at, body, "application/apply-patch+yaml")[0] == 422


# ---------------------------------------------------------------- deletion


def test_a_job_deleted_without_a_policy_leaves_its_pods_running(room, client):
    room.job("a", "exec sleep 60")
    until(lambda: [p for p in room.pods() if p["status"]["phase"] == "Running"])
    kube.BatchV1Api(client).delete_namespaced_job("a", room.name)
    left = until(lambda: [p for p in room.pods() if "ownerReferences" not in p["metadata"]])
    assert left[0]["status"]["phase"] == "Running"
    assert "deletionTimestamp" not in left[0]["metadata"]
    assert room.http("GET", f"{room.jobs}/a")[0] == 404


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_a_job_deleted_with_a_policy_takes_its_pods(room, policy):
    room.job("a", "trap 'exit 0' TERM; echo up; sleep 60 & wait")
    until(lambda: room.pods() and room.phase(room.pods()[0]["metadata"]["name"]) == "Running")
    status, said = room.http("DELETE", f"{room.jobs}/a?propagationPolicy={policy}")
    assert status == 200
    assert said["kind"] == {"Background": "Status", "Foreground": "Job"}[policy]
    if policy == "Foreground":
        assert "foregroundDeletion" in said["metadata"]["finalizers"]
    until(lambda: not room.pods() and room.http("GET", f"{room.jobs}/a")[0] == 404)


def test_beside_a_body_the_query_is_ignored(room, client):
    room.job("a", "exec sleep 60")
    until(room.pods)
    options = kube.V1DeleteOptions(
        preconditions=kube.V1Preconditions(uid=room.http.got(f"{room.jobs}/a")["metadata"]["uid"])
    )
    kube.BatchV1Api(client).delete_namespaced_job("a", room.name, propagation_policy="Background", body=options)
    until(lambda: "ownerReferences" not in room.pods()[0]["metadata"])


def test_a_deletion_is_of_that_very_object(room):
    room.job("a", suspend=True)
    wrong = {"preconditions": {"uid": "another"}, "propagationPolicy": "Background"}
    status, said = room.http("DELETE", f"{room.jobs}/a", wrong)
    assert (status, said["reason"]) == (409, "Conflict")
    assert "Precondition failed: UID in precondition: another" in said["message"]
    assert room.http("DELETE", f"{room.jobs}/a?propagationPolicy=Sideways")[0] == 422


def test_what_has_a_finalizer_stays_until_it_is_taken_off(room):
    maps = f"{room.core}/configmaps"
    room.http.made(maps, {"metadata": {"name": "a", "finalizers": ["fedyard.test/hold"]}})
    status, said = room.http("DELETE", f"{maps}/a")
    assert (status, "deletionTimestamp" in said["metadata"]) == (200, True)
    status, said = room.http("POST", maps, {"metadata": {"name": "a"}})
    assert (status, said["message"]) == (409, 'object is being deleted: configmaps "a" already exists')
    merge = "application/merge-patch+json"
    added = {"metadata": {"finalizers": ["fedyard.test/hold", "fedyard.test/more"]}}
    assert room.http("PATCH", f"{maps}/a", added, merge)[0] == 422
    assert room.http("PATCH", f"{maps}/a", {"metadata": {"finalizers": None}}, merge)[0] == 200
    assert room.http("GET", f"{maps}/a")[0] == 404


def test_what_belongs_to_an_owner_goes_with_it(room):
    owner = room.job("a", suspend=True)
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": owner["metadata"]["uid"]}
    room.http.made(f"{room.core}/secrets", {"metadata": {"name": "s", "ownerReferences": [reference]}})
    stray = {"metadata": {"name": "t", "ownerReferences": [reference | {"uid": "one-that-was"}]}}
    room.http.made(f"{room.core}/secrets", stray)
    until(lambda: room.http("GET", f"{room.core}/secrets/t")[0] == 404)
    assert room.http("GET", f"{room.core}/secrets/s")[0] == 200
    room.http("DELETE", f"{room.jobs}/a", {"propagationPolicy": "Background"})
    until(lambda: room.http("GET", f"{room.core}/secrets/s")[0] == 404)


def test_a_collection_is_deleted_by_selector(room):
    maps = f"{room.core}/configmaps"
    for name, tier in (("a", "x"), ("b", "y")):
        room.http.made(maps, {"metadata": {"name": name, "labels": {"tier": tier}}})
    assert room.http("DELETE", f"{maps}?labelSelector=tier=x")[0] == 200
    assert [each["metadata"]["name"] for each in room.http.got(f"{maps}?labelSelector=tier")["items"]] == ["b"]


def test_pid_1_without_a_handler_ignores_sigterm_and_takes_its_grace(room):
    for name, script in (("deaf", "sleep 60; true"), ("heeds", "trap 'exit 0' TERM; echo up; sleep 60 & wait")):
        room.http.made(f"{room.core}/pods", pod(name, script))
        until(lambda name=name: room.phase(name) == "Running")
    until(lambda: b"up" in room.http.raw("GET", f"{room.core}/pods/heeds/log").data)
    at = time.monotonic()
    for name in ("deaf", "heeds"):
        status, said = room.http("DELETE", f"{room.core}/pods/{name}")
        assert (status, said["metadata"]["deletionGracePeriodSeconds"]) == (200, 1)
    until(lambda: room.http("GET", f"{room.core}/pods/heeds")[0] == 404)
    assert time.monotonic() - at < 0.9
    until(lambda: room.http("GET", f"{room.core}/pods/deaf")[0] == 404)
    assert time.monotonic() - at >= 0.9


# ---------------------------------------------------------------- namespaces, admission, rights


def test_a_namespace_ends_with_all_that_is_in_it(server, http):
    name = "ends"
    http.made("/api/v1/namespaces", {"metadata": {"name": name}})
    one = Room(http, name)
    until(lambda: http("GET", f"{one.core}/serviceaccounts/default")[0] == 200)
    one.job("a", "exec sleep 60")
    until(one.pods)
    server.hold_namespace(name)
    status, said = http("DELETE", f"/api/v1/namespaces/{name}")
    assert (status, said["status"]["phase"]) == (200, "Terminating")
    status, said = http("POST", f"{one.core}/configmaps", {"metadata": {"name": "a"}})
    assert (status, said["reason"], said["details"]["causes"][0]["reason"]) == (
        403,
        "Forbidden",
        "NamespaceTerminating",
    )
    assert said["message"].endswith("because it is being terminated")
    assert http("POST", "/api/v1/namespaces", {"metadata": {"name": name}})[0] == 409
    until(lambda: "NamespaceDeletionDiscoveryFailure" in conditions(http.got(f"/api/v1/namespaces/{name}")))
    server.free_namespace(name)
    until(lambda: http("GET", f"/api/v1/namespaces/{name}")[0] == 404)
    assert http.got("/apis/batch/v1/jobs?fieldSelector=metadata.namespace=ends")["items"] == []


def test_pod_security_refuses_pods_and_lets_jobs_fail_to_make_them(room):
    merge = "application/merge-patch+json"
    room.http("PATCH", f"/api/v1/namespaces/{room.name}", {"metadata": {"labels": RESTRICTED}}, merge)
    status, said = room.http("POST", f"{room.core}/pods", pod("a"))
    assert status == 403
    assert said["message"] == (
        'pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container '
        '"main" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "main" '
        'must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "main" must set '
        'securityContext.runAsNonRoot=true), seccompProfile (pod or container "main" must set '
        'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )
    room.job("bad")
    (message,) = until(lambda: room.events("FailedCreate"))
    assert message.startswith('Error creating: pods "bad-')
    assert room.pods() == []
    room.job("good", pods={"containers": [container(securityContext=SAFE)]})
    assert "Complete" in conditions(room.finished("good"))


def test_a_quota_refuses_pods_and_lets_jobs_fail_to_make_them(room):
    hard = {"limits.cpu": "2", "pods": "1"}
    room.http.made(f"{room.core}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    status, said = room.http("POST", f"{room.core}/pods", pod("a"))
    assert (status, said["message"]) == (
        403,
        'pods "a" is forbidden: failed quota: q: must specify limits.cpu for: main',
    )
    limited = {"containers": [container("exec sleep 60", resources={"limits": {"cpu": "1"}})]}
    room.job("a", pods=limited)
    until(room.pods)
    room.job("b", pods=limited)
    (message,) = until(lambda: room.events("FailedCreate"))
    assert message.endswith("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1")
    used = until(lambda: (s := room.http.got(f"{room.core}/resourcequotas/q")["status"])["used"]["pods"] == "1" and s)
    assert used == {"hard": hard, "used": {"limits.cpu": "1", "pods": "1"}}
    assert "active" not in room.http.got(f"{room.jobs}/b")["status"]


def test_a_limit_range_fills_in_and_bounds(room):
    item = {
        "type": "Container",
        "default": {"memory": "64Mi"},
        "defaultRequest": {"memory": "32Mi"},
        "max": {"memory": "1Gi"},
    }
    room.http.made(f"{room.core}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [item]}})
    made = room.http.made(f"{room.core}/pods", pod("a"))
    assert made["spec"]["containers"][0]["resources"] == {"limits": {"memory": "64Mi"}, "requests": {"memory": "32Mi"}}
    big = pod("b", containers=[container(resources={"limits": {"memory": "2Gi"}})])
    status, said = room.http("POST", f"{room.core}/pods", big)
    assert status == 403
    assert said["message"].endswith("maximum memory usage per Container is 1Gi, but limit is 2Gi")


def test_tokens_and_roles(server, room):
    http = room.http
    http.made(f"{room.core}/serviceaccounts", {"metadata": {"name": "robot"}})
    rules = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]}]
    base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{room.name}"
    http.made(f"{base}/roles", {"metadata": {"name": "r"}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": room.name}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    http.made(f"{base}/rolebindings", {"metadata": {"name": "b"}, "roleRef": ref, "subjects": [subject]})
    token = http.made(f"{room.core}/serviceaccounts/robot/token", {"spec": {"expirationSeconds": 600}})["status"][
        "token"
    ]
    robot = Http(server, token)
    assert robot("GET", room.jobs)[0] == 200
    status, said = robot("GET", f"{room.core}/secrets")
    who = f"system:serviceaccount:{room.name}:robot"
    assert (status, said["message"]) == (
        403,
        (
            f'secrets is forbidden: User "{who}" cannot list resource "secrets" in API group "" in the namespace '
            f'"{room.name}"'
        ),
    )
    assert robot("GET", "/apis/batch/v1/namespaces/default/jobs")[0] == 403

    def may(verb: str) -> bool:
        asked = {"namespace": room.name, "verb": verb, "group": "batch", "resource": "jobs"}
        review = robot.made(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {"resourceAttributes": asked}}
        )
        return bool(review["status"]["allowed"])

    assert (may("list"), may("create")) == (True, False)
    assert Http(server, "nonsense")("GET", room.jobs)[0] == 401
    nobody = http.pool.request("GET", server.url + room.jobs)
    assert (nobody.status, "system:anonymous" in nobody.json()["message"]) == (403, True)
    server.access.expire(token)
    assert robot("GET", room.jobs)[0] == 401
    server.access.deny("create", "jobs")
    assert http("POST", room.jobs, job("a"))[0] == 403


# ---------------------------------------------------------------- pods


def test_a_job_that_ends_well_and_one_that_does_not(room):
    room.job("good", "echo said; echo also >&2")
    room.job("bad", "echo last words; exit 3")
    good, bad = room.finished("good"), room.finished("bad")
    assert conditions(good) == ["SuccessCriteriaMet", "Complete"]
    assert (good["status"]["succeeded"], "completionTime" in good["status"]) == (1, True)
    assert conditions(bad) == ["FailureTarget", "Failed"]
    assert (bad["status"]["conditions"][1]["reason"], bad["status"]["failed"]) == ("BackoffLimitExceeded", 1)
    (one,) = room.pods("job-name=bad")
    meta = one["metadata"]
    assert [(o["kind"], o["name"], o["controller"]) for o in meta["ownerReferences"]] == [("Job", "bad", True)]
    assert "finalizers" not in meta, "it has been counted"
    state = one["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (one["status"]["phase"], state["exitCode"], state["reason"]) == ("Failed", 3, "Error")
    assert room.http.raw("GET", f"{room.core}/pods/{meta['name']}/log").data == b"last words\n"
    (one,) = room.pods("job-name=good")
    assert sorted(room.http.raw("GET", f"{room.core}/pods/{one['metadata']['name']}/log").data.split()) == [
        b"also",
        b"said",
    ]
    reasons = {each["reason"] for each in room.http.got(f"{room.core}/events")["items"]}
    assert {
        "SuccessfulCreate",
        "Scheduled",
        "Pulled",
        "Created",
        "Started",
        "Completed",
        "BackoffLimitExceeded",
    } <= reasons


def test_a_pod_has_its_jobs_finalizer_until_it_is_counted(server, room):
    room.job("a", "exec sleep 60")
    (one,) = until(room.pods)
    assert one["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]


def test_logs_by_their_options(room):
    at = f"{room.core}/pods/a/log"
    room.http.made(f"{room.core}/pods", pod("a", "for n in 1 2 3; do echo line $n; done; printf end"))
    until(lambda: room.phase("a") == "Succeeded")
    assert room.http.raw("GET", at).data == b"line 1\nline 2\nline 3\nend"
    assert room.http.raw("GET", f"{at}?tailLines=2").data == b"line 3\nend"
    assert room.http.raw("GET", f"{at}?limitBytes=9").data == b"line 1\nli", "the first bytes, not the last"
    assert room.http.raw("GET", f"{at}?tailLines=2&limitBytes=4").data == b"line"
    stamped = room.http.raw("GET", f"{at}?timestamps=true").data.splitlines()
    assert stamped[0].endswith(b"Z line 1")
    assert room.http.raw("GET", f"{at}?sinceTime=2099-01-01T00:00:00Z").data == b""
    assert room.http.raw("GET", f"{at}?follow=true").data == b"line 1\nline 2\nline 3\nend"
    status, said = room.http("GET", f"{at}?previous=true")
    assert (status, said["message"]) == (400, 'previous terminated container "main" in pod "a" not found')
    assert room.http("GET", f"{at}?container=other")[0] == 400


def test_a_followed_log_comes_as_it_is_written(room):
    room.http.made(f"{room.core}/pods", pod("a", "echo first; while [ ! -e go ]; do sleep 0.01; done; echo last"))
    until(lambda: room.phase("a") == "Running")
    url = f"{room.http.server.url}{room.core}/pods/a/log?follow=true"
    headers = {"Authorization": f"Bearer {room.http.token}"}
    answer = room.http.pool.request("GET", url, headers=headers, preload_content=False)
    pieces = answer.stream()
    assert next(pieces) == b"first\n"
    uid = room.http.got(f"{room.core}/pods/a")["metadata"]["uid"]
    (room.http.server.folder / uid / "main" / "go").touch()
    assert b"".join(pieces) == b"last\n"


@pytest.mark.parametrize(
    ("image", "policy", "reason"),
    [
        ("Not An Image", "Always", "InvalidImageName"),
        ("fedyard.test/other:1", "Never", "ErrImageNeverPull"),
        ("fedyard.test/other:1", "Always", "ErrImagePull"),
    ],
)
def test_an_image_that_cannot_be_had(room, image, policy, reason):
    room.http.made(f"{room.core}/pods", pod("a", containers=[container(image=image, imagePullPolicy=policy)]))
    until(lambda: room.waiting("a") == reason)
    if reason == "ErrImagePull":
        until(lambda: room.waiting("a") == "ImagePullBackOff")
    status, said = room.http("GET", f"{room.core}/pods/a/log")
    assert status == 400
    assert 'container "main" in pod "a" is waiting to start' in said["message"]


def test_an_image_that_comes_later_is_pulled_then(server, room):
    room.http.made(f"{room.core}/pods", pod("a", containers=[container("echo here", image="fedyard.test/late:1")]))
    until(lambda: room.waiting("a") in {"ErrImagePull", "ImagePullBackOff"})
    server.images["fedyard.test/late:1"] = server.images[SHELL]
    until(lambda: room.phase("a") == "Succeeded")


def test_a_container_that_cannot_be_made_or_started(room):
    secret = {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    room.http.made(f"{room.core}/pods", pod("a", containers=[container("echo $S", env=[secret])]))
    until(lambda: room.waiting("a") == "CreateContainerConfigError")
    room.http.made(f"{room.core}/secrets", {"metadata": {"name": "s"}, "stringData": {"k": "hush"}})
    until(lambda: room.phase("a") == "Succeeded")
    assert room.http.raw("GET", f"{room.core}/pods/a/log").data == b"hush\n"
    root = {"runAsNonRoot": True}
    room.http.made(f"{room.core}/pods", pod("b", containers=[container(securityContext=root)]))
    until(lambda: room.waiting("b") == "CreateContainerConfigError")
    room.http.made(f"{room.core}/pods", pod("c", containers=[container(command=["no-such-program"])]))
    until(lambda: room.phase("c") == "Failed")
    state = room.http.got(f"{room.core}/pods/c")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (128, "StartError")
    assert 'exec: "no-such-program": executable file not found in $PATH' in state["message"]


def test_environment_init_containers_and_volumes(room):
    room.http.made(f"{room.core}/configmaps", {"metadata": {"name": "c"}, "data": {"KEY": "from c"}})
    env = [
        {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "GREETING", "value": "hello $(WHO), $(NOBODY), $$(WHO)"},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    main = container(
        'echo "$GREETING, $KEY, $LIMIT"; cat /shared/note /conf/KEY',
        env=env,
        envFrom=[{"configMapRef": {"name": "c"}}],
        resources={"limits": {"memory": "64Mi"}},
        volumeMounts=[{"name": "v", "mountPath": "/shared"}, {"name": "c", "mountPath": "/conf"}],
    )
    first = container("echo note > /shared/note", volumeMounts=[{"name": "v", "mountPath": "/shared"}]) | {
        "name": "first"
    }
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}]
    room.http.made(f"{room.core}/pods", pod("a", initContainers=[first], containers=[main], volumes=volumes))
    until(lambda: room.phase("a") == "Succeeded")
    said = room.http.raw("GET", f"{room.core}/pods/a/log").data
    assert said == b"hello a, $(NOBODY), $(WHO), from c, 64\nnote\nfrom c"


def test_a_sidecar_lives_as_long_as_what_it_is_for(room):
    up = {"exec": {"command": ["sh", "-c", "[ -e up ]"]}}
    script = "trap 'echo bye; exit 0' TERM; echo up; touch up; sleep 60 & wait"
    sidecar = container(script, startupProbe=up) | {"name": "side", "restartPolicy": "Always"}
    room.http.made(f"{room.core}/pods", pod("a", "echo done", initContainers=[sidecar]))
    until(lambda: room.phase("a") == "Succeeded")
    assert room.http.raw("GET", f"{room.core}/pods/a/log?container=main").data == b"done\n"
    until(lambda: room.http.raw("GET", f"{room.core}/pods/a/log?container=side").data == b"up\nbye\n")


def test_a_container_that_is_not_alive_is_started_again(server, room):
    alive = {"exec": {"command": ["sh", "-c", "exit 1"]}, "periodSeconds": 10, "failureThreshold": 3}
    lives = container(LIVES, livenessProbe=alive)
    room.http.made(f"{room.core}/pods", pod("a", containers=[lives], restartPolicy="Always"))
    until(lambda: room.events("Unhealthy"))
    server.clock.advance(31)
    until(lambda: room.http.got(f"{room.core}/pods/a")["status"]["containerStatuses"][0]["restartCount"])
    assert room.events("Killing")[0] == "Container main failed liveness probe, will be restarted"


def test_nothing_is_ready_before_it_has_started(room):
    up = {"exec": {"command": ["sh", "-c", "[ -e up ]"]}}
    slow = container("while [ ! -e go ]; do sleep 0.01; done; touch up; " + LIVES, startupProbe=up)
    made = room.http.made(f"{room.core}/pods", pod("a", containers=[slow]))
    until(lambda: room.events("Unhealthy") == ["Startup probe failed"])
    assert "Ready" not in conditions(room.http.got(f"{room.core}/pods/a"))
    (room.http.server.folder / made["metadata"]["uid"] / "main" / "go").touch()
    until(lambda: "Ready" in conditions(room.http.got(f"{room.core}/pods/a")))


def test_last_words(room):
    room.http.made(f"{room.core}/pods", pod("a", "echo written > /dev/termination-log"))
    fallback = container("echo of the log; exit 1", terminationMessagePolicy="FallbackToLogsOnError")
    room.http.made(f"{room.core}/pods", pod("b", containers=[fallback]))
    for name, message in (("a", "written\n"), ("b", "of the log\n")):
        until(lambda name=name: room.phase(name) in {"Succeeded", "Failed"})
        state = room.http.got(f"{room.core}/pods/{name}")["status"]["containerStatuses"][0]["state"]
        assert state["terminated"]["message"] == message


def test_too_much_memory_is_out_of_memory(room):
    eats = "x = b'x' * 200_000_000; import time; time.sleep(60)"
    limited = container(command=["python3", "-c", eats], resources={"limits": {"memory": "64Mi"}})
    room.http.made(f"{room.core}/pods", pod("a", containers=[limited]))
    until(lambda: room.phase("a") == "Failed")
    state = room.http.got(f"{room.core}/pods/a")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (137, "OOMKilled")


def test_nobody_to_schedule_on(server, room):
    room.http.made(f"{room.core}/pods", pod("a", nodeSelector={"disk": "fast"}))
    gpu = container(resources={"limits": {"nvidia.com/gpu": "1"}})
    room.http.made(f"{room.core}/pods", pod("b", containers=[gpu]))

    def why(name: str) -> str:
        found = room.http.got(f"{room.core}/pods/{name}")["status"].get("conditions", [])
        return next((c["message"] for c in found if c.get("reason") == "Unschedulable"), "")

    assert until(lambda: why("a")).startswith(
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    )
    assert until(lambda: why("b")).startswith("0/2 nodes are available: 2 Insufficient nvidia.com/gpu.")
    events = room.http.got(f"{room.core}/events?fieldSelector=reason=FailedScheduling")["items"]
    assert [(e["lastTimestamp"], e["source"], "count" in e, bool(e["eventTime"])) for e in events] == [
        (None, {}, False, True)
    ] * 2
    assert room.http.raw("GET", f"{room.core}/pods/a/log").data == b""
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    server.add_node("gpu-node", labels={"disk": "fast"}, taints=[taint], **{"nvidia.com/gpu": "1"})
    until(lambda: "untolerated taint" in why("a") and "untolerated taint" in why("b"))
    tolerates = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
    room.http.made(f"{room.core}/pods", pod("c", containers=[gpu], tolerations=[tolerates]))
    until(lambda: room.phase("c") == "Succeeded")
    server.remove_node("gpu-node")


def test_deadlines_and_ttls_by_a_clock_that_is_moved(server, room):
    room.job("late", LIVES, activeDeadlineSeconds=100)
    room.job("short", ttlSecondsAfterFinished=100)
    room.job("podlate", LIVES, pods={"activeDeadlineSeconds": 100})
    room.finished("short")
    until(lambda: room.pods("job-name=late") and room.pods("job-name=podlate"))
    until(lambda: all(room.phase(p["metadata"]["name"]) == "Running" for p in room.pods("job-name in (late,podlate)")))
    server.clock.advance(101)
    late = room.finished("late")
    assert late["status"]["conditions"][1]["reason"] == "DeadlineExceeded"
    assert room.pods("job-name=late") == [], "the Job's controller deletes what runs over, and its log with it"
    until(lambda: room.http("GET", f"{room.jobs}/short")[0] == 404)
    room.finished("podlate")
    (kept,) = room.pods("job-name=podlate")
    assert (kept["status"]["phase"], kept["status"]["reason"]) == ("Failed", "DeadlineExceeded")


def test_a_deployment_that_does_not_get_on_says_so_after_its_deadline(server, room):
    body = deployment("stuck", 1, image="fedyard.test/other:1")
    body["spec"]["progressDeadlineSeconds"] = 90
    room.http.made(f"{room.apps}/deployments", body)
    at = f"{room.apps}/deployments/stuck"
    until(lambda: "Progressing" in conditions(room.http.got(at)))
    server.clock.advance(91)
    found = until(
        lambda: [c for c in room.http.got(at)["status"]["conditions"] if c["reason"] == "ProgressDeadlineExceeded"]
    )
    assert [(c["type"], c["status"]) for c in found] == [("Progressing", "False")]


def test_a_suspended_job_has_no_pods(room):
    room.job("a", LIVES, suspend=True)
    until(lambda: "Suspended" in conditions(room.http.got(f"{room.jobs}/a")))
    assert room.pods() == []
    merge = "application/merge-patch+json"
    room.http("PATCH", f"{room.jobs}/a", {"spec": {"suspend": False}}, merge)
    until(lambda: room.http.got(f"{room.jobs}/a")["status"].get("ready"))
    room.http("PATCH", f"{room.jobs}/a", {"spec": {"suspend": True}}, merge)
    until(lambda: not room.pods())


def test_an_indexed_job_runs_side_by_side_and_tries_again(server, room):
    server.jobs.backoff_s = 0.05
    script = "echo $JOB_COMPLETION_INDEX; ! mkdir ../../once 2> /dev/null"
    room.job("a", script, completions=3, parallelism=2, completionMode="Indexed", backoffLimit=1)
    done = room.finished("a")
    assert (done["status"]["succeeded"], done["status"]["failed"], done["status"]["completedIndexes"]) == (
        3,
        1,
        "0,1,2",
    )
    assert len(room.pods()) == 4


def test_a_pod_failure_policy_says_what_a_failure_means(server, room):
    server.jobs.backoff_s = 0.05
    fatal = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    harmless = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    room.job("a", "exit 42", backoffLimit=6, podFailurePolicy={"rules": [fatal]})
    failed = room.finished("a")
    assert failed["status"]["conditions"][1]["reason"] == "PodFailurePolicy"
    room.job("b", LIVES, podFailurePolicy={"rules": [harmless]})
    (one,) = until(lambda: [p for p in room.pods("job-name=b") if p["status"]["phase"] == "Running"])
    server.evict(room.name, one["metadata"]["name"])
    until(lambda: room.events("Evicted"))

    def successors() -> list[Json]:
        return [p for p in room.pods("job-name=b") if p["metadata"]["uid"] != one["metadata"]["uid"]]

    until(successors)
    assert "failed" not in room.http.got(f"{room.jobs}/b")["status"]


def test_an_evicted_pod_says_so_and_stays(server, room):
    room.job("a", "exec sleep 60")
    (one,) = until(lambda: [p for p in room.pods() if p["status"]["phase"] == "Running"])
    server.evict(room.name, one["metadata"]["name"])
    room.finished("a")
    (one,) = room.pods()
    status = one["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert [c["reason"] for c in status["conditions"] if c["type"] == "DisruptionTarget"] == ["TerminationByKubelet"]
    assert room.events("Evicted") == ["The node was low on resource: ephemeral-storage."]


def test_a_node_that_is_lost_and_then_removed(server, room):
    server.add_node("frail", labels={"kind": "frail"})
    room.job("a", "exec sleep 60", pods={"nodeSelector": {"kind": "frail"}})
    (one,) = until(lambda: [p for p in room.pods() if p["status"]["phase"] == "Running"])
    at = f"{room.core}/pods/{one['metadata']['name']}"
    server.lose_node("frail")
    assert room.http("GET", f"{at}/log")[0] == 500
    assert "deletionTimestamp" not in room.http.got(at)["metadata"]
    server.clock.advance(301)
    ending = until(lambda: (p := room.http.got(at))["metadata"].get("deletionTimestamp") and p)
    assert ending["status"]["phase"] == "Running", "nobody there says that it has ended"
    assert [c["reason"] for c in ending["status"]["conditions"] if c["type"] == "DisruptionTarget"] == [
        "DeletionByTaintManager"
    ]
    server.remove_node("frail")
    until(lambda: room.http("GET", at)[0] == 404)
    assert room.finished("a")["status"]["conditions"][1]["reason"] == "BackoffLimitExceeded"


# ---------------------------------------------------------------- services


def deployment(name: str, replicas: int, **fields: Any) -> Json:
    listens = container(command=["python3", "-c", LISTENS], readinessProbe={"tcpSocket": {"port": 8080}}, **fields)
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [listens], "terminationGracePeriodSeconds": 0}}
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def said_at(host: str, port: int) -> bytes:
    try:
        with socket.create_connection((host, port), 2) as connection:
            return connection.recv(10)
    except OSError:
        return b""


def test_a_deployment_behind_a_service(room):
    room.http.made(f"{room.apps}/deployments", deployment("web", 2))
    spec = {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    service = room.http.made(f"{room.core}/services", {"metadata": {"name": "web"}, "spec": spec})
    host, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    at = f"{room.apps}/deployments/web"
    until(lambda: room.http.got(at)["status"].get("readyReplicas") == 2)
    until(lambda: said_at(host, 80) == said_at("127.0.0.1", port) == b"here")
    slices = (
        f"/apis/discovery.k8s.io/v1/namespaces/{room.name}/endpointslices?labelSelector=kubernetes.io/service-name=web"
    )
    (one,) = room.http.got(slices)["items"]
    assert [each["conditions"]["ready"] for each in one["endpoints"]] == [True, True]
    assert room.http("PATCH", f"{at}/scale", {"spec": {"replicas": 1}}, "application/merge-patch+json")[1]["spec"] == {
        "replicas": 1
    }
    until(lambda: room.http.got(at)["status"].get("replicas") == 1 and len(room.pods()) == 1)
    room.http("DELETE", at)
    until(lambda: not room.pods() and room.http.got(f"{room.apps}/replicasets")["items"] == [])
    assert said_at(host, 80) == b""


def test_a_new_template_takes_the_place_of_the_old_once_it_is_ready(room):
    room.http.made(f"{room.apps}/deployments", deployment("web", 1))
    at = f"{room.apps}/deployments/web"
    until(lambda: room.http.got(at)["status"].get("readyReplicas") == 1)
    (old,) = room.pods()
    change = {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}
    room.http("PATCH", at, change, "application/merge-patch+json")
    until(lambda: room.http.got(at)["status"]["observedGeneration"] == 2 and len(room.pods()) == 1)
    (new,) = room.pods()
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    sets = room.http.got(f"{room.apps}/replicasets")["items"]
    assert sorted(each["spec"]["replicas"] for each in sets) == [0, 1]


def test_a_claim_stays_while_a_pod_uses_it(room):
    claims = f"{room.core}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    room.http.made(claims, {"metadata": {"name": "c"}, "spec": spec})
    mount = {"name": "v", "mountPath": "/data", "subPath": "part"}
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    writes = container("echo kept > /data/file", volumeMounts=[mount])
    reads = container("cat /data/file; " + LIVES, volumeMounts=[mount])
    room.http.made(f"{room.core}/pods", pod("a", containers=[writes], volumes=volumes))
    until(lambda: room.phase("a") == "Succeeded")
    room.http.made(f"{room.core}/pods", pod("b", containers=[reads], volumes=volumes))
    until(lambda: room.http.raw("GET", f"{room.core}/pods/b/log").data == b"kept\n")
    assert room.http("DELETE", f"{claims}/c")[1]["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert room.http.got(f"{claims}/c")["metadata"]["deletionTimestamp"]
    room.http("DELETE", f"{room.core}/pods/b")
    until(lambda: room.http("GET", f"{claims}/c")[0] == 404)


def test_a_stateful_set_has_names_and_volumes_that_stay(room):
    template = {"metadata": {"labels": {"app": "s"}}, "spec": {"containers": [{"name": "main", "image": PAUSE}]}}
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    spec = {"replicas": 2, "serviceName": "s", "selector": {"matchLabels": {"app": "s"}}, "template": template}
    room.http.made(
        f"{room.apps}/statefulsets", {"metadata": {"name": "s"}, "spec": spec | {"volumeClaimTemplates": [claim]}}
    )
    until(lambda: room.http.got(f"{room.apps}/statefulsets/s")["status"].get("readyReplicas") == 2)
    assert [each["metadata"]["name"] for each in room.pods()] == ["s-0", "s-1"]
    first = room.http.got(f"{room.core}/pods/s-0")["metadata"]["uid"]
    room.http("DELETE", f"{room.core}/pods/s-0?gracePeriodSeconds=0")
    until(lambda: (p := room.http("GET", f"{room.core}/pods/s-0"))[0] == 200 and p[1]["metadata"]["uid"] != first)
    room.http("DELETE", f"{room.apps}/statefulsets/s")
    until(lambda: not room.pods())
    claims = room.http.got(f"{room.core}/persistentvolumeclaims")["items"]
    assert [(each["metadata"]["name"], each["status"]["phase"]) for each in claims] == [
        ("data-s-0", "Bound"),
        ("data-s-1", "Bound"),
    ]


def test_a_container_that_fails_again_and_again_backs_off(room):
    body = deployment("d", 1)
    body["spec"]["template"]["spec"]["containers"] = [container("echo try; exit 1")]
    room.http.made(f"{room.apps}/deployments", body)
    (one,) = until(room.pods)
    name = one["metadata"]["name"]
    until(lambda: room.waiting(name) == "CrashLoopBackOff")
    status = room.http.got(f"{room.core}/pods/{name}")["status"]
    assert status["phase"] == "Running"
    assert status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
    assert room.http.raw("GET", f"{room.core}/pods/{name}/log").data == b"try\n"
    assert room.http.raw("GET", f"{room.core}/pods/{name}/log?previous=true").data == b"try\n"


# ---------------------------------------------------------------- bad luck


def test_answers_that_are_told_to_fail(server, room):
    server.faults.fail("POST", "/jobs", status=429, retry_after_s=7, times=1)
    server.faults.fail("POST", "/jobs", status=403, message='admission webhook "no.test" denied the request: no')
    assert room.http("POST", room.jobs, job("a"))[0] == 429
    assert room.http.headers["Retry-After"] == "7"
    assert room.http("POST", room.jobs, job("a"))[1]["message"].startswith("admission webhook")
    assert room.http("POST", room.jobs, job("a"))[0] == 201
    assert [each.status for each in server.asked("POST", room.jobs)] == [429, 403, 201]


def test_a_connection_that_drops_before_or_after_the_deed(server, room):
    for name, done in (("before", False), ("after", True)):
        server.faults.drop("POST", "/configmaps", done=done)
        with pytest.raises(urllib3.exceptions.ProtocolError):
            room.http("POST", f"{room.core}/configmaps", {"metadata": {"name": name}})
    assert room.http("GET", f"{room.core}/configmaps/before")[0] == 404
    assert room.http("GET", f"{room.core}/configmaps/after")[0] == 200


def test_a_watch_that_is_cut_and_one_that_is_told_410(server, room):
    maps = f"{room.core}/configmaps"
    room.http.made(maps, {"metadata": {"name": "a"}})
    server.faults.cut("/configmaps", after_events=1)
    with pytest.raises(urllib3.exceptions.HTTPError):
        room.http.watched(f"{maps}?watch=1&timeoutSeconds=5")
    server.faults.fail("GET", "watch=1", status=410)
    (line,) = room.http.watched(f"{maps}?watch=1&timeoutSeconds=5")
    assert (line["type"], line["object"]["code"]) == ("ERROR", 410)


def test_a_server_that_goes_away_and_comes_back_has_kept_everything():
    with ApiServer(nodes=1) as server:
        http = Http(server, server.token)
        until(lambda: http("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200)
        http.made("/api/v1/namespaces/default/pods", pod("a", "exec sleep 60"))
        server.go_away()
        with pytest.raises(urllib3.exceptions.HTTPError):
            http("GET", "/version")
        server.come_back()
        until(lambda: http.got("/api/v1/namespaces/default/pods/a")["status"]["phase"] == "Running")
        assert http.got("/version")["minor"] == "36"


def test_many_jobs_at_once_all_end(room):
    def make(part: int) -> None:
        own = Http(room.http.server, room.http.token)
        for number in range(5):
            own.made(room.jobs, job(f"j-{part}-{number}", "exit 0", pods={"containers": [container()]}))

    threads = [threading.Thread(target=make, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: all("Complete" in conditions(each) for each in room.http.got(room.jobs)["items"]), 20)
    assert len(room.http.got(room.jobs)["items"]) == 20
