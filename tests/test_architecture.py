"""The checks of pyproject.toml cover everything that there is. (`make check` runs the import contracts themselves.)"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from config.faults import OURS
from tests import drawing
from tests.conftest import LONG
from tests.spreading import SPREAD

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
PROOFS = {"benchmarks", "chaos"}
HUB = PACKAGES - {"fedyard", "demo"} - PROOFS


def contract(name: str) -> dict[str, list[str]]:
    return next(one for one in PROJECT["tool"]["importlinter"]["contracts"] if one["id"] == name)


def test_every_package_is_type_checked_and_under_the_contract() -> None:
    assert set(PROJECT["tool"]["mypy"]["packages"]) == PACKAGES
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == PACKAGES


def test_every_package_of_a_hub_and_a_site_is_measured_and_speaks_of_its_errors() -> None:
    measured = PACKAGES - PROOFS - {"demo"}
    assert set(PROJECT["tool"]["coverage"]["run"]["source"]) == measured
    assert set(OURS) == measured


def test_no_package_of_the_hub_is_left_out_of_a_contract() -> None:
    layers = {name.strip() for layer in contract("layers")["layers"] for name in layer.split("|")}
    assert layers == HUB
    assert set(contract("site")["forbidden_modules"]) == HUB | {"demo"}
    assert set(contract("hub")["source_modules"]) == HUB
    assert set(contract("demo")["forbidden_modules"]) == HUB
    assert set(contract("circles")["ancestors"]) == PACKAGES
    assert set(contract("proofs")["source_modules"]) == PACKAGES - PROOFS
    assert set(contract("proofs")["forbidden_modules"]) == PROOFS


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_module_says_what_it_is(package: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / package).rglob("*.py")
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_every_rule_that_is_passed_over_has_its_reason() -> None:
    """`# noqa: BLE001 - why`, as the exceptions in pyproject.toml have theirs."""
    paths = [path for package in sorted(PACKAGES) for path in (ROOT / package).rglob("*.py")]
    silent = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "# noqa" in line and not re.search(r"# noqa: [A-Z]+[0-9]+(?:, [A-Z]+[0-9]+)* - \w", line)
    ]
    assert silent == []


def test_limits_are_called_max() -> None:
    """Of constants; settings' variables and fields are public, and stay."""
    named = re.compile(r"^ *(_?(?:[A-Z0-9_]+_)?MOST(?:_[A-Z0-9_]+)?)(?:: .*)? = ", re.MULTILINE)
    sources = (path for package in (*PACKAGES, "tests") for path in (ROOT / package).rglob("*.py"))
    assert [f"{path.name}: {name}" for path in sources for name in named.findall(path.read_text())] == []


def test_no_test_is_skipped_or_mocked() -> None:
    words = ("pytest.mark." + "skip", "pytest." + "skip", "mark." + "xfail", "unittest." + "mock", "monkey" + "patch")
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in (ROOT / "tests").rglob("*.py")
        for word in words
        if word in path.read_text()
    ]
    assert found == []


@pytest.mark.parametrize(
    ("program", "heavy"),
    [
        ("fedyard.cli.main", {"numpy", "rich"}),
        ("ops.cli.main", {"flask", "granian", "waitress", "boto3", "pika", "honcho"}),
        ("ops.embedded", {"granian", "boto3", "pika"}),
    ],
)
def test_a_program_loads_nothing_heavy_that_it_has_no_use_for(program: str, heavy: set[str]) -> None:
    """An agent, and each command beside a hub, starts in half the time."""
    lines = f"import sys, {program}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=True)
    assert heavy & set(done.stdout.split()) == set()


def test_the_wire_loads_nothing_else_of_a_site() -> None:
    """The hub imports its modules one by one; that of the command lines alone needs click."""
    names = {path.stem for path in (ROOT / "fedyard" / "wire").glob("*.py")} - {"__init__", "command_line"}
    modules = sorted(f"fedyard.wire.{name}" for name in names)
    lines = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"click", "cryptography", "flask", "numpy", "rich", "sqlite3", "urllib3"} & loaded == set()
    assert {one for one in loaded if one.startswith("fedyard.")} == {"fedyard.wire", *modules}


def test_the_second_sealer_shares_no_line_with_the_first() -> None:
    source = (ROOT / "tests" / "fedyard" / "independent_seal.py").read_text()
    imported = {
        one.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for one in node.names
    }
    assert {one.partition(".")[0] for one in imported} & (PACKAGES | {"tests"}) == set()


def test_files_with_a_place_in_the_order_of_tests_are_there() -> None:
    assert [name for name in (*(f"tests/{one}" for one in LONG), *SPREAD) if not (ROOT / name).is_file()] == []


def test_files_whose_tests_are_spread_over_workers_share_nothing_of_their_own() -> None:
    assert [name for name in SPREAD if 'scope="module"' in (ROOT / name).read_text()] == []


def test_the_drawing_of_imports_is_of_today() -> None:
    """If this fails: `python -m tests.drawing`."""
    assert drawing.drawn_in(drawing.PAGE.read_text()) == drawing.draw()


def test_every_package_is_in_the_drawing_and_in_the_table_below_it() -> None:
    page = drawing.PAGE.read_text()
    assert {room.partition(".")[0] for room in drawing.ROOMS} == PACKAGES - PROOFS
    assert set(re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)) == PACKAGES - PROOFS


def test_the_rooms_of_the_drawing_are_passed_one_way_only() -> None:
    """Raises `CycleError`, which names the circle."""
    assert set(TopologicalSorter(drawing.imports_between_rooms()).static_order()) == set(drawing.ROOMS)
