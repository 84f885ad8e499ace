"""Each import that must not be is refused by what `make check` runs: planted in a copy, all of them at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.purity import WAYS_AROUND, ways_around
from tests.test_architecture import PACKAGES, PROJECT, ROOT

TYPES_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {}"

PLANTED = [
    # (contract, module, planted line, what is refused)
    ("pure", "domain/decisions/runs.py", "import kubernetes", "kubernetes"),
    ("pure", "domain/decisions/runs.py", "import numpy", "numpy"),
    ("pure", "domain/decisions/seats.py", "import time", "time"),
    ("pure", "domain/decisions/rooms_of_tomorrow.py", "import a_package_of_tomorrow", "a_package_of_tomorrow"),
    ("pure", "domain/chain.py", "def later():\n    import importlib", "importlib"),
    ("pure", "domain/ids.py", 'os = __import__("os")', "__import__"),
    ("pure", "domain/codec.py", 'table = open("table").read()', "open"),
    ("pure", "domain/needs.py", 'evil = eval("1")', "eval"),
    ("pure", "domain/decisions/messages.py", "from broker.port import Publisher", "broker.port"),
    ("pure", "domain/events.py", "from fedyard.sealed import sealing", "fedyard.sealed.sealing"),
    ("pure", "fedyard/wire/types.py", "import socket", "socket"),  # reached by the line below
    ("layers", "domain/decisions/messages.py", "from broker.port import Publisher", "broker.port"),
    ("layers", "broker/messages.py", "import storage.database", "storage.database"),
    ("layers", "web/problems.py", "from actors import ticker", "actors.ticker"),
    ("readers", "web/problems.py", "from actors import ticker", "actors.ticker"),
    ("readers", "web/http/calls.py", "from storage.store import Store", "storage.store"),
    ("readers", "web/http/calls.py", "import storage.loading", "storage.loading"),
    ("readers", "web/api/matches.py", "import storage.loading_matches", "storage.loading_matches"),
    ("web", "web/live/shares.py", "from web.http import parsing", "web.http.parsing"),
    ("web", "web/http/parsing.py", "def later():\n    from web.api import table", "web.api.table"),
    ("nouns", "web/api/sites.py", "from web.api import recovery", "web.api.recovery"),
    ("nouns", "web/api/me.py", "def later():\n    from web.api import table", "web.api.table"),
    ("page", "web/page/runs.py", "from web.page import people", "web.page.people"),
    ("page", "web/page/forms.py", "def later():\n    from web.page import acting", "web.page.acting"),
    ("views", "storage/views/people.py", "from storage.store import Store", "storage.store"),
    ("views", "storage/blobs/port.py", "from storage.due import Due", "storage.due"),
    ("writer", "storage/loading.py", "from storage.views.sight import Sight", "storage.views.sight"),
    ("writer", "storage/loading_matches.py", "from storage.views import sight", "storage.views.sight"),
    ("archives", "fedyard/cluster/archives/checking.py", "import msgspec", "msgspec"),
    ("manifests", "fedyard/cluster/plan.py", "import sqlite3", "sqlite3"),
    ("kubernetes", "actors/relay.py", "import kubernetes", "kubernetes"),
    ("grpc", "actors/relay.py", "import grpc", "grpc"),
    ("grpc", "fedyard/sidecar/journal.py", "import grpc", "grpc"),
    ("kafka", "broker/messages.py", "from confluent_kafka import Producer", "confluent_kafka"),
    ("hub", "actors/relay.py", "import fedyard.agent.agent", "fedyard.agent.agent"),
    ("site", "fedyard/client/calls.py", "from domain import states", "domain.states"),
    ("rooms", "fedyard/tasks/child.py", "from fedyard.agent.site import Settings", "fedyard.agent.site"),
    ("rooms", "fedyard/agent/agent.py", "def later():\n    import fedyard.cli.main", "fedyard.cli.main"),
    ("rooms", "fedyard/client/calls.py", "from fedyard.sealed import keys", "fedyard.sealed.keys"),
    ("rooms", "fedyard/wire/chunks.py", "from fedyard.clock import micros_now", "fedyard.clock"),
    ("agent", "fedyard/agent/state/part.py", "from fedyard.agent.courier import Courier", "fedyard.agent.courier"),
    ("crypto", "fedyard/sealed/sealing.py", "from fedyard.client.client import Client", "fedyard.client.client"),
    ("crypto", "fedyard/sealed/keys.py", "import urllib3", "urllib3"),
    ("crypto", "fedyard/sealed/trust.py", "import sqlite3", "sqlite3"),
    ("crypto", "fedyard/sealed/trust.py", "from fedyard.clock import micros_now", "fedyard.clock"),
    ("wire", "fedyard/wire/seals.py", "from cryptography.fernet import Fernet", "cryptography"),
    ("wire", "fedyard/wire/durable.py", "import numpy", "numpy"),
    ("look", "fedyard/look/filters.py", "import socket", "socket"),
    ("look", "fedyard/look/drawing/graph.py", "from fedyard.clock import micros_now", "fedyard.clock"),
    ("manifests", "fedyard/cluster/manifests.py", "import socket", "socket"),
    ("manifests", "fedyard/cluster/names.py", "from fedyard.clock import draw_key", "fedyard.clock"),
    ("manifests", "fedyard/cluster/port.py", "from fedyard.cluster import processes", "fedyard.cluster.processes"),
    ("demo", "demo/secrecy.py", "import storage.database", "storage.database"),
    ("benchmarks", "benchmarks/figures.py", "from web.http import parsing", "web.http.parsing"),
    ("shut", "storage/store.py", "from cryptography.fernet import Fernet", "cryptography"),
    ("proofs", "ops/cli/main.py", "import chaos.faults", "chaos.faults"),
]
CIRCLES = [
    # (module, planted line, an import of the circle, as the report names it)
    ("web/http/calls.py", TYPES_ONLY.format("from web.http.operations import Operation"), ".calls -> .operations"),
    ("web/live/shares.py", "def later():\n    from web.live import waiters", ".waiters -> .shares"),
    ("fedyard/tasks/settings.py", TYPES_ONLY.format("from fedyard.tasks.child import Child"), ".settings -> .child"),
    ("domain/ids.py", TYPES_ONLY.format("from domain.decide import decide"), ".ids -> .decide"),
    ("storage/tables.py", "def later():\n    from storage import store", ".tables -> .store"),
]
HARMLESS = [("domain/records.py", "from fedyard.wire import types")]
"""Allowed, and a way by which what is not might come."""
NAMES = {one["id"]: one["name"] for one in PROJECT["tool"]["importlinter"]["contracts"]}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports says of the copy, as one line."""
    folder = tmp_path_factory.mktemp("planted")
    for package in sorted(PACKAGES):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    for name in ("pyproject.toml", "tests/__init__.py", "tests/purity.py"):
        shutil.copy(ROOT / name, folder / name)
    for path, line in sorted(
        {(path, line) for _, path, line, _ in PLANTED} | {(path, line) for path, line, _ in CIRCLES} | set(HARMLESS)
    ):
        with (folder / path).open("a") as module:
            module.write(f"\n{line}\n")
    lint_imports = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [lint_imports, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def broken(said: str) -> dict[str, str]:
    """Contract -> what the report says of it, of those that are broken."""
    names = {name: one for one, name in NAMES.items()}
    report = said.partition("Broken contracts")[2]
    starts = sorted((report.index(f" {name} ---"), name) for name in names if f" {name} ---" in report)
    ends = [start for start, _ in starts[1:]] + [len(report)]
    return {names[name]: report[start:end] for (start, name), end in zip(starts, ends, strict=True)}


def test_every_contract_refuses_something_that_is_planted(said: str) -> None:
    assert {contract for contract, _, _, _ in PLANTED} | {"circles"} == set(NAMES), (
        "plant what the new contract refuses"
    )
    assert set(broken(said)) == set(NAMES)


@pytest.mark.parametrize(("contract", "path", "line", "refused"), PLANTED)
def test_a_planted_import_is_refused(said: str, contract: str, path: str, line: str, refused: str) -> None:
    module = path.removesuffix(".py").replace("/", ".")
    assert f"{module} -> {refused} (l." in broken(said)[contract], line


@pytest.mark.parametrize(("path", "line", "closing"), CIRCLES)
def test_a_planted_circle_is_refused(said: str, path: str, line: str, closing: str) -> None:
    assert f"- {closing} (1 import)" in broken(said)["circles"], line


def test_what_is_allowed_is_not_refused(said: str) -> None:
    assert "domain.records -> fedyard.wire" not in broken(said)["pure"]


def test_whoever_has_no_room_for_an_outside_system_is_under_its_contract() -> None:
    contracts = {one["id"]: one for one in PROJECT["tool"]["importlinter"]["contracts"]}
    assert set(contracts["kubernetes"]["source_modules"]) == PACKAGES
    assert set(contracts["kafka"]["source_modules"]) == PACKAGES


@pytest.mark.parametrize("name", sorted(WAYS_AROUND))
def test_a_way_around_is_seen_wherever_it_stands(name: str) -> None:
    source = f"class A:\n    def b(self):\n        return [{name} for _ in ()]\n"
    assert [(one.what, one.lines) for one in ways_around("a", source)] == [(name, (3,))]


def test_a_word_of_the_same_name_is_none() -> None:
    assert ways_around("a", "self.open = record.compile(print_at=1)\n'eval'\n") == []
