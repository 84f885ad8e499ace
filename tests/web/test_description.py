"""docs/api.md names every call and every problem."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from web.api.routing import operations
from web.http.operations import Operation
from web.problems import TITLES

ROOT = Path(__file__).parent.parent.parent
API = (ROOT / "docs" / "api.md").read_text()
DECISIONS = "\n".join(path.read_text() for part in ("actors", "domain") for path in sorted((ROOT / part).rglob("*.py")))
SLUGS = set(re.findall(r"Refused\(\s*\d{3},\s*\"(\w+)\"", DECISIONS)) | set(re.findall(r"/problems/(\w+)", DECISIONS))


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


@pytest.mark.parametrize("slug", sorted(set(TITLES) | SLUGS))
def test_every_problem_is_documented(slug: str) -> None:
    table = API[API.index("## Problems") :]
    assert f"`{slug}`" in table


def test_no_problem_is_documented_that_is_none() -> None:
    table = API[API.index("## Problems") :]
    named = set(re.findall(r"`(\w+)`", table))
    code = "\n".join(
        path.read_text()
        for path in [path for part in ("web", "actors", "domain") for path in (ROOT / part).rglob("*.py")]
    )
    assert {slug for slug in named if f'"{slug}"' not in code and f"/problems/{slug}" not in code} == set()
