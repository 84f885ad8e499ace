"""What `pip install fedyard` brings: the wheel, in an environment that has it and what it needs, and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import psutil
import pytest
from packaging.requirements import Requirement

import fedyard
from fedyard.agent.health import read
from fedyard.clock import micros_now
from ops.distribution import MAX_DEPENDENCIES, build, dependencies_of, faults_of, metadata_of
from tests.fedyard.world import World
from tests.ops.program import ROOT, environment
from tests.waiting import until

INSTALLED_BYTES = 110e6
"""With all that it needs, of which numpy has two thirds."""
RESIDENT_BYTES = 60e6
"""Of an agent that has nothing to do."""
HUB = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "fedyard")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment_with(wheel, tmp_path_factory.mktemp("site") / "venv")


def environment_with(wheel: Path, folder: Path) -> Path:
    """The programs of an environment with the wheel, and links to what it needs and what that needs. No network."""
    venv.create(folder, with_pip=False)
    packages = next(folder.glob("lib/python*/site-packages"))
    for name in closure(dependencies_of(wheel)):
        there = metadata.distribution(name)
        for top in {file.parts[0] for file in there.files or []} - {"..", "__pycache__"}:
            (packages / top).symlink_to(str(there.locate_file(top)))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check"]
    install = ["install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    return folder / "bin"


def closure(names: list[str]) -> set[str]:
    """The distributions of these names, with all that they need here."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        needs = [Requirement(text) for text in metadata.requires(name) or []]
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def run(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *arguments], cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )


def test_it_has_the_sites_package_alone(wheel: Path) -> None:
    assert faults_of(wheel) == []
    names = zipfile.ZipFile(wheel).namelist()
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "fedyard").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == here
    assert {"fedyard/py.typed", "fedyard/wire/bip39_english.txt"} <= set(names)


def test_it_needs_six_packages_and_those_are_tested(wheel: Path) -> None:
    needed = dependencies_of(wheel)
    assert needed == ["click", "cryptography", "msgspec", "numpy", "rich", "urllib3"]
    assert len(needed) <= MAX_DEPENDENCIES
    files = ("requirements.txt", "requirements-dev.txt")  # the latter: of what extras bring and the hub has no use for
    pinned = dict(line.split("==") for file in files for line in (ROOT / file).read_text().split() if "==" in line)
    for text in metadata_of(wheel).get_all("Requires-Dist") or []:
        assert Requirement(text).specifier.contains(pinned[Requirement(text).name]), text


def test_it_is_light(wheel: Path) -> None:
    """On the disk, as pip leaves it: compiled, too, which takes a third more than the sources do."""
    taken = 0.0
    for name in closure(dependencies_of(wheel)):
        for file in metadata.distribution(name).files or []:
            path = Path(str(file.locate()))
            if path.suffix != ".pyc" and path.is_file():
                taken += path.stat().st_size * (2.35 if path.suffix == ".py" else 1)
    with zipfile.ZipFile(wheel) as archive:
        taken += sum(one.file_size * (2.35 if one.filename.endswith(".py") else 1) for one in archive.infolist())

    assert 60e6 < taken < INSTALLED_BYTES, f"{taken / 1e6:.1f} MB"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("web/app.py", "web is none of the site's"),
        *(
            (name, f"{name} is no source: move it out of fedyard/, lest it be published")
            for name in (
                "fedyard/__pycache__/x.pyc",
                "fedyard/site.token",
                "fedyard/agent/identity.key",
                "fedyard/.env",
                "fedyard/portal/templates/site.token",
                "fedyard/look/static/page.css.map",
            )
        ),
        ("tests.py", "tests.py is none of the site's"),
    ],
)
def test_what_does_not_belong_there_is_named(wheel: Path, tmp_path: Path, name: str, said: str) -> None:
    odd = tmp_path / wheel.name
    odd.write_bytes(wheel.read_bytes())
    with zipfile.ZipFile(odd, "a") as archive:
        archive.writestr(name, "")
    assert faults_of(odd) == [said]


def test_what_is_missing_is_named(wheel: Path, tmp_path: Path) -> None:
    odd = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(odd, "w") as archive:
        for name in whole.namelist():
            if name != "fedyard/py.typed":
                archive.writestr(name, whole.read(name))
    assert faults_of(odd) == ["fedyard/py.typed is missing"]


def test_its_version_is_the_packages(wheel: Path, installed: Path, tmp_path: Path) -> None:
    assert metadata_of(wheel)["Version"] == fedyard.__version__
    shown = run(installed / "fedyard", "--version", cwd=tmp_path)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, f"fedyard {fedyard.__version__}\n", "")


