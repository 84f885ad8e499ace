"""What a place and a workload are in Kubernetes, as plain objects: pure, the same for the same arguments.

Whether an image may run is decided before it comes here. Nothing secret stands in any object but the `Secret`, and
that belongs to its workload: it goes when the workload goes. docs/workloads.md says what an image has to cope with.
"""

from __future__ import annotations

import base64
import hashlib
import math
from typing import Any, Final, Literal, TypeAlias

import msgspec

from fedyard.cluster import names
from fedyard.cluster.port import Spec

Manifest: TypeAlias = dict[str, Any]

CONTAINER: Final = "workload"
SERVICE_ACCOUNT: Final = "workload"
QUOTA_NAME: Final = "quota"
WORK: Final = "/fedyard"
"""An empty directory that belongs to the container: home, and the one place besides /tmp that can be written to."""
KEPT_AFTER_ITS_END_S: Final = 86_400
"""A finished job's, for whoever keeps its log; it is removed as soon as that is done."""
DEADLINE_SLACK_S: Final = 900
"""The deadline is the pod's, which then stays with its log; the job's own, which removes the pod, is the net below."""
LEAVES_A_LOST_NODE_AFTER_S: Final = 60
STARTS_WITHIN_S: Final = 600

QUOTA: Final = {
    "pods": "500",
    "count/jobs.batch": "2000",
    "requests.cpu": "256",
    "limits.cpu": "256",
    "requests.memory": "1Ti",
    "limits.memory": "1Ti",
}
_NOTHING_OUTSIDE: Final = {"services.loadbalancers": "0", "services.nodeports": "0"}


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses (CIDR) and a port there; without one, all of them."""

    cidr: str
    port: int | None = None


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for all places of a cluster: the operator's settings.

    quota: of one place, as ResourceQuota has it. hub: where workloads report to. dns: resolvers that are no pods of
    kube-system (a node-local cache). clients: who may reach a service; empty: only what is in its place.
    outside: how services are shown outside the cluster, and on which host (empty: as the cluster says).
    user: the uid and gid that workloads run as. container_cpu, container_memory, container_disk: of a container that
    says nothing. image_pull_secret: name of a Secret that the place's operator puts there, if any.
    """

    quota: dict[str, str] = msgspec.field(default_factory=lambda: dict(QUOTA))
    hub: list[Peer] = []
    dns: list[str] = []
    clients: list[str] = []
    outside: Literal["", "NodePort", "LoadBalancer"] = ""
    outside_host: str = ""
    user: int = 10001
    container_cpu: str = "1"
    container_memory: str = "1Gi"
    container_disk: str = "10Gi"
    image_pull_secret: str = ""


