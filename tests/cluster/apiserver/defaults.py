"""What the server fills in where nothing was said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.resources import Resource

Json = dict[str, Any]


def _set(obj: Json, **values: Any) -> None:
    for key, value in values.items():
        if obj.get(key) is None:
            obj[key] = value


def _pull_policy(image: str) -> str:
    last = image.rpartition("/")[2]
    tagged = "@" in last or (":" in last and not last.endswith(":latest"))
    return "IfNotPresent" if tagged else "Always"


def _container(container: Json) -> None:
    _set(
        container,
        imagePullPolicy=_pull_policy(container.get("image") or ""),
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    limits = container["resources"].get("limits") or {}
    if limits:
        container["resources"]["requests"] = limits | (container["resources"].get("requests") or {})
    for port in container.get("ports") or []:
        _set(port, protocol="TCP")
    for name in ("readinessProbe", "livenessProbe", "startupProbe"):
        if probe := container.get(name):
            _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            if get := probe.get("httpGet"):
                _set(get, scheme="HTTP", path="/")
    for env in container.get("env") or []:
        if ref := (env.get("valueFrom") or {}).get("fieldRef"):
            _set(ref, apiVersion="v1")


def pod_spec(spec: Json) -> None:
    _set(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        terminationGracePeriodSeconds=30,
        securityContext={},
    )
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    for container in (spec.get("initContainers") or []) + (spec.get("containers") or []):
        _container(container)
    for volume in spec.get("volumes") or []:
        for kind in ("secret", "configMap", "downwardAPI", "projected"):
            if isinstance(volume.get(kind), dict):
                _set(volume[kind], defaultMode=420)


def _pod(pod: Json) -> None:
    pod_spec(pod["spec"])
    _set(pod["spec"], enableServiceLinks=True)


def _template(spec: Json) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    if "spec" in template:
        pod_spec(template["spec"])


def _job(job: Json) -> None:
    spec = job["spec"]
    _template(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _set(spec, parallelism=1, completionMode="NonIndexed", suspend=False, manualSelector=False)
    _set(spec, backoffLimit=2147483647 if spec.get("backoffLimitPerIndex") is not None else 6)
    _set(spec, podReplacementPolicy="Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")


def _deployment(obj: Json) -> None:
    _template(obj["spec"])
    _set(obj["spec"], replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = obj["spec"].setdefault("strategy", {})
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(strategy, rollingUpdate={})
        _set(strategy["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")


def _replica_set(obj: Json) -> None:
    _template(obj["spec"])
    _set(obj["spec"], replicas=1)


def _stateful_set(obj: Json) -> None:
    _template(obj["spec"])
    _set(
        obj["spec"],
        replicas=1,
        podManagementPolicy="OrderedReady",
        revisionHistoryLimit=10,
        updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"},
    )
    for claim in obj["spec"].get("volumeClaimTemplates") or []:
        _set(claim, kind="PersistentVolumeClaim", apiVersion="v1", status={"phase": "Pending"})
        _claim(claim)


def _service(obj: Json) -> None:
    spec = obj["spec"]
    _set(spec, type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        _set(spec, externalTrafficPolicy="Cluster")
    _set(spec, ipFamilyPolicy="SingleStack", ipFamilies=["IPv4"])
    for port in spec.get("ports") or []:
        _set(port, protocol="TCP", targetPort=port.get("port"))


def _secret(obj: Json) -> None:
    _set(obj, type="Opaque")


def _claim(obj: Json) -> None:
    _set(obj["spec"], volumeMode="Filesystem", storageClassName="standard")


def _policy(obj: Json) -> None:
    spec = obj["spec"]
    _set(spec, policyTypes=["Ingress"] + (["Egress"] if spec.get("egress") else []))
    for rule in (spec.get("ingress") or []) + (spec.get("egress") or []):
        for port in rule.get("ports") or []:
            _set(port, protocol="TCP")


def _limit_range(obj: Json) -> None:
    for item in obj["spec"].get("limits") or []:
        if item.get("type") == "Container":
            _set(item, default=dict(item.get("max") or {}))
            _set(item, defaultRequest={**(item.get("min") or {}), **item["default"]})
            for key in ("default", "defaultRequest"):
                if not item[key]:
                    del item[key]


_FILL: dict[Resource, Callable[[Json], None]] = {
    r.PODS: _pod,
    r.JOBS: _job,
    r.DEPLOYMENTS: _deployment,
    r.REPLICA_SETS: _replica_set,
    r.STATEFUL_SETS: _stateful_set,
    r.SERVICES: _service,
    r.SECRETS: _secret,
    r.CLAIMS: _claim,
    r.POLICIES: _policy,
    r.LIMIT_RANGES: _limit_range,
}


def fill(resource: Resource, obj: Json) -> None:
    """In place. The object has passed the decoder."""
    if resource not in _FILL:
        return
    if resource is not r.SECRETS and obj.get("spec") is None:
        obj["spec"] = {}
    _FILL[resource](obj)
