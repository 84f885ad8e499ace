"""Each page is what its golden file says. If it shall change: `python -m tests.page.draw`, and read the difference."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from domain.ids import HUB
from tests.page.goldens import Looking, left_over, normalised, path_of
from tests.page.scenes import SCENES
from tests.page.views import VIEWS, View
from tests.web.network import ROUTING
from web.http.answers import PAGE


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_page_is_what_its_golden_file_says(look: Looking, view: View) -> None:
    assert look.html(view) == path_of(view).read_text(encoding="utf-8")


def test_each_view_has_one_golden_file_and_a_scene_that_is_there() -> None:
    assert [name for name, count in Counter(view.name for view in VIEWS).items() if count > 1] == []
    assert left_over(VIEWS) == []
    assert {view.scene for view in VIEWS} <= set(SCENES)


def test_every_page_is_looked_at(look: Looking) -> None:
    """If this fails: a row in tests/page/views.py is missing. What pages load piece by piece is seen in a browser."""
    pages = {one.name for one in ROUTING.operations if one.kind is PAGE and one.method == "GET" and not one.long}
    paths = ROUTING.url_map.bind("localhost")
    there = [view for view in VIEWS if view.status != 404]
    found = {paths.match(view.at(look.scene(view.scene).names).partition("?")[0])[0] for view in there}
    assert pages - found == set()


def test_what_is_drawn_by_chance_is_left_out_of_a_golden_file() -> None:
    one, other = "0f4b9d2e-55c1-4a7b-9c1d-2f6f3f0a9b11", "c3a1e8f7-0b1d-4c2e-8f3a-5d6e7f809a1b"
    page = f"""
    <link rel="stylesheet" href="/static/page-0123456789ab.css">
      <input type="hidden" name="_csrf" value="secret"><input type="hidden" name="_key" value="{one}">

    <p id="{other}">{one} {other} {HUB}</p>
    """
    assert normalised(page, Path("/nowhere")) == (
        '<link rel="stylesheet" href="/static/page-DIGEST.css">\n'
        '<input type="hidden" name="_csrf" value="DRAWN"><input type="hidden" name="_key" value="DRAWN">\n'
        f'<p id="drawn-1">drawn-2 drawn-1 {HUB}</p>\n'
    )
