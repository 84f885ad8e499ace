from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.database import Database, open_database
from storage.migrate import migrate
from tests.databases import fresh_postgres
from tests.hub import Hub


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = (
        f"sqlite:///{tmp_path}/store.sqlite"
        if request.param == "sqlite"
        else fresh_postgres(request.getfixturevalue("postgres"))
    )
    opened = open_database(url)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def hub(database: Database) -> Hub:
    return Hub(database)
