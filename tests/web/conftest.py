"""The same hub over both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import fresh_postgres
from tests.web.network import Network, network


@pytest.fixture(params=["sqlite", "postgres"])
def make_net(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Network]]:
    """Makes hubs with settings of the test's choice."""
    made: list[Network] = []

    def make(**options: Any) -> Network:
        if request.param == "postgres":
            url = fresh_postgres(request.getfixturevalue("postgres"))
        else:
            url = f"sqlite:///{tmp_path}/store{len(made)}.sqlite"
        made.append(network(url, tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """One hub for the tests of a file that leave nothing behind which the others would mind."""
    folder = tmp_path_factory.mktemp("shared")
    sqlite = f"sqlite:///{folder}/store.sqlite"
    made = network(
        fresh_postgres(request.getfixturevalue("postgres")) if request.param == "postgres" else sqlite, folder
    )
    yield made
    made.close()


@pytest.fixture
def net(make_net: Callable[..., Network]) -> Network:
    return make_net()
