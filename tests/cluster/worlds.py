"""What the contract suite runs on: each world is a cluster with its surroundings, opened once for a file of tests.

A world is a row of `WORLDS`: what it has, and how it is opened. A test that needs what a world has not (`@needs(...)`)
is left out of that world. The programs that tests run stand in programs.py, so that a world which only simulates
containers knows what to expect.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import pytest

from fedyard.cluster import kubernetes_api
from fedyard.cluster.kubernetes_cluster import KubernetesCluster
from fedyard.cluster.local.launching import Image
from fedyard.cluster.manifests import Rules
from fedyard.cluster.port import Cluster, Observed, Refused, Spec
from fedyard.cluster.processes import Processes
from tests.cluster.apiserver.images import OURS
from tests.cluster.apiserver.server import ApiServer

Has = Literal["memory", "connections", "files", "hub", "kubernetes", "volumes"]
"""memory: limits are kept. connections: inside addresses can be reached from here. files: programs begin in a folder
that they can write to. hub: an image with Fedyard is there, whose programs run on this machine and reach a server of
the tests. volumes: claims are met. kubernetes: it is one, a `KubernetesWorld`."""


class World(Protocol):
    """image: one that has sh and python3. patience_s: within which whatever is waited for has happened. moment_s: what
    runs so long is seen to run."""

    image: str
    patience_s: float
    moment_s: float

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
    moment_s = 0.2

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


class Remembering(KubernetesCluster):
    """places: all that it was asked to make something in, and their owners."""

    places: set[tuple[str, str]]

    def ensure(self, spec: Spec) -> Observed:
        self.places.add((spec.owner, spec.place))
        return super().ensure(spec)


class KubernetesWorld:
    """One context of a kubeconfig. image: it is there already, nothing is fetched from the internet."""

    image_with_fedyard = ""

    def __init__(self, kubeconfig: Path, context: str, image: str, *, patience_s: float, moment_s: float) -> None:
        self.kubeconfig = kubeconfig
        self.context = context
        self.image = image
        self.patience_s = patience_s
        self.moment_s = moment_s
        self.clients: list[KubernetesCluster] = []
        self.places: set[tuple[str, str]] = set()

    def client(self, *, kubeconfig: Path | None = None, rules: Rules | None = None) -> KubernetesCluster:
        """kubeconfig: another one, of the same cluster."""
        login = kubernetes_api.kubeconfig(str(kubeconfig or self.kubeconfig), self.context)
        rules = rules or Rules(prepare_image=self.image, unpack_image=self.image_with_fedyard)
        made = Remembering(kubernetes_api.Api(login, self.context), rules)
        made.places = self.places
        self.clients.append(made)
        return made

    def close(self) -> None:
        """Nothing that was made is left in the cluster."""
        last, end = self.client(), time.monotonic() + 4 * self.patience_s
        while self.places:
            for owner, place in list(self.places):
                with suppress(Refused):
                    if not last.remove_place(owner, place):
                        continue
                self.places.discard((owner, place))
            assert time.monotonic() < end, f"namespaces are left: {self.places}"
            if self.places:
                last.wait(1.0)
        for one in self.clients:
            one.close()


@contextmanager
def fake(folder: Path) -> Iterator[World]:
    """The API server of the tests, whose pods are processes of this machine."""
    with ApiServer() as server:
        config = server.kubeconfig(folder / "kubeconfig")
        world = KubernetesWorld(config, "tests", server.image, patience_s=15.0, moment_s=0.2)
        world.image_with_fedyard = OURS
        yield world
        world.close()


def real(kubeconfig: Path, context: str, image: str) -> dict[str, Opening]:
    """Instead of the others: any cluster, whose kubelets have the image or can pull it. `make test-cluster`."""

    @contextmanager
    def opened(folder: Path) -> Iterator[World]:
        world = KubernetesWorld(kubeconfig, context, image, patience_s=120.0, moment_s=5.0)
        yield world
        world.close()

    return {"real": Opening(frozenset({"memory", "kubernetes"}), opened)}


WORLDS: dict[str, Opening] = {
    "fake": Opening(frozenset({"memory", "files", "hub", "kubernetes", "volumes"}), fake),
    "processes": Opening(frozenset({"memory", "connections", "files", "hub", "volumes"}), processes),
}
