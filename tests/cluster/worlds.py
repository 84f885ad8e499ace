"""What the contract suite runs on: each world is a cluster with its surroundings, opened once for a file of tests.

A world is a row of `WORLDS`: what it has, and how it is opened. A test that needs what a world has not (`@needs(...)`)
is left out of that world. The programs that tests run stand in programs.py, so that a world which only simulates
containers knows what to expect.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import pytest

from fedyard.cluster.kubernetes_cluster import KubernetesCluster, open_kubeconfig
from fedyard.cluster.port import Cluster
from fedyard.cluster.processes import Image, Processes
from tests.cluster.apiserver.server import ApiServer

Has = Literal["memory", "connections", "files"]
"""memory: limits are kept. connections: inside addresses can be reached from here. files: programs have a folder."""


class World(Protocol):
    """image: one that has sh and python3. patience_s: within which whatever is waited for has happened."""

    image: str
    patience_s: float

    def client(self) -> Cluster:
        """Another client of the same cluster, as after a restart of who uses it. The world closes it."""


class Opening(msgspec.Struct, frozen=True):
    """A world that is not open yet. open: gets a folder of its own, which is removed afterwards."""

    has: frozenset[Has]
    open: Callable[[Path], AbstractContextManager[World]]


def needs(*what: Has) -> pytest.MarkDecorator:
    """A test for worlds that have it."""
    return pytest.mark.needs(*what)


class ProcessesWorld:
    """This machine."""

    image = "test/python"
    patience_s = 10.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clients: list[Cluster] = []

    def client(self) -> Processes:
        made = Processes(self.folder, images={self.image: Image()})
        self.clients.append(made)
        return made


@contextmanager
def processes(folder: Path) -> Iterator[World]:
    world = ProcessesWorld(folder)
    yield world
    last, end = world.client(), time.monotonic() + 2 * world.patience_s
    places = [(place, (place / "owner").read_text()) for place in (folder / "places").iterdir()]
    while sum(not last.remove_place(owner, place.name) for place, owner in places):
        assert time.monotonic() < end
        last.wait(1.0)
    for one in world.clients:
        one.close()


class KubernetesWorld:
    """One context of a kubeconfig. image: it is there already, nothing is fetched from the internet."""

    def __init__(self, kubeconfig: Path, context: str, image: str, patience_s: float) -> None:
        self.kubeconfig = kubeconfig
        self.context = context
        self.image = image
        self.patience_s = patience_s
        self.clients: list[Cluster] = []

    def client(self) -> KubernetesCluster:
        made = open_kubeconfig(str(self.kubeconfig), self.context)
        self.clients.append(made)
        return made

    def close(self) -> None:
        for one in self.clients:
            one.close()


@contextmanager
def fake(folder: Path) -> Iterator[World]:
    """The API server of the tests, whose pods are processes of this machine."""
    with ApiServer() as server:
        world = KubernetesWorld(server.kubeconfig(folder / "kubeconfig"), "tests", server.image, 15.0)
        yield world
        world.close()


WORLDS: dict[str, Opening] = {
    "fake": Opening(frozenset({"files"}), fake),
    "processes": Opening(frozenset({"memory", "connections", "files"}), processes),
}
