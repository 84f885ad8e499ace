"""A real embedded hub for the agents that are lied to."""

from __future__ import annotations

import pytest

from tests.fedyard.world import World


@pytest.fixture(scope="session")
def world(hub_of_agents: World) -> World:
    """The one that other tests of agents have, too."""
    return hub_of_agents
