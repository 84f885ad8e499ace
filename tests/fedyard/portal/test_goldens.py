"""Each page of a portal as it was when somebody looked at it last, and what holds of every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedyard.portal.desk import TEMPLATES, Desk
from tests.fedyard.portal.draw import GOLDEN, normalised
from tests.fedyard.portal.scenes import EVIL, PAGES, desk_in, html

PARTS = {"bits.html", "now_live.html", "run_live.html", "outside.html"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return desk_in(tmp_path_factory.mktemp("goldens"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_it_was(desk: Desk, name: str) -> None:
    """If it shall be another: python -m tests.fedyard.portal.draw, and look at the difference."""
    assert normalised(html(desk, name)) == (GOLDEN / f"{name}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_nothing_that_others_wrote_is_markup_and_nothing_is_inline(desk: Desk, name: str) -> None:
    text = html(desk, name)
    assert EVIL not in text
    assert re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text) is None


@pytest.mark.parametrize("name", PAGES)
def test_every_field_has_a_label_and_every_id_is_one_things(desk: Desk, name: str) -> None:
    text = html(desk, name)
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert sorted(ids) == sorted(set(ids))
    labels = set(re.findall(r'<label for="([^"]+)"', text))
    for field in re.findall(r"<(?:input|textarea|select)\b[^>]*>", text):
        ident = re.search(r'\sid="([^"]+)"', field)
        assert 'type="hidden"' in field or ident is None or ident[1] in labels, field


def test_there_is_a_golden_for_each_page_and_a_page_for_each_template() -> None:
    assert {path.stem for path in GOLDEN.glob("*.html")} == set(PAGES)
    assert {page.template for page in PAGES.values()} | PARTS == {path.name for path in Path(TEMPLATES).glob("*.html")}
