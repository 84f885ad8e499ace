"""`make dist`: the wheel of the site's package, and a check of what is in it. Needs requirements-dev.txt."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

from ops.place import CHECKOUT

PACKAGE = "fedyard"
MAX_DEPENDENCIES = 6
MUST_HAVE = (
    "fedyard/py.typed",
    "fedyard/wire/bip39_english.txt",
    "fedyard/cli/main.py",
    "fedyard/tasks/reaper.py",
    "fedyard/look/templates/base.html",
    "fedyard/look/static/page.css",
    "fedyard/portal/templates/now.html",
    "fedyard/simulating/templates/numpy/my_task.py.in",
)
MAY_HAVE = {
    "fedyard/look/templates/": (".html",),
    "fedyard/look/static/": (".css", ".js", ".svg"),
    "fedyard/look/vendor/": (".css", ".js", ".LICENSE"),
    "fedyard/portal/templates/": (".html",),
    "fedyard/simulating/templates/": (".py.in", ".md.in"),
}
"""Folder -> endings of what lies there beside sources: what pages, and new projects, are made of."""


class BuildError(Exception):
    """No wheel came of it; says what the builder said."""


def build(into: Path) -> Path:
    """Build the wheel into the folder; the same bytes of the same sources. Raises `BuildError`."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into.resolve())]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    made = sorted(into.glob("*.whl"), key=lambda path: path.stat().st_mtime_ns)
    if done.returncode or not made:
        raise BuildError(done.stderr.strip())
    return made[-1]


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def dependencies_of(wheel: Path) -> list[str]:
    """Names of what `pip install` brings along."""
    needed = metadata_of(wheel).get_all("Requires-Dist") or []
    return [re.split(r"[^\w.-]", one, maxsplit=1)[0] for one in needed if "extra ==" not in one]


def faults_of(wheel: Path) -> list[str]:
    """What is wrong with it, a sentence each."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    at_top = {name.split("/")[0] for name in names}
    found = [
        f"{top} is none of the site's" for top in sorted(at_top) if top != PACKAGE and not top.endswith(".dist-info")
    ]
    found += [f"{name} is missing" for name in MUST_HAVE if name not in names]
    found += [
        f"{name} is no source: move it out of {PACKAGE}/, lest it be published"
        for name in names
        if name.startswith(f"{PACKAGE}/") and not (name.endswith(".py") or name in MUST_HAVE or _is_of_a_page(name))
    ]
    count = len(dependencies_of(wheel))
    if count > MAX_DEPENDENCIES:
        found.append(f"it has {count} dependencies, of {MAX_DEPENDENCIES} at most")
    return found


def _is_of_a_page(name: str) -> bool:
    return any(name.startswith(folder) and name.endswith(endings) for folder, endings in MAY_HAVE.items())


def main() -> int:
    """Build it into ./dist, and say what it is."""
    into = CHECKOUT / "dist"
    into.mkdir(exist_ok=True)
    for old in into.glob("*.whl"):
        old.unlink()
    try:
        wheel = build(into)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    found = faults_of(wheel)
    for fault in found:
        print(f"{wheel.name}: {fault}", file=sys.stderr)
    if found:
        wheel.unlink()
        return 1
    print(f"{wheel.relative_to(CHECKOUT)}  {wheel.stat().st_size} bytes; it needs {', '.join(dependencies_of(wheel))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
