"""The docs say what the code does: every variable, every queue, every command of the operator, every link."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from broker.routes import QUEUES
from config.processes import WORKERS
from config.settings import options
from fedyard.cluster.port import Reason
from ops.cli.main import HUB

ROOT = Path(__file__).resolve().parent.parent
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
WORKLOADS = (ROOT / "docs" / "workloads.md").read_text()
OPTIONS = options()
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("variable", OPTIONS)
def test_every_variable_is_documented_with_its_default_and_meaning(variable: str) -> None:
    assert f"| `{variable}` | `{OPTIONS[variable].default}` | {OPTIONS[variable].about}" in OPERATIONS


def test_no_variable_is_documented_that_is_none() -> None:
    documented = set(re.findall(r"^\| `(FEDYARD_\w+)` \|", OPERATIONS, re.MULTILINE))
    assert documented == set(OPTIONS)


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_every_queue_is_explained(queue) -> None:
    assert f"| `{queue.name}` | {queue.meaning} |" in OPERATIONS


def test_every_metric_is_named_and_no_other() -> None:
    paths = (ROOT / "web" / "live").glob("*metrics.py")
    known = [name for path in paths for name in re.findall(r'"(fedyard_\w+)"', path.read_text())]
    named = {name.removesuffix("_total") for name in re.findall(r"`(fedyard_\w+)", OPERATIONS)}
    assert named == set(known)


def test_every_reason_of_a_workload_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", WORKLOADS, re.MULTILINE)
    assert sorted(rows) == sorted(reason for reason in Reason if reason)


@pytest.mark.parametrize("worker", WORKERS)
def test_every_process_is_named_where_they_are_counted_up(worker: str) -> None:
    architecture = (ROOT / "docs" / "architecture.md").read_text()
    assert re.search(rf"^\| {worker} \| .+ \| .+ \|$", architecture, re.MULTILINE)
    assert re.search(rf"`GET /readyz` names the part that is down: [^.]*\b{worker}\b", OPERATIONS)


def commands(command: click.Command, name: str = "") -> Iterator[str]:
    """Every command of the command line, with its verbs."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield name.strip()
    if isinstance(command, click.Group):
        for word, below in command.commands.items():
            yield from commands(below, f"{name} {word}")


def code(page: str) -> Iterator[set[str]]:
    """The words of each line's code: all of it inside a block, elsewhere what stands between backticks."""
    inside = False
    for line in page.splitlines():
        if line.startswith("```"):
            inside = not inside
        said = line if inside else " ".join(re.findall(r"`([^`]+)`", line))
        yield set(re.findall(r"[\w-]+", said))


@pytest.mark.parametrize("command", sorted(commands(HUB)))
def test_every_command_of_the_operator_is_documented(command: str) -> None:
    assert any(words >= set(command.split()) for words in code(OPERATIONS))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


def test_decisions_are_numbered_once() -> None:
    numbers = [path.name[:4] for path in (ROOT / "docs" / "adr").glob("*.md")]
    assert len(numbers) == len(set(numbers))


def test_no_page_holds_the_marks_of_a_merge() -> None:
    marked = [
        f"{page.relative_to(ROOT)}: {line}"
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for line in page.read_text().splitlines()
        if line.startswith(("<" * 7, ">" * 7)) or line == "=" * 7
    ]
    assert marked == []
