"""What controllers that make pods have in common."""

from __future__ import annotations

from typing import Any

from tests.cluster.apiserver.resources import Resource
from tests.cluster.apiserver.store import Store, copied

Json = dict[str, Any]


def reference(owner: Json) -> Json:
    """As the one controller of something."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_uid(obj: Json) -> str:
    owners = obj["metadata"].get("ownerReferences") or []
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def owned(store: Store, resource: Resource, owner: Json) -> list[Json]:
    """What has it as its controller."""
    uid = owner["metadata"]["uid"]
    with store.lock:
        keys = [key for key in store.dependents(uid) if key.resource is resource]
        found = [obj for key in keys if (obj := store.get(key)) is not None]
    return [obj for obj in found if controller_uid(obj) == uid]


def pod_of(owner: Json, template: Json) -> Json:
    """A pod by its owner's template, named after it."""
    meta = copied(template.get("metadata") or {})
    meta = {field: meta[field] for field in ("labels", "annotations", "finalizers") if meta.get(field)}
    meta["generateName"] = owner["metadata"]["name"] + "-"
    meta["ownerReferences"] = [reference(owner)]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": copied(template["spec"])}


def phase(pod: Json) -> str:
    found: str = (pod.get("status") or {}).get("phase", "Pending")
    return found


def done(pod: Json) -> bool:
    return phase(pod) in {"Succeeded", "Failed"}


def ending(obj: Json) -> bool:
    return obj["metadata"].get("deletionTimestamp") is not None


def condition(obj: Json, kind: str) -> Json | None:
    return next((c for c in (obj.get("status") or {}).get("conditions") or [] if c["type"] == kind), None)


def ready(pod: Json) -> bool:
    found = condition(pod, "Ready")
    return found is not None and found["status"] == "True"


def set_condition(obj: Json, kind: str, status: str, at: str, reason: str = "", message: str = "") -> None:
    """In place. lastTransitionTime moves with the status alone."""
    conditions = obj.setdefault("status", {}).setdefault("conditions", [])
    found = next((each for each in conditions if each["type"] == kind), None)
    if found is None:
        found = {"type": kind}
        conditions.append(found)
    if found.get("status") != status:
        found["lastTransitionTime"] = at
    found["status"] = status
    for key, value in (("reason", reason), ("message", message)):
        if value:
            found[key] = value
        else:
            found.pop(key, None)
