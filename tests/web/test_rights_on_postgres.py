"""The rights matrix over PostgreSQL: thousands of calls, whose answers are those over SQLite (`test_rights.py`)."""

from __future__ import annotations

import pytest

from tests.web.network import Network
from tests.web.test_rights import build, holds


@pytest.mark.parametrize("shared", ["postgres"], indirect=True, scope="module")
def test_rights(shared: Network) -> None:
    holds(build(shared))
