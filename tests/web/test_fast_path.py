"""The shorter way of the busiest calls answers what Flask's way answers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import Client

from tests.web.network import Caller, Network
from web.api.table import operations
from web.http.fast_path import FastPathApp

NOBODY = "00000000-0000-4000-8000-000000000000"
HOT = [operation for operation in operations() if operation.hot]

QUESTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/v1/inbox", {}),
    ("GET", "/v1/inbox?after=0&limit=201", {}),
    ("GET", "/v1/inbox?colour=red", {}),
    ("GET", "/v1/inbox?after=0&after=1", {}),
    ("GET", "/v1/inbox/", {}),
    ("POST", "/v1/inbox", {}),
    ("HEAD", "/v1/inbox", {}),
    ("GET", f"/v1/runs/{NOBODY}", {}),
    ("GET", f"/v1/runs/{NOBODY.upper()}A", {}),
    ("PUT", f"/v1/runs/{NOBODY}/tasks/01/seats/{NOBODY}", {"json": {}}),
    ("PUT", f"/v1/runs/{NOBODY}/tasks/1/seats/{NOBODY}", {"json": {"event": "ready"}}),
    ("PUT", f"/v1/runs/{NOBODY}/tasks/1/seats/{NOBODY}", {"data": b"{", "content_type": "application/json"}),
    ("PUT", f"/v1/runs/{NOBODY}/tasks/1/seats/{NOBODY}", {"data": b"{}", "content_type": "text/plain"}),
    ("POST", "/v1/messages", {"data": b" " * 1_100_000, "content_type": "application/json"}),
    ("PUT", "/v1/inbox/acknowledged", {"json": {"through": -1}}),
    ("PUT", f"/v1/sites/{NOBODY}/heartbeat", {"json": {}}),
]


@pytest.fixture(scope="module")
def site(shared: Network) -> Caller:
    return shared.site("oslo")


@pytest.mark.parametrize("token", ["site", None, "wrong"])
@pytest.mark.parametrize(("method", "path", "body"), QUESTIONS)
def test_both_ways_answer_the_same(
    shared: Network,
    site: Caller,
    method: str,
    path: str,
    body: dict[str, Any],
    token: str | None,
) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {site.token if token == 'site' else 'x'}"}

    app = shared.app
    assert isinstance(app, FastPathApp)
    directly = Client(app).open(path, method=method, headers=headers, **body)
    flasks = Client(partial(Flask.wsgi_app, app)).open(path, method=method, headers=headers, **body)
    assert directly.status == flasks.status
    assert sorted(directly.headers) == sorted(flasks.headers)
    assert directly.get_data() == flasks.get_data()


def test_the_busiest_calls_go_directly() -> None:
    assert {operation.name for operation in HOT} >= {"beat", "read_inbox", "report_seat", "post_messages"}
