"""The clusters that the hub's settings name, opened."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import parse_qs

from config.clock import SystemClock
from config.cluster_calls import Calls
from config.settings import Settings, SettingsError, url_path
from config.streams import open_streams
from fedyard.cluster.local.launching import Image
from fedyard.cluster.port import Cluster, ClusterError
from fedyard.cluster.processes import Processes
from k8s.measuring import MeasuredCluster

_DIGEST = re.compile("@sha256:[0-9a-f]{64}(?!\n)$")


@dataclass(frozen=True)
class HubCluster:
    """images: patterns of those that it may run; None: what it runs it says itself. calls: what was asked of it."""

    name: str
    cluster: Cluster
    images: tuple[str, ...] | None = None
    calls: Calls = field(default_factory=Calls, compare=False)

    def allows(self, image: str) -> bool:
        """By its digest, or by the list."""
        if self.images is None or _DIGEST.search(image):
            return True
        return any(fnmatchcase(image, pattern) for pattern in self.images)


Clusters = Mapping[str, HubCluster]
"""By name."""


def open_clusters(settings: Settings) -> Clusters:
    """Each cluster, once in a process: its threads share it. Nothing is asked of it yet. Raises `SettingsError`."""
    with _opening:  # a cache alone lets two threads that ask at once open two
        return _open_clusters(settings)


_opening = threading.Lock()


@functools.lru_cache(maxsize=8)
def _open_clusters(settings: Settings) -> Clusters:
    return {name: _opened(settings, name, place) for name, place in settings.cluster_places().items()}


def close_clusters(clusters: Clusters) -> None:
    """Let go of them; what cannot outlive this process ends."""
    for each in clusters.values():
        each.cluster.close()


def _opened(settings: Settings, name: str, place: str) -> HubCluster:
    try:
        if place.startswith("processes:"):
            images = {image: Image(prefix=words.split()) for image, words in settings.process_programs().items()}
            return _measured(name, Processes(Path(url_path(place)), images=images))
        named = (*settings.workload_images.split(","), *open_streams(settings).images.values())
        allowed = tuple(filter(None, map(str.strip, named)))
        return _measured(name, _kubernetes(place), allowed)
    except (ClusterError, OSError) as error:
        raise SettingsError(f"FEDYARD_CLUSTERS: cluster {name!r} cannot be opened: {error}") from None


def _measured(name: str, cluster: Cluster, images: tuple[str, ...] | None = None) -> HubCluster:
    calls = Calls()
    return HubCluster(name, MeasuredCluster(name, cluster, calls, SystemClock()), images, calls)


def _kubernetes(place: str) -> Cluster:
    """Imported here alone: who has no such cluster needs no such package."""
    from fedyard.cluster import kubernetes_cluster  # noqa: PLC0415 - heavy, and only some hubs have it

    where, _, query = place.partition("?")
    asked = parse_qs(query)
    rules = kubernetes_cluster.read_rules(Path(asked["rules"][0])) if "rules" in asked else None
    if where == "in-cluster":
        return kubernetes_cluster.open_in_cluster(rules)
    return kubernetes_cluster.open_kubeconfig(url_path(where), asked["context"][0], rules)
