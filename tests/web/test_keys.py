"""The key directory over HTTP: signed statements, lists, and who sees them."""

from __future__ import annotations

import base64
import struct
import uuid
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.clock import SystemClock
from tests.seals import KEY as IDENTITY_KEY
from tests.seals import PRIVATE as IDENTITY
from tests.seals import enrolling
from tests.web.network import Caller, Network
from tests.web.test_refusals import NOBODY, slug

CREATED = 1_700_000_000_000_000
EXPIRES = 4_000_000_000_000_000


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def key_of(
    site: str,
    epoch: int,
    *,
    public_key: bytes = b"k" * 1216,
    created_at: int = CREATED,
    expires_at: int = EXPIRES,
    by: Ed25519PrivateKey = IDENTITY,
    **more: Any,
) -> dict[str, Any]:
    numbers = struct.pack(">IQQB", epoch, created_at, expires_at, 1)
    signature = by.sign(b"fedyard key 1\0" + uuid.UUID(site).bytes + numbers + public_key)
    made = {"public_key": text(public_key), "suite": 1, "created_at": created_at, "expires_at": expires_at}
    return {**made, "signature": text(signature), **more}


def put(site: Caller, epoch: int = 1, **more: Any) -> dict[str, Any]:
    return site.ok("PUT", f"/v1/sites/{site.id}/keys/{epoch}", key_of(site.id, epoch, **more))


def test_keys_are_put_listed_superseded_and_revoked(net: Network) -> None:
    site = net.site("oslo")
    assert put(site) == {"site_id": site.id, "epoch": 1, "state": "current"}
    put(site, 2, public_key=b"l" * 1216, grace_s=0)
    revoked = site.ok("DELETE", f"/v1/sites/{site.id}/keys/2", {"reason": "lost"})
    assert revoked == {"site_id": site.id, "epoch": 2, "state": "revoked"}
    first, second = site.ok("GET", f"/v1/sites/{site.id}/keys")["items"]
    assert {**key_of(site.id, 1), "site_id": site.id, "epoch": 1}.items() <= first.items()
    assert (first["state"], first["reason"], first["revoked_at"]) == ("superseded", "", None)
    assert (second["state"], second["reason"], second["grace_until"]) == ("revoked", "lost", None)
    assert second["revoked_at"] >= first["grace_until"]
    page = site.ok("GET", f"/v1/sites/{site.id}/keys?limit=1")
    assert page["items"] == [first]
    assert site.ok("GET", f"/v1/sites/{site.id}/keys?after={page['next']}") == {"items": [second], "next": None}


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": text(b"m" * 1216)},
        {"created_at": CREATED + 1},
        {"expires_at": EXPIRES + 1},
        {"signature": text(bytes(64))},
    ],
)
def test_a_statement_that_the_identity_did_not_sign_is_refused(net: Network, change: dict[str, Any]) -> None:
    site = net.site("oslo")
    response = site.call("PUT", f"/v1/sites/{site.id}/keys/1", {**key_of(site.id, 1), **change})
    assert slug(response, 422) == "bad_signature"
    assert site.ok("GET", f"/v1/sites/{site.id}/keys")["items"] == []


def test_a_statement_is_of_one_site_one_epoch_and_one_identity(net: Network) -> None:
    site, other = net.site("oslo"), net.site("bergen")
    stranger = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    for body in (key_of(site.id, 2), key_of(other.id, 1), key_of(site.id, 1, by=stranger)):
        assert slug(site.call("PUT", f"/v1/sites/{site.id}/keys/1", body), 422) == "bad_signature"


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": text(bytes(1215))},
        {"signature": text(bytes(63))},
        {"suite": 2},
        {"created_at": -1},
        {"expires_at": 10**18},
        {"grace_s": -1},
    ],
)
def test_a_malformed_key_is_400(net: Network, change: dict[str, Any]) -> None:
    site = net.site("oslo")
    body = {**key_of(site.id, 1), **change}
    assert slug(site.call("PUT", f"/v1/sites/{site.id}/keys/1", body), 400) == "malformed"


def test_epochs_that_are_out_of_order(net: Network) -> None:
    site = net.site("oslo")
    for epoch in (0, 2):
        response = site.call("PUT", f"/v1/sites/{site.id}/keys/{epoch}", key_of(site.id, epoch))
        assert slug(response, 409) == "epoch_not_next"
    put(site)
    again = site.call("PUT", f"/v1/sites/{site.id}/keys/1", key_of(site.id, 1, expires_at=EXPIRES + 1))
    assert slug(again, 409) == "epoch_taken"
    assert slug(site.call("DELETE", f"/v1/sites/{site.id}/keys/2"), 404) == "not_found"


def test_the_keys_of_a_project_are_those_to_seal_with(net: Network) -> None:
    oslo, bergen, tromso, bodo = (net.site(name) for name in ("o", "b", "t", "d"))
    project = net.project(oslo, bergen, tromso, bodo)
    path = f"/v1/projects/{project}/keys"
    put(oslo)
    put(bergen)
    put(bergen, 2, public_key=b"l" * 1216)
    put(tromso)
    tromso.ok("DELETE", f"/v1/sites/{tromso.id}/keys/1")
    listed = bergen.ok("GET", path)["items"]
    assert [(one["site_name"], one["role"]) for one in listed] == [
        ("o", "coordinator"),
        *[(name, "participant") for name in "btd"],
    ]
    assert [one["key"] and one["key"]["epoch"] for one in listed] == [1, 2, None, None]
    assert {one["identity_key"] for one in listed} == {IDENTITY_KEY}
    assert listed[0]["key"] == oslo.ok("GET", f"/v1/sites/{oslo.id}/keys")["items"][0]
    bodo.ok("DELETE", f"/v1/projects/{project}/members/{bodo.id}")
    assert [one["site_name"] for one in bergen.ok("GET", path)["items"]] == ["o", "b", "t"]
    assert slug(bodo.get(path), 404) == "not_found"
    assert net.admin.get(path).status_code == 200
    first = bergen.ok("GET", f"{path}?limit=2")
    assert bergen.ok("GET", f"{path}?after={first['next']}")["items"] == listed[2:3]


