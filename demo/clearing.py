"""What workloads have left on this machine, once the hub and all agents have stopped: named, and ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from demo.processes import DemoError
from fedyard.cluster.port import ClusterError
from fedyard.cluster.processes import Processes as Cluster

ENDS_WITHIN_S = 60.0


def cleared(roots: Sequence[Path], wait: Callable[[str, Callable[[], bool], float], bool]) -> str:
    """Of clusters of processes, by their folders, what was there, in words; whatever runs there is ended.

    wait: until a fact is true, for so many seconds at most.
    """
    return ", ".join(one for root in roots if root.exists() for one in _cleared_cluster(root, wait))


def _cleared_cluster(root: Path, wait: Callable[[str, Callable[[], bool], float], bool]) -> list[str]:
    cluster = Cluster(root, images={})
    left: list[str] = []
    try:
        for place in (root / "places").iterdir():
            owner = (place / "owner").read_text()
            left += [f"an attempt of {one.id}" for one in cluster.observe(owner) if one.place == place.name]
            _remove(cluster, owner, place.name, wait)
    finally:
        cluster.close()
    return left


def _remove(cluster: Cluster, owner: str, place: str, wait: Callable[[str, Callable[[], bool], float], bool]) -> None:
    """Ask until it is gone; hub and agents are not there any more, so nobody else does."""

    def gone() -> bool:
        try:
            return cluster.remove_place(owner, place)
        except ClusterError as error:
            raise DemoError(error.fact) from None

    wait("the workloads' processes have ended", gone, ENDS_WITHIN_S)
