"""Which model came from which, as tables of examples."""

from __future__ import annotations

import pytest

from domain.ids import derive
from storage.views.resources import Model
from web.page.lineage import Branch, ancestors, branches, lines

FIRST, AGAIN = derive("first run"), derive("restarted")


def model(
    version: int, run: str | None, task_seq: int | None, begun_with: int | None, epoch: int | None = None
) -> Model:
    return Model(
        version=version,
        run_id=run,
        task_seq=task_seq,
        task=None if task_seq is None else f"task-{task_seq}",
        round=version,
        epoch=epoch,
        message_id=None,
        artifact_id=None,
        digest="",
        size_bytes=1,
        metrics={},
        created_at="2026-01-01T00:00:00.000000Z",
        begun_with=begun_with,
        best=False,
        score={},
    )


STORY = [
    model(1, FIRST, 1, None),
    model(2, FIRST, 1, 1),
    model(3, FIRST, 2, 2),  # another task goes on with the model of the first
    model(4, AGAIN, 1, 1),  # restarted from a model in the middle
    model(5, AGAIN, 1, 4),
    model(6, None, None, 5, epoch=7),  # the project's own coordinator was started with it
    model(7, None, None, 6, epoch=7),
]


def test_a_task_of_a_run_is_a_line_and_lines_branch_off() -> None:
    found = lines(STORY)
    assert [(line.span, line.run_id, line.task, line.epoch) for line in found] == [
        ("1 to 2", FIRST, "task-1", None),
        ("3", FIRST, "task-2", None),
        ("4 to 5", AGAIN, "task-1", None),
        ("6 to 7", None, None, 7),
    ]
    assert branches(found) == [Branch(0, 1, 2), Branch(0, 2, 1), Branch(2, 3, 5)]


def test_a_page_that_begins_in_the_middle_has_lines_without_a_source() -> None:
    found = lines(STORY[3:])
    assert [(line.span, line.begun_with) for line in found] == [("4 to 5", 1), ("6 to 7", 5)]
    assert branches(found) == [Branch(0, 1, 5)]


def test_two_tasks_of_a_run_that_make_models_by_turns_are_two_lines() -> None:
    found = lines([model(1, FIRST, 1, None), model(2, FIRST, 2, None), model(3, FIRST, 1, 1), model(4, FIRST, 2, 2)])
    assert [[one.version for one in line.models] for line in found] == [[1, 3], [2, 4]]


@pytest.mark.parametrize(("version", "found"), [(1, []), (3, [2, 1]), (7, [6, 5, 4, 1]), (9, [])])
def test_ancestors(version: int, found: list[int]) -> None:
    assert ancestors(STORY, version) == found


def test_what_is_said_of_a_later_one_is_not_followed() -> None:
    assert ancestors([model(1, FIRST, 1, 2), model(2, FIRST, 1, 1)], 2) == [1]