def place(owner: str, id: str, rules: Rules) -> list[Manifest]:
    """The namespace and what is in it before any workload is, in the order in which it is made."""
    namespace = names.place_name(id)
    carried = names.place_labels(owner, id)

    def inside(api: str, kind: str, name: str, **content: Any) -> Manifest:
        metadata = {"name": name, "namespace": namespace, "labels": carried}
        return _hashed({"apiVersion": api, "kind": kind, "metadata": metadata, **content})

    def policy(name: str, **spec: Any) -> Manifest:
        return inside("networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)

    security = {
        f"pod-security.kubernetes.io/{mode}{part}": value
        for mode in ("enforce", "audit", "warn")
        for part, value in (("", "restricted"), ("-version", "latest"))
    }
    quota = {**({} if rules.outside else _NOTHING_OUTSIDE), **rules.quota}
    peers = {"podSelector": {"matchLabels": {names.PEERS: "yes"}}}
    everybody: Manifest = {}
    disk = "ephemeral-storage"
    unsaid = {"cpu": rules.container_cpu, "memory": rules.container_memory, disk: rules.container_disk}
    return [
        _hashed(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": carried | security}}
        ),
        policy("nothing", podSelector=everybody, policyTypes=["Ingress", "Egress"]),
        policy("names", podSelector=everybody, policyTypes=["Egress"], egress=[_resolvers(rules)]),
        *(
            [policy("hub", podSelector=everybody, policyTypes=["Egress"], egress=[_to(peer) for peer in rules.hub])]
            if rules.hub
            else []
        ),
        policy(
            "peers",
            podSelector=peers["podSelector"],
            policyTypes=["Ingress", "Egress"],
            ingress=[{"from": [peers]}],
            egress=[{"to": [peers]}],
        ),
        *([inside("v1", "ResourceQuota", QUOTA_NAME, spec={"hard": dict(sorted(quota.items()))})] if quota else []),
        inside(
            "v1",
            "LimitRange",
            "containers",
            spec={"limits": [{"type": "Container", "default": unsaid, "defaultRequest": unsaid | {disk: "1Mi"}}]},
        ),
        inside("v1", "ServiceAccount", SERVICE_ACCOUNT, automountServiceAccountToken=False),
    ]


def workload(spec: Spec, rules: Rules) -> Manifest:
    """The Job or Deployment; what belongs to it can be made once it has a uid. Raises `ValueError`."""
    return _job(spec, rules) if spec.kind == "job" else _deployment(spec, rules)


def belongings(spec: Spec, uid: str, rules: Rules) -> list[Manifest]:
    """What goes when the workload (of that uid) goes: its secrets, its address and who may reach it."""
    kind, api = ("Job", "batch/v1") if spec.kind == "job" else ("Deployment", "apps/v1")
    owner = {
        "apiVersion": api,
        "kind": kind,
        "name": names.workload_name(spec),
        "uid": uid,
        "controller": False,
        "blockOwnerDeletion": True,
    }
    made = [_secret(spec)] if spec.secrets else []
    if spec.kind == "service" and spec.port is not None:
        made += [_service(spec, rules), _reachable(spec, rules)]
    for one in made:
        one["metadata"]["ownerReferences"] = [owner]
    return made


def stateful(spec: Spec, name: str, rules: Rules) -> list[Manifest]:
    """A service whose replicas have names of their own (`<name>-0.<name>`): headless Service, then StatefulSet.

    name: to the letter, for others dial it; so only one of its name is in a place. The Service lists replicas that are
    not ready as well: they must find each other to become so.
    """
    if spec.port is None:
        raise ValueError("a stateful service needs a port")
    service = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": names.identity(spec),
        "ports": [_port(spec.port)],
    }
    replicas = {
        "serviceName": name,
        "replicas": spec.replicas,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": names.identity(spec)},
        "template": _template(spec, rules),
    }
    made = [
        _object(spec, "v1", "Service", {"spec": service}),
        _object(spec, "apps/v1", "StatefulSet", {"spec": replicas}),
    ]
    for one in made:
        one["metadata"]["name"] = name
    return made


def _hashed(manifest: Manifest) -> Manifest:
    found = hashlib.sha256(msgspec.json.encode(manifest, order="sorted")).hexdigest()
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": {names.SPEC_HASH: found}}}


def _object(spec: Spec, api: str, kind: str, content: Manifest) -> Manifest:
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {
            "name": names.workload_name(spec),
            "namespace": names.place_name(spec.place),
            "labels": names.labels(spec),
            "annotations": _annotations(spec),
        },
        **content,
    }


def _job(spec: Spec, rules: Rules) -> Manifest:
    content: Manifest = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": KEPT_AFTER_ITS_END_S,
        "template": _template(spec, rules),
    }
    if spec.deadline_s is not None:
        content["template"]["spec"]["activeDeadlineSeconds"] = math.ceil(spec.deadline_s)
        content["activeDeadlineSeconds"] = math.ceil(spec.deadline_s + spec.grace_s) + DEADLINE_SLACK_S
    return _object(spec, "batch/v1", "Job", {"spec": content})


def _deployment(spec: Spec, rules: Rules) -> Manifest:
    content = {
        "replicas": spec.replicas,
        "revisionHistoryLimit": 0,
        "selector": {"matchLabels": names.identity(spec)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": _template(spec, rules),
    }
    return _object(spec, "apps/v1", "Deployment", {"spec": content})


def _template(spec: Spec, rules: Rules) -> Manifest:
    user = rules.user
    pod: Manifest = {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never" if spec.kind == "job" else "Always",
        "terminationGracePeriodSeconds": math.ceil(spec.grace_s),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(spec)],
        "volumes": [_empty("tmp", spec), _empty("work", spec)],
        "tolerations": _tolerations(spec),
    }
    if rules.image_pull_secret:
        pod["imagePullSecrets"] = [{"name": rules.image_pull_secret}]
    if spec.placement.node_selector:
        pod["nodeSelector"] = dict(sorted(spec.placement.node_selector.items()))
    if spec.placement.spread:
        pod["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": spec.placement.spread,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": names.identity(spec)},
            }
        ]
    return {"metadata": {"labels": names.labels(spec), "annotations": _annotations(spec)}, "spec": pod}


def _annotations(spec: Spec) -> dict[str, str]:
    return {names.SPEC_HASH: names.spec_hash(spec), **({names.NAME: spec.name} if spec.name else {})}


