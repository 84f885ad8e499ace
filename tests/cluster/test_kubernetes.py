"""Bad luck with Kubernetes: what the API server, its network and its nodes can do to whoever asks it.

test_contract.py has what holds of every cluster, test_kubernetes_contract.py of every one of Kubernetes. Here each test
has an owner and a place of its own; those that end the server, or let its time pass, have a server of their own.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from config.settings import Settings
from fedyard.cluster import manifests, names
from fedyard.cluster.kubernetes_api import Api, kubeconfig
from fedyard.cluster.kubernetes_cluster import KubernetesCluster, open_in_cluster, open_kubeconfig, read_rules
from fedyard.cluster.manifests import Rules
from fedyard.cluster.port import Phase, Reason, Refused, Resources, Spec, Unavailable
from k8s.clusters import open_clusters
from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.api import Options
from tests.cluster.apiserver.images import PAUSE
from tests.cluster.apiserver.server import ApiServer

WITHIN_S = 10.0
DEAF = "trap '' TERM; echo up; while :; do sleep 0.1; done"
HANGS = """
import os, socket, time
server = socket.create_server(("", int(os.environ["PORT"])))
while True:
    connection, _ = server.accept()
    if connection.recv(16) == b"hang":
        server.close()
        time.sleep(600)
    connection.close()
"""
SMALL = Resources(cpu_millis=50, memory_bytes=64 * 2**20)


class Yard:
    """A server, a client of it, and an owner with a place."""

    def __init__(self, server: ApiServer, folder: Path, **options: object) -> None:
        self.server = server
        self.config = server.kubeconfig(folder / f"{uuid.uuid4()}")
        self.options = options
        self.owner, self.place = str(uuid.uuid4()), str(uuid.uuid4())
        self.namespace = names.place_name(self.place)
        self.cluster = self.client()

    def client(self, *, read_s: float = 5.0) -> KubernetesCluster:
        return KubernetesCluster(Api(kubeconfig(str(self.config), "tests"), "tests", read_s=read_s), **self.options)  # type: ignore[arg-type]

    def job(self, *command: str, **fields: object) -> Spec:
        """Of an image that waits to be told to stop, or of this shell command."""
        made = {
            "owner": self.owner, "place": self.place, "id": str(uuid.uuid4()), "attempt": 1, "kind": "job",
            "image": self.server.image if command else PAUSE, "resources": SMALL, "grace_s": 1.0,
            "command": ["sh", "-c", *command] if command else [],
        }  # fmt: skip
        return Spec(**made | fields)  # type: ignore[arg-type]

    def seen(self, spec: Spec):
        return next((one for one in self.cluster.observe(spec.owner) if one.id == spec.id), None)

    def until(self, condition):
        """What it gives once that is something; woken by the cluster's own `wait`, asked again within a second."""
        end = time.monotonic() + WITHIN_S
        while not (found := condition()):
            assert time.monotonic() < end, self.cluster.observe(self.owner)
            self.cluster.wait(1.0)
        return found

    def phase(self, spec: Spec, phase: Phase):
        return self.until(lambda: (one := self.seen(spec)) and one.phase is phase and one)

    def reason(self, spec: Spec, reason: Reason):
        return self.until(lambda: (one := self.seen(spec)) and one.reason is reason and one)

    def gone(self, spec: Spec) -> None:
        self.until(lambda: self.cluster.stop(spec.attempt_id, grace_s=1))

    def jobs(self) -> list[dict]:
        return self.server.store.all(r.JOBS, self.namespace)

    def pods(self) -> list[dict]:
        return self.server.store.all(r.PODS, self.namespace)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as made:
        yield made


@pytest.fixture
def yard(server: ApiServer, tmp_path: Path) -> Iterator[Yard]:
    made = Yard(server, tmp_path)
    yield made
    server.faults.clear()
    server.access.allow_again()
    made.cluster.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Yard]:
    """With a server that the test may do anything to."""
    with ApiServer() as server:
        made = Yard(server, tmp_path)
        yield made
        made.cluster.close()


# ---------------------------------------------------------------- the way there


