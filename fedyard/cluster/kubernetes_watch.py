"""Watches of a cluster: they wake, and tell that nothing has changed. What has changed, the lists say.

One thread a kind, from the first `wait` on. A watch that breaks is opened again where it broke, after a while; one
whose place the server has forgotten begins anew and counts as a change, for what came between is unknown.
"""

from __future__ import annotations

import threading
from typing import Final

import msgspec

from fedyard.clock import Clock, jitter
from fedyard.cluster import names
from fedyard.cluster.kubernetes_api import WATCH_S, Api, Conflict, Expired, Missing, decoded
from fedyard.cluster.kubernetes_objects import Change, PageMetadata
from fedyard.cluster.port import ClusterError, Unavailable

BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 30.0
BRIEF_S: Final = 1.0
_OURS: Final = {"labelSelector": names.selector({names.MANAGED_BY: names.US})}


class _Versions(msgspec.Struct, frozen=True):
    """Of a list, its version alone."""

    metadata: PageMetadata = PageMetadata()


class Watches:
    """paths: of the lists that are watched, by kind."""

    def __init__(self, api: Api, paths: dict[str, str], clock: Clock) -> None:
        self._api = api
        self._paths = paths
        self._clock = clock
        self._changed = threading.Condition()
        self._versions = dict.fromkeys(paths, 0)
        self._open: set[str] = set()
        self._told = 0
        self._at: dict[str, str] = {}
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()

    def version(self, kind: str) -> int | None:
        """A number that is another one after each change; None while nobody would tell."""
        with self._changed:
            return self._versions[kind] if kind in self._open else None

    def touch(self, *kinds: str) -> None:
        """Something of these kinds may have changed; of all, if none is named."""
        with self._changed:
            for kind in kinds or self._paths:
                self._versions[kind] += 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Until there is a change since the last `wait` returned, so long at most."""
        with self._changed:
            if not self._threads and not self._closing.is_set():
                self._threads = [
                    threading.Thread(target=self._watch, args=(kind,), name=f"watch {kind}", daemon=True)
                    for kind in self._paths
                ]
                for thread in self._threads:
                    thread.start()
            self._changed.wait_for(lambda: self._closing.is_set() or self._sum() != self._told, seconds)
            self._told = self._sum()

    def close(self) -> None:
        """The API must be closed next: a thread waits in its stream."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()

    def join(self, seconds: float) -> None:
        for thread in self._threads:
            thread.join(seconds)

    def _sum(self) -> int:
        return sum(self._versions.values())

    def _watch(self, kind: str) -> None:
        failures, asked = 0, 0.0
        while not self._closing.is_set():
            began = self._clock.monotonic()
            try:
                if not self._at.get(kind):
                    self._at[kind] = self._newest(kind)
                self._follow(kind)
                # A server, or what stands before it, that ends each watch at once is not asked again at once.
                failures = 0 if self._clock.monotonic() - began >= BRIEF_S else failures + 1
            except (Expired, Missing, Conflict, ClusterError) as error:
                failures = 1 if self._shut(kind) else failures + 1
                asked = (error.after_s or 0.0) if isinstance(error, Unavailable) else 0.0
                if not isinstance(error, ClusterError):
                    self._at[kind] = ""
            if failures:
                back_off = min(MAX_BACKOFF_S, BACKOFF_S * 2 ** min(failures - 1, 16))
                self._clock.wait(self._closing, max(asked, jitter(back_off)))
        self._shut(kind)

    def _newest(self, kind: str) -> str:
        answer = self._api.get(self._paths[kind], {**_OURS, "limit": "1"})
        return decoded(answer, _Versions).metadata.resource_version

    def _follow(self, kind: str) -> None:
        """Until the server ends the watch. Raises `Expired` and `ClusterError`."""
        query = {
            **_OURS,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_S),
            "resourceVersion": self._at[kind],
        }
        for line in self._api.lines(self._paths[kind], query, lambda: self._opened(kind)):
            change = decoded(line, Change)
            if change.type == "ERROR":
                if change.object.code == 410:
                    raise Expired(change.object.message)
                raise Unavailable(f"a watch of {kind} ended: {change.object.message}")
            self._at[kind] = change.object.metadata.resource_version or self._at[kind]
            if change.type != "BOOKMARK":
                self.touch(kind)

    def _opened(self, kind: str) -> None:
        """Lists made before may lack what came before it was open."""
        with self._changed:
            if kind not in self._open:
                self._open.add(kind)
                self._versions[kind] += 1
                self._changed.notify_all()

    def _shut(self, kind: str) -> bool:
        """Nobody tells of changes until it is open again. Whether it was."""
        with self._changed:
            if kind not in self._open:
                return False
            self._open.discard(kind)
            self._versions[kind] += 1
            self._changed.notify_all()
            return True
