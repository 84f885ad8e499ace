"""The template with PyTorch is a project that simulates and tests at once, as the others are. It needs PyTorch."""

from __future__ import annotations

import runpy

from fedyard.simulating.starting import write


def test_it_simulates_and_its_own_tests_hold(tmp_path) -> None:
    write(tmp_path / "project", "pytorch")
    names = runpy.run_path(str(tmp_path / "project" / "test_my_task.py"))
    tests = [test for name, test in names.items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()
