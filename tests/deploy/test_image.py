"""The Containerfile: what it copies is there, and so is all that the processes import; it fetches what is written."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.version import Version

from tests.deploy.checkout import ROOT, USER, processes

SAID = (ROOT / "Containerfile").read_text()
STEPS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n\s*", "", SAID).splitlines()
    if line.strip() and not line.startswith("#")
]
APART = {"benchmarks", "chaos", "demo"}
"""Packages that no process of the hub, and no site, imports."""


def said(instruction: str) -> list[str]:
    return [rest for word, rest in STEPS if word == instruction]


def copied() -> set[str]:
    """From the checkout."""
    return {source for rest in said("COPY") if "--from" not in rest for source in rest.split()[:-1]}


def is_sent(path: str) -> bool:
    """Does the builder get it? The last line that fits decides."""
    sent = True
    for line in (ROOT / ".containerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch(path, line.lstrip("!")):
            sent = line.startswith("!")
    return sent


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    for source in copied():
        assert (ROOT / source).exists(), source
        assert is_sent(source), source
    assert not is_sent("var")
    assert not is_sent(".env")
    assert (ROOT / ".dockerignore").resolve() == ROOT / ".containerignore"


def test_all_packages_of_hub_and_site_are_in_it() -> None:
    ours = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"])
    assert ours - copied() == APART


def test_every_process_can_be_started_in_it() -> None:
    assert json.loads(said("CMD")[0]) == processes()["web"].arguments
    assert json.loads(said("ENTRYPOINT")[0]) == ["/opt/fedyard/.venv/bin/python"]
    for process in processes().values():
        (at,) = (index for index, word in enumerate(process.arguments) if word == "-m")
        package, _, module = process.arguments[at + 1].partition(".")
        assert package in copied()
        assert (ROOT / package / f"{module.replace('.', '/')}.py").exists()


def test_it_runs_as_nobody_who_is_root() -> None:
    assert said("USER") == [f"{USER}:{USER}"]
    assert STEPS[-1][0] == "CMD"


def test_it_names_no_registry() -> None:
    images = [*said("FROM"), *(rest for rest in said("ARG") if rest.startswith("BASE="))]
    for image in images:
        assert not re.search(r"\w\.\w[\w.]*/|:\d+/", image), image
        assert not image.endswith(":latest")
    assert "http" not in SAID
    assert "index-url" not in SAID


def test_it_installs_exact_versions_of_all_that_is_needed() -> None:
    """Also of what the requirements need in their turn; from what is installed here, as far as it is."""
    pinned = dict(pins(ROOT / "requirements-lock.txt"))
    wanted = dict(pins(ROOT / "requirements.txt"))
    assert wanted.items() <= pinned.items()
    left, seen = list(wanted), set()
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        assert name in pinned, f"{name} is needed and not in requirements-lock.txt"
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                wants = canonical(need.name)
                assert wants in pinned, f"{wants}, which {name} needs, is not in requirements-lock.txt"
                assert Version(pinned[wants]) in need.specifier, f"{name} needs {need}"
                left.append(wants)
    assert seen == set(pinned), "requirements-lock.txt has what nothing needs"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path) -> list[tuple[str, str]]:
    rows = [line.split(" #")[0].strip() for line in path.read_text().splitlines()]
    split = [row.partition("==") for row in rows if row and not row.startswith("#")]
    assert all(sign and version for _, sign, version in split)
    return [(canonical(name), version) for name, _, version in split]
