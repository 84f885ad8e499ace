"""The controllers of Deployments, ReplicaSets and StatefulSets."""

from __future__ import annotations

from typing import Any

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.api import Api, Options, hashed
from tests.cluster.apiserver.clock import parsed
from tests.cluster.apiserver.controllers.events import Recorder
from tests.cluster.apiserver.controllers.loop import Loop
from tests.cluster.apiserver.controllers.pods_of import (
    condition,
    controller_uid,
    done,
    ending,
    owned,
    pod_of,
    ready,
    reference,
    set_condition,
)
from tests.cluster.apiserver.errors import ApiError
from tests.cluster.apiserver.resources import Resource
from tests.cluster.apiserver.selectors import matches_labels
from tests.cluster.apiserver.store import Key, copied, key_of

Json = dict[str, Any]
_HASH = "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"


class Workloads:
    """retry_s: before a pod that was refused is tried again."""

    def __init__(self, api: Api, loop: Loop, recorder: Recorder) -> None:
        self.retry_s = 1.0
        self._api, self._loop, self._recorder = api, loop, recorder

    # ------------------------------------------------------------ Deployments

    def sync_deployment(self, key: Key) -> None:
        obj = self._api.store.get(key)
        if obj is None or ending(obj):
            return
        sets = owned(self._api.store, r.REPLICA_SETS, obj)
        current = next((each for each in sets if _same_template(obj, each)), None)
        if current is None:
            current = self._new_set(obj, len(sets) + 1)
            sets.append(current)
        old = [each for each in sets if each is not current and each["spec"]["replicas"]]
        wanted = obj["spec"]["replicas"]
        self._resize(current, wanted, obj)
        available = len([pod for pod in owned(self._api.store, r.PODS, current) if ready(pod)])
        recreate = obj["spec"]["strategy"]["type"] == "Recreate"
        if old and (recreate or available >= wanted):
            for each in old:
                self._resize(each, 0, obj)
        self._deployment_status(key, obj, sets, current)

    def _new_set(self, obj: Json, revision: int) -> Json:
        mark = hashed(obj["spec"]["template"])
        template, chosen = copied(obj["spec"]["template"]), copied(obj["spec"]["selector"])
        template["metadata"]["labels"] = (template["metadata"].get("labels") or {}) | {_HASH: mark}
        chosen["matchLabels"] = (chosen.get("matchLabels") or {}) | {_HASH: mark}
        meta = {
            "name": f"{obj['metadata']['name']}-{mark}",
            "labels": template["metadata"]["labels"],
            "annotations": {_REVISION: str(revision)},
            "ownerReferences": [reference(obj)],
        }
        body = {"metadata": meta, "spec": {"replicas": 0, "selector": chosen, "template": template}}
        namespace = obj["metadata"]["namespace"]
        made = self._api.create(r.REPLICA_SETS, namespace, body, manager="kube-controller-manager").obj
        self._api.modify(key_of(r.DEPLOYMENTS, obj), lambda o: _annotate(o, _REVISION, str(revision)))
        return made

    def _resize(self, each: Json, replicas: int, obj: Json) -> None:
        before = each["spec"]["replicas"]
        if before == replicas:
            return
        self._api.modify(key_of(r.REPLICA_SETS, each), lambda o: o["spec"].update(replicas=replicas))
        word = "up" if replicas > before else "down"
        text = f"Scaled {word} replica set {each['metadata']['name']} from {before} to {replicas}"
        self._recorder.say("deployment-controller", obj, "Normal", "ScalingReplicaSet", text)

    def _deployment_status(self, key: Key, obj: Json, sets: list[Json], current: Json) -> None:
        now, wanted = self._api.clock.stamp(), obj["spec"]["replicas"]
        pods = [
            pod for each in sets for pod in owned(self._api.store, r.PODS, each) if not done(pod) and not ending(pod)
        ]
        good = [pod for pod in pods if ready(pod)]
        mine = [pod for pod in pods if controller_uid(pod) == current["metadata"]["uid"]]

        def tell(o: Json) -> None:
            status = o["status"]
            status["observedGeneration"] = obj["metadata"]["generation"]
            _numbers(status, replicas=len(pods), updatedReplicas=len(mine), readyReplicas=len(good))
            _numbers(status, availableReplicas=len(good), unavailableReplicas=max(0, wanted - len(good)))
            enough = len(good) >= wanted - wanted // 4
            text = f"Deployment {'has' if enough else 'does not have'} minimum availability."
            why = f"MinimumReplicas{'Available' if enough else 'Unavailable'}"
            set_condition(o, "Available", "True" if enough else "False", now, why, text)
            self._progress(key, o, current, complete=len(mine) == len(pods) == len(good) == wanted)
            failure = next((c for c in (self._fresh(current)["status"].get("conditions") or [])), None)
            if failure is not None:
                set_condition(o, "ReplicaFailure", "True", now, failure["reason"], failure["message"])
            else:
                status["conditions"] = [c for c in status["conditions"] if c["type"] != "ReplicaFailure"]

        self._api.modify(key, tell)

    def _progress(self, key: Key, obj: Json, current: Json, *, complete: bool) -> None:
        """In place. What was complete once is not late any more, whatever becomes of its pods."""
        now, name = self._api.clock.stamp(), current["metadata"]["name"]
        before = condition(obj, "Progressing") or {}
        if complete or (before.get("reason") == "NewReplicaSetAvailable" and name in before["message"]):
            text = f'ReplicaSet "{name}" has successfully progressed.'
            set_condition(obj, "Progressing", "True", now, "NewReplicaSetAvailable", text)
            return
        due = parsed(current["metadata"]["creationTimestamp"]) + obj["spec"]["progressDeadlineSeconds"]
        if self._api.clock.now() >= due:
            text = f'ReplicaSet "{name}" has timed out progressing.'
            set_condition(obj, "Progressing", "False", now, "ProgressDeadlineExceeded", text)
            return
        if not before:
            self._loop.at(due, lambda: self.sync_deployment(key))
        set_condition(obj, "Progressing", "True", now, "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')

    def _fresh(self, obj: Json) -> Json:
        return self._api.store.get(key_of(r.REPLICA_SETS, obj)) or obj

    # ------------------------------------------------------------ ReplicaSets

    def sync_replica_set(self, key: Key) -> None:
        obj = self._api.store.get(key)
        if obj is None or ending(obj):
            return
        pods = self._adopted(obj, [pod for pod in owned(self._api.store, r.PODS, obj) if not done(pod)])
        live = [pod for pod in pods if not ending(pod)]
        missing = obj["spec"]["replicas"] - len(live)
        failure: ApiError | None = None
        for _ in range(missing):
            failure = self._make(r.REPLICA_SETS, obj, pod_of(obj, obj["spec"]["template"]), "replicaset-controller")
            if failure is not None:
                self._loop.at(self._api.clock.now() + self.retry_s, lambda: self.sync_replica_set(key))
                break
        for pod in sorted(live, key=lambda pod: (ready(pod), pod["metadata"]["creationTimestamp"]))[: max(0, -missing)]:
            self._delete(pod)
            text = f"Deleted pod: {pod['metadata']['name']}"
            self._recorder.say("replicaset-controller", obj, "Normal", "SuccessfulDelete", text)
        self._replica_status(key, obj, failure, pods if missing <= 0 else None)

    def _adopted(self, obj: Json, pods: list[Json]) -> list[Json]:
        """With pods that its selector fits and that nobody controls."""
        for pod in self._api.store.all(r.PODS, obj["metadata"]["namespace"]):
            free = not controller_uid(pod) and not ending(pod) and not done(pod)
            if free and matches_labels(obj["spec"]["selector"], pod["metadata"].get("labels")):
                owners = [*(pod["metadata"].get("ownerReferences") or []), reference(obj)]
                adopted = self._api.modify(
                    key_of(r.PODS, pod), lambda o, owners=owners: o["metadata"].update(ownerReferences=owners)
                )
                pods = pods + ([adopted] if adopted else [])
        return pods

    def _replica_status(self, key: Key, obj: Json, failure: ApiError | None, pods: list[Json] | None) -> None:
        now = self._api.clock.stamp()
        live = [pod for pod in owned(self._api.store, r.PODS, obj) if not done(pod) and not ending(pod)]
        good = [pod for pod in live if ready(pod)]

        def tell(o: Json) -> None:
            status = o["status"]
            status["observedGeneration"] = obj["metadata"]["generation"]
            status["replicas"] = len(live)
            _numbers(status, fullyLabeledReplicas=len(live), readyReplicas=len(good), availableReplicas=len(good))
            if failure is not None:
                set_condition(o, "ReplicaFailure", "True", now, "FailedCreate", failure.message)
            elif pods is not None or not obj["spec"]["replicas"]:
                status.pop("conditions", None)

        self._api.modify(key, tell)

    # ------------------------------------------------------------ StatefulSets

    def sync_stateful_set(self, key: Key) -> None:
        obj = self._api.store.get(key)
        if obj is None or ending(obj):
            return
        spec = obj["spec"]
        mark = f"{obj['metadata']['name']}-{hashed(spec['template'])}"
        pods = {pod["metadata"]["name"]: pod for pod in owned(self._api.store, r.PODS, obj)}
        first = (spec.get("ordinals") or {}).get("start", 0)
        names = [f"{obj['metadata']['name']}-{first + number}" for number in range(spec["replicas"])]
        ordered = spec["podManagementPolicy"] == "OrderedReady"
        if not self._grow(key, obj, names, pods, mark, ordered=ordered) or not ordered:
            self._shrink(obj, names, pods, mark)
        self._stateful_status(key, obj, mark)

    def _grow(self, key: Key, obj: Json, names: list[str], pods: dict[str, Json], mark: str, *, ordered: bool) -> bool:
        """True while one is waited for."""
        for name in names:
            pod = pods.get(name)
            if pod is not None and done(pod) and not ending(pod):
                self._delete(pod)  # and made anew, once it is gone
                return True
            if pod is None:
                failure = self._new_replica(obj, name, mark)
                if failure is not None:
                    self._loop.at(self._api.clock.now() + self.retry_s, lambda: self.sync_stateful_set(key))
                    return True
            if ordered and (pod is None or ending(pod) or not ready(pod)):
                return True
        return False

    def _shrink(self, obj: Json, names: list[str], pods: dict[str, Json], mark: str) -> None:
        too_many = sorted((each for each in pods if each not in names), key=_ordinal, reverse=True)
        if too_many:
            self._delete(pods[too_many[0]])
            return
        if obj["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            for name in reversed(names):
                pod = pods.get(name)
                if pod is not None and pod["metadata"]["labels"].get("controller-revision-hash") != mark:
                    self._delete(pod)
                    return

    def _new_replica(self, obj: Json, name: str, mark: str) -> ApiError | None:
        pod = pod_of(obj, obj["spec"]["template"])
        meta = pod["metadata"]
        del meta["generateName"]
        meta["name"] = name
        own = {"controller-revision-hash": mark, "statefulset.kubernetes.io/pod-name": name}
        meta["labels"] = (meta.get("labels") or {}) | own | {"apps.kubernetes.io/pod-index": str(_ordinal(name))}
        pod["spec"]["hostname"] = name
        if obj["spec"].get("serviceName"):
            pod["spec"]["subdomain"] = obj["spec"]["serviceName"]
        for claim in obj["spec"].get("volumeClaimTemplates") or []:
            self._claim(obj, claim, name)
            volumes = [v for v in pod["spec"].get("volumes") or [] if v["name"] != claim["metadata"]["name"]]
            source = {"claimName": f"{claim['metadata']['name']}-{name}"}
            pod["spec"]["volumes"] = [*volumes, {"name": claim["metadata"]["name"], "persistentVolumeClaim": source}]
        return self._make(r.STATEFUL_SETS, obj, pod, "statefulset-controller")

    def _claim(self, obj: Json, claim: Json, name: str) -> None:
        namespace, made = obj["metadata"]["namespace"], f"{claim['metadata']['name']}-{name}"
        if self._api.find(r.CLAIMS, namespace, made) is None:
            labels = (obj["spec"]["selector"].get("matchLabels") or {}) | (claim["metadata"].get("labels") or {})
            body = {"metadata": {"name": made, "labels": labels}, "spec": copied(claim["spec"])}
            self._api.create(r.CLAIMS, namespace, body, manager="kube-controller-manager")

    def _stateful_status(self, key: Key, obj: Json, mark: str) -> None:
        live = [pod for pod in owned(self._api.store, r.PODS, obj) if not done(pod)]
        good = [pod for pod in live if ready(pod) and not ending(pod)]
        fresh = [pod for pod in live if pod["metadata"]["labels"].get("controller-revision-hash") == mark]

        def tell(o: Json) -> None:
            status = o["status"]
            status |= {"observedGeneration": obj["metadata"]["generation"], "replicas": len(live)}
            _numbers(status, readyReplicas=len(good), currentReplicas=len(fresh), updatedReplicas=len(fresh))
            status |= {
                "availableReplicas": len(good),
                "currentRevision": mark,
                "updateRevision": mark,
                "collisionCount": 0,
            }

        self._api.modify(key, tell)

    # ------------------------------------------------------------ parts

    def _make(self, kind: Resource, owner: Json, pod: Json, component: str) -> ApiError | None:
        name = pod["metadata"].get("name", "")
        try:
            made = self._api.create(r.PODS, owner["metadata"]["namespace"], pod, manager="kube-controller-manager").obj
        except ApiError as error:
            text = f"Error creating: {error.message}"
            if kind is r.STATEFUL_SETS:
                text = f"create Pod {name} in StatefulSet {owner['metadata']['name']} failed error: {error.message}"
            self._recorder.say(component, owner, "Warning", "FailedCreate", text)
            return error
        text = f"Created pod: {made['metadata']['name']}"
        if kind is r.STATEFUL_SETS:
            text = f"create Pod {name} in StatefulSet {owner['metadata']['name']} successful"
        self._recorder.say(component, owner, "Normal", "SuccessfulCreate", text)
        return None

    def _delete(self, pod: Json) -> None:
        meta = pod["metadata"]
        if ending(pod):
            return
        try:
            self._api.delete(r.PODS, meta["namespace"], meta["name"], Options("Background", uid=meta["uid"]))
        except ApiError as error:
            if error.code not in {404, 409}:
                raise


def _numbers(status: Json, **counts: int) -> None:
    """Zeros are not written."""
    for name, count in counts.items():
        if count:
            status[name] = count
        else:
            status.pop(name, None)


def _ordinal(name: str) -> int:
    return int(name.rpartition("-")[2])


def _annotate(obj: Json, key: str, value: str) -> None:
    obj["metadata"]["annotations"] = (obj["metadata"].get("annotations") or {}) | {key: value}


def _same_template(deployment: Json, each: Json) -> bool:
    return bool(each["metadata"]["labels"].get(_HASH) == hashed(deployment["spec"]["template"]))
