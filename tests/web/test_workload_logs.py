"""Logs of workloads over HTTP, live: who asks for more has them read, and hears of what comes."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest

from config.clock import SystemClock, draw_id
from domain import commands as c
from domain.codec import THE_HUB, envelope_of
from domain.commands import AnyCommand
from fedyard.cluster.port import Phase
from tests.web.network import Caller, Network
from tests.web.test_logs import text


class World:
    """oslo coordinates a project in which bergen takes part; a workload runs at bergen, by what it reports."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.leading = net.organisation("oslo")
        self.oslo, self.bergen, self.tromso = net.site("oslo", self.leading), net.site("bergen"), net.site("tromso")
        self.project = net.project(self.oslo, self.bergen, self.tromso)
        spec = {"kind": "job", "image": "i"}
        body = {"name": "w", "where": f"site:{self.bergen.id}", "spec": spec}
        self.workload = self.oslo.ok("POST", f"/v1/projects/{self.project}/workloads", body)["id"]
        self.path = f"/v1/workloads/{self.workload}/log"
        self.report(phase="running", uid="u")

    def report(self, **seen: Any) -> None:
        self.bergen.ok("POST", f"/v1/workloads/{self.workload}/report", {"attempt": 1, **seen})

    def write(self, start: int, piece: bytes) -> dict[str, Any]:
        return dict(self.bergen.ok("POST", self.path, {"attempt": 1, "start": start, "log": text(piece)}))

    def wanted(self) -> dict[str, Any]:
        (one,) = self.bergen.ok("GET", f"/v1/sites/{self.bergen.id}/workloads")["items"]
        return dict(one)

    def follows(self) -> int:
        return sum(isinstance(one.command, c.FollowWorkload) for one in self.net.publisher.sent)

    def told(self, after: int, wait: float = 0, by: Caller | None = None) -> tuple[bytes | None, Any, Any]:
        found = (by or self.oslo).ok("GET", f"{self.path}?after={after}&wait={wait}")
        log = None if found["log"] is None else base64.b64decode(found["log"])
        return log, found["next"], found["over"]

    def hub_says(self, command: AnyCommand) -> None:
        self.net.publisher.send([envelope_of(command, id=draw_id(), by=THE_HUB, at=SystemClock().now())])


@pytest.fixture
def world(net: Network) -> World:
    return World(net)


def test_who_asks_for_more_has_it_read_and_hears_of_it_and_of_the_end(world: World) -> None:
    assert (world.wanted().get("followed"), world.wanted().get("log_from")) == (False, None)
    assert world.write(0, b"unasked") == {"size_bytes": 0, "followed": False}
    assert world.told(0) == (b"", 0, False)
    assert (world.wanted()["followed"], world.wanted()["log_from"], world.follows()) == (True, 0, 1)
    inbox = [entry["kind"] for entry in world.bergen.ok("GET", "/v1/inbox")["items"]]
    assert inbox.count("workload_wanted") == 2

    heard: list[Any] = []
    reader = threading.Thread(target=lambda: heard.append(world.told(0, wait=20)))
    reader.start()
    assert world.write(0, b"one\n") == {"size_bytes": 4, "followed": True}
    reader.join(timeout=10)
    assert heard == [(b"one\n", 4, False)]
    assert (world.wanted()["log_from"], world.follows()) == (4, 1)

    reader = threading.Thread(target=lambda: heard.append(world.told(4, wait=20)))
    reader.start()
    world.write(4, b"two\n")
    reader.join(timeout=10)
    world.report(phase="succeeded", uid="u", exit_code=0, log=text(b"one\ntwo\n"))
    assert heard[1] == (b"two\n", 8, False)
    assert world.told(8, wait=20) == (b"", 8, True)
    assert world.told(1) == (b"ne\ntwo\n", 8, True)
    plain = world.oslo.ok("GET", world.path)
    assert (plain["log"], plain["after"], plain["over"]) == (text(b"one\ntwo\n"), None, None)
    assert world.follows() == 1


def test_who_may_not_read_it_follows_nothing(world: World) -> None:
    auditor = world.net.account(world.net.organisation("auditors"), "auditor")
    for one in (auditor, world.net.admin):
        assert world.told(0, wait=5, by=one) == (None, None, None)
    assert world.tromso.get(f"{world.path}?after=0").status_code == 404
    assert world.follows() == 0
    people = world.net.account(world.leading, "member")
    for one in (people, world.bergen):
        assert world.told(0, by=one) == (b"", 0, False)
    assert world.follows() == 1


def test_a_broker_that_is_away_costs_the_reader_nothing_but_news(world: World) -> None:
    world.net.publisher.down = True
    assert world.told(0) == (b"", 0, False)
    world.net.publisher.down = False
    assert world.told(0) == (b"", 0, False)
    assert world.wanted()["followed"]


def test_another_site_writes_no_log(world: World) -> None:
    world.told(0)
    body = {"attempt": 1, "start": 0, "log": text(b"lie")}
    assert world.tromso.call("POST", world.path, body).status_code == 404
    assert world.bergen.call("POST", world.path, body | {"attempt": 2}).status_code == 404
    assert world.bergen.call("POST", world.path, body | {"log": ""}).status_code == 400
    assert world.told(0) == (b"", 0, False)
    assert world.oslo.ok("GET", f"/v1/workloads/{world.workload}")["state"] == Phase.RUNNING
