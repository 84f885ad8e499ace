"""What FEDYARD_CLUSTERS and FEDYARD_PROCESS_IMAGES may say, and how clusters are opened."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from config.settings import Settings, SettingsError
from k8s.clusters import close_clusters, open_clusters
from tests.clusters import MemoryCluster, as_hub_cluster


def test_clusters_are_named() -> None:
    said = "hub=processes:///srv/w, edge=kubeconfig:///etc/edge.yaml?context=edge,east-1=in-cluster"
    assert Settings(clusters=said).cluster_places() == {
        "hub": "processes:///srv/w",
        "edge": "kubeconfig:///etc/edge.yaml?context=edge",
        "east-1": "in-cluster",
    }
    assert Settings().cluster_places() == {}


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("hub", "write name=value"),
        ("hub=", "write name=value"),
        ("Hub=in-cluster", "small letters"),
        ("a_b=in-cluster", "small letters"),
        ("hub=in-cluster,hub=in-cluster", "twice"),
        ("hub=/srv/w", "none of processes"),
        ("hub=kubeconfig:///etc/edge.yaml", "names no context"),
    ],
)
def test_what_names_no_cluster_is_refused(said: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        Settings(clusters=said)


def test_images_of_processes_may_stand_for_nothing() -> None:
    settings = Settings(process_images="local=,python=/usr/bin/python3 -u")
    assert settings.process_programs() == {"local": "", "python": "/usr/bin/python3 -u"}


def test_threads_of_a_process_share_its_clusters(tmp_path: Path) -> None:
    settings = Settings(clusters=f"hub=processes:///{tmp_path}/w")
    together = threading.Barrier(8)

    def ask(_: int) -> object:
        together.wait()
        return open_clusters(settings)

    with ThreadPoolExecutor(8) as threads:
        assert len({id(one) for one in threads.map(ask, range(8))}) == 1
    opened = open_clusters(settings)
    assert opened["hub"].cluster.observe("11111111-1111-4111-8111-111111111111") == []
    assert (tmp_path / "w").is_dir()
    close_clusters(opened)


def test_a_kubeconfig_that_is_not_there_is_said_at_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cluster 'edge' cannot be opened"):
        open_clusters(Settings(clusters=f"edge=kubeconfig://{tmp_path}/none?context=edge"))


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        ("registry.example.org/fed/train:1", True),
        ("registry.example.org/other/train:1", False),
        ("docker.io/x@sha256:" + "0" * 64, True),
        ("docker.io/x@sha256:0", False),
        ("registry.example.org/fed/x@sha256", True),
    ],
)
def test_images_are_allowed_by_list_or_digest(image: str, allowed: bool) -> None:
    place = as_hub_cluster(MemoryCluster(lambda: 0.0), "registry.example.org/fed/*")
    assert place.allows(image) is allowed
