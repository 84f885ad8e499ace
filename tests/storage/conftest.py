from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.database import Database, open_database
from storage.migrate import migrate


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    url = (
        f"sqlite:///{tmp_path}/store.sqlite"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres").database()
    )
    opened = open_database(url)
    yield opened
    opened.close()


@pytest.fixture
def database(empty: Database) -> Database:
    """A database with the tables."""
    migrate(empty)
    return empty
