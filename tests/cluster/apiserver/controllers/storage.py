"""Volumes for claims, and the protection of claims that a pod uses."""

from __future__ import annotations

from typing import Any

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.api import Api
from tests.cluster.apiserver.controllers.events import Recorder
from tests.cluster.apiserver.controllers.pods_of import done, ending
from tests.cluster.apiserver.store import Key

Json = dict[str, Any]
_PROTECTION = "kubernetes.io/pvc-protection"
_CLASSES = ("standard", "")


class Storage:
    """One storage class, `standard`, which binds at once and deletes with the claim."""

    def __init__(self, api: Api, recorder: Recorder) -> None:
        self._api, self._recorder = api, recorder

    def sync(self, key: Key) -> None:
        claim = self._api.store.get(key)
        if claim is None:
            return
        if ending(claim):
            self._release(key, claim)
        elif claim["status"].get("phase") == "Pending":
            self._bind(key, claim)

    def _bind(self, key: Key, claim: Json) -> None:
        if claim["spec"]["storageClassName"] not in _CLASSES:
            text = f'storageclass.storage.k8s.io "{claim["spec"]["storageClassName"]}" not found'
            self._recorder.say("persistentvolume-controller", claim, "Warning", "ProvisioningFailed", text)
            return
        name = f"pvc-{claim['metadata']['uid']}"
        size = claim["spec"]["resources"]["requests"]["storage"]
        modes = claim["spec"]["accessModes"]
        ref = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": key.namespace, "name": key.name}
        body = {
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": modes,
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": claim["spec"]["storageClassName"],
                "claimRef": ref | {"uid": claim["metadata"]["uid"]},
                "hostPath": {"path": f"/var/lib/{name}"},
            },
        }
        self._api.create(r.VOLUMES, "", body, manager="provisioner")
        self._api.modify(Key(r.VOLUMES, "", name), lambda o: o["status"].update(phase="Bound"))

        def bind(obj: Json) -> None:
            obj["spec"]["volumeName"] = name
            obj["status"] = {"phase": "Bound", "accessModes": modes, "capacity": {"storage": size}}

        self._api.modify(key, bind)
        text = f"Successfully provisioned volume {name}"
        self._recorder.say("provisioner", claim, "Normal", "ProvisioningSucceeded", text)

    def _release(self, key: Key, claim: Json) -> None:
        held = claim["metadata"].get("finalizers") or []
        if _PROTECTION not in held or any(_uses(pod, key) for pod in self._api.store.all(r.PODS, key.namespace)):
            return
        left = [each for each in held if each != _PROTECTION]
        self._api.modify(key, lambda obj: obj["metadata"].update(finalizers=left))
        volume = claim["spec"].get("volumeName")
        if volume and self._api.find(r.VOLUMES, "", volume) is not None:
            self._api.delete(r.VOLUMES, "", volume)


def _uses(pod: Json, claim: Key) -> bool:
    volumes = pod["spec"].get("volumes") or []
    return not done(pod) and any((v.get("persistentVolumeClaim") or {}).get("claimName") == claim.name for v in volumes)
