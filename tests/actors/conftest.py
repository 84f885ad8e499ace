from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from storage.database import Database, open_database
from tests.databases import fresh_sqlite, lent_postgres
from tests.hub import Hub


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = fresh_sqlite(tmp_path / "store.sqlite")
        else:
            url = stack.enter_context(lent_postgres(request.getfixturevalue("postgres")))
        opened = open_database(url)
        stack.callback(opened.close)
        opened.hold()  # as the deciding thread does
        yield opened


@pytest.fixture
def hub(database: Database) -> Hub:
    return Hub(database)
