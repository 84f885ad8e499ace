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

from fedyard.cluster import conventions, names
from fedyard.cluster.conventions import INPUTS_FOLDER, MODEL_VERSION, OUTPUTS_FOLDER
from fedyard.cluster.port import (
    REPLICA,
    Companion,
    Files,
    Part,
    Spec,
    Volume,
    check_names,
    helpers_own,
    kept_back,
    steps_of,
)

Manifest: TypeAlias = dict[str, Any]

COMPANION: Final = "companion"
"""The container of what runs beside it, and the empty directory that is that one's own."""
SERVICE_ACCOUNT: Final = "workload"
QUOTA_NAME: Final = "quota"
WORK: Final = "/fedyard"
"""An empty directory that belongs to the container: home, and the one place besides /tmp that can be written to."""
VOLUME: Final = "volume"
"""The claim of a place's volume."""
ROOT: Final = "/volume"
"""Of what a workload sees of it."""
_PARTS: Final = "/fedyard-parts"
"""Where parts are mounted whose path no mount can have; in the root they are links."""
_VIEW: Final = "view"
UNPACK_MEMORY: Final = "256Mi"
"""A dictionary of xz has 128 MiB."""
HELPER_LIMITS: Final = {"cpu": "500m", "memory": "128Mi"}
COMPANION_LIMITS: Final = {"cpu": "250m", "memory": "256Mi"}
PREPARE: Final = """set -eu
while [ $# -gt 0 ]; do
  case $1 in
    folder) mkdir -p "$3"; [ -L "$3" ] || chmod "$2" "$3" 2>/dev/null || : ;;
    file) [ -e "$3" ] || { : > "$3"; chmod "$2" "$3"; } ;;
    link) ln -sfn "$2" "$3" ;;
  esac
  shift 3
done"""
"""For sh: any number of `folder MODE PATH`, `file MODE PATH`, `link TARGET PATH`. It may run again: a folder of its own
user gets its mode back, which a change of the volume's group may have widened; another's is left as it is."""
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
    user: the uid and gid that workloads run as; one with `user` n in its Spec has that uid and n, and the same gid.
    volume_size, volume_class, volume_access: of the claim of a place's volume; no class: the cluster's default one.
    unpack_image: that unpacks initial files, fetches and stores those of jobs, and runs companions: one with Python and
    Fedyard. Without it there is nothing of that.
    prepare_image: that makes folders in a volume before a workload starts: one with sh. Without it there are none.
    container_cpu, container_memory, container_disk: of a container that
    says nothing. image_pull_secret: name of a Secret that the place's operator puts there, if any.
    """

    quota: dict[str, str] = msgspec.field(default_factory=lambda: dict(QUOTA))
    hub: list[Peer] = []
    dns: list[str] = []
    clients: list[str] = []
    outside: Literal["", "NodePort", "LoadBalancer"] = ""
    outside_host: str = ""
    user: int = 10001
    volume_size: str = "10Gi"
    volume_class: str = ""
    volume_access: Literal["ReadWriteMany", "ReadWriteOnce"] = "ReadWriteMany"
    prepare_image: str = ""
    unpack_image: str = ""
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
    """The Job, Deployment or, of a stable service, StatefulSet; what belongs to it can be made once it has a uid.
    Raises `ValueError`."""
    _check(spec, rules)
    if spec.kind == "job":
        return _job(spec, rules)
    return _stateful(spec, rules) if spec.stable else _deployment(spec, rules)


def volume(spec: Spec, rules: Rules) -> Manifest:
    """The claim of the volume of a place: it stays when workloads go, and goes with the namespace."""
    asked: Manifest = {
        "accessModes": [rules.volume_access],
        "resources": {"requests": {"storage": rules.volume_size}},
    }
    if rules.volume_class:
        asked["storageClassName"] = rules.volume_class
    metadata = {
        "name": VOLUME,
        "namespace": names.place_name(spec.place),
        "labels": names.place_labels(spec.owner, spec.place),
    }
    return _hashed({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": asked})


def _check(spec: Spec, rules: Rules) -> None:
    """Raises `ValueError`."""
    check_names(spec)
    if spec.files is not None and not rules.unpack_image:
        raise ValueError("this cluster fetches and stores no files: its operator's rules name no unpack_image")
    if spec.volume is not None and not rules.prepare_image:
        raise ValueError("this cluster has no volumes: its operator's rules name no prepare_image")


def belongings(spec: Spec, uid: str, rules: Rules) -> list[Manifest]:
    """What goes when the workload (of that uid) goes: its secrets, its address and who may reach it."""
    kind, api = kind_of(spec)
    owner = {
        "apiVersion": api,
        "kind": kind,
        "name": names.workload_name(spec),
        "uid": uid,
        "controller": False,
        "blockOwnerDeletion": True,
    }
    made = [_secret(spec)] if spec.secrets else []
    if spec.stable:
        made += [_headless(spec), *([_outside(spec, rules)] if rules.outside and spec.outside else [])]
        made.append(_reachable(spec, rules))
    elif spec.kind == "service" and spec.port is not None:
        made += [_service(spec, rules), _reachable(spec, rules)]
    for one in made:
        one["metadata"]["ownerReferences"] = [owner]
    return made


def kind_of(spec: Spec) -> tuple[str, str]:
    """Of the object that a workload is, and the API that has it."""
    if spec.kind == "job":
        return "Job", "batch/v1"
    return ("StatefulSet" if spec.stable else "Deployment"), "apps/v1"


def outside_name(name: str) -> str:
    """Of the Service by which a stable service is reached from outside the cluster."""
    return f"{name}-outside"


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


def _stateful(spec: Spec, rules: Rules) -> Manifest:
    """Each replica has a name of its own, which the headless Service knows. All start at once, and are changed at once
    where one never became ready."""
    content = {
        "serviceName": names.workload_name(spec),
        "replicas": spec.replicas,
        "revisionHistoryLimit": 0,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": names.identity(spec)},
        "template": _template(spec, rules),
    }
    return _object(spec, "apps/v1", "StatefulSet", {"spec": content})


def _template(spec: Spec, rules: Rules) -> Manifest:
    group = rules.user
    pod: Manifest = {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never" if spec.kind == "job" else "Always",
        "terminationGracePeriodSeconds": math.ceil(spec.grace_s),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": group + spec.user,
            "runAsGroup": group,
            "fsGroup": group,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"runtimeClassName": spec.placement.runtime_class} if spec.placement.runtime_class else {}),
        "containers": [_container(spec, rules)],
        "volumes": [_empty("tmp", spec), _empty("work", spec)],
        "tolerations": _tolerations(spec),
    }
    if (companion := _companion_of(spec, rules)) is not None:
        pod["containers"].append(_companion(spec, companion, rules))
        pod["volumes"].append({"name": COMPANION, "emptyDir": {}})
    if spec.volume is not None:
        pod["volumes"].append({"name": VOLUME, "persistentVolumeClaim": {"claimName": VOLUME}})
        pod["securityContext"]["fsGroupChangePolicy"] = "OnRootMismatch"  # else each start goes through all its files
        if _is_view(spec.volume):
            pod["volumes"].append({"name": _VIEW, "emptyDir": {}})
        pod["initContainers"] = _preparing(spec, spec.volume, rules)
    if spec.files is not None:
        _with_files(pod, spec, spec.files, rules)
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


def _companion_of(spec: Spec, rules: Rules) -> Companion | None:
    """None as well where nobody has said which image has Fedyard."""
    return spec.companion if rules.unpack_image else None


def _container(spec: Spec, rules: Rules) -> Manifest:
    limits = {"cpu": f"{spec.resources.cpu_millis}m", "memory": str(spec.resources.memory_bytes)}
    if spec.resources.disk_bytes:
        limits["ephemeral-storage"] = str(spec.resources.disk_bytes)
    limits |= {name: str(count) for name, count in sorted(spec.resources.gpus.items())}
    made: Manifest = {
        "name": names.CONTAINER,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(spec, rules),
        "resources": {"requests": limits, "limits": dict(limits)},
        "securityContext": _unprivileged(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "work", "mountPath": WORK}],  # noqa: S108 - the container's own
    }
    if spec.volume is not None:
        made["volumeMounts"] += _mounts(spec.volume)
    if spec.command:
        made["command"] = [_literal(text) for text in spec.command]
    if spec.arguments:
        made["args"] = [_literal(text) for text in spec.arguments]
    if spec.port is not None:
        made["ports"] = [{"name": "main", "containerPort": spec.port, "protocol": "TCP"}]
        if spec.kind == "service":
            made |= _probes(spec.port)
    return made


def _unprivileged() -> Manifest:
    return {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _is_view(volume: Volume) -> bool:
    """What the workload sees is not the volume itself: its root is put together of parts, by mounts and links."""
    return all(part.path for part in volume.parts)


def _is_linked(part: Part) -> bool:
    """No mount can be at a path with a colon in it, nor at one that each replica has for itself."""
    return ":" in part.path or REPLICA in part.path


def _expanded(path: str) -> str:
    """With the variable that Kubernetes puts the replica's name in the place of."""
    return path.replace(REPLICA, "$(HOSTNAME)")


