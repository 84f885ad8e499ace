"""docs/api.md names every call and every problem."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import msgspec
import pytest

import web.api
from domain.results import Result
from fedyard.wire.notices import NOTICES, Notice
from fedyard.wire.problems import ProblemType
from storage.views.streams.sendings import Sending
from web.api.table import operations
from web.http.openapi import document
from web.http.operations import Operation

ROOT = Path(__file__).parent.parent.parent
API = (ROOT / "docs" / "api.md").read_text()
HUB = "\n".join(path.read_text() for part in ("actors", "domain", "web") for path in (ROOT / part).rglob("*.py"))


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.name)
def test_every_call_is_documented(operation: Operation) -> None:
    path = re.sub(r"{\w+}", "<>", operation.path)
    calls = {
        f"{method} {re.sub('<[a-z]+>', '<>', where)}" for method, where in re.findall(r"`([A-Z]+) (/[^`?]*)`", API)
    }
    calls |= {
        f"{second} {re.sub('<[a-z]+>', '<>', w)}" for _, second, w in re.findall(r"`([A-Z]+), ([A-Z]+) (/[^`]*)`", API)
    }
    assert f"{operation.method} {path}" in calls


def test_the_table_of_problems_is_the_catalogue() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", API[API.index("## Problems") :], re.MULTILINE)
    named = [(slug, int(status)) for status, slugs in rows for slug in re.findall(r"`(\w+)`", slugs)]
    assert sorted(named) == sorted((problem.slug, problem.status) for problem in ProblemType)


@pytest.mark.parametrize("problem", ProblemType, ids=lambda problem: problem.slug)
def test_every_problem_may_be_answered(problem: ProblemType) -> None:
    assert re.search(rf"\bProblemType\.{problem.name}\b", HUB)


def test_the_machine_readable_description_names_every_problem() -> None:
    described = document(operations())["components"]["schemas"]["Problem"]["properties"]["type"]
    assert set(described["examples"]) == {f"/problems/{problem.slug}" for problem in ProblemType}


@pytest.mark.parametrize("kind", Notice)
def test_every_kind_of_inbox_entry_is_documented_with_its_facts(kind: Notice) -> None:
    table = API[API.index("| kind | to | facts | message |") :]
    row = next(line for line in table.splitlines() if re.match(rf"\|[^|]*`{kind}`", line))
    kinds, _, facts, _ = (cell.strip() for cell in row.strip("|").split("|"))
    named, said = re.findall(r"`(\w+)`", kinds), re.findall(r"`{(.*?)}`", facts)
    fields = re.findall(r"(\w+\??)(?:: \[{.*?}\])?(?:, |$)", said[named.index(kind) % len(said)])
    kept = msgspec.structs.fields(NOTICES[kind])
    assert sorted(fields) == sorted(one.name + ("" if one.required or one.name == "by" else "?") for one in kept)


@pytest.mark.parametrize("operation", [one for one in operations() if one.write], ids=lambda operation: operation.name)
def test_the_result_of_every_write_is_documented_with_its_fields(operation: Operation) -> None:
    path = re.escape(operation.path)
    path = re.sub(r"\\{\w+\\}", "<[a-z]+>", path)
    row = next(line for line in API.splitlines() if re.match(rf"\| `{operation.method} {path}(\?[^`]*)?`", line))
    status, result = re.search(r"(\d{3}) `{(.*?)}`", row.strip("| ").rpartition(" | ")[2]).groups()
    ((given, kind),) = operation.answers.items()
    assert (int(status), result.split(", ")) == (given, [one.name for one in msgspec.structs.fields(kind)])
    assert issubclass(kind, Result | Sending)  # which is read once it has been sent, and not decided


def test_every_noun_is_in_the_table() -> None:
    nouns = [importlib.import_module(f"web.api.{found.name}") for found in pkgutil.iter_modules(web.api.__path__)]
    assert {one.name for noun in nouns for one in getattr(noun, "OPERATIONS", ())} == {one.name for one in operations()}