def _container(spec: Spec) -> Manifest:
    limits = {"cpu": f"{spec.resources.cpu_millis}m", "memory": str(spec.resources.memory_bytes)}
    if spec.resources.disk_bytes:
        limits["ephemeral-storage"] = str(spec.resources.disk_bytes)
    limits |= {name: str(count) for name, count in sorted(spec.resources.gpus.items())}
    made: Manifest = {
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(spec),
        "resources": {"requests": limits, "limits": dict(limits)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "work", "mountPath": WORK}],  # noqa: S108 - the container's own
    }
    if spec.command:
        made["command"] = [_literal(text) for text in spec.command]
    if spec.arguments:
        made["args"] = [_literal(text) for text in spec.arguments]
    if spec.port is not None:
        made["ports"] = [{"name": "main", "containerPort": spec.port, "protocol": "TCP"}]
        if spec.kind == "service":
            made |= _probes(spec.port)
    return made


def _environment(spec: Spec) -> list[Manifest]:
    twice = sorted(spec.environment.keys() & spec.secrets.keys())
    if twice:
        raise ValueError(f"{twice[0]} is both environment and secret: name one of them differently")
    port = {"PORT": str(spec.port)} if spec.kind == "service" and spec.port is not None else {}
    plain = {"HOME": WORK, **port, **spec.environment}
    hidden = {
        key: {"secretKeyRef": {"name": names.workload_name(spec), "key": key, "optional": False}}
        for key in spec.secrets
    }
    return [
        *({"name": key, "value": _literal(value)} for key, value in sorted(plain.items()) if key not in hidden),
        *({"name": key, "valueFrom": source} for key, source in sorted(hidden.items())),
    ]


def _literal(text: str) -> str:
    """Kubernetes puts variables in the place of `$(NAME)` and halves `$$`; the caller's text is to arrive as it is."""
    return text.replace("$", "$$") if "$$" in text or "$(" in text else text


def _probes(port: int) -> Manifest:
    at = {"tcpSocket": {"port": port}, "timeoutSeconds": 2}
    return {
        "startupProbe": {**at, "periodSeconds": 2, "failureThreshold": STARTS_WITHIN_S // 2},
        "readinessProbe": {**at, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**at, "periodSeconds": 10, "failureThreshold": 6},
    }


def _tolerations(spec: Spec) -> list[Manifest]:
    """A node that is gone is left after a minute, instead of the cluster's five."""
    asked = [
        {key: value for key, value in msgspec.to_builtins(one).items() if value} for one in spec.placement.tolerations
    ]
    leaves = [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": LEAVES_A_LOST_NODE_AFTER_S,
        }
        for state in ("not-ready", "unreachable")
    ]
    return [*asked, *leaves]


def _empty(name: str, spec: Spec) -> Manifest:
    limit = {"sizeLimit": str(spec.resources.disk_bytes)} if spec.resources.disk_bytes else {}
    return {"name": name, "emptyDir": limit}


def _secret(spec: Spec) -> Manifest:
    return _object(spec, "v1", "Secret", {"type": "Opaque", "immutable": True, "data": secret_data(spec)})


def secret_data(spec: Spec) -> dict[str, str]:
    """As a Secret has it."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in sorted(spec.secrets.items())}


def _service(spec: Spec, rules: Rules) -> Manifest:
    assert spec.port is not None
    kind = rules.outside or "ClusterIP"
    content = {"type": kind, "selector": names.identity(spec), "ports": [_port(spec.port)]}
    return _object(spec, "v1", "Service", {"spec": content})


def _reachable(spec: Spec, rules: Rules) -> Manifest:
    who: list[Manifest] = [{"ipBlock": {"cidr": cidr}} for cidr in rules.clients] or [{"podSelector": {}}]
    content = {
        "podSelector": {"matchLabels": names.identity(spec)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": who, "ports": [{"port": spec.port, "protocol": "TCP"}]}],
    }
    return _object(spec, "networking.k8s.io/v1", "NetworkPolicy", {"spec": content})


def _port(number: int) -> Manifest:
    return {"name": "main", "port": number, "targetPort": number, "protocol": "TCP"}


def _resolvers(rules: Rules) -> Manifest:
    system = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    others = [{"ipBlock": {"cidr": cidr}} for cidr in rules.dns]
    ports = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return {"to": [system, *others], "ports": ports}


def _to(peer: Peer) -> Manifest:
    ports = {} if peer.port is None else {"ports": [{"port": peer.port, "protocol": "TCP"}]}
    return {"to": [{"ipBlock": {"cidr": peer.cidr}}], **ports}
