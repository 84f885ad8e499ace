"""Real servers for the tests: one private RabbitMQ and one private PostgreSQL for the whole run, started when first
asked for. A machine without them fails the run and says what to install; nothing is skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.servers import PrivatePostgres, PrivateRabbitmq, temporary_folder


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """Where this run's private servers live; gone afterwards."""
    folder = temporary_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def rabbitmq(servers_folder: Path) -> Iterator[PrivateRabbitmq]:
    """The run's RabbitMQ. Take a fresh vhost with `vhost()`; who kills it starts it again."""
    server = PrivateRabbitmq(servers_folder / "rabbitmq")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[PrivatePostgres]:
    """The run's PostgreSQL. Take a fresh database with `database()`; who kills it starts it again."""
    server = PrivatePostgres(servers_folder / "postgres", durable=False)
    server.start()
    yield server
    server.stop()
