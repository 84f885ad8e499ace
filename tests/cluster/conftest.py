"""Every test that asks for `world` runs on each world that has what the test needs; the others are not collected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fedyard.cluster.port import Cluster
from tests.cluster.worlds import WORLDS, World, real


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*what): what a world must have, tests/cluster/worlds.py")
    if path := config.getoption("kubeconfig"):
        context = config.getoption("kube_context") or yaml.safe_load(Path(path).read_text())["current-context"]
        WORLDS.clear()
        WORLDS.update(real(Path(path), context, config.getoption("cluster_image")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" in metafunc.fixturenames:
        metafunc.parametrize("world", WORLDS, indirect=True, scope="module")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent  # items are those of all folders, and others have worlds of their own
    left_out = {item for item in items if item.path.is_relative_to(here) and _lacking(item)}
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))


def _lacking(item: pytest.Item) -> bool:
    """Whether it is for a world that has not what it needs."""
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec") or "world" not in item.callspec.params:
        return False
    needed = {what for mark in item.iter_markers("needs") for what in mark.args}
    return not needed <= WORLDS[item.callspec.params["world"]].has


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with WORLDS[request.param].open(tmp_path_factory.mktemp(f"world-{request.param}")) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_cluster(world: World) -> Cluster:
    """One for all tests of a file, each of which has places of its own."""
    return world.client()
