"""The agent's log: which lines are written, and how they look."""

from __future__ import annotations

import io
import json
import re

import pytest

from fedyard.agent.lines import ERRORS, WARNINGS, LogSettings, level_of, line_of, write_line
from tests.ops.program import ROOT

AT = "2026-11-29T03:00:00+00:00"


def line(what: str, settings: LogSettings | None = None, **facts: object) -> str | None:
    return line_of(settings or LogSettings(), AT, "north", what, facts)


def test_json_has_what_it_always_had_and_its_level() -> None:
    said = line("train", entry=7, run=None, outcome="done")
    assert said is not None
    assert json.loads(said) == {
        "at": AT, "level": "info", "site": "north", "what": "train", "entry": 7, "outcome": "done",
    }  # fmt: skip


def test_no_fact_takes_the_place_of_when_and_whose_a_line_is() -> None:
    said = line("went wrong", at="inbox.py:45", site="east", level="info", times=1)
    assert said is not None
    assert json.loads(said) == {
        "at": AT, "level": "error", "site": "north", "what": "went wrong",
        "its_at": "inbox.py:45", "its_site": "east", "its_level": "info", "times": 1,
    }  # fmt: skip


def test_text_is_one_line_for_people_whatever_it_holds() -> None:
    text = LogSettings(format="text")
    said = line("hub unavailable", text, detail='no "answer"\n\x1b[31mred', tries=3, none=None)
    assert said is not None
    assert said.startswith(f'{AT} WARNING north: hub unavailable detail="no \\"answer\\"')
    assert said.endswith(" tries=3")
    assert not set(said) & {"\n", "\x1b"}
    assert line("started", text, hub="http://h") == f"{AT} INFO    north: started hub=http://h"


@pytest.mark.parametrize(
    ("level", "written"),
    [("info", ["started", "clock", "went wrong"]), ("warning", ["clock", "went wrong"]), ("error", ["went wrong"])],
)
def test_lines_below_the_level_are_not_written(level, written: list[str]) -> None:
    settings = LogSettings(level=level)
    whats = ["started", "clock", "went wrong"]
    assert [what for what in whats if line(what, settings) is not None] == written


def test_an_entry_that_failed_is_a_warning() -> None:
    assert (level_of("train", "failed: too few"), level_of("train", "done"), level_of("train")) == (
        "warning", "info", "info",
    )  # fmt: skip


def test_every_word_is_one_that_the_agent_says() -> None:
    said = set()
    for path in (ROOT / "fedyard" / "agent").rglob("*.py"):
        said |= set(re.findall(r'log\(\s*"([^"]+)"', path.read_text()))
    assert (ERRORS | WARNINGS) - said == set()
    assert not ERRORS & WARNINGS


def test_what_cannot_be_written_is_let_go() -> None:
    closed = io.StringIO()
    closed.close()
    write_line("x", closed)
    to = io.StringIO()
    write_line(None, to)
    write_line("x", to)
    assert to.getvalue() == "x\n"
