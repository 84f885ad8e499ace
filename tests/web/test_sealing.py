"""Sealed payloads over HTTP: each reader gets its own wrap alone, and what the hub cannot take is refused."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection
from typing import Any

import pytest

from domain import records as r
from domain.ids import sha256_hex
from domain.records import Record
from fedyard.wire.seals import read_seal, trimmed
from storage.store import Changes, Store
from tests.seals import sealed
from tests.web.network import Caller, Network
from tests.web.test_refusals import slug
from tests.web.test_waiting import message


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def give_keys(net: Network, *sites: Caller) -> None:
    """Each a key in epoch 1, as its put would have left it; tests/web/test_keys.py is about the put."""
    rows: list[Record] = [
        r.SiteKey(site_id=site.id, epoch=1, state="current", digest="0" * 64, added_at=0) for site in sites
    ]
    with Store(net.database).deciding() as transaction:
        transaction.write(Changes(rows={r.SiteKey: rows}))


class World:
    """oslo coordinates, the others take part, and everything is sealed."""

    def __init__(self, net: Network) -> None:
        self.net = net
        organisation = net.organisation("bergen")
        self.member = net.account(organisation, "member")
        self.oslo, self.bergen, self.tromso = net.site("oslo"), net.site("bergen", organisation), net.site("tromso")
        self.sites = [self.oslo, self.bergen, self.tromso]
        give_keys(net, *self.sites)
        self.project = net.project(*self.sites, sealed="required")

    def sealed(self, sender: Caller, readers: Collection[Caller], **fields: Any) -> bytes:
        return sealed(sender=sender.id, recipients=[site.id for site in readers], project=self.project, **fields)

    def newest(self, site: Caller, kind: str) -> Any:
        entries = site.ok("GET", "/v1/inbox?limit=200")["items"]
        return [entry for entry in entries if entry["kind"] == kind][-1]["message"]


@pytest.fixture
def world(net: Network) -> World:
    return World(net)


def test_a_reader_gets_its_own_wrap_alone(world: World) -> None:
    oslo, bergen, tromso = world.sites
    blob = world.sealed(oslo, [bergen, tromso])
    sent = oslo.ok("POST", "/v1/messages", message(world.project, [bergen.id, tromso.id], blob))["ids"][0]
    for site in (bergen, tromso):
        shown = world.newest(site, "message")
        mine = base64.b64decode(shown["body"])
        assert mine == trimmed(blob, site.id)
        seal = read_seal(mine)
        assert [seal.header.recipients[place].site for place in seal.wraps] == [site.id]
        assert (shown["size_bytes"], shown["sha256"]) == (len(blob), sha256_hex(blob))
        assert base64.b64decode(site.ok("GET", f"/v1/messages/{sent}")["body"]) == mine
    for who in (oslo, world.member):
        body = base64.b64decode(who.ok("GET", f"/v1/messages/{sent}")["body"])
        assert body == trimmed(blob, None)
        assert read_seal(body).wraps == ()


def test_every_active_member_reads_a_global_model_and_nobody_else(world: World) -> None:
    oslo, bergen, tromso = world.sites
    net = world.net
    late, stranger = net.site("late"), net.site("stranger")
    give_keys(net, late)
    run = net.run(oslo, world.project)
    for site in world.sites:
        assert net.report(site, run, "ready", 1).status_code == 200
    fields = {"run": run, "task": 1, "round": 1}
    for site in world.sites:
        update = text(world.sealed(site, [oslo], kind="update", **fields))
        assert net.report(site, run, "submit", 2, update=update).status_code == 200
    blob = world.sealed(oslo, world.sites, kind="model", **fields)
    oslo.ok("POST", f"/v1/runs/{run}/tasks/1/rounds/1/aggregated", {"model": text(blob)})
    late.ok("PUT", f"/v1/projects/{world.project}/members/{late.id}", {})
    model = oslo.ok("GET", f"/v1/runs/{run}")["tasks"][0]["model_message_id"]
    path = f"/v1/messages/{model}"
    for site in world.sites:
        assert base64.b64decode(site.ok("GET", path)["body"]) == trimmed(blob, site.id)
        assert base64.b64decode(world.newest(site, "round_completed")["body"]) == trimmed(blob, site.id)
    for who in (late, world.member):
        assert read_seal(base64.b64decode(who.ok("GET", path)["body"])).wraps == ()
    for who in (stranger, net.admin):
        assert slug(who.get(path), 404) == "not_found"
    update = oslo.ok("GET", f"/v1/runs/{run}")["tasks"][0]["seats"][0]["update_message_id"]
    assert slug(tromso.get(f"/v1/messages/{update}"), 404) == "not_found"
    tromso.ok("DELETE", f"/v1/projects/{world.project}/members/{tromso.id}")
    late.ok("DELETE", f"/v1/projects/{world.project}/members/{late.id}")
    assert slug(late.get(path), 404) == "not_found"
    assert bergen.get(path).status_code == 200


def test_what_only_looked_sealed_before_anybody_sealed_is_handed_out_as_it_is(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    sent = oslo.ok("POST", "/v1/messages", message(project, [bergen.id], b"plain"))["ids"][0]
    with net.database.connection():
        net.database.execute("UPDATE messages SET body = %s WHERE id = %s", (b"FYS1 by chance", sent))
    assert base64.b64decode(bergen.ok("GET", f"/v1/messages/{sent}")["body"]) == b"FYS1 by chance"
    assert base64.b64decode(bergen.ok("GET", "/v1/inbox")["items"][-1]["message"]["body"]) == b"FYS1 by chance"


def test_a_seal_for_many_recipients_counts_by_its_body(make_net: Callable[..., Network]) -> None:
    world = World(make_net(inline_limit_bytes=1024))
    oslo, bergen, _ = world.sites
    for size, status in ((1008, 201), (1009, 413)):
        blob = world.sealed(oslo, [bergen], plain=bytes(size))
        assert len(blob) > 2048
        assert oslo.call("POST", "/v1/messages", message(world.project, [bergen.id], blob)).status_code == status


def test_an_unsealed_message_is_422(world: World) -> None:
    response = world.bergen.call("POST", "/v1/messages", message(world.project, "coordinator", b"s3cret"))
    assert slug(response, 422) == "unsealed"
    assert "s3cret" not in response.get_data(as_text=True)


def test_a_key_that_is_gone_is_409(world: World) -> None:
    world.oslo.ok("DELETE", f"/v1/sites/{world.oslo.id}/keys/1")
    body = message(world.project, "coordinator", world.sealed(world.bergen, [world.oslo]))
    assert slug(world.bergen.call("POST", "/v1/messages", body), 409) == "key_unusable"


def test_the_policy_is_shown_and_changed_by_the_coordinator_alone(world: World) -> None:
    path = f"/v1/projects/{world.project}"
    assert world.bergen.ok("GET", path)["sealed"] == "required"
    assert slug(world.bergen.call("PATCH", path, {"sealed": "optional"}), 403) == "forbidden"
    assert slug(world.oslo.call("PATCH", path, {"sealed": "no"}), 400) == "malformed"
    world.oslo.ok("PATCH", path, {"sealed": "optional"})
    assert world.bergen.ok("GET", path)["sealed"] == "optional"
    world.bergen.ok("POST", "/v1/messages", message(world.project, "coordinator", b"plain"))
    run = world.net.run(world.oslo, world.project)
    assert slug(world.oslo.call("PATCH", path, {"sealed": "required"}), 409) == "run_live"
    assert run
