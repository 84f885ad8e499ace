"""What leaves of a failed hook, and what stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fedyard.tasks import TaskError
from fedyard.tasks.reading import read
from fedyard.tasks.reasons import MAX_REASON, MAX_TRACE, reason_of, trace_of
from fedyard.tasks.sources import Source

LINES = """\
def divide(count):
    return 1 / count


def read_from(read, source):
    return read(source)


def deep(depth):
    return deep(depth - 1) if depth else divide(0)


def refuse(sentence):
    raise TaskError(sentence)


def made():
    exec("int('patient Smith')")
"""


@pytest.fixture
def task(tmp_path):
    """The functions of a task's own file."""
    path = tmp_path / "my_task.py"
    path.write_text(LINES)
    namespace: dict[str, object] = {"TaskError": TaskError}
    exec(compile(LINES, path, "exec"), namespace)  # noqa: S102 - our own lines
    return namespace


def raised(what: Callable[..., object], *arguments: object) -> Exception:
    with pytest.raises(Exception) as caught:
        what(*arguments)
    return caught.value


def test_the_class_and_the_innermost_line_of_the_tasks_own_file_leave(task, tmp_path) -> None:
    error = raised(task["divide"], 0)
    said = "train: a calculation has no result (ZeroDivisionError), in line 2 of the task's my_task.py, in divide"
    assert reason_of(error, "train") == said
    below = raised(task["read_from"], read, Source(str(tmp_path / "absent.csv")))
    assert reason_of(below, "prepare").endswith(" (line 6 of the task's my_task.py, in read_from)")
    code = raised(task["made"])
    assert (
        reason_of(code, "train")
        == "train: the task has a fault (ValueError), in line 18 of the task's my_task.py, in made"
    )


def test_the_sentence_of_a_task_error_leaves_as_far_as_there_is_room(task) -> None:
    assert reason_of(raised(task["refuse"], "3 rows"), "train") == (
        "train: 3 rows (line 14 of the task's my_task.py, in refuse)"
    )
    long = reason_of(raised(task["refuse"], "x" * 10_000), "train")
    assert (len(long), long.endswith("(line 14 of the task's my_task.py, in refuse)")) == (MAX_REASON, True)


class Unfit(ValueError):
    pass


def test_a_class_is_named_that_stands_in_a_module_and_not_one_that_was_made_of_data() -> None:
    def refuse(kind: type[Exception]) -> None:
        raise kind

    assert "(Unfit)" in reason_of(raised(refuse, Unfit), "train")
    assert "(Unfit)" in reason_of(raised(refuse, type("patient_smith", (Unfit,), {})), "train")
    assert "(BaseException)" not in reason_of(raised(refuse, type("builtins", (Exception,), {})), "train")


def test_the_whole_traceback_stays_with_its_beginning_and_its_end(task) -> None:
    error = raised(task["deep"], 400)
    error.__cause__ = ValueError("patient Smith \x1b[2J" + "y" * 3 * MAX_TRACE)
    trace = trace_of(error)
    assert len(trace) <= MAX_TRACE
    assert trace.startswith("ValueError: patient Smith \\x1b[2J")
    assert trace.endswith("ZeroDivisionError: division by zero")
    assert "characters more" in trace
