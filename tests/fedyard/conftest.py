"""A real embedded hub for the tests of agents, and sites with theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fedyard.parties import EAST, NORTH, SOUTH, Party, party
from tests.fedyard.world import SiteProcess, World


@pytest.fixture(scope="session")
def world(hub_of_agents: World) -> World:
    """The hub's world. One for all tests: every test has sites and projects of its own."""
    return hub_of_agents


@pytest.fixture
def sites(world: World, tmp_path: Path) -> Iterator[list[SiteProcess]]:
    """Three sites with their agents; those that still run are ended afterwards."""
    made = world.sites(tmp_path, "north", "east", "south")
    for site in made:
        site.start()
    yield made
    for site in made:
        site.kill()


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> list[Party]:
    """Three sites with a sealing key each."""
    folder = tmp_path_factory.mktemp("parties")
    return [party(folder, site) for site in (NORTH, EAST, SOUTH)]
