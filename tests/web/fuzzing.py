"""schemathesis against /openapi.json over a hub with real records: no 5xx, no undocumented answer, no schema broken,
valid data accepted, invalid data refused, no call without its token. test_fuzzing.py runs it; `make fuzz` with more."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation

from tests.databases import fresh_sqlite
from tests.web.network import Caller, Network, network
from web.api.table import operations
from web.http.openapi import document

EXAMPLES = int(os.environ.get("EXAMPLES", "2"))
"""Drawn by chance for each kind of call; those at the edges of the schemas come on top, and are always all."""
GENERATION = {"deterministic": True, "max-examples": EXAMPLES, "database": "none"}
gc.set_threshold(50_000, 20, 50)
"""Cases are drawn by the ten thousand; Python's own way to look through them for cycles was a sixth of the time."""
CONFIG = {
    "seed": 20261122,
    "checks": {
        # 422 is a valid request that asks for what cannot be, e.g. tasks that wait for each other in a circle.
        "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "409", "422"]},
        "negative_data_rejection": {
            "expected-statuses": ["400", "401", "403", "404", "405", "411", "413", "415", "422"]
        },
    },
}


class World:
    """A hub, somebody of each kind, and ids of things that are there."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.site = net.site("oslo")
        other = net.site("bergen")
        project = net.project(self.site, other)
        self.ids = {"project_id": project, "run_id": net.run(self.site, project), "site_id": self.site.id}
        self.enrolment = net.enrolment(net.organisation("tromso"))

    def caller(self, case: schemathesis.Case) -> Caller:
        """Who may do it at all, by the operation's own words."""
        said = str(case.operation.definition.raw.get("description", ""))
        if said.startswith("For tokens of: enrolment;"):
            return self.enrolment
        return self.site if "site" in said else self.net.admin


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    net = network(fresh_sqlite(folder / "store.sqlite"), folder, reads_per_s=1e6, writes_per_s=1e6)
    net.app.config["PROPAGATE_EXCEPTIONS"] = False
    stage.app = net.app
    yield World(net)
    net.close()


class Stage:
    """The WSGI app that the cases call: the hub's, once there is one."""

    app: Flask | None = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        assert self.app is not None
        return self.app(environ, start_response)


stage = Stage()


def load(mode: str) -> Any:
    config = SchemathesisConfig.from_dict({**CONFIG, "generation": {**GENERATION, "mode": mode}})
    loaded = schemathesis.openapi.from_dict(document(operations()), config=config)
    loaded.app = stage
    return loaded


whatever, valid = load("all"), load("positive")


@whatever.parametrize()
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_unknown_ids(case: schemathesis.Case, world: World) -> None:
    call(case, world)


@valid.exclude(method="DELETE").include(path_regex="{(project|run|site)_id}").parametrize()
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_ids_that_are_there(case: schemathesis.Case, world: World) -> None:
    for name in case.path_parameters:
        case.path_parameters[name] = world.ids.get(name, 1)
    call(case, world)


def call(case: schemathesis.Case, world: World) -> None:
    """Send it with a good token, unless the headers are what is bad about it, and without long waits."""
    headers = {"Prefer": "wait=5"}
    if case.operation.definition.raw["security"] and not bad_headers(case):
        headers["Authorization"] = f"Bearer {world.caller(case).token}"
    if re.fullmatch(r"[12]?[0-9](\.[0-9]+)?|30", str((case.query or {}).get("wait"))):
        case.query["wait"] = 0.01
    if isinstance(case.body, (dict, list)):
        case.body = whole(case.body)
    case.call_and_validate(headers=headers)


def bad_headers(case: schemathesis.Case) -> bool:
    component = case.meta.components.get(ParameterLocation.HEADER) if case.meta else None
    return component is not None and component.mode.is_negative


def whole(value: Any) -> Any:
    """JSON Schema takes 3.0 for an integer; the API wants whole numbers written as such."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    return [whole(one) for one in value] if isinstance(value, list) else value
