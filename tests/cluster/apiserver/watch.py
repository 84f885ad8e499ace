"""Watches: what changed since a version, as a stream of lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.cluster.apiserver.api import Api, selecting
from tests.cluster.apiserver.errors import ApiError, bad_request, expired
from tests.cluster.apiserver.resources import Resource
from tests.cluster.apiserver.store import Change

Json = dict[str, Any]

BOOKMARK_EVERY_S = 60.0
BOOKMARK_BEFORE_END_S = 2.0
LONGEST_S = 1800.0


def _line(kind: str, obj: Json) -> bytes:
    return json.dumps({"type": kind, "object": obj}, separators=(",", ":")).encode() + b"\n"


class Watch:
    """One of them. closed: asked between events, at least every half second."""

    def __init__(self, api: Api, resource: Resource, namespace: str, query: dict[str, str]) -> None:
        self._api, self._resource, self._namespace = api, resource, namespace
        self._matches = selecting(resource, query)
        self._bookmarks = query.get("allowWatchBookmarks") in {"true", "1"}
        self._initial_end = query.get("sendInitialEvents") == "true"
        if self._initial_end and query.get("resourceVersionMatch") != "NotOlderThan":
            raise ApiError(422, "Invalid", "sendInitialEvents: Forbidden: resourceVersionMatch is required", {})
        text = query.get("timeoutSeconds") or ""
        if text and not text.isdigit():
            raise bad_request(f'timeoutSeconds: strconv.ParseInt: parsing "{text}": invalid syntax')
        self._lasts_s = float(text) if text and int(text) else LONGEST_S
        since = query.get("resourceVersion") or "0"
        if not since.isdigit():
            raise bad_request(
                f'resourceVersion: Invalid value: "{since}": strconv.ParseUint: parsing "{since}": invalid syntax'
            )
        self._since = int(since)

    def lines(self, closed: Callable[[], bool]) -> Iterator[bytes]:
        """Until its time is over. An ERROR line is the last one."""
        store = self._api.store
        ends = time.monotonic() + self._lasts_s
        with store.lock:
            at = self._since
            if at > store.version:
                message = f"Too large resource version: {at}, current: {store.version}"
                yield _line("ERROR", ApiError(504, "Timeout", message, {"retryAfterSeconds": 1}).status())
                return
            first: list[Json] = []
            if at == 0 or self._initial_end:
                first, at = store.all(self._resource, self._namespace), store.version
        for obj in first:
            if self._matches(obj):
                yield _line("ADDED", obj)
        if self._initial_end:
            yield self._bookmark(at, {"k8s.io/initial-events-end": "true"})
        marks = [ends - BOOKMARK_BEFORE_END_S] if self._lasts_s > BOOKMARK_BEFORE_END_S else []
        marks += [time.monotonic() + BOOKMARK_EVERY_S * n for n in range(int(self._lasts_s / BOOKMARK_EVERY_S), 0, -1)]
        marks.sort(reverse=True)
        while time.monotonic() < ends and not closed():
            if self._bookmarks and marks and time.monotonic() >= marks[-1]:
                marks.pop()
                yield self._bookmark(at)
            try:
                changes = self._wait(at, min([ends, *marks[-1:]]))
            except KeyError:
                yield _line("ERROR", expired(f"too old resource version: {at} ({store.compacted + 1})").status())
                return
            for change in changes:
                at = change.version
                if (line := self._told(change)) is not None:
                    yield line

    def _wait(self, at: int, until: float) -> list[Change]:
        store = self._api.store
        with store.lock:
            changes = store.since(at)
            if not changes:
                store.changed.wait(max(0.0, min(until - time.monotonic(), 0.5)))
                changes = store.since(at)
            return changes

    def _told(self, change: Change) -> bytes | None:
        """None where it is nothing to this watch."""
        key = change.key
        if key.resource is not self._resource or (self._namespace and key.namespace != self._namespace):
            return None
        was = change.before is not None and self._matches(change.before)
        if change.kind == "DELETED":
            return _line("DELETED", change.after) if was else None
        now = self._matches(change.after)
        if now:
            return _line("MODIFIED" if was else "ADDED", change.after)
        return _line("DELETED", change.after) if was else None

    def _bookmark(self, at: int, annotations: Json | None = None) -> bytes:
        meta: Json = {"resourceVersion": str(at), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        return _line(
            "BOOKMARK", {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": meta}
        )
