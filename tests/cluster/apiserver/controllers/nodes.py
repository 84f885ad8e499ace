"""The scheduler, and what becomes of pods whose node is away or gone."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.admission import requested
from tests.cluster.apiserver.api import Api, Options
from tests.cluster.apiserver.clock import parsed
from tests.cluster.apiserver.controllers.events import Recorder
from tests.cluster.apiserver.controllers.loop import Loop
from tests.cluster.apiserver.controllers.pods_of import condition, done, ending, set_condition
from tests.cluster.apiserver.errors import ApiError
from tests.cluster.apiserver.quantities import quantity
from tests.cluster.apiserver.selectors import matches_labels
from tests.cluster.apiserver.store import Key, key_of

Json = dict[str, Any]
UNREACHABLE = "node.kubernetes.io/unreachable"


def tolerates(pod: Json, taint: Json) -> bool:
    for each in pod["spec"].get("tolerations") or []:
        if each.get("effect") and each["effect"] != taint["effect"]:
            continue
        if each.get("key") and each["key"] != taint["key"]:
            continue
        if each.get("operator") == "Exists" or each.get("value", "") == taint.get("value", ""):
            return True
    return False


class Scheduler:
    """Binds pods to nodes that fit; says why none does."""

    def __init__(self, api: Api, recorder: Recorder) -> None:
        self._api, self._recorder = api, recorder

    def sync(self, key: Key) -> None:
        pod = self._api.store.get(key)
        if pod is None or pod["spec"].get("nodeName") or ending(pod) or done(pod):
            return
        if missing := self._missing_claim(pod):
            self._refuse(key, pod, missing)
            return
        nodes = self._api.store.all(r.NODES)
        bound: dict[str, list[Json]] = {}
        for other in self._api.store.all(r.PODS):
            if other["spec"].get("nodeName") and not done(other):
                bound.setdefault(other["spec"]["nodeName"], []).append(other)
        reasons: dict[str, int] = {}
        fits: list[str] = []
        for node in nodes:
            name = node["metadata"]["name"]
            why = self._why_not(pod, node, bound.get(name, []), bound, nodes)
            if why:
                reasons[why] = reasons.get(why, 0) + 1
            else:
                fits.append(name)
        if not fits:
            self._refuse(key, pod, _sentence(len(nodes), reasons))
            return
        self._bind(key, pod, min(fits, key=lambda name: len(bound.get(name, []))))

    def _missing_claim(self, pod: Json) -> str:
        for volume in pod["spec"].get("volumes") or []:
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if claim is None:
                continue
            found = self._api.find(r.CLAIMS, pod["metadata"]["namespace"], claim)
            if found is None:
                return f'persistentvolumeclaim "{claim}" not found'
            if ending(found):
                return f'persistentvolumeclaim "{claim}" is being deleted'
            if found["status"].get("phase") != "Bound":
                return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    def _why_not(self, pod: Json, node: Json, here: list[Json], bound: dict[str, list[Json]], nodes: list[Json]) -> str:
        if (node.get("spec") or {}).get("unschedulable"):
            return "node(s) were unschedulable"
        labels = node["metadata"].get("labels") or {}
        if any(labels.get(key) != value for key, value in (pod["spec"].get("nodeSelector") or {}).items()):
            return "node(s) didn't match Pod's node affinity/selector"
        hard = [
            taint
            for taint in (node.get("spec") or {}).get("taints") or []
            if taint["effect"] in {"NoSchedule", "NoExecute"}
        ]
        if any(not tolerates(pod, taint) for taint in hard):
            return "node(s) had untolerated taint(s)"
        room = node["status"]["allocatable"]
        if len(here) >= int(room["pods"]):
            return "Too many pods"
        used = [requested(other) for other in here]
        for name, value in requested(pod).items():
            taken = sum((each[name] for each in used if name in each), Fraction(0))
            if taken + value > quantity(room.get(name, "0")):
                return f"Insufficient {name}"
        return "" if self._spread(pod, node, bound, nodes) else "node(s) didn't match pod topology spread constraints"

    def _spread(self, pod: Json, node: Json, bound: dict[str, list[Json]], nodes: list[Json]) -> bool:
        for each in pod["spec"].get("topologySpreadConstraints") or []:
            if each["whenUnsatisfiable"] != "DoNotSchedule":
                continue
            count: dict[str, int] = {}
            for other in nodes:
                domain = (other["metadata"].get("labels") or {}).get(each["topologyKey"])
                if domain is None:
                    continue
                same = [
                    p
                    for p in bound.get(other["metadata"]["name"], [])
                    if p["metadata"]["namespace"] == pod["metadata"]["namespace"]
                ]
                chosen = [p for p in same if matches_labels(each.get("labelSelector"), p["metadata"].get("labels"))]
                count[domain] = count.get(domain, 0) + len(chosen)
            mine = (node["metadata"].get("labels") or {}).get(each["topologyKey"])
            if mine is None or count[mine] + 1 - min(count.values()) > each["maxSkew"]:
                return False
        return True

    def _refuse(self, key: Key, pod: Json, message: str) -> None:
        before = condition(pod, "PodScheduled")
        now = self._api.clock.stamp()
        self._api.modify(key, lambda obj: set_condition(obj, "PodScheduled", "False", now, "Unschedulable", message))
        if before is None or before.get("message") != message:
            self._recorder.say("default-scheduler", pod, "Warning", "FailedScheduling", message)

    def _bind(self, key: Key, pod: Json, node: str) -> None:
        now = self._api.clock.stamp()

        def bind(obj: Json) -> None:
            obj["spec"]["nodeName"] = node
            set_condition(obj, "PodScheduled", "True", now)

        bound = self._api.modify(key, bind)
        if bound is not None:
            name = f"{key.namespace}/{key.name}"
            self._recorder.say(
                "default-scheduler", pod, "Normal", "Scheduled", f"Successfully assigned {name} to {node}"
            )


def _sentence(count: int, reasons: dict[str, int]) -> str:
    if not count:
        return "no nodes available to schedule pods"
    said = ", ".join(f"{number} {why}" for why, number in sorted(reasons.items()))
    return (
        f"0/{count} nodes are available: {said}. preemption: 0/{count} nodes are available: {count} Preemption is not "
        "helpful for scheduling."
    )


class NodeLifecycle:
    """Taint-based eviction, and the collector of pods whose node is no more."""

    def __init__(self, api: Api, loop: Loop, recorder: Recorder) -> None:
        self._api, self._loop, self._recorder = api, loop, recorder

    def sync(self, name: str) -> None:
        node = self._api.find(r.NODES, "", name)
        pods = [pod for pod in self._api.store.all(r.PODS) if pod["spec"].get("nodeName") == name]
        if node is None:
            for pod in pods:
                self._collect(pod)
            return
        for taint in (node.get("spec") or {}).get("taints") or []:
            if taint["effect"] == "NoExecute":
                for pod in pods:
                    self._evict_by(pod, taint)
        if any(
            c["type"] == "Ready" and c["status"] != "True" for c in (node.get("status") or {}).get("conditions") or []
        ):
            now = self._api.clock.stamp()
            for pod in pods:
                if not done(pod):
                    self._api.modify(key_of(r.PODS, pod), lambda obj: set_condition(obj, "Ready", "False", now))

    def _collect(self, pod: Json) -> None:
        now = self._api.clock.stamp()

        def fail(obj: Json) -> None:
            if not done(obj):
                obj["status"]["phase"] = "Failed"
                set_condition(obj, "DisruptionTarget", "True", now, "DeletionByPodGC", "PodGC: node no longer exists")

        key = key_of(r.PODS, pod)
        self._api.modify(key, fail)
        self._delete(pod, 0)

    def _evict_by(self, pod: Json, taint: Json) -> None:
        if ending(pod):
            return
        waits = [
            each.get("tolerationSeconds")
            for each in pod["spec"].get("tolerations") or []
            if tolerates({"spec": {"tolerations": [each]}}, taint)
        ]
        if waits and all(each is None for each in waits):
            return
        wait = min((each for each in waits if each is not None), default=0)
        since = parsed(taint["timeAdded"]) if taint.get("timeAdded") else self._api.clock.now()
        due = since + wait
        key, uid = key_of(r.PODS, pod), pod["metadata"]["uid"]
        if self._api.clock.now() < due:
            self._loop.at(due, lambda: self._still(key, uid, taint))
        else:
            self._evict(pod)

    def _still(self, key: Key, uid: str, taint: Json) -> None:
        pod = self._api.store.get(key)
        if pod is None or pod["metadata"]["uid"] != uid or ending(pod):
            return
        node = self._api.find(r.NODES, "", pod["spec"]["nodeName"])
        if node is not None and any(
            each["key"] == taint["key"] for each in (node.get("spec") or {}).get("taints") or []
        ):
            self._evict(pod)

    def _evict(self, pod: Json) -> None:
        now, key = self._api.clock.stamp(), key_of(r.PODS, pod)
        message = "Taint manager: deleting due to NoExecute taint"
        self._api.modify(
            key, lambda obj: set_condition(obj, "DisruptionTarget", "True", now, "DeletionByTaintManager", message)
        )
        self._recorder.say(
            "taint-eviction-controller",
            pod,
            "Normal",
            "TaintManagerEviction",
            f"Marking for deletion Pod {key.namespace}/{key.name}",
        )
        self._delete(pod, None)

    def _delete(self, pod: Json, grace_s: int | None) -> None:
        meta = pod["metadata"]
        try:
            self._api.delete(r.PODS, meta["namespace"], meta["name"], Options("Background", grace_s, meta["uid"]))
        except ApiError as error:
            if error.code not in {404, 409}:
                raise
