"""`make test` and `make drills` are every test between them, and the build runs both."""

from __future__ import annotations

import re

from tests.drills import ALONE, DRILLS, FOLDER

ROOT = FOLDER.parent


def test_every_drill_is_there() -> None:
    assert [name for name in DRILLS if not (FOLDER / name).is_file()] == []


def test_every_test_that_is_a_drill_by_itself_is_there() -> None:
    """One whose parameter has another name is run by `make test`, and is not lost."""
    for file, _, test in (name.partition("::") for name in ALONE):
        assert f"\ndef {test.partition('[')[0]}(" in (FOLDER / file).read_text(), (file, test)


def test_the_build_runs_both() -> None:
    said = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in said if line.startswith("make ")] == ["make check", "make test", "make drills"]
    makefile = (ROOT / "Makefile").read_text()
    asked = {target: re.findall(r"--drills (\w+)", text) for target, text in _recipes(makefile).items()}
    assert {target: options for target, options in asked.items() if options} == {"test": ["none"], "drills": ["only"]}


def _recipes(makefile: str) -> dict[str, str]:
    return {found[1]: found[2] for found in re.finditer(r"(?m)^([a-z-]+):[^\n]*\n((?:\t[^\n]*\n)+)", makefile)}
