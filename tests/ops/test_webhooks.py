"""Webhooks end to end: a real receiver over HTTP, who is told once in effect, whatever is killed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from actors.running import run_decider, run_ticker
from config.settings import Settings
from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from tests.databases import lent_postgres
from tests.ops.program import ROOT, Program, call, create_account, environment, fedyard
from tests.seals import enrolling
from tests.waiting import until
from tests.web.network import network

LOCAL = "127.0.0.1"


class Receiver:
    """Answers the requests with these statuses, the last one again and again; a callable is called first."""

    def __init__(self, *answers: int | Callable[[], int | None]) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.heard.append((headers, body))
                answer = answers[min(len(receiver.heard), len(answers)) - 1]
                status = answer() if callable(answer) else answer
                if status is not None:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer((LOCAL, 0), Handler)
        self.url = f"http://{LOCAL}:{self.server.server_port}/in?key=s3cret"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@contextmanager
def receiver(*answers: int | Callable[[], int | None]) -> Iterator[Receiver]:
    made = Receiver(*answers)
    try:
        yield made
    finally:
        made.close()


def check(headers: dict[str, str], body: bytes, secret: str) -> None:
    """As docs/operations.md tells receivers to."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert wanted in headers["webhook-signature"].split(" ")
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 300


def test_a_doer_that_is_killed_between_request_and_report_tells_again_under_the_same_id(
    rabbitmq: PrivateRabbitmq, postgres: PrivatePostgres, tmp_path: Path
) -> None:
    stop = threading.Event()
    doers: list[subprocess.Popen[bytes]] = []

    def die() -> None:
        os.kill(doers[-1].pid, signal.SIGKILL)

    with lent_postgres(postgres) as url, receiver(die, 500, 204) as there:
        broker_url = rabbitmq.vhost()
        keys = {
            "head_key_file": f"{tmp_path}/head.key",
            "webhook_key_file": f"{tmp_path}/webhook.key",
            "workload_key_file": f"{tmp_path}/workload.key",
        }
        settings = Settings(broker_url=broker_url, database_url=url, tick_every_s=0.1, **keys)
        variables = environment(
            FEDYARD_BROKER_URL=broker_url,
            FEDYARD_DATABASE_URL=url,
            FEDYARD_WEBHOOK_KEY_FILE=keys["webhook_key_file"],
            FEDYARD_WORKLOAD_KEY_FILE=keys["workload_key_file"],
            FEDYARD_WEBHOOK_ALLOW=LOCAL,
        )

        def start_doer() -> None:
            log = (tmp_path / f"doer{len(doers)}").open("wb")
            argv = [sys.executable, "-m", "actors.running", "doer"]
            doers.append(subprocess.Popen(argv, env=variables, cwd=ROOT, stdout=log, stderr=log))
            log.close()

        threads = [threading.Thread(target=role, args=(settings, stop)) for role in (run_decider, run_ticker)]
        for thread in threads:
            thread.start()
        start_doer()
        net = network(url, tmp_path, broker_url=broker_url)
        try:
            lead = net.site("lead")
            project = net.project(lead)
            hook = lead.ok("POST", f"/v1/projects/{project}/webhooks", {"url": there.url, "kinds": ["run.ended"]})
            run = net.run(lead, project)
            lead.ok("POST", f"/v1/runs/{run}/stop", {"reason": "words of people"})
            until(lambda: doers[-1].poll() is not None)
            start_doer()
            until(lambda: len(there.heard) == 3)
            path = f"/v1/webhooks/{hook['id']}/deliveries?state=delivered"
            delivered = until(lambda: lead.ok("GET", path)["items"])
            assert lead.ok("GET", f"/v1/webhooks/{hook['id']}")["failures"] == 0
        finally:
            net.close()
            stop.set()
            for thread in threads:
                thread.join()
            doers[-1].send_signal(signal.SIGTERM)
            assert doers[-1].wait() == 0
    assert [(one["status"], one["attempts"]) for one in delivered] == [(204, 2)]
    assert {headers["webhook-id"] for headers, _ in there.heard} == {delivered[0]["id"]}
    assert len({body for _, body in there.heard}) == 1
    for headers, body in there.heard:
        check(headers, body, hook["secret"])
        assert json.loads(body)["data"]["run_id"] == run
        assert b"words of people" not in body
    for log in tmp_path.glob("doer*"):
        assert "s3cret" not in log.read_text()


def test_an_embedded_hub_tells_of_a_silent_site_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    programs: list[Program] = []

    def start() -> str:
        programs.append(
            Program(
                tmp_path / f"log{len(programs)}",
                *("embedded", "--data", tmp_path / "hub", "--port", "0"),
                FEDYARD_WEBHOOK_ALLOW=LOCAL,
                FEDYARD_HEARTBEAT_EVERY_S="0.3",
                FEDYARD_TICK_EVERY_S="0.1",
            )
        )
        return programs[-1].ready()

    def die() -> None:
        programs[-1].send(signal.SIGKILL)

    with receiver(die, 200) as there:
        try:
            api = start()
            admin = create_account(tmp_path / "hub")
            mine = call(api, "/v1/me", admin)[1]["organisation_id"]
            body = {"url": there.url, "kinds": ["site.silent", "site.returned"]}
            _, hook = call(api, f"/v1/organisations/{mine}/webhooks", admin, body)
            _, enrolment = call(api, "/v1/enrolments", admin, {"organisation_id": mine}, wait=20)
            status, site = call(api, "/v1/sites", enrolment["token"], enrolling(enrolment["token"], "Oslo"), wait=20)
            assert status == 201, site
            until(lambda: not programs[-1].runs())
            api = start()
            path = f"/v1/webhooks/{hook['id']}/deliveries"
            items = until(lambda: _settled(call(api, path, admin)))
            listed = fedyard("webhooks", "list", "--data", tmp_path / "hub")
            again = fedyard("webhooks", "redeliver", hook["id"], "--hours", "1", "--data", tmp_path / "hub")
            unknown = fedyard("webhooks", "redeliver", mine, "--data", tmp_path / "hub")
            assert programs[-1].end(signal.SIGTERM) == 0, programs[-1].output
        finally:
            for program in programs:
                program.end(signal.SIGKILL)
    assert [(one["kind"], one["state"]) for one in items] == [("site.silent", "delivered")]
    host = there.url.split("/")[2]
    assert listed.stdout == f"{hook['id']}  organisation {mine}  active  {host}  waiting 0  failed 0\n"
    assert again.returncode == 0, again.stderr
    assert (unknown.returncode, "there is no webhook" in unknown.stderr) == (2, True)
    assert len(there.heard) == 2
    for headers, body in there.heard:
        check(headers, body, hook["secret"])
        assert headers["webhook-id"] == items[0]["id"]
        assert json.loads(body)["data"]["site_id"] == site["id"]
    key = tmp_path / "hub" / "webhook.key"
    assert key.stat().st_mode & 0o777 == 0o600
    stored = b"".join(path.read_bytes() for path in (tmp_path / "hub").iterdir() if path.is_file() and path != key)
    assert base64.b64decode(hook["secret"].removeprefix("whsec_")) not in stored
    assert hook["secret"].encode() not in stored
    assert "s3cret" not in "".join(program.output for program in programs)


def _settled(answer: tuple[int, Any]) -> list[dict[str, Any]] | None:
    items = answer[1].get("items", [])
    return items if items and all(one["state"] != "waiting" for one in items) else None
