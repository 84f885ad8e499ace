"""Scenes and whoever looks at them, for the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser as Chromium

from tests.page import browsing
from tests.page.callers import Browser, signed_in
from tests.page.goldens import Looking, looking
from tests.page.scenes import Scene, opened


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """One for all tests of a file; while it runs, nothing else in this process can run an event loop."""
    with browsing.chromium() as made:
        yield made


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looking]:
    """All scenes, for tests that only look."""
    with looking(tmp_path_factory.mktemp("scenes")) as made:
        yield made


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """`small`, of the test's own, to act in; or the scene that it names as this fixture's parameter."""
    with opened(getattr(request, "param", "small"), tmp_path) as made:
        yield made


@pytest.fixture
def browser_caller(scene: Scene) -> Browser:
    """The admin, who has signed in."""
    return signed_in(scene.net.app, scene.tokens["admin"])
