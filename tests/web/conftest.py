"""The same hub over both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.databases import fresh_postgres, fresh_sqlite, lent_postgres
from tests.web.network import Network, network


@pytest.fixture(params=["sqlite", "postgres"])
def make_net(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Network]]:
    """Makes hubs with settings of the test's choice."""
    made = 0
    with ExitStack() as stack:

        def make(**options: Any) -> Network:
            nonlocal made
            made += 1
            if request.param == "postgres":
                url = stack.enter_context(lent_postgres(request.getfixturevalue("postgres")))
            else:
                url = fresh_sqlite(tmp_path / f"store{made}.sqlite")
            net = network(url, tmp_path, **options)
            stack.callback(net.close)
            return net

        yield make


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """One hub for the tests of a file that leave nothing behind which the others would mind."""
    folder = tmp_path_factory.mktemp("shared")
    if request.param == "postgres":
        url = fresh_postgres(request.getfixturevalue("postgres"))
    else:
        url = fresh_sqlite(folder / "store.sqlite")
    made = network(url, folder)
    yield made
    made.close()


@pytest.fixture
def net(make_net: Callable[..., Network]) -> Network:
    return make_net()