def _mounts(volume: Volume) -> list[Manifest]:
    """The parts; of those below others the outer ones first."""
    made: list[Manifest] = [{"name": _VIEW, "mountPath": ROOT, "readOnly": True}] if _is_view(volume) else []
    for number, part in enumerate(volume.parts):
        where = f"{_PARTS}/{number}" if _is_linked(part) else f"{ROOT}/{part.path}".rstrip("/")
        which = {"subPathExpr" if REPLICA in part.path else "subPath": _expanded(part.path)} if part.path else {}
        made.append({"name": VOLUME, "mountPath": where, **which, "readOnly": not part.write})
    return sorted(made, key=lambda mount: str(mount["mountPath"]).count("/"))


def _preparing(spec: Spec, volume: Volume, rules: Rules) -> list[Manifest]:
    """Who makes what has to be in the volume sees all of it, and is the operator's image; who makes the view sees what
    the workload will see."""
    asked = [
        word
        for one in volume.made
        for word in ("file" if one.file else "folder", f"{one.mode:o}", f"{ROOT}/{_expanded(one.path)}")
    ]
    made = [_preparer("prepare", asked, [{"name": VOLUME, "mountPath": ROOT}], rules)] if asked else []
    if MODEL_VERSION in spec.environment and not rules.unpack_image:
        raise ValueError(
            f"nobody would lay model version {spec.environment[MODEL_VERSION]} into the volume: the rules of this "
            "cluster name no unpack_image"
        )
    if volume.files_token in spec.secrets and rules.unpack_image:
        made.append(_unpacker(spec, volume.files_token, rules))
    if _is_view(volume):
        words: list[str] = []
        for number, part in enumerate(volume.parts):
            where = f"{ROOT}/{_expanded(part.path)}"
            words += ["link", f"{_PARTS}/{number}", where] if _is_linked(part) else []
        mounts = [{**one, "readOnly": False} if one["name"] == _VIEW else one for one in _mounts(volume)]
        made.append(_preparer("view", words, mounts, rules))
    return made


