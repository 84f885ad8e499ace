"""A keyring: epochs come, are superseded, expire and are revoked; fingerprints are for people."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fedyard.sealed import errors
from fedyard.sealed.keys import Keyring, fingerprint, parse_fingerprint, unwrap, words, wrap
from fedyard.wire.statements import hex_groups
from fedyard.wire.times import SECOND
from tests.fedyard import independent_seal as second

SITE = "10000000-0000-4000-8000-000000000000"
NOW = 1_800_000_000_000_000
IDENTITY = Ed25519PrivateKey.generate()


def ring(folder: Path) -> Keyring:
    return Keyring(folder, SITE, IDENTITY)


def renewed(keys: Keyring, now: int = NOW, **more: int) -> int:
    number = keys.renew(now, valid_s=100, grace_s=10, **more).key.epoch
    keys.published(number, now)
    return number


def test_a_new_epoch_is_on_disk_private_and_signed(tmp_path: Path) -> None:
    epoch = ring(tmp_path).renew(NOW, valid_s=100, grace_s=10)
    path = tmp_path / "keys" / "1.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    again = ring(tmp_path)
    assert again.epochs() == [epoch]
    assert again.private(1) == epoch.private
    key = epoch.key
    key.check(again.identity_key)
    assert (key.epoch, key.created, key.expires) == (1, NOW, NOW + 100 * SECOND)
    assert key.statement() == second.key_statement(SITE, 1, key.created, key.expires, key.public_key)
    assert unwrap(again.private(1), wrap(key, bytes(32), b"x"), b"x") == bytes(32)


def test_an_epoch_counts_once_it_is_published(tmp_path: Path) -> None:
    keys = ring(tmp_path)
    with pytest.raises(errors.NoKey):
        keys.current()
    keys.renew(NOW, valid_s=100, grace_s=10)
    with pytest.raises(errors.NoKey):
        keys.current()
    keys.published(1, NOW)
    assert keys.current().epoch == 1
    keys.renew(NOW, valid_s=100, grace_s=10)
    assert keys.current().epoch == 1
    keys.published(2, NOW)
    assert keys.current().epoch == 2
    assert [epoch.state for epoch in keys.epochs()] == ["superseded", "current"]


def test_a_superseded_key_opens_until_its_grace_is_over(tmp_path: Path) -> None:
    keys = ring(tmp_path)
    renewed(keys)
    renewed(keys, NOW + 5 * SECOND)
    assert keys.expire(NOW + 15 * SECOND - 1) == []
    keys.private(1)
    assert keys.expire(NOW + 15 * SECOND) == [1]
    assert keys.expire(NOW + 15 * SECOND) == []
    with pytest.raises(errors.WrongEpoch):
        keys.private(1)
    assert [epoch.state for epoch in keys.epochs()] == ["gone", "current"]
    assert b'private":null' in (tmp_path / "keys" / "1.json").read_bytes()


def test_a_revoked_key_is_gone_at_once(tmp_path: Path) -> None:
    keys = ring(tmp_path)
    renewed(keys)
    keys.revoke(1, NOW)
    keys.revoke(1, NOW + 1)
    with pytest.raises(errors.KeyRevoked):
        keys.private(1)
    with pytest.raises(errors.NoKey):
        keys.current()
    with pytest.raises(errors.WrongEpoch):
        keys.revoke(2, NOW)
    assert keys.epochs()[0].revoked == NOW
    assert renewed(keys) == 2
    assert keys.current().epoch == 2


def test_epochs_go_on_after_what_the_hub_has_seen(tmp_path: Path) -> None:
    """A folder restored from a backup of its identity alone does not use a number twice."""
    assert renewed(ring(tmp_path), after=7) == 8


def test_a_damaged_epoch_says_so(tmp_path: Path) -> None:
    keys = ring(tmp_path)
    renewed(keys)
    (tmp_path / "keys" / "1.json").write_bytes(b"{")
    with pytest.raises(errors.WrongEpoch, match="damaged"):
        keys.private(1)


@pytest.mark.parametrize("name", ["site_id", "epoch", "created", "expires", "public_key", "signature"])
def test_a_key_that_was_changed_is_not_signed(tmp_path: Path, name: str) -> None:
    key = ring(tmp_path).renew(NOW, valid_s=100, grace_s=10).key
    other = {
        "site_id": SITE.replace("1", "2"),
        "epoch": 2,
        "created": NOW + 1,
        "expires": NOW + 10**12,
        "public_key": bytes(1216),
        "signature": bytes(64),
    }
    with pytest.raises(errors.BadSignature):
        msgspec.structs.replace(key, **{name: other[name]}).check(IDENTITY.public_key().public_bytes_raw())


def test_a_key_of_the_wrong_length_or_without_sense(tmp_path: Path) -> None:
    key = ring(tmp_path).renew(NOW, valid_s=100, grace_s=10).key
    short = msgspec.structs.replace(key, public_key=key.public_key[1:])
    with pytest.raises(errors.Malformed):
        short.check(IDENTITY.public_key().public_bytes_raw())
    zero = msgspec.structs.replace(key, public_key=key.public_key[:1184] + bytes(32))
    with pytest.raises(errors.Malformed):
        wrap(zero, bytes(32), b"")


@given(st.binary(min_size=32, max_size=32))
def test_fingerprints_come_back_however_they_are_written(identity: bytes) -> None:
    finger = fingerprint(identity)
    assert len(words(finger).split()) == 12
    assert len(hex_groups(finger).split()) == 8
    for text in (
        words(finger),
        f"  {words(finger).upper()}\n",
        hex_groups(finger),
        hex_groups(finger).upper(),
        hex_groups(finger).replace(" ", ":"),
        finger.hex(),
    ):
        assert parse_fingerprint(text) == finger


@pytest.mark.parametrize(
    "text",
    ["", "abandon", "abandon " * 12, "zzzz " * 12, "00" * 15, "00" * 17, "legal winner thank year wave sausage"],
)
def test_what_is_no_fingerprint(text: str) -> None:
    with pytest.raises(ValueError):
        parse_fingerprint(text)
