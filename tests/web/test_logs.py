"""Logs of runs over HTTP: written by sites, followed by the coordinator, and shown to nobody else."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest

from config.clock import SystemClock
from tests.seals import sealed
from tests.web.network import Caller, Network
from tests.web.test_refusals import NOBODY, slug
from tests.web.test_sealing import give_keys


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


class World:
    """oslo coordinates a run, bergen and tromso take part."""

    def __init__(self, net: Network, **options: Any) -> None:
        self.net = net
        self.organisation, self.leading = net.organisation("bergen"), net.organisation("oslo")
        self.oslo, self.tromso = net.site("oslo", self.leading), net.site("tromso")
        self.bergen = net.site("bergen", self.organisation)
        give_keys(net, self.oslo, self.bergen, self.tromso)
        self.project = net.project(self.oslo, self.bergen, self.tromso, **options)
        self.run = net.run(self.oslo, self.project)
        self.path = f"/v1/runs/{self.run}/logs"

    def writing(self, site: Caller, task: int = 1) -> str:
        return f"/v1/runs/{self.run}/tasks/{task}/logs/{site.id}"

    def write(self, site: Caller, seq: int, *pieces: bytes, **more: Any) -> Any:
        return site.ok("POST", self.writing(site), {"seq": seq, "pieces": [text(one) for one in pieces], **more})

    def refused(self, site: Caller, status: int, **body: Any) -> str:
        return slug(site.call("POST", self.writing(site), {"seq": 1, "pieces": [text(b"a")], **body}), status)

    def bodies(self, reader: Caller, query: str = "") -> list[bytes]:
        items = reader.ok("GET", f"{self.path}{query}")["items"]
        return [base64.b64decode(one["body"]) for one in items]


@pytest.fixture
def world(net: Network) -> World:
    return World(net)


def test_pieces_are_written_and_read_behind_a_place(world: World) -> None:
    assert world.write(world.bergen, 1, b"a", b"b", round=1) == {"seq": 2, "duplicate": False}
    assert world.write(world.bergen, 1, b"a", b"b", round=1) == {"seq": 2, "duplicate": True}
    world.write(world.tromso, 1, b"c")
    page = world.oslo.ok("GET", world.path)
    assert page["next"] is None
    shown = [(one["at"], one["site_id"], one["task_seq"], one["seq"], one["round"]) for one in page["items"]]
    assert shown == [
        (1, world.bergen.id, 1, 1, 1),
        (2, world.bergen.id, 1, 2, 1),
        (3, world.tromso.id, 1, 1, None),
    ]
    assert page["items"][0].keys() == {"at", "site_id", "task_seq", "seq", "round", "created_at", "body", "size_bytes"}
    assert world.bodies(world.oslo, "?after=1") == [b"b", b"c"]
    assert world.bodies(world.oslo, f"?site={world.tromso.id}") == [b"c"]
    assert world.bodies(world.oslo, "?task=2") == []
    first = world.oslo.ok("GET", f"{world.path}?limit=2")
    assert (len(first["items"]), first["next"]) == (2, "2")
    assert world.bodies(world.oslo, f"?limit=2&after={first['next']}") == [b"c"]


def test_who_sees_which_pieces(world: World) -> None:
    net = world.net
    world.write(world.bergen, 1, b"of bergen")
    world.write(world.tromso, 1, b"of tromso")
    every = [b"of bergen", b"of tromso"]
    auditor = net.account(net.organisation("auditors"), "auditor")
    leader, member = net.account(world.leading, "member"), net.account(world.organisation, "member")
    assert [world.bodies(reader) for reader in (world.oslo, leader)] == [every] * 2
    for operator in (net.admin, auditor, net.account(world.leading, "auditor")):
        shown = operator.ok("GET", world.path)["items"]
        assert [(one["site_id"], one["size_bytes"], one["body"]) for one in shown] == [
            (world.bergen.id, 9, None),
            (world.tromso.id, 9, None),
        ]
    assert [world.bodies(reader) for reader in (world.bergen, member)] == [every[:1]] * 2
    assert world.bodies(world.bergen, f"?site={world.tromso.id}") == []
    for stranger in (net.site("bodo"), net.account(net.organisation("bodo"), "member")):
        assert slug(stranger.get(world.path), 404) == "not_found"


def test_a_page_ends_before_its_bodies_get_too_large(world: World) -> None:
    for seq in range(1, 89, 11):
        world.write(world.bergen, seq, *[bytes(60_000)] * 11)
    page = world.oslo.ok("GET", f"{world.path}?limit=200")
    assert (len(page["items"]), page["next"]) == (69, "69")
    assert len(world.bodies(world.oslo, "?limit=200&after=69")) == 19


def test_a_sealed_piece_is_trimmed_to_its_reader(net: Network) -> None:
    world = World(net, sealed="required")
    readers = [world.oslo.id, world.bergen.id]
    fields = {"run": world.run, "task": 1, "round": 1, "kind": "log"}
    piece = sealed(sender=world.bergen.id, recipients=readers, project=world.project, **fields)
    world.write(world.bergen, 1, piece)
    (item,) = world.oslo.ok("GET", world.path)["items"]
    assert item["round"] == 1
    member = net.account(world.leading, "member")
    shown = [world.bodies(reader)[0] for reader in (world.oslo, world.bergen, member)]
    assert [len(piece) - len(one) for one in shown] == [1170, 1170, 2340]
    assert shown[0] != shown[1]


def test_a_reader_waits_for_the_next_piece(world: World) -> None:
    world.write(world.bergen, 1, b"a")
    found: list[Any] = []
    reader = Caller(world.net.app, world.oslo.token)
    thread = threading.Thread(target=lambda: found.append(reader.ok("GET", f"{world.path}?after=1&wait=20")))
    clock = SystemClock()
    started = clock.monotonic()
    thread.start()
    while world.net.app.extensions["fedyard"].waiters.open == 0:
        clock.sleep(0.01)
    world.write(world.tromso, 1, b"b")
    thread.join(timeout=20)
    assert [one["at"] for one in found[0]["items"]] == [2]
    assert clock.monotonic() - started < 4


def test_a_wait_that_is_over_answers_with_nothing(world: World) -> None:
    assert world.oslo.ok("GET", f"{world.path}?wait=0.05") == {"items": [], "next": None}


# refusals


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 0},
        {"seq": "1"},
        {"round": 0},
        {"pieces": []},
        {"pieces": [""]},
        {"pieces": ["%"]},
        {"pieces": [text(b"a")] * 33},
        {"pieces": [text(bytes(65_537))]},
        {"more": 1},
    ],
)
def test_malformed_pieces_are_400(world: World, change: dict[str, Any]) -> None:
    assert world.refused(world.bergen, 400, **change) == "malformed"


@pytest.mark.parametrize("query", ["site=x", "task=0", "after=-1", "limit=201", "wait=31", "place=1"])
def test_a_query_that_is_not_understood_is_400(world: World, query: str) -> None:
    assert slug(world.oslo.get(f"{world.path}?{query}"), 400) == "malformed"


def test_pieces_that_are_too_much_together_are_413(make_net: Any) -> None:
    world = World(make_net(request_limit_bytes=16_777_216))
    assert world.refused(world.bergen, 413, pieces=[text(bytes(65_536))] * 17) == "too_large"
    world.write(world.bergen, 1, *[bytes(65_536)] * 16)


def test_a_gap_is_409(world: World) -> None:
    assert world.refused(world.bergen, 409, seq=2) == "too_early"


def test_a_log_of_no_seat_is_404(world: World) -> None:
    body = {"seq": 1, "pieces": [text(b"a")]}
    for path in (world.writing(world.bergen, 2), world.writing(world.bergen).replace(world.run, NOBODY)):
        assert slug(world.bergen.call("POST", path, body), 404) == "not_found"
    assert slug(world.bergen.get(f"/v1/runs/{NOBODY}/logs"), 404) == "not_found"


def test_a_log_of_another_site_is_404_and_to_the_coordinator_403(world: World) -> None:
    body = {"seq": 1, "pieces": [text(b"a")]}
    assert slug(world.tromso.call("POST", world.writing(world.bergen), body), 404) == "not_found"
    assert slug(world.oslo.call("POST", world.writing(world.bergen), body), 403) == "forbidden"


def test_plain_text_where_it_has_to_be_sealed_is_422(net: Network) -> None:
    world = World(net, sealed="required")
    assert world.refused(world.bergen, 422) == "unsealed"
