"""Signed heads of the chains of events: with the notices of a site, and for whoever asks."""

from __future__ import annotations

import base64
import os
import stat
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from config.clock import SystemClock
from config.settings import SettingsError
from storage.history import read_history
from tests.web.network import Caller, Network
from tests.web.test_reads import message
from web.live.signer import open_signer, public_key_in

Json = dict[str, Any]


def statement(head: Json) -> bytes:
    """As docs/api.md says it."""
    return (
        b"fedyard head 1\0"
        + UUID(head["history_id"]).bytes
        + UUID(head["stream_id"]).bytes
        + int(head["seq"]).to_bytes(8)
        + bytes.fromhex(head["hash"])
        + int(head["at"]).to_bytes(8)
    )


def check(head: Json) -> None:
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(head["key"]))
    key.verify(base64.b64decode(head["signature"]), statement(head))


def heads_of(net: Network, *streams: str) -> dict[str, tuple[int, str]]:
    with net.database.connection():
        rows = net.database.all("SELECT id, last_seq, last_hash FROM streams")
    return {row[0]: (row[1], row[2]) for row in rows if row[0] in streams}


@pytest.fixture
def two(net: Network) -> tuple[Caller, Caller, str]:
    """A coordinator, a participant with messages in its inbox, and their project."""
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    for body in (b"one", b"two"):
        oslo.ok("POST", "/v1/messages", message(project, [bergen.id], body))
    return oslo, bergen, project


def test_notices_bring_the_heads_of_their_projects_and_of_the_site_itself(net: Network, two: Any) -> None:
    _, bergen, project = two
    inbox = bergen.ok("GET", "/v1/inbox?after=0")
    shown = {head["stream_id"]: (head["seq"], head["hash"]) for head in inbox["heads"]}
    assert shown == heads_of(net, project, bergen.id)
    assert {head["history_id"] for head in inbox["heads"]} == {read_history(net.database).history_id}
    assert {head["kind"] for head in inbox["heads"]} == {"project", "site"}
    for head in inbox["heads"]:
        check(head)
        for changed in ({"seq": head["seq"] - 1}, {"at": head["at"] + 1}, {"hash": "0" * 64}):
            with pytest.raises(InvalidSignature):
                check({**head, **changed})


def test_an_answer_without_entries_brings_none(two: Any) -> None:
    _, bergen, _ = two
    end = bergen.ok("GET", "/v1/inbox?after=0")["last_seq"]
    for path in (f"/v1/inbox?after={end}", f"/v1/inbox?after={end}&wait=0.05"):
        assert "heads" not in bergen.ok("GET", path)


def test_a_head_is_signed_once_for_all_who_read_it(two: Any) -> None:
    oslo, bergen, project = two
    first = {h["stream_id"]: h for h in bergen.ok("GET", "/v1/inbox?after=0")["heads"]}
    assert first == {h["stream_id"]: h for h in bergen.ok("GET", "/v1/inbox?after=0")["heads"]}
    others = {h["stream_id"]: h for h in oslo.ok("GET", "/v1/inbox?after=0")["heads"]}
    assert others[project] == first[project]


def test_who_has_left_a_project_learns_no_more_of_it(net: Network, two: Any) -> None:
    oslo, bergen, project = two
    oslo.ok("DELETE", f"/v1/projects/{project}/members/{bergen.id}")
    assert [head["stream_id"] for head in bergen.ok("GET", "/v1/inbox?after=0")["heads"]] == [bergen.id]
    assert [head["stream_id"] for head in bergen.ok("GET", "/v1/heads")["items"]] == [bergen.id]
    assert net.site("stranger").ok("GET", "/v1/heads")["items"][1:] == []


def test_heads_come_in_pages_and_an_admin_has_all_of_them(net: Network, two: Any) -> None:
    oslo, bergen, project = two
    mine = bergen.ok("GET", "/v1/heads")
    assert {head["stream_id"] for head in mine["items"]} == {bergen.id, project}
    found, path = [], "/v1/heads?limit=2"
    while path:
        page = net.admin.ok("GET", path)
        found += page["items"]
        path = f"/v1/heads?limit=2&after={page['next']}" if page["next"] else ""
    assert {oslo.id, bergen.id, project} <= {head["stream_id"] for head in found}
    assert len({head["stream_id"] for head in found}) == len(found)
    for head in found:
        check(head)
        assert head["key"] == mine["key"]


def test_processes_that_start_together_agree_on_a_key_of_the_owners_own(tmp_path: Path) -> None:
    path, ready, keys = tmp_path / "new" / "head.key", threading.Barrier(8), []

    def start() -> None:
        ready.wait()
        keys.append(open_signer(path, SystemClock()).public)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1
    assert len(keys) == 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["head.key"]  # noqa: PTH208 - names
    assert public_key_in(path) == keys[0]


def test_a_key_that_is_none_is_named_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "head.key"
    path.write_text("rubbish")
    with pytest.raises(SettingsError, match="is damaged"):
        open_signer(path, SystemClock())
    with pytest.raises(SettingsError, match="cannot be made"):
        open_signer(path / "below", SystemClock())
    assert public_key_in(tmp_path / "none") is None
