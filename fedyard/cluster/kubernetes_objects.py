"""What is read of Kubernetes' objects, and what an attempt's objects say of it: pure.

Only the fields that are looked at, in their own names; the server sends many more, and newer ones send others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Generic, Literal, TypeAlias, TypeVar

import msgspec

from fedyard.cluster import names
from fedyard.cluster.conventions import INPUTS_FOLDER, OUTPUT_MISSING, OUTPUTS_FOLDER
from fedyard.cluster.port import Observed, Phase, Reason

T = TypeVar("T")
MAX_DETAIL: Final = 1000
SIGNALS: Final = 64


class _Read(msgspec.Struct, frozen=True, rename="camel"):
    """Fields that are missing are as if empty; unknown ones are passed over."""


class OwnerReference(_Read, frozen=True):
    kind: str
    uid: str


class Metadata(_Read, frozen=True):
    name: str
    uid: str
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None


class Condition(_Read, frozen=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class Waiting(_Read, frozen=True):
    reason: str = ""
    message: str = ""


class Running(_Read, frozen=True):
    started_at: datetime | None = None


class Terminated(_Read, frozen=True):
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(_Read, frozen=True):
    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Read, frozen=True):
    name: str = ""
    ready: bool = False
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(_Read, frozen=True):
    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []
    start_time: datetime | None = None


class Pod(_Read, frozen=True):
    metadata: Metadata
    status: PodStatus = PodStatus()


class JobStatus(_Read, frozen=True):
    conditions: list[Condition] = []
    start_time: datetime | None = None
    completion_time: datetime | None = None


class Job(_Read, frozen=True):
    metadata: Metadata
    status: JobStatus = JobStatus()


class DeploymentSpec(_Read, frozen=True):
    replicas: int = 1


class DeploymentStatus(_Read, frozen=True):
    ready_replicas: int = 0
    conditions: list[Condition] = []


class Deployment(_Read, frozen=True):
    metadata: Metadata
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class ServicePort(_Read, frozen=True):
    port: int
    node_port: int | None = None


class Ingress(_Read, frozen=True):
    ip: str = ""
    hostname: str = ""


class LoadBalancer(_Read, frozen=True):
    ingress: list[Ingress] = []


class ServiceSpec(_Read, frozen=True):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    ports: list[ServicePort] = []


class ServiceStatus(_Read, frozen=True):
    load_balancer: LoadBalancer = LoadBalancer()


class Service(_Read, frozen=True):
    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class NamespaceStatus(_Read, frozen=True):
    phase: str = ""
    conditions: list[Condition] = []


class Namespace(_Read, frozen=True):
    metadata: Metadata
    status: NamespaceStatus = NamespaceStatus()


class Involved(_Read, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""


class Event(_Read, frozen=True):
    metadata: Metadata
    involved_object: Involved = Involved()
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None


class Anything(_Read, frozen=True):
    """Of an object of any kind what tells whose it is."""

    metadata: Metadata


class QuotaStatus(_Read, frozen=True):
    used: dict[str, str] = {}


class Quota(_Read, frozen=True):
    metadata: Metadata
    status: QuotaStatus = QuotaStatus()


class Secret(_Read, frozen=True):
    """Compared with what it should be, and never shown."""

    metadata: Metadata
    data: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Secret({self.metadata.name})"


class PageMetadata(_Read, frozen=True):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(_Read, Generic[T], frozen=True):
    """Of a list. items: null where the server has none; without them it is no list, and not an empty one either."""

    metadata: PageMetadata
    items: list[T] | None


class Gone(_Read, frozen=True):
    """What an error in a watch is of."""

    code: int = 0
    message: str = ""
    metadata: PageMetadata = PageMetadata()


class Change(_Read, frozen=True):
    """One line of a watch."""

    type: str
    object: Gone


# ---------------------------------------------------------------- what an attempt's objects say of it

_NOT_PULLED: Final = {"ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable"}
_UNUSABLE: Final = {"InvalidImageName", "ErrImageNeverPull"}
_INVALID: Final = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_PASSES: Final = ("not found", "timed out", "failed to sync", "already in use", "is reserved")
"""In the message of an invalid container: what it lacks is still on its way."""
_NODE: Final = {"NodeLost", "NodeShutdown", "Shutdown", "NodeAffinity"}
_DISRUPTED: Final = {"DeletionByTaintManager": Reason.NODE_LOST, "DeletionByPodGC": Reason.NODE_LOST}
_NOT_STARTED: Final = {"StartError", "ContainerCannotRun"}
_NO_FILE: Final = ("no such file or directory", "executable file", "permission denied", "exec format error")

Judged = tuple[Reason, str, int | None]


def of_job(
    job: Job, pods: Sequence[Pod], failed_create: str, *, disrupted: Judged | None = None, namespace_gone: bool = False
) -> Observed:
    """failed_create: why its pod is refused, if the cluster has said so. Only Complete and Failed are final.

    disrupted: what its pod said when it was last seen, for a pod that the cluster itself ends is removed at once.
    """
    pod = _newest(pods)
    done, failed = (_condition(job.status.conditions, kind) for kind in ("Complete", "Failed"))
    container = _container(pod)
    started = _started(container)
    if started is None and (done or failed):  # it never came to a container, or its pod is gone
        started = (pod.status.start_time if pod else None) or job.status.start_time
    phase, judged, ended = Phase.STARTING, _waiting(pod), None
    if done is not None:
        phase, judged = Phase.SUCCEEDED, (Reason.NONE, "", 0)
        ended = job.status.completion_time or done.last_transition_time
    elif failed is not None:
        phase, judged, ended = Phase.FAILED, _failed(pod, failed), failed.last_transition_time
        if judged[0] is Reason.VANISHED and disrupted is not None:
            judged = disrupted
    elif judged[0] is Reason.IMAGE_UNUSABLE or (judged[0] is Reason.CONFIG_INVALID and _final(container)):
        phase = Phase.FAILED
    elif pod is not None and is_on_a_lost_node(pod):
        phase, judged = Phase.FAILED, disrupted_of(pod)  # its job waits for the pod's end, which nobody will tell
    elif pod is not None and _has_begun(pod):
        phase, judged = Phase.RUNNING, disrupted_of(pod)
    elif pod is None and failed_create:
        judged = (_refused(failed_create), failed_create, None)
    terminated = container.state.terminated if container else None
    return _observed(
        job.metadata, phase, judged,
        started=started, ended=(terminated.finished_at if terminated and ended else None) or ended,
        namespace_gone=namespace_gone,
    )  # fmt: skip


def of_deployment(
    deployment: Deployment, pods: Sequence[Pod], addresses: dict[Literal["inside", "outside"], str], *,
    namespace_gone: bool = False,
) -> Observed:  # fmt: skip
    """It runs as soon as one replica is ready, or none is wanted; a replica that fails is started again, for ever."""
    wanted, ready = deployment.spec.replicas, deployment.status.ready_replicas
    alive = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
    judged: Judged = (Reason.NONE, "", None)
    if ready < wanted:
        failure = _condition(deployment.status.conditions, "ReplicaFailure")
        found = [judged for judged in (_waiting(pod) for pod in alive) if judged[0] is not Reason.NONE]
        if found:
            judged = found[0]
        elif failure is not None:
            judged = (_refused(failure.message), failure.message, None)
        elif any(_running(pod) for pod in alive):
            judged = (Reason.NOT_READY, "its replicas run, and none answers on its port yet", None)
    started = [at for at in (_started(_container(pod)) for pod in alive) if at is not None]
    return _observed(
        deployment.metadata,
        Phase.RUNNING if ready or not wanted else Phase.STARTING,
        judged,
        started=min(started, default=None),
        ready=ready,
        replicas=wanted,
        addresses=addresses,
        namespace_gone=namespace_gone,
    )


def of_left_over(pod: Pod, *, namespace_gone: bool = False) -> Observed:
    """A pod of ours without its job: on its way out, or an orphan that runs on and that nothing in the cluster ends."""
    phase = {"Running": Phase.RUNNING, "Succeeded": Phase.SUCCEEDED, "Failed": Phase.FAILED}
    found = phase.get(pod.status.phase, Phase.STARTING)
    judged = _terminated(pod) if found is Phase.FAILED else _waiting(pod)
    started = _started(_container(pod))
    return _observed(pod.metadata, found, judged, started=started, namespace_gone=namespace_gone)


Addresses: TypeAlias = dict[Literal["inside", "outside"], str]


def addresses(services: Iterable[Service], host: str) -> Addresses:
    """Of one workload's services. host: of the outside, where the operator has said it.

    By IP: it holds in clusters without names, too. A stable service has a name alone: that counts where there is one.
    """
    found: Addresses = {}
    for service in sorted(services, key=lambda one: one.spec.cluster_ip == "None"):
        found |= _addresses(service, host)
    return found


def _addresses(service: Service, host: str) -> Addresses:
    if not service.spec.ports or not service.spec.cluster_ip:
        return {}
    (port, *_) = service.spec.ports
    if service.spec.cluster_ip == "None":
        return {"inside": f"{service.metadata.name}.{service.metadata.namespace}.svc:{port.port}"}
    found: Addresses = {"inside": _joined(service.spec.cluster_ip, port.port)}
    if service.spec.type == "NodePort" and port.node_port and host:
        found["outside"] = _joined(host, port.node_port)
    if service.spec.type == "LoadBalancer" and service.status.load_balancer.ingress:
        (ingress, *_) = service.status.load_balancer.ingress
        found["outside"] = _joined(host or ingress.hostname or ingress.ip, port.port)
    return found


def is_left_over(pod: Pod) -> bool:
    """Of one whose job is not in the list: else it is so new that the list was made before."""
    return not pod.metadata.owner_references or pod.metadata.deletion_timestamp is not None


def is_attempt(metadata: Metadata) -> bool:
    """What is ours beside attempts, or what somebody has tampered with, is none."""
    id, attempt = key(metadata)
    return bool(id) and attempt.isdecimal() and names.PLACE in metadata.labels


def has_ended(pods: Sequence[Pod]) -> bool:
    """The newest of them."""
    pod = _newest(pods)
    return pod is not None and pod.status.phase in {"Succeeded", "Failed"}


def is_on_a_lost_node(pod: Pod) -> bool:
    """Given up by the cluster, which keeps it until its node is back or removed: that may be never."""
    return pod.metadata.deletion_timestamp is not None and disrupted_of(pod)[0] is Reason.NODE_LOST


def is_lost(pod: Pod) -> bool:
    """Its node may not answer any more."""
    return (
        pod.metadata.deletion_timestamp is not None or pod.status.reason in _NODE or disrupted_of(pod)[0] != Reason.NONE
    )


def key(metadata: Metadata) -> tuple[str, str]:
    """The id and the attempt that its labels tell."""
    return metadata.labels.get(names.WORKLOAD, ""), metadata.labels.get(names.ATTEMPT, "")


def sentence(event: Event) -> str:
    """One event, for people: when, what, how often."""
    often = f" (x{event.count})" if event.count and event.count > 1 else ""
    at = when(event)
    stamp = f"{at:%Y-%m-%dT%H:%M:%SZ} " if at else ""
    return f"{stamp}{event.involved_object.kind} {event.reason}: {event.message}{often}"[:MAX_DETAIL]


def when(event: Event) -> datetime | None:
    return event.last_timestamp or event.event_time or event.first_timestamp or event.metadata.creation_timestamp


def _observed(
    metadata: Metadata,
    phase: Phase,
    judged: Judged,
    *,
    started: datetime | None = None,
    ended: datetime | None = None,
    ready: int = 0,
    replicas: int = 1,
    addresses: dict[Literal["inside", "outside"], str] | None = None,
    namespace_gone: bool = False,
) -> Observed:
    reason, detail, exit_code = judged
    if namespace_gone and phase is not Phase.SUCCEEDED:
        reason, detail = Reason.NAMESPACE_GONE, f"namespace {metadata.namespace} is being removed"
    id, attempt = key(metadata)
    return Observed(
        id=id,
        attempt=int(attempt),
        place=metadata.labels.get(names.PLACE, ""),
        phase=phase,
        uid=metadata.uid,
        reason=reason,
        detail=detail[:MAX_DETAIL],
        exit_code=exit_code,
        ready=ready,
        replicas=replicas,
        addresses=addresses or {},
        stopping=metadata.deletion_timestamp is not None,
        created_s=_seconds(metadata.creation_timestamp) or 0.0,
        started_s=_seconds(started),
        ended_s=_seconds(ended),
    )


def _waiting(pod: Pod | None) -> Judged:
    """Why it does not run yet."""
    if pod is None:
        return Reason.NONE, "", None
    scheduled = _condition(pod.status.conditions, "PodScheduled", status="False")
    if scheduled is not None and scheduled.reason in {"Unschedulable", "SchedulingGated"}:
        return Reason.UNSCHEDULABLE, scheduled.message, None
    container = _preparing(pod) or _container(pod)
    if container is not None and container.state.waiting is None and (beside := _beside(pod)) is not None:
        container = beside
    if container is None or container.state.waiting is None:
        return Reason.NONE, "", None
    reason, message = container.state.waiting.reason, container.state.waiting.message
    detail = f"{reason}: {message}" if message else reason
    if container in pod.status.container_statuses and container.name != names.CONTAINER:
        detail = f"its {container.name}: {detail}"
    if reason in _NOT_PULLED:
        return Reason.IMAGE_NOT_PULLED, detail, None
    if reason in _UNUSABLE:
        return Reason.IMAGE_UNUSABLE, detail, None
    if reason in _INVALID:
        passes = any(text in message for text in _PASSES)
        return Reason.NONE if passes else Reason.CONFIG_INVALID, detail, None
    if reason == "CrashLoopBackOff" and container.last_state.terminated is not None:
        ours = container is not _container(pod)
        _, last, code = _ended(container.last_state.terminated, ours=ours)
        who = "it" if container.name == names.CONTAINER else f"its {container.name}"
        return Reason.NOT_READY, f"{who} keeps ending, with code {code}; the last time: {last}", code
    return Reason.NONE, detail, None


def _final(container: ContainerStatus | None) -> bool:
    """The others are tried again, and end as terminated if that does not help."""
    waiting = container.state.waiting if container else None
    return waiting is not None and waiting.reason == "CreateContainerConfigError"


def _of_files(pod: Pod) -> Judged | None:
    """What became of its files, where that is what has failed."""
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        ended = status.state.terminated
        if status.name not in (INPUTS_FOLDER, OUTPUTS_FOLDER) or ended is None or not ended.exit_code:
            continue
        said = ended.message.strip() or f"its {status.name}: {ended.reason}, exit code {ended.exit_code}"
        if status.name == INPUTS_FOLDER:
            return Reason.INPUTS_UNAVAILABLE, said, None
        missing = ended.exit_code == OUTPUT_MISSING
        return (Reason.OUTPUTS_MISSING if missing else Reason.OUTPUTS_NOT_STORED), said, 0
    return None


def _failed(pod: Pod | None, failed: Condition) -> Judged:
    """The job says only that its pod has failed; the pod says why, if it is still there."""
    if pod is not None:
        reason, detail, code = _terminated(pod)
        if reason is not Reason.VANISHED:
            return reason, detail, code
    if failed.reason == "DeadlineExceeded":
        return Reason.DEADLINE_PASSED, failed.message, None
    return Reason.VANISHED, failed.message or failed.reason, None


def _terminated(pod: Pod) -> Judged:
    status = pod.status
    container = _container(pod)
    terminated = container.state.terminated if container else None
    code = terminated.exit_code if terminated else None
    if status.reason == "DeadlineExceeded":
        return Reason.DEADLINE_PASSED, status.message, code
    if status.reason in _NODE:
        return Reason.NODE_LOST, status.message or status.reason, code
    if terminated is not None and terminated.reason == "OOMKilled":
        return _ended(terminated)
    if status.reason == "Evicted":
        return Reason.EVICTED, status.message, code
    why, said, _ = disrupted_of(pod)
    if why is not Reason.NONE:
        return why, said, code
    if (files := _of_files(pod)) is not None:
        return files
    if terminated is not None and terminated.reason == "ContainerStatusUnknown":
        return Reason.NODE_LOST, terminated.message or "the node does not know what became of it", None
    if terminated is not None:
        return _ended(terminated)
    return Reason.VANISHED, status.message, None


def disrupted_of(pod: Pod) -> Judged:
    """Whether the cluster itself has ended it, and why."""
    target = _condition(pod.status.conditions, "DisruptionTarget")
    if target is None:
        return Reason.NONE, "", None
    return _DISRUPTED.get(target.reason, Reason.EVICTED), target.message or target.reason, None


def _ended(terminated: Terminated, *, ours: bool = False) -> Judged:
    """What a workload itself left is in its log, for those who may read that. ours: what prepares it is no secret."""
    code = terminated.exit_code
    told = terminated.message and (ours or terminated.reason in _NOT_STARTED)
    detail = f"{terminated.reason}: {terminated.message}" if told else terminated.reason
    if terminated.reason == "OOMKilled" or (terminated.reason in _NOT_STARTED and "OOM-killed" in terminated.message):
        return Reason.OUT_OF_MEMORY, detail, code
    if terminated.reason in _NOT_STARTED:
        no_file = any(text in terminated.message.lower() for text in _NO_FILE)
        return Reason.COMMAND_NOT_FOUND if no_file else Reason.CONFIG_INVALID, detail, code
    if 128 < code <= 128 + SIGNALS:
        return Reason.SIGNALLED, detail, code
    return (Reason.EXIT_CODE if code else Reason.NONE), detail, code


def _refused(message: str) -> Reason:
    """Of a pod that is not let in."""
    if "status unknown for quota" in message:
        return Reason.NONE  # the cluster has not counted yet
    return Reason.QUOTA_EXCEEDED if "quota" in message else Reason.CONFIG_INVALID


def age(pod: Pod) -> float:
    """By which the newest comes last."""
    return _seconds(pod.metadata.creation_timestamp) or 0.0


def _newest(pods: Sequence[Pod]) -> Pod | None:
    return max(pods, key=age, default=None)


def _container(pod: Pod | None) -> ContainerStatus | None:
    """The workload's own. The server sorts them by their names. A job that leaves files is an init container."""
    statuses = [] if pod is None else [*pod.status.container_statuses, *pod.status.init_container_statuses]
    return next((one for one in statuses if one.name == names.CONTAINER), None)


def _beside(pod: Pod) -> ContainerStatus | None:
    """Its companion, where that does not run."""
    others = (one for one in pod.status.container_statuses if one.name != names.CONTAINER)
    return next((one for one in others if one.state.waiting is not None), None)


def _preparing(pod: Pod) -> ContainerStatus | None:
    """What prepares it and cannot: its own container waits for that."""
    waiting = (one for one in pod.status.init_container_statuses if one.state.waiting is not None)
    return next((one for one in waiting if one.state.waiting and one.state.waiting.reason != "PodInitializing"), None)


def _has_begun(pod: Pod) -> bool:
    container = _container(pod)
    if container is None or container.state.waiting is not None:
        return False
    return pod.status.phase != "Pending" or container in pod.status.init_container_statuses


def _running(pod: Pod) -> bool:
    container = _container(pod)
    return container is not None and container.state.running is not None


def _started(container: ContainerStatus | None) -> datetime | None:
    if container is None:
        return None
    if container.state.running is not None:
        return container.state.running.started_at
    return container.state.terminated.started_at if container.state.terminated is not None else None


def _condition(conditions: Sequence[Condition], type: str, *, status: str = "True") -> Condition | None:
    return next((one for one in conditions if (one.type, one.status) == (type, status)), None)


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
