"""What `test_views.py` asks of each page, of the page's further states and as other people see it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser

from tests.page.test_views import is_well
from tests.page.views import OTHERS, View
from tests.page.walk import Walk


@pytest.fixture(scope="module")
def walk(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    with ExitStack() as stack:
        yield Walk(chromium, tmp_path_factory.mktemp("walk"), stack)


@pytest.mark.parametrize("view", OTHERS, ids=lambda view: view.name)
def test_a_view_is_for_everybody_and_the_browser_finds_nothing_wrong(walk: Walk, view: View) -> None:
    is_well(walk, view)