def _preparer(name: str, words: list[str], mounts: list[Manifest], rules: Rules) -> Manifest:
    small = {"cpu": "100m", "memory": "64Mi"}
    return {
        "name": name,
        "image": rules.prepare_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", PREPARE, name],
        "args": words,
        "env": [_OWN_NAME],
        "resources": {"requests": small, "limits": dict(small)},
        "securityContext": _unprivileged(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _unpacker(spec: Spec, token: str, rules: Rules) -> Manifest:
    made = _preparer("unpack", [ROOT], [{"name": VOLUME, "mountPath": ROOT}], rules)
    plain = [{"name": key, "value": _literal(value)} for key, value in sorted(spec.environment.items())]
    limits = {"cpu": "1", "memory": UNPACK_MEMORY}
    return {
        **made,
        "image": rules.unpack_image,
        "command": ["python3", "-m", "fedyard.cluster.fetching"],
        "env": [*plain, {"name": token, "valueFrom": _secret_ref(spec, token)}],
        "resources": {"requests": limits, "limits": dict(limits)},
    }


def _companion(spec: Spec, companion: Companion, rules: Rules) -> Manifest:
    """Its state is in a directory of its own, so that it goes on where it was when it starts again; it sees neither the
    workload's files nor its processes."""
    mounts: list[Manifest] = [{"name": COMPANION, "mountPath": WORK}]
    for path in sorted(companion.parts):
        which = {"subPath": path} if path else {}
        mounts.append({"name": VOLUME, "mountPath": f"{ROOT}/{path}".rstrip("/"), **which, "readOnly": True})
    told = {**helpers_own(spec), "HOME": WORK, "TMPDIR": WORK, "PORT": str(companion.port)}
    hidden = sorted(set(companion.secrets) & spec.secrets.keys())
    return {
        "name": COMPANION,
        "image": rules.unpack_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", companion.module],
        "args": [f"{ROOT}/{path}" for path in companion.paths],
        "env": [
            *({"name": key, "value": _literal(value)} for key, value in sorted(told.items()) if key not in hidden),
            *({"name": key, "valueFrom": _secret_ref(spec, key)} for key in hidden),
        ],
        "resources": {"requests": dict(COMPANION_LIMITS), "limits": dict(COMPANION_LIMITS)},
        "securityContext": {**_unprivileged(), "runAsUser": rules.user + companion.user},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _with_files(pod: Manifest, spec: Spec, files: Files, rules: Rules) -> None:
    """What fetches is an init container. Where there are outputs the job's own is the last one, and what stores them
    the pod's container: so that begins once the program has ended well, whatever its image is, and the pod succeeds if
    that does."""
    (container,) = pod["containers"]
    fetched, stored = steps_of(files)
    steps = pod.setdefault("initContainers", [])
    for folder, variable, words, write in (
        (INPUTS_FOLDER, conventions.INPUTS, fetched, False),
        (OUTPUTS_FOLDER, conventions.OUTPUTS, stored, True),
    ):
        if not words:
            continue
        pod["volumes"].append(_empty(folder, spec))
        container["volumeMounts"].append({"name": folder, "mountPath": f"{WORK}/{folder}", "readOnly": not write})
        container["env"].append({"name": variable, "value": f"{WORK}/{folder}"})
    if fetched:
        steps.append(_helper(INPUTS_FOLDER, "fetch", fetched, spec, files, rules))
    if stored:
        steps.append(container)
        pod["containers"] = [_helper(OUTPUTS_FOLDER, "store", stored, spec, files, rules)]
    if not steps:
        del pod["initContainers"]


def _helper(folder: str, step: str, words: list[str], spec: Spec, files: Files, rules: Rules) -> Manifest:
    """It sees its folder and the token alone."""
    return {
        "name": folder,
        "image": rules.unpack_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "fedyard.cluster.files"],
        "args": [step, f"{WORK}/{folder}", *words],
        "env": [
            *({"name": key, "value": _literal(value)} for key, value in sorted(helpers_own(spec).items())),
            {"name": files.token, "valueFrom": _secret_ref(spec, files.token)},
        ],
        "resources": {"requests": dict(HELPER_LIMITS), "limits": dict(HELPER_LIMITS)},
        "securityContext": _unprivileged(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": folder, "mountPath": f"{WORK}/{folder}", "readOnly": step == "store"}],
    }


def _secret_ref(spec: Spec, key: str) -> Manifest:
    return {"secretKeyRef": {"name": names.workload_name(spec), "key": key, "optional": False}}


_OWN_NAME: Final = {"name": "HOSTNAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}


def _environment(spec: Spec, rules: Rules) -> list[Manifest]:
    twice = sorted(spec.environment.keys() & spec.secrets.keys())
    if twice:
        raise ValueError(f"{twice[0]} is both environment and secret: name one of them differently")
    port = {"PORT": str(spec.port)} if spec.kind == "service" and spec.port is not None else {}
    root = {} if spec.volume is None else {spec.volume.variable: ROOT}
    companion = _companion_of(spec, rules)
    beside = {} if companion is None else {companion.address: f"localhost:{companion.port}"}
    plain = {"HOME": WORK, **port, **root, **beside, **spec.dials, **spec.environment}
    own = [_OWN_NAME] if spec.stable else []
    if own:
        plain.pop("HOSTNAME", None)
    hidden = {key: _secret_ref(spec, key) for key in spec.secrets.keys() - kept_back(spec)}
    return [
        *own,
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


def _headless(spec: Spec) -> Manifest:
    """It lists replicas that are not ready as well: they must find each other to become so."""
    assert spec.port is not None
    content = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": names.identity(spec),
        "ports": [_port(spec.port)],
    }
    return _object(spec, "v1", "Service", {"spec": content})


def _outside(spec: Spec, rules: Rules) -> Manifest:
    made = _service(spec, rules)
    made["metadata"]["name"] = outside_name(names.workload_name(spec))
    return made


def _service(spec: Spec, rules: Rules) -> Manifest:
    assert spec.port is not None
    kind = (rules.outside if spec.outside else "") or "ClusterIP"
    content = {"type": kind, "selector": names.identity(spec), "ports": [_port(spec.port)]}
    return _object(spec, "v1", "Service", {"spec": content})


def _reachable(spec: Spec, rules: Rules) -> Manifest:
    clients = rules.clients if spec.outside else []
    who: list[Manifest] = [{"ipBlock": {"cidr": cidr}} for cidr in clients] or [{"podSelector": {}}]
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
