"""What the objects of Kubernetes say of an attempt: states as a real 1.36 shows them, each read for what it is."""

from __future__ import annotations

import msgspec
import pytest

from fedyard.cluster import kubernetes_objects as objects
from fedyard.cluster import names
from fedyard.cluster.kubernetes_objects import Deployment, Job, Pod, Service
from fedyard.cluster.port import Phase, Reason

ID, OWNER, PLACE = (f"0c1b7f5e-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
METADATA = {
    "name": "job-x", "namespace": "fy-x", "uid": "u", "creationTimestamp": "2026-11-28T14:00:00Z",
    "labels": {names.OWNER: OWNER, names.PLACE: PLACE, names.WORKLOAD: ID, names.ATTEMPT: "3"},
}  # fmt: skip
COMPLETE = {
    "type": "Complete",
    "status": "True",
    "reason": "CompletionsReached",
    "lastTransitionTime": "2026-11-28T14:01:00Z",
}
BACKOFF = {
    "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
    "message": "Job has reached the specified backoff limit", "lastTransitionTime": "2026-11-28T14:01:00Z",
}  # fmt: skip
TOO_LONG = BACKOFF | {"reason": "DeadlineExceeded", "message": "Job was active longer than specified deadline"}


def read(kind, content):
    return msgspec.convert({"metadata": METADATA} | content, kind)


def job(*conditions):
    return read(Job, {"status": {"startTime": "2026-11-28T14:00:01Z", "conditions": list(conditions)}})


def pod(phase="Running", state=None, **status):
    statuses = (
        [{"name": "workload", "ready": False, "state": state, "lastState": status.pop("last", {})}] if state else []
    )
    return read(Pod, {"status": {"phase": phase, "containerStatuses": statuses, **status}})


def waiting(reason, message=""):
    return pod("Pending", {"waiting": {"reason": reason, "message": message}})


def terminated(code, reason="Error", message="last words", **status):
    at = {"startedAt": "2026-11-28T14:00:02Z", "finishedAt": "2026-11-28T14:00:09Z"}
    return pod("Failed", {"terminated": {"exitCode": code, "reason": reason, "message": message, **at}}, **status)


def seen(made, *pods, failed_create=""):
    found = objects.of_job(made, pods, failed_create)
    return found.phase, found.reason, found.exit_code


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (waiting("ContainerCreating"), Reason.NONE),
        (waiting("ErrImagePull", "no such host"), Reason.IMAGE_NOT_PULLED),
        (waiting("ImagePullBackOff", "Back-off pulling image"), Reason.IMAGE_NOT_PULLED),
        (waiting("CreateContainerConfigError", 'secret "job-x" not found'), Reason.NONE),
        (waiting("CreateContainerConfigError", "failed to sync secret cache: timed out"), Reason.NONE),
        (waiting("RunContainerError", "odd"), Reason.CONFIG_INVALID),
        (
            pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]),
            Reason.UNSCHEDULABLE,
        ),
    ],
)  # fmt: skip
def test_what_keeps_a_pod_from_starting_may_pass(found, reason) -> None:
    assert seen(job(), found) == (Phase.STARTING, reason, None)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (waiting("InvalidImageName", "invalid reference format"), Reason.IMAGE_UNUSABLE),
        (waiting("ErrImageNeverPull", "policy"), Reason.IMAGE_UNUSABLE),
        (waiting("CreateContainerConfigError", "container has runAsNonRoot"), Reason.CONFIG_INVALID),
    ],
)
def test_what_never_starts_has_failed_although_its_job_waits_for_ever(found, reason) -> None:
    assert seen(job(), found) == (Phase.FAILED, reason, None)


