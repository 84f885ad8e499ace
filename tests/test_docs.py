"""The documents keep up with the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from broker.protocol.events import Notice
from broker.protocol.routes import QUEUES
from config.settings import Settings
from ops.diagrams import PAGE, page

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_diagrams_of_states_are_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run: python -m ops.diagrams"


@pytest.mark.parametrize("name", [f"FEDYARD_{field.name.upper()}" for field in fields(Settings)])
def test_every_variable_is_documented(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/operations.md").read_text()


@pytest.mark.parametrize("queue", [queue.name for queue in QUEUES])
def test_every_queue_is_documented(queue: str) -> None:
    assert f"`{queue}`" in (ROOT / "docs/operations.md").read_text()


@pytest.mark.parametrize("notice", list(Notice))
def test_every_notice_is_documented(notice: Notice) -> None:
    assert f"`{notice}`" in (ROOT / "docs/api.md").read_text()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_glossary_is_in_order_and_has_every_word_once() -> None:
    words = re.findall(r"^\| ([a-z -]+) \| (?!meaning)", (ROOT / "docs/glossary.md").read_text(), re.M)
    words = [word for word in words if word != "word"]
    assert words == sorted(set(words))
