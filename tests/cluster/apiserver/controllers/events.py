"""Events as the cluster's components write them."""

from __future__ import annotations

from typing import Any

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.api import suffix
from tests.cluster.apiserver.clock import Clock, micro, stamp
from tests.cluster.apiserver.resources import BY_KIND
from tests.cluster.apiserver.store import Key, Store

Json = dict[str, Any]
_NEWER = ("default-scheduler",)
"""Who writes by the newer API of events: no `count`, `source`, first and last time, but `eventTime` and `series`."""


class Recorder:
    """What is said again of the same object counts up."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._said: dict[tuple[str, str, str, str], Key] = {}

    def say(self, component: str, about: Json, kind: str, reason: str, message: str, host: str = "") -> None:
        """kind: Normal, Warning. Not in a namespace that is ending or gone, as the real one."""
        meta = about["metadata"]
        resource = BY_KIND[about["apiVersion"], about["kind"]]
        namespace = meta.get("namespace") or "default"
        now = stamp(self._clock.now())
        with self._store.lock:
            room = self._store.get(Key(r.NAMESPACES, "", namespace))
            if room is None or room["metadata"].get("deletionTimestamp"):
                return
            mark = (meta["uid"], reason, message, component)
            known = self._said.get(mark)
            before = self._store.get(known) if known else None
            if before is not None and known is not None:
                self._store.put(known, before | {"metadata": dict(before["metadata"])} | self._counted(before))
                return
            name = f"{meta['name']}.{int(self._clock.now() * 1e9):x}{suffix(3)}"
            about_it = {
                "kind": resource.kind,
                "name": meta["name"],
                "uid": meta["uid"],
                "apiVersion": resource.api_version,
            }
            about_it["resourceVersion"] = meta["resourceVersion"]
            if resource.namespaced:
                about_it["namespace"] = namespace
            source = {"component": component} | ({"host": host} if host else {})
            event = {
                "kind": "Event",
                "apiVersion": "v1",
                "metadata": {"name": name, "namespace": namespace, "uid": f"event-{name}", "creationTimestamp": now},
                "involvedObject": about_it,
                "reason": reason,
                "message": message,
                "source": source,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
                "type": kind,
                "eventTime": None,
                "reportingComponent": component,
                "reportingInstance": host,
            }
            if component in _NEWER:
                event |= {"firstTimestamp": None, "lastTimestamp": None, "source": {}}
                event |= {"eventTime": micro(self._clock.now()), "action": "Scheduling"}
                del event["count"]
            key = Key(r.EVENTS, namespace, name)
            self._store.put(key, event)
            self._said[mark] = key

    def _counted(self, before: Json) -> Json:
        if before["eventTime"]:
            count = before.get("series", {"count": 1})["count"] + 1
            return {"series": {"count": count, "lastObservedTime": micro(self._clock.now())}}
        return {"count": before["count"] + 1, "lastTimestamp": stamp(self._clock.now())}
