"""The garbage collector, and the end of namespaces."""

from __future__ import annotations

from typing import Any

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.api import Api, Options
from tests.cluster.apiserver.controllers.loop import Loop
from tests.cluster.apiserver.controllers.pods_of import ending, set_condition
from tests.cluster.apiserver.errors import ApiError
from tests.cluster.apiserver.resources import ALL, BY_KIND
from tests.cluster.apiserver.store import Change, Key

Json = dict[str, Any]
_UNTOUCHED = (r.EVENTS,)


class Garbage:
    """Owners and their dependents."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def changed(self, change: Change) -> list[Key]:
        """Which keys `sync` has to look at after it."""
        if change.key.resource in _UNTOUCHED:
            return []
        meta = change.after["metadata"]
        keys = [change.key] if meta.get("deletionTimestamp") or meta.get("ownerReferences") else []
        if change.kind == "DELETED":
            keys = self._api.store.dependents(meta["uid"]) + self._owners(change.after)
        elif meta.get("deletionTimestamp"):
            keys += self._owners(change.after)
        return keys

    def _owners(self, obj: Json) -> list[Key]:
        found = []
        for owner in obj["metadata"].get("ownerReferences") or []:
            resource = BY_KIND.get((owner["apiVersion"], owner["kind"]))
            if resource is not None:
                found.append(
                    Key(resource, obj["metadata"].get("namespace", "") if resource.namespaced else "", owner["name"])
                )
        return found

    def sync(self, key: Key) -> None:
        obj = self._api.store.get(key)
        if obj is None:
            return
        held = obj["metadata"].get("finalizers") or []
        if ending(obj) and "orphan" in held:
            self._orphan(key, obj)
        elif ending(obj) and "foregroundDeletion" in held:
            self._foreground(key, obj)
        elif not ending(obj) and obj["metadata"].get("ownerReferences"):
            self._collect(key, obj)

    def _orphan(self, key: Key, obj: Json) -> None:
        uid = obj["metadata"]["uid"]

        def let_go(dependent: Json) -> None:
            left = [each for each in dependent["metadata"]["ownerReferences"] if each["uid"] != uid]
            dependent["metadata"]["ownerReferences"] = left
            if not left:
                del dependent["metadata"]["ownerReferences"]

        for each in self._api.store.dependents(uid):
            self._api.modify(each, let_go)
        self._api.modify(key, lambda o: _unhold(o, "orphan"))

    def _foreground(self, key: Key, obj: Json) -> None:
        uid = obj["metadata"]["uid"]
        blocking = False
        for each in self._api.store.dependents(uid):
            dependent = self._api.store.get(each)
            if dependent is None:
                continue
            mine = next((o for o in dependent["metadata"]["ownerReferences"] if o["uid"] == uid), {})
            blocking = blocking or bool(mine.get("blockOwnerDeletion"))
            if not ending(dependent) and not self._other_owner(dependent, uid):
                self._delete(each, dependent, "Foreground")
        left = [self._api.store.get(each) for each in self._api.store.dependents(uid)]
        if not any(_blocks(each, uid) for each in left if each is not None):
            self._api.modify(key, lambda o: _unhold(o, "foregroundDeletion"))

    def _collect(self, key: Key, obj: Json) -> None:
        """Gone with the last of its owners."""
        owners = obj["metadata"]["ownerReferences"]
        if any(self._lives(owner, obj) for owner in owners):
            return
        self._delete(key, obj, "")

    def _other_owner(self, obj: Json, uid: str) -> bool:
        return any(owner["uid"] != uid and self._lives(owner, obj) for owner in obj["metadata"]["ownerReferences"])

    def _lives(self, owner: Json, obj: Json) -> bool:
        """An owner of a kind that the server does not know is taken to live."""
        resource = BY_KIND.get((owner["apiVersion"], owner["kind"]))
        if resource is None:
            return True
        namespace = obj["metadata"].get("namespace", "") if resource.namespaced else ""
        found = self._api.store.get(Key(resource, namespace, owner["name"]))
        return found is not None and found["metadata"]["uid"] == owner["uid"]

    def _delete(self, key: Key, obj: Json, policy: str) -> None:
        """Without a policy of one's own a Job goes in the background here: its owner is gone already."""
        try:
            options = Options(policy or "Background", uid=obj["metadata"]["uid"])
            self._api.delete(key.resource, key.namespace, key.name, options)
        except ApiError as error:
            if error.code not in {404, 409}:
                raise


