"""The template with PyTorch simulates and tests at once, as the others do; so does docs/tasks.md. It needs PyTorch."""

from __future__ import annotations

import runpy

from fedyard.simulating.starting import write
from tests.fedyard.simulating.test_tasks_page import folder, run


def test_it_simulates_and_its_own_tests_hold(tmp_path) -> None:
    write(tmp_path / "project", "pytorch")
    names = runpy.run_path(str(tmp_path / "project" / "test_my_task.py"))
    tests = [test for name, test in names.items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()


def test_the_commands_of_the_page_on_tasks_work(tmp_path, capsys) -> None:
    with folder(tmp_path):
        assert run(capsys, torch=True) == 1
