"""The table of commands: every command has one row, and a row says nothing that another contradicts."""

from __future__ import annotations

import ast
import inspect
from collections import Counter, defaultdict

import pytest

import domain.decisions
from domain import commands as c
from domain import decide as deciding
from domain import stream_commands as sc
from domain.table import ROWS, TABLE, Kind, Row

DECIDED = [row for row in ROWS if row.kind is Kind.DECIDED]


def named(row: Row) -> str:
    return row.name


def test_every_command_has_exactly_one_row() -> None:
    classes = {
        kind
        for module in (c, sc)
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, c.Command)
    }
    assert Counter(row.command for row in ROWS) == Counter(classes - {c.Command})
    assert set(TABLE) == classes - {c.Command}


@pytest.mark.parametrize("row", DECIDED, ids=named)
def test_a_decision_and_its_needs_are_named_after_the_command_and_stand_together(row: Row) -> None:
    assert row.decision is not None
    assert row.needs is not None
    assert (row.decision.__name__, row.needs.__name__) == (row.name, f"needs_of_{row.name}")
    assert row.decision.__module__ == row.needs.__module__
    assert row.decision.__module__.startswith(f"{domain.decisions.__name__}.")


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind is not Kind.DECIDED], ids=named)
def test_what_is_not_decided_has_no_decision(row: Row) -> None:
    assert row.decision is None
    assert row.needs is None


def test_the_commands_of_a_queue_are_of_one_kind_and_say_the_same_of_it() -> None:
    about, kinds = defaultdict(set), defaultdict(set)
    for row in ROWS:
        about[row.about.subject].add(row.about.meaning)
        kinds[row.about.subject].add(row.kind)
    assert {subject: len(meanings) for subject, meanings in about.items()} == dict.fromkeys(about, 1)
    assert {subject: len(those) for subject, those in kinds.items()} == dict.fromkeys(kinds, 1)


def test_no_decision_is_chosen_anywhere_but_in_the_table() -> None:
    assert not [node for node in ast.walk(ast.parse(inspect.getsource(deciding))) if isinstance(node, ast.Match)]