@pytest.mark.parametrize(
    ("found", "reason", "code"),
    [
        (terminated(3), Reason.EXIT_CODE, 3),
        (terminated(137, "OOMKilled"), Reason.OUT_OF_MEMORY, 137),
        (terminated(0, "OOMKilled"), Reason.OUT_OF_MEMORY, 0),  # a child was killed, and its parent did not mind
        (terminated(137), Reason.SIGNALLED, 137),
        (terminated(143), Reason.SIGNALLED, 143),
        (terminated(128, "StartError", 'exec: "/x": no such file or directory'), Reason.COMMAND_NOT_FOUND, 128),
        (terminated(128, "StartError", "container init was OOM-killed"), Reason.OUT_OF_MEMORY, 128),
        (terminated(128, "StartError", "cannot mount"), Reason.CONFIG_INVALID, 128),
        (terminated(127), Reason.EXIT_CODE, 127),  # a shell's, of a program that it did not find
        (pod("Failed", reason="Evicted", message="low on memory"), Reason.EVICTED, None),
        (pod("Failed", reason="NodeLost", message="node x"), Reason.NODE_LOST, None),
        (pod("Failed", reason="DeadlineExceeded", message="active too long"), Reason.DEADLINE_PASSED, None),
        (
            pod("Running", {"running": {}}, conditions=[
                {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "taint"}
            ]),
            Reason.NODE_LOST,
            None,
        ),
        (
            terminated(143, conditions=[
                {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drain"}
            ]),
            Reason.EVICTED,
            143,
        ),
        (terminated(137, "ContainerStatusUnknown"), Reason.NODE_LOST, None),
    ],
)  # fmt: skip
def test_a_failed_pod_says_why(found, reason, code) -> None:
    assert seen(job(BACKOFF), found) == (Phase.FAILED, reason, code)


@pytest.mark.parametrize("reason", ["Error", "OOMKilled", "Completed"])
def test_what_a_program_wrote_is_in_its_log_alone(reason) -> None:
    """Its last words are the end of its log, which fewer may read than why it ended."""
    last = {"terminated": {"exitCode": 2, "reason": reason, "message": "last words"}}
    crashing = pod("Running", {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}, last=last)
    for found in (
        objects.of_job(job(BACKOFF), [terminated(3, reason)], ""),
        objects.of_deployment(deployment(), [crashing], {}),
    ):
        assert reason in found.detail
        assert "last words" not in found.detail


def test_a_job_whose_pod_is_gone_says_what_it_knows() -> None:
    assert seen(job(TOO_LONG)) == (Phase.FAILED, Reason.DEADLINE_PASSED, None)
    assert seen(job(BACKOFF)) == (Phase.FAILED, Reason.VANISHED, None)


def test_only_complete_and_failed_are_final() -> None:
    first = [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "FailureTarget", "status": "True"}]
    ended = pod("Succeeded", {"terminated": {"exitCode": 0, "reason": "Completed"}})
    assert seen(job(first[0]), ended) == (Phase.RUNNING, Reason.NONE, None)
    assert seen(job(first[1]), terminated(3)) == (Phase.RUNNING, Reason.NONE, None)
    assert seen(job(first[0], COMPLETE), ended) == (Phase.SUCCEEDED, Reason.NONE, 0)
    assert seen(job({"type": "Complete", "status": "False"})) == (Phase.STARTING, Reason.NONE, None)


def test_a_pod_that_is_not_let_in_is_known_by_an_event_alone() -> None:
    assert seen(job(), failed_create='pods "x" is forbidden: exceeded quota: quota') == (
        Phase.STARTING, Reason.QUOTA_EXCEEDED, None,
    )  # fmt: skip
    assert seen(job(), failed_create='violates PodSecurity "restricted:latest"')[1] is Reason.CONFIG_INVALID
    assert seen(job(), pod("Running", {"running": {}}), failed_create="exceeded quota")[0] is Phase.RUNNING


def test_times_are_those_of_the_container() -> None:
    found = objects.of_job(job(BACKOFF), [terminated(3)], "")
    assert (found.created_s, found.started_s, found.ended_s) == (1795874400.0, 1795874402.0, 1795874409.0)
    assert objects.of_job(job(), [waiting("ContainerCreating")], "").started_s is None
    assert (found.id, found.attempt, found.place, found.uid, found.stopping) == (ID, 3, PLACE, "u", False)


def test_a_namespace_that_goes_is_the_reason_of_what_goes_with_it() -> None:
    leaving = msgspec.convert({"metadata": METADATA | {"deletionTimestamp": "2026-11-28T14:02:00Z"}}, Job)
    found = objects.of_job(leaving, [], "", namespace_gone=True)
    assert (found.stopping, found.reason, found.phase) == (True, Reason.NAMESPACE_GONE, Phase.STARTING)


def deployment(ready=0, *conditions, replicas=2):
    status = {"readyReplicas": ready, "conditions": list(conditions)}
    return read(Deployment, {"spec": {"replicas": replicas}, "status": status})


