"""What is there: objects under one global version, and the history that watches read.

A stored object is never changed in place: who changes it stores a copy. So answers can be written without a lock."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.cluster.apiserver.resources import Resource

Json = dict[str, Any]
MAX_HISTORY = 50_000


class Key(NamedTuple):
    """namespace: empty for what is in none."""

    resource: Resource
    namespace: str
    name: str


class Change(NamedTuple):
    """kind: ADDED, MODIFIED, DELETED. before: None for what is new. after: of a deletion, as it was last."""

    version: int
    kind: str
    key: Key
    before: Json | None
    after: Json


def copied(value: Any) -> Any:
    """A copy of a JSON value, all the way down."""
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [copied(each) for each in value]
    return value


def key_of(resource: Resource, obj: Json) -> Key:
    return Key(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


class Store:
    """Guarded by `lock`; `changed` is notified at each change."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.version = 100
        self.compacted = 100
        self.listeners: list[Callable[[Change], None]] = []
        self._objects: dict[Resource, dict[Key, Json]] = {}
        self._history: list[Change] = []
        self._versions: list[int] = []
        self._dependents: dict[str, set[Key]] = {}

    def get(self, key: Key) -> Json | None:
        return self._objects.get(key.resource, {}).get(key)

    def all(self, resource: Resource, namespace: str = "") -> list[Json]:
        """In the order of a list's answer. namespace: empty for all."""
        with self.lock:
            keys = sorted(key for key in self._objects.get(resource, {}) if not namespace or key.namespace == namespace)
            return [self._objects[resource][key] for key in keys]

    def dependents(self, uid: str) -> list[Key]:
        """What names that uid among its owners."""
        with self.lock:
            return sorted(self._dependents.get(uid, ()), key=lambda key: (key.resource.qualified, *key[1:]))

    def put(self, key: Key, obj: Json) -> Json:
        """Store it as it is now; it gets a version of its own."""
        with self.lock:
            before = self.get(key)
            self.version += 1
            obj["metadata"]["resourceVersion"] = str(self.version)
            self._objects.setdefault(key.resource, {})[key] = obj
            self._index(key, before, obj)
            self._note(Change(self.version, "MODIFIED" if before else "ADDED", key, before, obj))
            return obj

    def remove(self, key: Key, last: Json | None = None) -> Json:
        """last: how it was in the end, where that is not how it is stored."""
        with self.lock:
            before = self._objects[key.resource].pop(key)
            self.version += 1
            final = last or before
            after = final | {"metadata": final["metadata"] | {"resourceVersion": str(self.version)}}
            self._index(key, before, None)
            self._note(Change(self.version, "DELETED", key, before, after))
            return after

    def _index(self, key: Key, before: Json | None, after: Json | None) -> None:
        old = {owner["uid"] for owner in (before or {}).get("metadata", {}).get("ownerReferences") or []}
        new = {owner["uid"] for owner in (after or {}).get("metadata", {}).get("ownerReferences") or []}
        for uid in old - new:
            self._dependents[uid].discard(key)
            if not self._dependents[uid]:
                del self._dependents[uid]
        for uid in new - old:
            self._dependents.setdefault(uid, set()).add(key)

    def _note(self, change: Change) -> None:
        self._history.append(change)
        self._versions.append(change.version)
        if len(self._history) > MAX_HISTORY:
            self.compact(self._versions[MAX_HISTORY // 2])
        for listen in self.listeners:
            listen(change)
        self.changed.notify_all()

    def since(self, version: int) -> list[Change]:
        """What happened after that version. KeyError where that is no longer known."""
        with self.lock:
            if version < self.compacted:
                raise KeyError(version)
            return self._history[bisect.bisect_right(self._versions, version) :]

    def compact(self, version: int | None = None) -> None:
        """Forget how it came to that version (now): whoever watches or lists from before gets 410."""
        with self.lock:
            at = self.version if version is None else version
            cut = bisect.bisect_right(self._versions, at)
            del self._history[:cut], self._versions[:cut]
            self.compacted = at

    def as_of(self, resource: Resource, namespace: str, version: int) -> list[Json]:
        """A list as it was at that version. KeyError where that is no longer known."""
        with self.lock:
            objects = dict(self._objects.get(resource, {}))
            for change in reversed(self.since(version)):
                if change.key.resource is resource:
                    if change.before is None:
                        objects.pop(change.key, None)
                    else:
                        objects[change.key] = change.before
            return [objects[key] for key in sorted(objects) if not namespace or key.namespace == namespace]

    def every(self) -> Iterator[tuple[Key, Json]]:
        with self.lock:
            return iter([(key, obj) for room in self._objects.values() for key, obj in room.items()])