def _blocks(obj: Json, uid: str) -> bool:
    return any(o["uid"] == uid and o.get("blockOwnerDeletion") for o in obj["metadata"].get("ownerReferences") or [])


def _unhold(obj: Json, finalizer: str) -> None:
    left = [each for each in obj["metadata"].get("finalizers") or [] if each != finalizer]
    obj["metadata"]["finalizers"] = left
    if not left:
        del obj["metadata"]["finalizers"]


class Namespaces:
    """What a new one gets, and how it ends. held: those whose end is held up, as by an API service that is away.

    takes_s: between what was in it being gone and its own end (the real one's 5 s and more)."""

    def __init__(self, api: Api, loop: Loop) -> None:
        self._api, self._loop = api, loop
        self.takes_s = 0.05
        self.held: set[str] = set()

    def sync(self, name: str) -> None:
        key = Key(r.NAMESPACES, "", name)
        room = self._api.store.get(key)
        if room is None:
            return
        if not ending(room):
            self._furnish(name)
            return
        if name in self.held:
            self._tell(
                key, {"DiscoveryFailed": "unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1"}
            )
            return
        for resource in ALL:
            if resource.namespaced:
                for obj in self._api.store.all(resource, name):
                    if not ending(obj):
                        self._delete(resource, obj)
        left = [obj for resource in ALL if resource.namespaced for obj in self._api.store.all(resource, name)]
        if left:
            self._tell(key, _remaining(left))
            return
        uid, when = room["metadata"]["uid"], self._api.clock.now() + self.takes_s
        self._loop.at(when, lambda: self._end(key, uid))

    def _end(self, key: Key, uid: str) -> None:
        room = self._api.store.get(key)
        if room is not None and room["metadata"]["uid"] == uid and key.name not in self.held:
            self._api.modify(key, lambda obj: obj["spec"].update(finalizers=[]))

    def _furnish(self, name: str) -> None:
        for resource, made in ((r.SERVICE_ACCOUNTS, "default"), (r.CONFIG_MAPS, "kube-root-ca.crt")):
            if self._api.find(resource, name, made) is None:
                body: Json = {"metadata": {"name": made}}
                if resource is r.CONFIG_MAPS:
                    body["data"] = {"ca.crt": ""}
                self._api.create(resource, name, body, manager="kube-controller-manager")

    def _delete(self, resource: r.Resource, obj: Json) -> None:
        try:
            self._api.delete(resource, obj["metadata"]["namespace"], obj["metadata"]["name"], Options("Background"))
        except ApiError as error:
            if error.code not in {404, 409}:
                raise

    def _tell(self, key: Key, true: dict[str, str]) -> None:
        now = self._api.clock.stamp()
        kinds = {
            "NamespaceDeletionDiscoveryFailure": "DiscoveryFailed",
            "NamespaceContentRemaining": "SomeResourcesRemain",
            "NamespaceFinalizersRemaining": "SomeFinalizersRemain",
        }

        def tell(obj: Json) -> None:
            for kind, reason in kinds.items():
                if reason in true:
                    set_condition(obj, kind, "True", now, reason, true[reason])
                else:
                    set_condition(obj, kind, "False", now, reason.replace("Failed", "Complete"), "")

        self._api.modify(key, tell)


def _remaining(left: list[Json]) -> dict[str, str]:
    kinds: dict[str, int] = {}
    finalizers: dict[str, int] = {}
    for obj in left:
        qualified = BY_KIND[obj["apiVersion"], obj["kind"]].qualified
        kinds[qualified] = kinds.get(qualified, 0) + 1
        for each in obj["metadata"].get("finalizers") or []:
            finalizers[each] = finalizers.get(each, 0) + 1
    said = ", ".join(f"{kind} has {count} resource instances" for kind, count in sorted(kinds.items()))
    true = {"SomeResourcesRemain": f"Some resources are remaining: {said}"}
    if finalizers:
        held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
        true["SomeFinalizersRemain"] = f"Some content in the namespace has finalizers remaining: {held}"
    return true
