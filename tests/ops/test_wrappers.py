"""bin/fedyard and bin/fedyard-hub: what they run with, and what they do not meet."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ops.program import ROOT, environment

PROGRAMS = ("fedyard", "fedyard-hub")
OURS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
"""What a file of a site or an operator may be called, too."""


def run(program: Path, *arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *arguments], cwd=cwd, env=environment(**variables), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_its_environment_a_program_says_what_to_do(tmp_path: Path, name: str) -> None:
    shutil.copytree(ROOT / "bin", tmp_path / "yard" / "bin", symlinks=True)
    done = run(tmp_path / "yard" / "bin" / name, "--help")
    said = f"{name}: {tmp_path}/yard/.venv, the Python that it runs with, is not there: "
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        f"{said}say make -C '{tmp_path}/yard' setup (README.md)\n",
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_link_to_a_program_is_that_program(tmp_path: Path, name: str) -> None:
    """As .venv/bin has them."""
    (tmp_path / "one").symlink_to(ROOT / "bin" / name)
    (tmp_path / "other").symlink_to(tmp_path / "one")
    done = run(tmp_path / "other", "--help", cwd=tmp_path)
    assert (done.returncode, done.stdout.startswith(f"Usage: {name} ")) == (0, True)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("path", ["", ":", "/nowhere:", ":/nowhere", "/nowhere::/none", "::"])
def test_modules_in_the_current_folder_are_not_met(tmp_path: Path, name: str, path: str) -> None:
    for module in (*OURS, "click", "msgspec", "json"):
        (tmp_path / f"{module}.py").write_text(f"raise SystemExit('met {module}.py')\n")
    done = run(ROOT / "bin" / name, "--help", cwd=tmp_path, PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", PROGRAMS)
def test_modules_in_a_folder_that_the_caller_names_are_found_behind_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / "fedyard.py").write_text("raise SystemExit('met fedyard.py')\n")
    (tmp_path / "click.py").write_text("raise SystemExit('met click.py')\n")
    done = run(ROOT / "bin" / name, "--help", cwd=Path("/"), PYTHONPATH=f":{tmp_path}:")
    assert (done.returncode, done.stderr) == (1, "met click.py\n")


def test_the_sites_program_finds_nothing_of_the_hub() -> None:
    lines = (ROOT / "bin" / "fedyard").read_text().replace("-m fedyard.cli.main", "-c")
    found = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    lines = lines.replace('"$(readlink -f "$0")"', f'"{ROOT}/bin/fedyard"').replace('"$@"', f"'{found}' \"$@\"")
    done = subprocess.run(
        ["sh", "-c", lines, "sh", *OURS], cwd="/", env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("['fedyard']\n", "")