def test_it_has_all_that_it_imports_and_nothing_of_the_hub(installed: Path, tmp_path: Path) -> None:
    lines = """
import importlib, importlib.util, pkgutil, sys
import fedyard
for module in pkgutil.walk_packages(fedyard.__path__, "fedyard."):
    if module.name.split(".")[1] not in ("look", "portal") and module.name != "fedyard.python.drawing":  # need an extra
        importlib.import_module(module.name)
from fedyard import Client, Result, Task, TaskError
print(fedyard.__file__)
print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])
"""
    done = run(installed / "python", "-c", lines, *HUB, "sklearn", "mnemonic", "flask", cwd=tmp_path)
    file, found = done.stdout.splitlines() or [done.stderr, ""]
    assert (Path(file).is_relative_to(installed.parent), found) == (True, "[]"), done.stderr


def test_what_needs_an_extra_says_which(installed: Path, tmp_path: Path) -> None:
    said = {
        "FEDYARD_HUB_URL": "http://127.0.0.1:9",
        "FEDYARD_PROJECT_ID": "p",
        "FEDYARD_TOKEN": "t",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [installed / "python", "-m", "fedyard.sidecar", "fl_checkpoint"],
        cwd=tmp_path, env=environment() | said, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "")
    assert "pip install 'fedyard[sidecar]'" in done.stdout
    portal = run(installed / "fedyard", "--folder", "none", "site", "portal", cwd=tmp_path)
    assert portal.returncode == 2
    assert "pip install 'fedyard[portal]'" in portal.stderr
    for lines, extra in {
        "from fedyard.client.listed import Listed; Listed([1]).frame()": "tables",
        "from fedyard.python.runs import Run; Run.plot(None)": "notebook",
    }.items():
        drawn = run(installed / "python", "-c", lines, cwd=tmp_path)
        assert drawn.stderr.splitlines()[-1].endswith(f'pip install "fedyard[{extra}]"'), drawn.stderr


def test_a_site_enrols_and_runs_with_it(installed: Path, world: World, tmp_path: Path) -> None:
    """In a folder whose files are called as the hub's packages are."""
    for name in HUB:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('met {name}.py')\n")
    token = tmp_path / "token"
    token.write_text(world.admin.create_enrolment(world.organisation_id).token or "")
    program, name = installed / "fedyard", f"{tmp_path.name} site"
    made = run(
        program, *("site", "--folder", "north", "init", "--hub", world.hub), "--name", name, "--token-file", "token",
        cwd=tmp_path,
    )  # fmt: skip
    assert (made.returncode, "enrolled as site" in made.stdout, made.stderr) == (0, True, "")
    known = run(program, "--folder", "north", "site", "whoami", cwd=tmp_path)
    assert (known.returncode, known.stdout.startswith(f"site {name} (")) == (0, True), known.stderr
    log = tmp_path / "agent.log"
    with log.open("wb") as output:
        agent = subprocess.Popen(
            [str(program), "--folder", "north", "site", "run"], cwd=tmp_path, env=environment(), stderr=output
        )
    try:
        until(lambda: ((said := read(tmp_path / "north")) and said.lives(micros_now())) or agent.poll() is not None)
        assert agent.poll() is None, log.read_text()
        resident = psutil.Process(agent.pid).memory_info().rss
        assert resident < RESIDENT_BYTES, f"an idle agent takes {resident / 1e6:.0f} MB"
    finally:
        agent.send_signal(signal.SIGTERM)
    assert agent.wait() == 0, log.read_text()


def loaded_by(line: str) -> set[str]:
    lines = f"{line}\nimport sys\nprint(*(name for name in sys.modules if name.split('.')[0] == 'fedyard'))"
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_one_room_loads_no_other() -> None:
    assert loaded_by("import fedyard") == {"fedyard"}
    words = {"fedyard", "fedyard.wire", "fedyard.wire.plurals", "fedyard.wire.words"}
    assert loaded_by("import fedyard.wire.words") == words
    assert loaded_by("from fedyard import Task, Result, TaskError") == {"fedyard", "fedyard.tasks"}
    assert "fedyard.client.client" in loaded_by("from fedyard import Client")


@pytest.mark.parametrize("name", fedyard.__all__)
def test_what_the_package_exports_is_there(name: str) -> None:
    assert getattr(fedyard, name) is not None
    assert name in dir(fedyard)


def test_what_it_does_not_export_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fedyard' has no attribute 'Manager'"):
        fedyard.Manager  # noqa: B018 - asked for, to be refused
