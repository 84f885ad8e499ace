"""A real embedded hub for the tests of agents, quick to notice deadlines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fedyard.parties import EAST, NORTH, SOUTH, Party, party
from tests.fedyard.world import SiteProcess, World
from tests.ops.program import Program, create_account


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The hub's world. One for all tests: every test has sites and projects of its own."""
    folder: Path = tmp_path_factory.mktemp("world")
    quick = {
        "FEDYARD_TICK_EVERY_S": "0.1",
        "FEDYARD_HEARTBEAT_EVERY_S": "5",
        "FEDYARD_WRITES_PER_S": "1000",  # a site that recovers in each second would be told to wait for most of them
        "FEDYARD_LOG_LEVEL": "WARNING",
    }
    program = Program(folder / "hub.log", "embedded", "--data", folder / "hub", "--port", "0", **quick)
    try:
        hub = program.ready()
        yield World(hub, create_account(folder / "hub"), folder / "hub")
    finally:
        program.end()


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
