"""The web and the decider as processes of their own, over real RabbitMQ and PostgreSQL; the last test stops them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from devservers.ports import free_port
from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from storage.database import open_database
from storage.store import Store
from tests.databases import fresh_postgres
from tests.seals import enrolling
from tests.waiting import until
from tests.web.network import ADMIN, DecidingPublisher, _first_admin

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Hub:
    url: str
    log: Path
    web: subprocess.Popen[bytes]
    pool: urllib3.PoolManager

    def call(self, method: str, path: str, body: Any = None, token: str = ADMIN, **headers: str) -> tuple[int, Any]:
        response = self.pool.request(
            method,
            self.url + path,
            body=None if body is None else json.dumps(body),
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
                "Prefer": "wait=20",
                **headers,
            },
            timeout=60,
            retries=False,
        )
        return response.status, json.loads(response.data)

    def gauge(self, name: str) -> float:
        text = self.pool.request("GET", f"{self.url}/metrics").data.decode()
        return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1])


@pytest.fixture(scope="module")
def hub(
    rabbitmq: PrivateRabbitmq, postgres: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hub]:
    tmp_path = tmp_path_factory.mktemp("hub")
    url = fresh_postgres(postgres)
    database = open_database(url)
    _first_admin(DecidingPublisher(Store(database)))
    database.close()
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FEDYARD_")},
        "FEDYARD_BROKER_URL": rabbitmq.vhost(),
        "FEDYARD_DATABASE_URL": url,
        "FEDYARD_HEAD_KEY_FILE": str(tmp_path / "head.key"),
        "FEDYARD_WEBHOOK_KEY_FILE": str(tmp_path / "webhook.key"),
        "FEDYARD_WORKLOAD_KEY_FILE": str(tmp_path / "workload.key"),
        "FEDYARD_WEB_PORT": str(port),
        "FEDYARD_WEB_THREADS": "64",
        "FEDYARD_WAITING_POLLS": "40",
        "FEDYARD_POLLS_PER_CALLER": "40",
    }
    roles = (["web.serving.wsgi"], ["actors.running", "decider"])
    with (tmp_path / "log").open("wb") as log:
        processes = [
            subprocess.Popen([sys.executable, "-m", *role], cwd=ROOT, env=environment, stdout=log, stderr=log)
            for role in roles
        ]
    made = Hub(f"http://127.0.0.1:{port}", tmp_path / "log", processes[0], urllib3.PoolManager(maxsize=50))
    try:
        until(lambda: _ready(made), 60)
        yield made
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(30)
        print((tmp_path / "log").read_text())


def _ready(hub: Hub) -> bool:
    try:
        return hub.call("GET", "/readyz")[0] == 200
    except urllib3.exceptions.HTTPError:
        return False


def test_a_healthy_start_warns_of_nothing(hub: Hub) -> None:
    assert "WARNING" not in hub.log.read_text()


def test_a_command_goes_round_and_a_poll_wakes(hub: Hub) -> None:
    status, organisation = hub.call("POST", "/v1/organisations", {"name": "oslo"})
    assert status == 201
    sites = []
    for name in ("oslo", "bergen"):
        _, enrolment = hub.call("POST", "/v1/enrolments", {"organisation_id": organisation["id"]})
        status, site = hub.call("POST", "/v1/sites", enrolling(enrolment["token"], name), enrolment["token"])
        assert status == 201
        sites.append(site)
    oslo, bergen = sites
    task = {"name": "train", "model": "logistic"}
    body = {"name": "p", "joining": "open", "sealed": "optional", "tasks": [task]}
    _, project = hub.call("POST", "/v1/projects", body, oslo["token"])
    assert hub.call("PUT", f"/v1/projects/{project['id']}/members/{bergen['id']}", {}, bergen["token"])[0] == 200
    _, inbox = hub.call("GET", "/v1/inbox", token=bergen["token"])
    with ThreadPoolExecutor(4) as threads:
        poll = threads.submit(hub.call, "GET", f"/v1/inbox?after={inbox['last_seq']}&wait=30", token=bergen["token"])
        until(lambda: hub.gauge("fedyard_polls_waiting") == 1)
        assert hub.call("POST", f"/v1/projects/{project['id']}/runs", {}, oslo["token"])[0] == 201
        status, answer = poll.result(60)
    assert status == 200
    assert answer["items"][0]["kind"] == "invited"
    until(lambda: hub.call("GET", f"/v1/sites/{bergen['id']}")[1]["seen_at"] is not None)


def test_it_stops_without_waiting_for_polls(hub: Hub) -> None:
    _, organisation = hub.call("POST", "/v1/organisations", {"name": "stavanger"})
    _, enrolment = hub.call("POST", "/v1/enrolments", {"organisation_id": organisation["id"]})
    _, site = hub.call("POST", "/v1/sites", enrolling(enrolment["token"], "stavanger"), enrolment["token"])
    with ThreadPoolExecutor(30) as threads:
        polls = [threads.submit(hub.call, "GET", "/v1/inbox?wait=30", token=site["token"]) for _ in range(30)]
        until(lambda: hub.gauge("fedyard_polls_waiting") == 30)
        hub.web.send_signal(signal.SIGTERM)
        assert hub.web.wait(20) == 0
        assert [poll.result(20)[0] for poll in polls] == [200] * 30
    assert "Traceback" not in hub.log.read_text()