def test_nothing_of_kubernetes_is_loaded_before_a_cluster_is_opened() -> None:
    lines = (
        "import sys, fedyard.cluster.kubernetes_cluster; print('kubernetes' in sys.modules, 'pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_outside_of_a_cluster_there_is_none_to_be_in() -> None:
    with pytest.raises(Refused, match="cannot be opened"):
        open_in_cluster()


def test_the_context_is_named_and_never_the_current_one(server: ApiServer, tmp_path: Path) -> None:
    path = str(server.kubeconfig(tmp_path / "config"))
    with pytest.raises(Refused, match="name of a context"):
        open_kubeconfig(path, "")
    with pytest.raises(Refused, match="cannot be opened"):
        open_kubeconfig(path, "no-such-context")
    with pytest.raises(Refused, match="cannot be opened"):
        open_kubeconfig(str(tmp_path / "missing"), "tests")
    right, current = open_kubeconfig(path, "tests"), open_kubeconfig(path, "elsewhere")
    assert right.observe(str(uuid.uuid4())) == []
    with pytest.raises(Unavailable, match="elsewhere"):
        current.observe(str(uuid.uuid4()))
    for one in (right, current):
        one.close()


def test_a_server_that_is_away_is_unavailable_until_it_is_back(own: Yard) -> None:
    spec = own.job()
    own.cluster.ensure(spec)
    own.phase(spec, Phase.RUNNING)
    own.server.go_away()
    for ask in (
        lambda: own.cluster.ensure(own.job()),
        lambda: own.cluster.stop(spec.attempt_id, grace_s=1),
        lambda: own.cluster.log(spec.attempt_id, after=0, most=10),
        own.cluster.missing,
    ):
        with pytest.raises(Unavailable):
            ask()
    own.server.come_back()
    assert own.until(lambda: own.seen(spec)).phase is Phase.RUNNING
    own.gone(spec)


def test_a_server_that_is_slow_is_unavailable_in_time(yard: Yard) -> None:
    impatient = yard.client(read_s=0.05)
    held = yard.server.faults.hold("GET", "/jobs")
    with pytest.raises(Unavailable, match="does not answer"):
        impatient.observe(yard.owner)
    held.set()
    assert impatient.observe(yard.owner) == []
    impatient.close()


@pytest.mark.parametrize(("status", "after_s"), [(429, 7), (503, 3), (500, None), (502, None), (504, None)])
def test_later_is_unavailable_and_says_when_and_the_client_itself_repeats_nothing(yard: Yard, status, after_s) -> None:
    yard.server.faults.fail("GET", "/jobs", status=status, retry_after_s=after_s)
    began = len(yard.server.asked("GET", "/jobs"))
    with pytest.raises(Unavailable) as caught:
        yard.cluster.observe(yard.owner)
    assert caught.value.after_s == after_s
    assert len(yard.server.asked("GET", "/jobs")) == began + 1


@pytest.mark.parametrize("path", ["/namespaces$|/namespaces\\?", "/jobs", "/secrets", "/networkpolicies"])
@pytest.mark.parametrize("done", [True, False])
def test_a_connection_dropped_at_a_post_leaves_one_of_each(yard: Yard, path, done) -> None:
    spec = yard.job(secrets={"TOKEN": "x"})
    rule = yard.server.faults.drop("POST", path, done=done)
    with pytest.raises(Unavailable):
        yard.cluster.ensure(spec)
    assert rule.hits == 1
    made = yard.cluster.ensure(spec)
    assert [job["metadata"]["uid"] for job in yard.jobs()] == [made.uid]
    assert len(yard.server.store.all(r.SECRETS, yard.namespace)) == 1
    yard.phase(spec, Phase.RUNNING)
    assert len(yard.pods()) == 1


def test_a_connection_that_breaks_before_its_answer_is_repeated_once_by_what_bears_it(yard: Yard) -> None:
    spec = msgspec.structs.replace(yard.job(), kind="service", port=8080)
    yard.cluster.ensure(spec)
    for method, ask in {
        "GET": lambda: yard.client().observe(yard.owner),
        "PATCH": lambda: yard.cluster.scale(spec.attempt_id, 2),
        "DELETE": lambda: yard.cluster.stop(spec.attempt_id, grace_s=1),
    }.items():
        once = yard.server.faults.drop(method, done=True)
        ask()
        assert once.hits == 1
    again = yard.server.faults.drop("GET", done=False, times=2)
    with pytest.raises(Unavailable, match=r"broke off the connection \((RemoteDisconnected|ConnectionResetError)\)"):
        yard.client().observe(yard.owner)
    assert again.hits == 2


def test_a_name_that_has_just_become_free_is_taken(yard: Yard) -> None:
    """What had it was still there when it was asked for, and is gone when it is looked at."""
    yard.server.faults.fail("POST", "/jobs", status=409, times=2)
    assert yard.cluster.ensure(yard.job()).phase is Phase.STARTING
    yard.server.faults.fail("POST", "/jobs", status=409, times=None)
    with pytest.raises(Unavailable, match="comes and goes"):
        yard.cluster.ensure(yard.job())


def test_what_was_made_anew_meanwhile_is_not_deleted_in_the_place_of_what_was_seen(yard: Yard) -> None:
    """Between what is read and what is written anything may happen; what is deleted is that very object, or nothing."""
    spec = yard.job()
    old = yard.cluster.ensure(spec)
    go = yard.server.faults.hold("DELETE", "/jobs/")
    asked = len(yard.server.asked("DELETE", "/jobs/"))
    stops = threading.Thread(target=yard.cluster.stop, args=(spec.attempt_id,), kwargs={"grace_s": 1})
    stops.start()
    yard.until(lambda: len(yard.server.asked("DELETE", "/jobs/")) > asked)
    yard.server.api.delete(r.JOBS, yard.namespace, names.workload_name(spec), Options("Background"))
    other = yard.client()
    fresh = yard.until(lambda: (made := other.ensure(spec)).uid != old.uid and made)
    go.set()
    stops.join(WITHIN_S)
    assert [(job["metadata"]["uid"], "deletionTimestamp" in job["metadata"]) for job in yard.jobs()] == [
        (fresh.uid, False)
    ]
    other.close()


@pytest.mark.parametrize("status", [404, 409, 410])
@pytest.mark.parametrize("call", ["missing", "ensure", "observe", "evidence", "log", "scale", "stop", "remove_place"])
def test_whatever_the_server_answers_is_said_in_the_ports_words(yard: Yard, call: str, status: int) -> None:
    """Not there, another one, forgotten: each may come at any time of a race, and who asks knows two errors only."""
    spec = msgspec.structs.replace(yard.job(), kind="service", port=8080)
    yard.cluster.ensure(spec)
    yard.until(yard.pods)
    asks = {
        "missing": lambda: yard.client().missing(),
        "ensure": lambda: yard.cluster.ensure(msgspec.structs.replace(spec, id=str(uuid.uuid4()))),
        "observe": lambda: yard.client().observe(yard.owner),
        "evidence": lambda: yard.cluster.evidence(spec.attempt_id, log_bytes=100),
        "log": lambda: yard.cluster.log(spec.attempt_id, after=0, most=100),
        "scale": lambda: yard.cluster.scale(spec.attempt_id, 2),
        "stop": lambda: yard.cluster.stop(spec.attempt_id, grace_s=1),
        "remove_place": lambda: yard.cluster.remove_place(yard.owner, yard.place),
    }
    writes = {"missing": "POST", "ensure": "POST", "scale": "PATCH", "stop": "DELETE", "remove_place": "DELETE"}
    for method in {"GET", writes.get(call, "GET")}:
        rule = yard.server.faults.fail(method, status=status, times=None)
        with suppress(Unavailable, Refused):
            asks[call]()
        assert rule.hits or method != writes.get(call, "GET")
        yard.server.faults.clear()


def test_of_a_places_events_only_those_of_the_workload_are_asked_for(yard: Yard) -> None:
    """Of five hundred jobs all events are megabytes, for each of them again."""
    spec, other = yard.job("exit 3"), yard.job("exit 0")
    for one in (spec, other):
        yard.cluster.ensure(one)
    yard.phase(spec, Phase.FAILED)
    yard.phase(other, Phase.SUCCEEDED)
    asked = len(yard.server.asked("GET", "/events"))
    told = yard.cluster.evidence(spec.attempt_id, log_bytes=100).events
    assert any("Created pod" in one for one in told)
    assert not any(names.workload_name(other) in one for one in told)
    selectors = [one.query["fieldSelector"] for one in yard.server.asked("GET", "/events")[asked:]]
    uids = {one["metadata"]["uid"] for one in (*yard.jobs(), *yard.pods()) if spec.id in str(one["metadata"]["labels"])}
    assert set(selectors) == {f"involvedObject.uid={uid}" for uid in uids}


def test_a_token_that_has_expired_is_read_anew(yard: Yard) -> None:
    old = yard.server.token
    yard.cluster.observe(yard.owner)
    fresh = yard.server.access.admit(yard.server.access.user(f"Bearer {old}"))
    first = yard.server.access.admit(yard.server.access.user(f"Bearer {old}"))
    yard.server.kubeconfig(yard.config, token=first)
    cluster = yard.client()
    cluster.observe(yard.owner)
    yard.server.access.expire(first)
    yard.server.kubeconfig(yard.config, token=fresh)
    assert cluster.observe(yard.owner) == []
    yard.server.access.expire(fresh)
    with pytest.raises(Unavailable, match="token") as caught:
        cluster.observe(yard.owner)
    assert fresh not in str(caught.value)
    cluster.close()


# ---------------------------------------------------------------- what an account may do


def test_what_is_missing_is_named_and_refused_in_the_servers_words(yard: Yard) -> None:
    yard.server.access.deny("create", "jobs")
    yard.server.access.deny("get", "pods/log")
    assert yard.cluster.missing() == ["create jobs.batch in all namespaces", "get pods/log in all namespaces"]
    with pytest.raises(Refused, match=r'cannot create resource "jobs"') as caught:
        yard.cluster.ensure(yard.job())
    assert caught.value.reason is Reason.CONFIG_INVALID


# ---------------------------------------------------------------- what is let in


def test_a_quota_that_is_not_counted_yet_is_waited_for(yard: Yard) -> None:
    said = 'jobs.batch "x" is forbidden: status unknown for quota: quota, resources: count/jobs.batch'
    yard.server.faults.fail("POST", "/jobs", status=403, message=said)
    with pytest.raises(Unavailable, match="status unknown"):
        yard.cluster.ensure(yard.job())
    spec = yard.job()
    yard.cluster.ensure(spec)
    (quota,) = yard.server.store.all(r.QUOTAS, yard.namespace)
    assert quota["status"]["used"]
    yard.phase(spec, Phase.RUNNING)


def test_an_admission_that_refuses_is_shown_in_its_own_words(yard: Yard) -> None:
    yard.server.faults.fail("POST", "/jobs", status=403, message='admission webhook "policy" denied the request: no')
    with pytest.raises(Refused, match="denied the request: no"):
        yard.cluster.ensure(yard.job())
    assert yard.jobs() == []


def test_the_rules_of_a_cluster_stand_in_a_file_as_the_docs_show_it(yard: Yard, tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "workloads.md").read_text()
    rules = tmp_path / "rules.toml"
    rules.write_text(page.split("```toml\n")[1].split("```")[0])
    place = f"kubeconfig:///{yard.config}?context=tests&rules={rules}"
    opened = open_clusters(Settings(clusters=f"edge={place}", workload_images="fedyard.test/*"))
    cluster = opened["edge"].cluster
    cluster.ensure(yard.job())
    (quota,) = yard.server.store.all(r.QUOTAS, yard.namespace)
    assert quota["spec"]["hard"] == {"pods": "500", "limits.memory": "1Ti"}
    assert "hub" in {one["metadata"]["name"] for one in yard.server.store.all(r.POLICIES, yard.namespace)}
    cluster.close()


@pytest.mark.parametrize("text", ["quota = 3", "hob = []", "hub = [", "user = 'root'"])
def test_a_file_of_rules_that_is_none_says_where(tmp_path: Path, text) -> None:
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(Refused, match=r"rules\.toml has no rules of a cluster: "):
        read_rules(tmp_path / "rules.toml")
    with pytest.raises(Refused, match="missing"):
        read_rules(tmp_path / "missing")


def test_a_change_of_the_rules_reaches_a_place_that_is_there(yard: Yard) -> None:
    yard.cluster.ensure(yard.job())
    yard.options = {"rules": Rules(quota={"pods": "7"})}
    yard.cluster = yard.client()
    yard.cluster.ensure(yard.job())
    (quota,) = yard.server.store.all(r.QUOTAS, yard.namespace)
    assert quota["spec"]["hard"]["pods"] == "7"


# ---------------------------------------------------------------- what is removed


def test_both_traps_of_deletion_are_stepped_over(yard: Yard) -> None:
    """Without a policy a job's pods run on for ever; and beside a body the query's policy counts for nothing."""
    spec = yard.job(DEAF, grace_s=30.0)
    made = yard.cluster.ensure(spec)
    yard.until(lambda: yard.cluster.log(spec.attempt_id, after=0, most=10))
    began = len(yard.server.requests)
    yard.gone(spec)
    assert (yard.jobs(), yard.pods()) == ([], [])
    deleted = [one for one in yard.server.requests[began:] if one.method == "DELETE"]
    assert {one.query.get("propagationPolicy") for one in deleted} == {None}
    job = next(one for one in deleted if "/jobs/" in one.path)
    assert job.body["propagationPolicy"] == "Foreground"
    assert job.body["preconditions"] == {"uid": made.uid}
    pods = [one for one in deleted if "/pods/" in one.path]
    assert {one.body["gracePeriodSeconds"] for one in pods} == {1}


def test_a_namespace_that_is_stuck_is_told_and_nothing_is_made_in_it(yard: Yard) -> None:
    spec = yard.job()
    yard.cluster.ensure(spec)
    yard.server.hold_namespace(yard.namespace)
    assert not yard.cluster.remove_place(yard.owner, yard.place)
    assert not yard.cluster.remove_place(yard.owner, yard.place)
    with pytest.raises(Unavailable, match="is being removed"):
        yard.cluster.ensure(spec)
    yard.server.free_namespace(yard.namespace)
    yard.until(lambda: yard.cluster.remove_place(yard.owner, yard.place))
    yard.cluster.ensure(spec)
    yard.phase(spec, Phase.RUNNING)


def test_a_place_that_somebody_removes_is_made_again(yard: Yard) -> None:
    spec = yard.job()
    yard.cluster.ensure(spec)
    yard.phase(spec, Phase.RUNNING)
    yard.server.api.delete(r.NAMESPACES, "", yard.namespace)
    yard.until(lambda: yard.seen(spec) is None)
    yard.until(lambda: once_available(lambda: yard.cluster.ensure(spec)))
    yard.phase(spec, Phase.RUNNING)


def once_available(ask):
    with suppress(Unavailable):
        return ask()


def test_what_goes_with_its_namespace_says_so(yard: Yard) -> None:
    spec = yard.job(DEAF, grace_s=2.0)
    yard.cluster.ensure(spec)
    yard.until(lambda: yard.cluster.log(spec.attempt_id, after=0, most=10))
    yard.server.api.delete(r.NAMESPACES, "", yard.namespace)
    assert yard.reason(spec, Reason.NAMESPACE_GONE).stopping
    yard.gone(spec)


# ---------------------------------------------------------------- nodes and images


def test_an_evicted_pod(yard: Yard) -> None:
    spec = yard.job()
    yard.cluster.ensure(spec)
    yard.phase(spec, Phase.RUNNING)
    yard.server.evict(yard.namespace, yard.pods()[0]["metadata"]["name"])
    found = yard.phase(spec, Phase.FAILED)
    assert (found.reason, "ephemeral-storage" in found.detail) == (Reason.EVICTED, True)


def test_a_service_that_hangs_is_not_ready_and_is_started_again_after_a_minute(own: Yard) -> None:
    spec = msgspec.structs.replace(
        own.job("x"), kind="service", port=8080, command=["python3", "-c", HANGS], resources=Resources()
    )
    own.cluster.ensure(spec)
    own.until(lambda: (one := own.seen(spec)) and one.ready == 1)
    address = (own.pods()[0]["status"]["podIP"], 8080)
    with socket.create_connection(address, 5) as connection:
        connection.sendall(b"hang")
    own.until(lambda: own.server.clock.advance(2) or own.seen(spec).ready == 0)
    own.until(lambda: own.server.clock.advance(30) or own.seen(spec).ready == 1)
    (status,) = own.pods()[0]["status"]["containerStatuses"]
    assert status["restartCount"] == 1


def test_a_node_that_is_lost_is_left_after_a_minute(own: Yard) -> None:
    spec = own.job()
    own.cluster.ensure(spec)
    own.phase(spec, Phase.RUNNING)
    own.server.lose_node(own.pods()[0]["spec"]["nodeName"])
    own.server.clock.advance(manifests.LEAVES_A_LOST_NODE_AFTER_S + 1)
    assert own.phase(spec, Phase.FAILED).reason is Reason.NODE_LOST
    own.server.faults.fail("GET", "/log", status=500, message='Get "https://node-1:10250/containerLogs/x": no route')
    assert own.cluster.evidence(spec.attempt_id, log_bytes=100).log == b""
    own.gone(spec)
    assert own.pods() == []


def test_a_node_that_is_removed_takes_its_pods_along(own: Yard) -> None:
    spec = own.job()
    own.cluster.ensure(spec)
    own.phase(spec, Phase.RUNNING)
    own.server.remove_node(own.pods()[0]["spec"]["nodeName"])
    assert own.phase(spec, Phase.FAILED).reason in {Reason.NODE_LOST, Reason.VANISHED}


# ---------------------------------------------------------------- watches and lists


def woken(yard: Yard) -> threading.Thread:
    """Somebody who waits long, and has begun to."""
    thread = threading.Thread(target=yard.cluster.wait, args=(60,))
    thread.start()
    return thread


def quiet(yard: Yard) -> None:
    """Until all watches are open and tell nothing any more."""
    watches = yard.cluster._watches
    yard.until(lambda: all(watches.version(kind) is not None for kind in ("jobs", "pods", "deployments", "namespaces")))
    while True:
        before = watches._sum()
        yard.cluster.observe(yard.owner)
        time.sleep(0.1)
        if watches._sum() == before:
            yard.cluster.wait(0)
            return


def test_an_idle_loop_asks_nothing_and_a_change_wakes_it(yard: Yard) -> None:
    specs = [yard.job() for _ in range(3)]
    for one in specs:
        yard.cluster.ensure(one)
    for one in specs:
        yard.phase(one, Phase.RUNNING)
    quiet(yard)
    yard.cluster.observe(yard.owner)
    began = len(yard.server.requests)
    for _ in range(10):
        assert len(yard.cluster.observe(yard.owner)) == 3
        yard.cluster.wait(0)
    assert len(yard.server.requests) == began
    waiting = woken(yard)
    yard.server.evict(yard.namespace, yard.pods()[0]["metadata"]["name"])
    waiting.join(WITHIN_S)
    assert not waiting.is_alive()
    yard.until(lambda: [one for one in yard.cluster.observe(yard.owner) if one.reason is Reason.EVICTED])


@pytest.mark.parametrize("luck", ["cut", "drop", "410", "503"])
def test_a_watch_that_breaks_is_opened_again_and_misses_nothing(yard: Yard, luck) -> None:
    faults = yard.server.faults
    rule = {
        "cut": lambda: faults.cut("/pods", times=1, after_events=1),
        "drop": lambda: faults.drop("GET", "/pods.*watch=true", done=False),
        "410": lambda: faults.fail("GET", "/pods.*watch=true", status=410),
        "503": lambda: faults.fail("GET", "/pods.*watch=true", status=503),
    }[luck]()
    yard.cluster.wait(0)  # the watches begin
    spec = yard.job()
    yard.cluster.ensure(spec)
    yard.phase(spec, Phase.RUNNING)
    yard.until(lambda: rule.hits == 1)
    quiet(yard)
    waiting = woken(yard)
    yard.server.evict(yard.namespace, yard.pods()[0]["metadata"]["name"])
    waiting.join(WITHIN_S)
    assert not waiting.is_alive()
    yard.phase(spec, Phase.FAILED)


def test_a_watch_whose_place_the_server_has_forgotten_begins_anew(own: Yard) -> None:
    spec = own.job()
    own.cluster.ensure(spec)
    own.phase(spec, Phase.RUNNING)
    quiet(own)
    own.server.go_away()
    own.server.evict(own.namespace, own.pods()[0]["metadata"]["name"])
    own.server.compact()
    own.server.come_back()
    found = own.until(lambda: (one := once_available(lambda: own.seen(spec))) and one.phase is Phase.FAILED and one)
    assert found.reason is Reason.EVICTED


def test_a_list_comes_in_pages_and_is_begun_again_when_the_server_has_forgotten_it(yard: Yard) -> None:
    yard.options = {"page": 2}
    yard.cluster = yard.client()
    specs = [yard.job() for _ in range(5)]
    for one in specs:
        yard.cluster.ensure(one)
    assert {one.id for one in yard.cluster.observe(yard.owner)} == {one.id for one in specs}
    rule = yard.server.faults.fail("GET", "/jobs.*continue=", status=410)
    assert {one.id for one in yard.cluster.observe(yard.owner)} == {one.id for one in specs}
    assert rule.hits == 1
    yard.server.faults.fail("GET", "/jobs.*continue=", status=410, times=None)
    with pytest.raises(Unavailable, match="changes faster"):
        yard.cluster.observe(yard.owner)


def test_who_waits_is_let_go_when_the_cluster_is_closed(yard: Yard) -> None:
    quiet(yard)
    waiting = woken(yard)
    yard.cluster.close()
    waiting.join(WITHIN_S)
    assert not waiting.is_alive()
    assert not any(thread.is_alive() for thread in yard.cluster._watches._threads)


def test_what_answers_something_else_is_unavailable(yard: Yard) -> None:
    yard.server.faults.fail("GET", "/jobs", status=200, message="<html>")
    with pytest.raises(Unavailable):
        yard.cluster.observe(yard.owner)