RUNNING = pod("Running", {"running": {"startedAt": "2026-11-28T14:00:02Z"}})
CRASHING = pod(
    "Running", {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
    last={"terminated": {"exitCode": 2, "reason": "Error"}},
)  # fmt: skip
FULL = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: quota"}


@pytest.mark.parametrize(
    ("made", "pods", "phase", "reason"),
    [
        (deployment(), [], Phase.STARTING, Reason.NONE),
        (deployment(), [RUNNING], Phase.STARTING, Reason.NOT_READY),
        (deployment(), [CRASHING], Phase.STARTING, Reason.NOT_READY),
        (deployment(0, FULL), [], Phase.STARTING, Reason.QUOTA_EXCEEDED),
        (deployment(1, FULL), [RUNNING], Phase.RUNNING, Reason.QUOTA_EXCEEDED),
        (deployment(2), [RUNNING, RUNNING], Phase.RUNNING, Reason.NONE),
        (deployment(0, replicas=0), [], Phase.RUNNING, Reason.NONE),
        (deployment(), [waiting("ErrImagePull")], Phase.STARTING, Reason.IMAGE_NOT_PULLED),
    ],
)
def test_a_service_runs_as_soon_as_one_replica_is_ready(made, pods, phase, reason) -> None:
    found = objects.of_deployment(made, pods, {})
    assert (found.phase, found.reason, found.ready, found.replicas) == (
        phase, reason, made.status.ready_replicas, made.spec.replicas,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("service", "host", "found"),
    [
        ({"spec": {"clusterIP": "10.0.0.7", "ports": [{"port": 80}]}}, "", {"inside": "10.0.0.7:80"}),
        ({"spec": {"clusterIP": "fd00::7", "ports": [{"port": 80}]}}, "", {"inside": "[fd00::7]:80"}),
        ({"spec": {"clusterIP": "None", "ports": [{"port": 80}]}}, "", {"inside": "job-x.fy-x.svc:80"}),
        ({"spec": {"clusterIP": "", "ports": [{"port": 80}]}}, "", {}),
        (
            {"spec": {"type": "NodePort", "clusterIP": "10.0.0.7", "ports": [{"port": 80, "nodePort": 30080}]}},
            "fl.example.org",
            {"inside": "10.0.0.7:80", "outside": "fl.example.org:30080"},
        ),
        (
            {
                "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.7", "ports": [{"port": 80}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}},
            },
            "",
            {"inside": "10.0.0.7:80", "outside": "192.0.2.7:80"},
        ),
        (
            {"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.7", "ports": [{"port": 80}]}},
            "",
            {"inside": "10.0.0.7:80"},
        ),
    ],
)
def test_addresses_are_read_back(service, host, found) -> None:
    assert objects.addresses([read(Service, service)], host) == found


def test_a_log_that_may_be_gone_with_its_node_is_told_from_one_that_is_not() -> None:
    assert objects.is_lost(pod("Failed", reason="NodeLost"))
    assert not objects.is_lost(RUNNING)


def test_what_runs_beside_a_workload_is_not_taken_for_it() -> None:
    """The server sorts the containers of a pod by their names."""
    running = {"running": {"startedAt": "2026-11-28T14:00:02Z"}}
    workload = {"name": "workload", "ready": True, "state": running}
    ended = {"terminated": {"exitCode": 3, "reason": "Error", "message": "the last word"}}
    looping = {"name": "companion", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}
    not_pulled = {"name": "companion", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}

    def of(ready, *statuses):
        deployment = read(Deployment, {"spec": {"replicas": 1}, "status": {"readyReplicas": ready}})
        pods = [read(Pod, {"status": {"phase": "Running", "containerStatuses": list(statuses)}})]
        found = objects.of_deployment(deployment, pods, {})
        return found.reason, found.detail, found.started_s is not None

    assert of(1, {"name": "companion", "state": ended}, workload) == (Reason.NONE, "", True)
    said = "its companion keeps ending, with code 3; the last time: Error: the last word"
    assert of(0, looping, workload) == (Reason.NOT_READY, said, True)
    assert of(0, not_pulled, workload) == (Reason.IMAGE_NOT_PULLED, "its companion: ErrImagePull: no such image", True)