def test_an_expired_key_is_not_to_be_used(net: Network) -> None:
    site = net.site("oslo")
    project = net.project(site)
    clock = SystemClock()
    soon = clock.now() + 300_000
    put(site, expires_at=soon)
    while clock.now() <= soon:
        clock.sleep(0.05)
    (mine,) = site.ok("GET", f"/v1/projects/{project}/keys")["items"]
    assert mine["key"] is None
    assert site.ok("GET", f"/v1/sites/{site.id}/keys")["items"][0]["state"] == "current"


def test_who_sees_and_changes_keys(net: Network) -> None:
    organisation = net.organisation("oslo")
    site = net.site("oslo", organisation)
    stranger, member = net.site("bergen"), net.account(organisation, "member")
    put(site)
    path = f"/v1/sites/{site.id}/keys"
    assert [one.get(path).status_code for one in (site, member, net.admin, stranger)] == [200, 200, 200, 404]
    assert slug(member.call("PUT", f"{path}/2", key_of(site.id, 2)), 403) == "forbidden"
    assert slug(stranger.call("PUT", f"{path}/2", key_of(site.id, 2)), 404) == "not_found"
    assert slug(stranger.call("DELETE", f"{path}/1"), 404) == "not_found"
    assert slug(site.get(f"/v1/sites/{NOBODY}/keys"), 404) == "not_found"
    assert member.ok("DELETE", f"{path}/1", {"reason": "stolen"})["state"] == "revoked"


def test_a_conflict_of_identities_is_on_record_once(net: Network) -> None:
    oslo, bergen, stranger = net.site("oslo"), net.site("bergen"), net.site("stranger")
    net.project(oslo, bergen)
    path = f"/v1/sites/{bergen.id}/conflicts/{oslo.id}"
    body = {"pinned": "a" * 64, "seen": "b" * 64}
    for _ in range(3):
        assert bergen.ok("PUT", path, body) == {"site_id": bergen.id, "about_site_id": oslo.id}
    bergen.ok("PUT", path, {**body, "seen": "c" * 64})
    for site in (oslo, bergen):
        events = site.ok("GET", f"/v1/sites/{site.id}/events")["items"]
        told = [event["facts"]["seen"] for event in events if event["kind"] == "identity_conflict"]
        assert told == ["b" * 64, "c" * 64]
    assert slug(stranger.call("PUT", f"/v1/sites/{stranger.id}/conflicts/{oslo.id}", body), 404) == "not_found"
    assert slug(bergen.call("PUT", path, {**body, "seen": "x"}), 400) == "malformed"
    assert slug(bergen.call("PUT", path, {**body, "seen": "a" * 64}), 422) == "no_conflict"


def enrolled(net: Network, change: dict[str, Any] | None = None, by: Ed25519PrivateKey = IDENTITY) -> Any:
    enrolment = net.enrolment(net.organisation("oslo"))
    return enrolment.call("POST", "/v1/sites", {**enrolling(enrolment.token, "new", by), **(change or {})})


def test_a_site_shows_that_it_has_its_identity_key(net: Network) -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    assert slug(enrolled(net, {"identity_key": IDENTITY_KEY}, by=stranger), 422) == "bad_signature"
    assert slug(enrolled(net, {"proof": text(bytes(64))}), 422) == "bad_signature"
    assert slug(enrolled(net, {"name": "another"}), 422) == "bad_signature"
    assert slug(enrolled(net, {"token_sha256": "a" * 64}), 422) == "bad_signature"
    other = enrolling("fyd_another_enrolment", "new")
    assert slug(enrolled(net, {"proof": other["proof"]}), 422) == "bad_signature"
    assert enrolled(net).status_code == 201


Y_OF_ORDER_8 = 2707385501144840649318225287225658788936804267575313519463743609750303021722
P = 2**255 - 19


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", [0, 1, P - 1, Y_OF_ORDER_8, P - Y_OF_ORDER_8, P, P + 1])
def test_points_of_small_order_are_no_identity(net: Network, y: int, sign: int) -> None:
    """With such a key the signature of R = A, s = 0 may hold for what nobody has signed."""
    raw = (y | sign << 255).to_bytes(32, "little")
    for forged in (raw + bytes(32), (1).to_bytes(32, "little") + bytes(32)):
        response = enrolled(net, {"identity_key": text(raw), "proof": text(forged)})
        assert slug(response, 422) == "bad_signature"


def test_an_identity_key_is_written_in_one_way(net: Network) -> None:
    """The last digit of its base64 has two bits to spare."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    same = IDENTITY_KEY[:42] + digits[digits.index(IDENTITY_KEY[42]) + 1] + "="
    assert base64.b64decode(same) == base64.b64decode(IDENTITY_KEY)
    assert slug(enrolled(net, {"identity_key": same}), 422) == "bad_signature"
