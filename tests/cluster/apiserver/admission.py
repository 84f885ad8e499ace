"""What the server's admission plugins add to a new object, and refuse (403)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.errors import forbidden
from tests.cluster.apiserver.pod_security import violations
from tests.cluster.apiserver.quantities import quantity, shown
from tests.cluster.apiserver.resources import Resource
from tests.cluster.apiserver.store import Key, Store, copied

Json = dict[str, Any]
_ENFORCE = "pod-security.kubernetes.io/enforce"
_WARN = "pod-security.kubernetes.io/warn"


def _named(obj: Json) -> str:
    name: str = obj["metadata"].get("name", "")
    return name


# ---------------------------------------------------------------- what is added


def mutate(store: Store, resource: Resource, obj: Json) -> None:
    """In place, before validation."""
    if resource is not r.PODS:
        return
    _service_account(store, obj)
    _limits(store, obj)
    tolerations = obj["spec"].setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(
            each.get("key") in {key, None, ""} and each.get("effect") in {"NoExecute", "", None} for each in tolerations
        ):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    if obj["spec"].get("priority") is None:
        obj["spec"]["priority"] = 0
        obj["spec"].setdefault("preemptionPolicy", "PreemptLowerPriority")


def _service_account(store: Store, pod: Json) -> None:
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    name = spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = name
    account = store.get(Key(r.SERVICE_ACCOUNTS, namespace, name))
    if account is None:
        why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise forbidden(r.PODS, _named(pod), why)
    if spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True)):
        volume = "kube-api-access-tests"
        spec.setdefault("volumes", []).append({"name": volume, "projected": {"defaultMode": 420, "sources": []}})
        for container in (spec.get("initContainers") or []) + (spec.get("containers") or []):
            mount = {"name": volume, "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
            container.setdefault("volumeMounts", []).append(mount)


def _limits(store: Store, pod: Json) -> None:
    for each in store.all(r.LIMIT_RANGES, pod["metadata"]["namespace"]):
        for item in each["spec"].get("limits") or []:
            if item.get("type") != "Container":
                continue
            for container in (pod["spec"].get("initContainers") or []) + pod["spec"].get("containers", []):
                given = container.setdefault("resources", {})
                limits, requests = dict(given.get("limits") or {}), dict(given.get("requests") or {})
                said = set(given.get("limits") or {})
                for name, value in (item.get("default") or {}).items():
                    limits.setdefault(name, value)
                for name, value in (item.get("defaultRequest") or {}).items():
                    requests.setdefault(name, limits[name] if name in said else value)
                if limits:
                    given["limits"] = limits
                if requests:
                    given["requests"] = requests


# ---------------------------------------------------------------- what is refused


def warnings(store: Store, resource: Resource, obj: Json) -> list[str]:
    """What the server warns of without refusing it."""
    namespace = store.get(Key(r.NAMESPACES, "", obj["metadata"].get("namespace", "")))
    level = ((namespace or {}).get("metadata", {}).get("labels") or {}).get(_WARN)
    spec = obj.get("spec", {}).get("template", {}).get("spec") if resource is not r.PODS else obj["spec"]
    if not level or not spec or resource not in {r.PODS, r.JOBS, r.DEPLOYMENTS, r.REPLICA_SETS, r.STATEFUL_SETS}:
        return []
    found = violations(level, spec)
    return [f'would violate PodSecurity "{level}:latest": ' + ", ".join(found)] if found else []


def validate(store: Store, resource: Resource, obj: Json) -> None:
    """After validation."""
    if resource is r.PODS:
        _pod_security(store, obj)
        _limit_range(store, obj)
    elif resource is r.CLAIMS:
        _claim_limits(store, obj)
    _quota(store, resource, obj)


def _pod_security(store: Store, pod: Json) -> None:
    namespace = store.get(Key(r.NAMESPACES, "", pod["metadata"]["namespace"]))
    level = ((namespace or {}).get("metadata", {}).get("labels") or {}).get(_ENFORCE, "privileged")
    found = violations(level, pod["spec"])
    if found:
        raise forbidden(r.PODS, _named(pod), f'violates PodSecurity "{level}:latest": ' + ", ".join(found))


def _limit_range(store: Store, pod: Json) -> None:
    found: list[str] = []
    for each in store.all(r.LIMIT_RANGES, pod["metadata"]["namespace"]):
        for item in each["spec"].get("limits") or []:
            if item.get("type") == "Container":
                for container in pod["spec"]["containers"]:
                    found += _out_of_range(item, container.get("resources") or {}, "Container")
            elif item.get("type") == "Pod":
                total = {name: shown(value, name) for name, value in _requested(pod, "limits").items()}
                found += _out_of_range(item, {"limits": total, "requests": total}, "Pod")
    if found:
        raise forbidden(r.PODS, _named(pod), found[0] if len(found) == 1 else "[" + ", ".join(found) + "]")


def _out_of_range(item: Json, given: Json, kind: str) -> list[str]:
    found: list[str] = []
    limits, requests = given.get("limits") or {}, given.get("requests") or {}
    for name, top in (item.get("max") or {}).items():
        if name not in limits:
            found.append(f"maximum {name} usage per {kind} is {top}.  No limit is specified")
        elif quantity(limits[name]) > quantity(top):
            found.append(f"maximum {name} usage per {kind} is {top}, but limit is {limits[name]}")
    for name, bottom in (item.get("min") or {}).items():
        if name not in requests:
            found.append(f"minimum {name} usage per {kind} is {bottom}.  No request is specified")
        elif quantity(requests[name]) < quantity(bottom):
            found.append(f"minimum {name} usage per {kind} is {bottom}, but request is {requests[name]}")
    return found


def _claim_limits(store: Store, claim: Json) -> None:
    size = quantity(claim["spec"]["resources"]["requests"]["storage"])
    for each in store.all(r.LIMIT_RANGES, claim["metadata"]["namespace"]):
        for item in each["spec"].get("limits") or []:
            top = (item.get("max") or {}).get("storage")
            if item.get("type") == "PersistentVolumeClaim" and top is not None and size > quantity(top):
                asked = claim["spec"]["resources"]["requests"]["storage"]
                why = f"maximum storage usage per PersistentVolumeClaim is {top}, but request is {asked}"
                raise forbidden(r.CLAIMS, _named(claim), why)


# ---------------------------------------------------------------- quotas


_known: dict[tuple[str, str], dict[str, Fraction]] = {}
"""Of pods that are stored: what they ask for never changes, and is asked for each pod that another one meets."""
MAX_KNOWN = 20_000


def _requested(pod: Json, part: str) -> dict[str, Fraction]:
    uid = pod["metadata"].get("uid")
    if uid is None:
        return _counted(pod, part)
    found = _known.get((uid, part))
    if found is None:
        if len(_known) >= MAX_KNOWN:
            _known.clear()
        found = _known[uid, part] = _counted(pod, part)
    return found


def _counted(pod: Json, part: str) -> dict[str, Fraction]:
    total: dict[str, Fraction] = {}
    for container in pod["spec"].get("containers") or []:
        for name, value in ((container.get("resources") or {}).get(part) or {}).items():
            total[name] = total.get(name, Fraction(0)) + quantity(value)
    for container in pod["spec"].get("initContainers") or []:
        for name, value in ((container.get("resources") or {}).get(part) or {}).items():
            total[name] = max(total.get(name, Fraction(0)), quantity(value))
    return total


def requested(pod: Json) -> dict[str, Fraction]:
    """What a scheduler counts for it."""
    return _requested(pod, "requests")


def usage(resource: Resource, obj: Json) -> dict[str, Fraction]:
    """How much of each thing that a quota may count one object uses."""
    one = Fraction(1)
    used = {f"count/{resource.qualified}": one}
    if resource is r.PODS:
        if (obj.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
            return used
        used["pods"] = one
        for name, value in _requested(obj, "requests").items():
            used[f"requests.{name}"] = value
            if "/" not in name:
                used[name] = value
        for name, value in _requested(obj, "limits").items():
            used[f"limits.{name}"] = value
    elif resource is r.CLAIMS:
        used["persistentvolumeclaims"] = one
        used["requests.storage"] = quantity(obj["spec"]["resources"]["requests"]["storage"])
    elif resource is r.SERVICES:
        used["services"] = one
        used["services.nodeports"] = Fraction(
            len(obj["spec"].get("ports") or []) if obj["spec"]["type"] != "ClusterIP" else 0
        )
        used["services.loadbalancers"] = Fraction(obj["spec"]["type"] == "LoadBalancer")
    elif resource in {r.SECRETS, r.CONFIG_MAPS, r.QUOTAS}:
        used[resource.plural] = one
    return used


_COUNTED = (r.PODS, r.CLAIMS, r.SERVICES, r.SECRETS, r.CONFIG_MAPS, r.JOBS, r.DEPLOYMENTS, r.STATEFUL_SETS)


def used_of(store: Store, namespace: str, names: set[str]) -> dict[str, Fraction]:
    """What all objects of a namespace use of these things."""
    total = dict.fromkeys(names, Fraction(0))
    for resource in _COUNTED:
        for obj in store.all(resource, namespace):
            for name, value in usage(resource, obj).items():
                if name in total:
                    total[name] += value
    return total


def _quota(store: Store, resource: Resource, obj: Json) -> None:
    quotas = store.all(r.QUOTAS, obj["metadata"].get("namespace", "")) if obj["metadata"].get("namespace") else []
    asked = usage(resource, obj)
    for quota in quotas:
        hard = {name: quantity(value) for name, value in ((quota.get("spec") or {}).get("hard") or {}).items()}
        if resource is r.PODS:
            _must_say(quota, hard, obj)
        touched = {name: asked[name] for name in hard if asked.get(name)}
        if not touched:
            continue
        used = used_of(store, obj["metadata"]["namespace"], set(touched))
        over = sorted(name for name, value in touched.items() if used[name] + value > hard[name])
        if over:

            def said(values: dict[str, Fraction], over: list[str] = over) -> str:
                return ",".join(f"{name}={shown(values[name], name)}" for name in over)

            sums = f"requested: {said(asked)}, used: {said(used)}, limited: {said(hard)}"
            why = f"exceeded quota: {quota['metadata']['name']}, {sums}"
            raise forbidden(resource, _named(obj), why)


def _must_say(quota: Json, hard: dict[str, Fraction], pod: Json) -> None:
    missing: list[str] = []
    for name in sorted(hard):
        part, _, what = name.rpartition(".")
        part, what = (part, what) if part in {"limits", "requests"} else ("requests", name)
        if what not in {"cpu", "memory"}:
            continue
        without = [
            each["name"]
            for each in pod["spec"]["containers"]
            if what not in ((each.get("resources") or {}).get(part) or {})
        ]
        if without:
            missing.append(f"{name} for: {','.join(without)}")
    if missing:
        raise forbidden(
            r.PODS, _named(pod), f"failed quota: {quota['metadata']['name']}: must specify {'; '.join(missing)}"
        )


def quota_status(store: Store, quota: Json) -> Json:
    """What its controller writes."""
    hard = copied((quota.get("spec") or {}).get("hard") or {})
    used = used_of(store, quota["metadata"]["namespace"], set(hard))
    return {"hard": hard, "used": {name: shown(value, name) for name, value in used.items()}}
