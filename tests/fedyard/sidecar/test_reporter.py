"""The hub's answers: what is told again, what is let go, and in which order; the hub here is a list of answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from fedyard.client.client import Client
from fedyard.clock import SystemClock
from fedyard.sidecar.journal import Journal
from fedyard.sidecar.reporter import Reporter
from fedyard.sidecar.rounds import Stage
from tests.waiting import until

NOW = 1000
PROJECT = "0c1b7f5e-0000-4000-8000-000000000001"
TOKEN = "fyr_of-the-test"


class Hasty(SystemClock):
    """Waits a hundredth of what it is told to."""

    def wait(self, event, seconds):
        return event.wait(seconds / 100)


class Answers(ThreadingHTTPServer):
    """status: of the next answers; afterwards 200."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        super().__init__(("127.0.0.1", 0), Answering)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    server: Answers
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = {"path": self.path, "key": self.headers["Idempotency-Key"], "by": self.headers["Authorization"], **body}
        self.server.asked.append(asked)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        slug = {401: "token_not_valid", 409: "round_over"}.get(status, "")
        content = json.dumps({"type": f"https://fedyard/{slug}", "status": status} if status >= 400 else {}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def hub() -> Iterator[Answers]:
    server = Answers()
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def journal(hub: Answers, said: list[str], tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path, said.append)
    client = Client(hub.url, TOKEN, give_up_s=0.0, clock=Hasty())
    reporter = Reporter(client, PROJECT, made, tmp_path / "fl_checkpoint", said.append, Hasty())
    reporter.start()
    yield made
    reporter.close()


def told(hub: Answers) -> list[tuple[int, str]]:
    return [(one["number"], one["stage"]) for one in hub.asked]


def test_stages_are_told_in_their_order_with_the_token_and_a_key_of_their_own(hub: Answers, journal: Journal) -> None:
    journal.take(0, Stage.CONFIGURATION, NOW)
    journal.take(1, Stage.SELECTION, NOW)
    until(lambda: len(hub.asked) == 3)
    assert told(hub) == [(0, "CONFIGURATION"), (0, "COMPLETED"), (1, "SELECTION")]
    assert {one["path"] for one in hub.asked} == {f"/v1/projects/{PROJECT}/rounds"}
    assert {one["by"] for one in hub.asked} == {f"Bearer {TOKEN}"}
    assert {one["start"] for one in hub.asked} == {NOW}
    assert len({one["key"] for one in hub.asked}) == 3
    until(journal.is_told)


@pytest.mark.parametrize("status", [503, 429, 401])
def test_what_the_hub_cannot_take_now_is_told_again_before_anything_else(
    hub: Answers, journal: Journal, status: int
) -> None:
    hub.statuses = [status] * 3
    journal.take(0, Stage.CONFIGURATION, NOW)
    journal.take(0, Stage.REPORTING, NOW)
    until(journal.is_told)
    assert told(hub) == [(0, "CONFIGURATION")] * 4 + [(0, "REPORTING")]
    assert len({one["key"] for one in hub.asked}) == 2, "a repeat is the same request"


def test_what_the_hub_never_takes_is_let_go_with_a_word(hub: Answers, journal: Journal, said: list[str]) -> None:
    hub.statuses = [409]
    journal.take(0, Stage.CONFIGURATION, NOW)
    journal.take(0, Stage.REPORTING, NOW)
    until(journal.is_told)
    assert told(hub) == [(0, "CONFIGURATION"), (0, "REPORTING")]
    assert any("round_over" in one for one in said)
    assert not any(TOKEN in one for one in said)
