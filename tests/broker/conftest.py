from __future__ import annotations

import pytest

from tests.broker.worlds import EmbeddedWorld, RabbitWorld


@pytest.fixture
def rabbit(rabbitmq):
    world = RabbitWorld(rabbitmq.vhost(), rabbitmq.ctl, rabbitmq.management)
    yield world
    world.close()
    rabbitmq.take_back(world.url)


@pytest.fixture
def embedded(tmp_path):
    world = EmbeddedWorld(tmp_path)
    yield world
    world.close()


@pytest.fixture(params=["embedded", "rabbit"])
def world(request):
    """Every test that takes this holds for both brokers."""
    return request.getfixturevalue(request.param)
