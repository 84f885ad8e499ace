"""What is sealed comes out as it was, or not at all. One test for each thing that an adversary may try."""

from __future__ import annotations

import io
import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedyard.sealed import errors, sealing, segments
from fedyard.sealed.keys import identity_hash, wrap
from fedyard.wire.chunks import digests_of, tree_digest
from fedyard.wire.seals import Header, Recipient, ciphertext_bytes
from tests.fedyard import independent_seal as second
from tests.fedyard.parties import (
    ADDRESS,
    EAST,
    HOUR,
    MALLORY,
    NOW,
    PROJECT,
    RUN,
    SOUTH,
    forged,
    forgetful,
    header_of,
    party,
    refused,
    renew,
    seal,
    with_body,
    with_header,
)


def test_replayed(parties) -> None:
    north, east, _ = parties
    sealed = seal(b"patient", north, east)
    sealing.open(sealed, ADDRESS, east.opener(north))
    refused(errors.Replayed, sealed, east, north)


def test_a_failed_try_does_not_count_as_opened(parties) -> None:
    north, east, _ = parties
    sealed = seal(b"patient", north, east)
    refused(errors.Damaged, sealed[:-1] + bytes([sealed[-1] ^ 1]), east, north)
    assert sealing.open(sealed, ADDRESS, east.opener(north)) == b"patient"


def test_expired(parties) -> None:
    north, east, _ = parties
    sealed = seal(b"patient", north, east, expires=NOW + 1)
    assert sealing.open(sealed, ADDRESS, east.opener(north)) == b"patient"
    refused(errors.Expired, sealed, east, north, now=NOW + 1)


@pytest.mark.parametrize(("place", "value"), [(4, 0), (4, 2), (5, 0), (5, 2)])
def test_downgraded(parties, place: int, value: int) -> None:
    north, east, _ = parties
    sealed = bytearray(seal(b"patient", north, east))
    sealed[place] = value
    refused(errors.Unsupported, bytes(sealed), east, north)


def test_downgraded_to_nothing(parties) -> None:
    north, east, _ = parties
    refused(errors.Unsealed, b"patient in plain sight", east, north)
    refused(errors.Unsealed, b"", east, north)


def test_downgraded_key(parties) -> None:
    north, east, _ = parties
    weak = msgspec.structs.replace(east.key, suite=0)
    with pytest.raises(errors.Unsupported):
        sealing.seal(b"", ADDRESS, [weak], north.ring.identity, id=RUN, created=NOW, expires=NOW + 1)
    with pytest.raises(errors.Unsupported):
        weak.check(east.ring.identity_key)


@pytest.mark.parametrize(
    ("name", "value"),
    [("project", RUN), ("run", None), ("run", PROJECT), ("task", 2), ("round", 4), ("kind", "model"), ("sender", EAST)],
)
def test_readdressed(parties, name: str, value: object) -> None:
    """Genuine, but the hub shows it in another place."""
    north, east, _ = parties
    sealed = seal(b"patient", north, east)
    refused(errors.Readdressed, sealed, east, north, address=replace(ADDRESS, **{name: value}))


def test_not_a_recipient(parties) -> None:
    north, east, south = parties
    refused(errors.NotRecipient, seal(b"patient", north, east), south, north)


def _cut(body: bytes) -> list[bytes]:
    return [body[i : i + segments.SEGMENT_BYTES] for i in range(0, len(body), segments.SEGMENT_BYTES)]


@pytest.fixture(scope="module")
def large(parties) -> bytes:
    north, east, _ = parties
    return seal(os.urandom(6 * segments.PLAIN_SEGMENT_BYTES + 100), north, east)


def test_reordered(parties, large) -> None:
    north, east, _ = parties
    parts = _cut(sealing.read_seal(large)[1])
    parts[1], parts[2] = parts[2], parts[1]
    refused(errors.Damaged, with_body(large, b"".join(parts)), east, north)
    parts = _cut(sealing.read_seal(large)[1])
    parts[0], parts[4] = parts[4], parts[0]  # of different chunks
    refused(errors.Damaged, with_body(large, b"".join(parts)), east, north)


def test_truncated(parties, large) -> None:
    north, east, _ = parties
    body = sealing.read_seal(large)[1]
    for length in (0, 1, segments.SEGMENT_BYTES, segments.CHUNK_BYTES, len(body) - 100, len(body) - 1):
        refused(errors.Truncated, with_body(large, body[:length]), east, north)
    head = len(large) - len(body)
    for length in (4, 9, 10, 200, head - 1169, head - 1):
        refused(errors.Truncated, large[:length], east, north)


def test_truncated_and_sealed_anew_as_if_whole(parties, large) -> None:
    """Whoever has the content key and signs can still not make a segment in the middle the last one."""
    north, east, _ = parties
    body = sealing.read_seal(large)[1][: segments.CHUNK_BYTES]
    plain_bytes = 4 * segments.PLAIN_SEGMENT_BYTES
    digest = tree_digest(digests_of(body))
    cut = forged(large, north, body_bytes=len(body), plain_bytes=plain_bytes, body_digest=digest)
    refused(errors.Damaged, with_body(cut, body), east, north)  # the wraps are bound to the old header
    longer = bytearray(ciphertext_bytes(plain_bytes + 1))
    segments.encrypt(bytes(32), bytes(plain_bytes + 1), sealing._into(longer))
    with pytest.raises(errors.Damaged):
        segments.decrypt(bytes(32), bytes(longer[: len(body)]), sealing._into(bytearray(plain_bytes)), len(body))


@pytest.mark.parametrize("part", ["magic", "version", "header", "signature", "index", "wrap", "body", "tag"])
def test_bit_flipped(parties, part: str) -> None:
    """Every bit of some bytes of every part; and nothing else is opened instead."""
    north, east, _ = parties
    sealed = seal(b"patient file" * 9, north, east)
    found, body = sealing.read_seal(sealed)
    head = len(found.signed)
    places = {
        "magic": range(4),
        "version": range(4, 10),
        "header": range(10, head, 7),
        "signature": range(head, head + 64, 5),
        "index": range(head + 64, head + 68),
        "wrap": range(head + 68, head + 68 + 1168, 97),
        "body": range(len(sealed) - len(body), len(sealed) - 16, 11),
        "tag": range(len(sealed) - 16, len(sealed)),
    }[part]
    for place in places:
        for bit in range(8):
            flipped = bytearray(sealed)
            flipped[place] ^= 1 << bit
            with pytest.raises(errors.SealError):
                sealing.open(bytes(flipped), ADDRESS, east.opener(north))
    assert sealing.open(sealed, ADDRESS, east.opener(north)) == b"patient file" * 9


def test_bit_flipped_in_a_file_leaves_no_file(parties, large, tmp_path: Path) -> None:
    north, east, _ = parties
    _, body = sealing.read_seal(large)
    for place in (0, segments.CHUNK_BYTES + 5, len(body) - 1):
        flipped = bytearray(body)
        flipped[place] ^= 1
        with pytest.raises(errors.Damaged):
            sealing.open_file(
                large[: len(large) - len(body)],
                io.BytesIO(flipped),
                tmp_path / "opened",
                ADDRESS,
                east.opener(north),
                at_most=10**9,
            )
        assert list(tmp_path.iterdir()) == []


def test_mixed_up_chunks(parties) -> None:
    """The body of another payload, and chunks of one in the other, of the same sizes, times and people."""
    north, east, _ = parties
    size = 5 * segments.PLAIN_SEGMENT_BYTES
    one, other = seal(bytes(size), north, east), seal(bytes(size), north, east)
    bodies = [sealing.read_seal(sealed)[1] for sealed in (one, other)]
    refused(errors.Damaged, with_body(one, bodies[1]), east, north)
    mixed = bodies[0][: segments.CHUNK_BYTES] + bodies[1][segments.CHUNK_BYTES :]
    refused(errors.Damaged, with_body(one, mixed), east, north)
    doubled = bodies[0][: segments.SEGMENT_BYTES] * 5
    refused(errors.Damaged, with_body(one, doubled), east, north)
    refused(errors.Damaged, with_body(one, bodies[0] + bodies[1]), east, north)


def test_a_recipient_that_changes_the_body_under_the_shared_key(parties) -> None:
    """Whoever has the content key can make good segments, but not the signed digest of them."""
    north, east, _ = parties
    content_key = os.urandom(32)
    header = header_of(ADDRESS)
    to = [(east.site_id, east.key.epoch, east.key.public_key)]
    sealed = second.seal(b"patient", header, to, north.ring.identity.private_bytes_raw(), content_key)
    other = AESGCM(content_key).encrypt(bytes(11) + b"\x01", b"doctor!", None)
    refused(errors.Damaged, with_body(sealed, other), east, north)
    assert sealing.open(sealed, ADDRESS, east.opener(north)) == b"patient"


def test_a_wrap_of_another_key(parties) -> None:
    """A sender that gives two recipients two keys, to tell them two things under one header."""
    north, east, _ = parties
    sealed = seal(b"patient", north, east)
    found, body = sealing.read_seal(sealed)
    other = replace(found, wraps={0: wrap(east.key, bytes(32), sealing._wrap_info(found.signed, 0))})
    refused(errors.Damaged, other.encode() + body, east, north)


def test_a_wrap_of_another_recipient_or_payload(parties) -> None:
    north, east, south = parties
    sealed, again = seal(b"patient", north, east, south), seal(b"patient", north, east, south)
    (found, body), (other, _) = sealing.read_seal(sealed), sealing.read_seal(again)
    swapped = replace(found, wraps={0: found.wraps[1], 1: found.wraps[0]})
    refused(errors.Damaged, swapped.encode() + body, east, north)
    refused(errors.Damaged, replace(found, wraps=other.wraps).encode() + body, east, north)


def test_trimmed_wraps(parties) -> None:
    """A recipient gets its own wrap only; without it the payload is not for it."""
    north, east, south = parties
    found, body = sealing.read_seal(seal(b"patient", north, east, south))
    mine = replace(found, wraps={1: found.wraps[1]})
    assert sealing.open(mine.encode() + body, ADDRESS, south.opener(north)) == b"patient"
    refused(errors.NotRecipient, mine.encode() + body, east, north)
    refused(errors.NotRecipient, replace(found, wraps={}).encode() + body, east, north)


def test_wraps_out_of_order_are_malformed(parties) -> None:
    north, east, south = parties
    sealed = seal(b"patient", north, east, south)
    found, body = sealing.read_seal(sealed)
    head = found.signed + found.signature
    one, two = (struct.pack(">H", i) + found.wraps[i] for i in (0, 1))
    for wraps in (two + one, one + one, one + struct.pack(">H", 2) + found.wraps[1]):
        refused(errors.Malformed, head + struct.pack(">H", 2) + wraps + body, east, north)


def test_wrong_epoch(parties, tmp_path: Path) -> None:
    """An epoch that the site never had; one whose grace is over; one that is still in its grace."""
    north, _, _ = parties
    east = party(tmp_path, EAST)
    sealed = seal(b"patient", north, east)
    renew(east.ring)
    newer = seal(b"patient", north, east)
    assert [r.epoch for r in sealing.read_seal(newer)[0].header.recipients] == [2]
    assert sealing.open(sealed, ADDRESS, forgetful(east, north)) == b"patient"
    assert east.ring.expire(NOW + HOUR - 1) == []
    assert east.ring.expire(NOW + HOUR) == [1]
    refused(errors.WrongEpoch, sealed, east, north)
    assert sealing.open(newer, ADDRESS, east.opener(north)) == b"patient"
    recipients = [Recipient(EAST, 7)]
    refused(errors.WrongEpoch, forged(newer, north, recipients=recipients), east, north)
    refused(errors.WrongEpoch, forged(newer, north, recipients=[Recipient(EAST, 1)]), east, north)


def test_revoked_key(parties, tmp_path: Path) -> None:
    north, _, _ = parties
    east = party(tmp_path, EAST)
    sealed = seal(b"patient", north, east)
    east.ring.revoke(1, NOW)
    refused(errors.KeyRevoked, sealed, east, north)
    with pytest.raises(errors.NoKey):
        east.ring.current()


def test_unknown_signer(parties, tmp_path: Path) -> None:
    _, east, south = parties
    mallory = party(tmp_path, MALLORY)
    sealed = seal(b"patient", mallory, east, address=replace(ADDRESS, sender=MALLORY))
    refused(errors.UnknownSigner, sealed, east, south, address=replace(ADDRESS, sender=MALLORY))


def test_signed_by_somebody_else(parties, tmp_path: Path) -> None:
    """Mallory signs in north's name, with its own key or naming north's."""
    north, east, _ = parties
    mallory = party(tmp_path, MALLORY)
    sealed = seal(b"patient", mallory, east)
    refused(errors.IdentityChanged, sealed, east, north)
    pretended = forged(sealed, mallory, identity=identity_hash(north.ring.identity_key))
    refused(errors.BadSignature, pretended, east, north)


def test_resealed_by_a_recipient(parties) -> None:
    """East was sent it, and passes it on to south as if north had sent it there, too."""
    north, east, south = parties
    sealed = seal(b"patient", north, east)
    recipients = [Recipient(SOUTH, south.key.epoch)]
    refused(errors.BadSignature, forged(sealed, east, recipients=recipients), south, north)


OTHER: dict[str, object] = {
    "id": RUN,
    "sender": SOUTH,
    "recipients": [Recipient(EAST, 1), Recipient(SOUTH, 1)],
    "project": RUN,
    "run": PROJECT,
    "task": 2,
    "round": 4,
    "kind": "model",
    "identity": "0" * 64,
    "key_commitment": "0" * 64,
    "created": NOW - 1,
    "expires": NOW + 2 * HOUR,
    "body_bytes": 24,
    "body_digest": "0" * 64,
    "plain_bytes": 8,
    "task_digest": "0" * 64,
    "model_digest": None,
    "receipts": [],
}


@pytest.mark.parametrize("name", Header.__struct_fields__)
def test_header_changed(parties, name: str) -> None:
    north, east, south = parties
    sealed = seal(b"patient", north, east)
    found, _ = sealing.read_seal(sealed)
    text = msgspec.json.encode(msgspec.structs.replace(found.header, **{name: OTHER[name]}))
    expected: dict[str, type[errors.SealError]] = {
        "sender": errors.IdentityChanged,
        "identity": errors.IdentityChanged,
        "body_bytes": errors.Malformed,
        "plain_bytes": errors.Malformed,
        "receipts": errors.Malformed,
        "kind": errors.Malformed,
    }
    refused(expected.get(name, errors.BadSignature), with_header(sealed, text), east, north, south)


@pytest.mark.parametrize("name", Header.__struct_fields__)
def test_header_without_a_field_or_with_a_wrong_one(parties, name: str) -> None:
    north, east, _ = parties
    sealed = seal(b"patient", north, east)
    fields = json.loads(msgspec.json.encode(sealing.read_seal(sealed)[0].header))
    without = {key: value for key, value in fields.items() if key != name}
    for wrong in (without, {**fields, name: {}}, {**fields, name: -1}, {**without, name: fields[name]}):
        if list(wrong) != list(fields) or wrong[name] != fields[name]:
            text = json.dumps(wrong, separators=(",", ":")).encode()
            refused(errors.Malformed, with_header(sealed, text), east, north)


def test_a_header_has_one_form(parties) -> None:
    north, east, south = parties
    sealed = seal(b"patient", north, east, south)
    text = msgspec.json.encode(sealing.read_seal(sealed)[0].header)
    fields = json.loads(text)
    backwards = {**fields, "recipients": fields["recipients"][::-1]}
    twice = {**fields, "recipients": [fields["recipients"][0]] * 2}
    for other in (
        text + b" ",
        text.replace(b'"kind"', b' "kind"'),
        text.replace(b'"round":3', b'"round":4,"round":3'),
        text.replace(b"3", b"3.0", 1),
        text[:-1] + b',"more":1}',
        b"[]",
        b"\xff" * 30,
        json.dumps(backwards, separators=(",", ":")).encode(),
        json.dumps(twice, separators=(",", ":")).encode(),
        json.dumps({**fields, "recipients": []}, separators=(",", ":")).encode(),
    ):
        refused(errors.Malformed, with_header(sealed, other), east, north)


def test_too_long_a_header(parties) -> None:
    north, east, _ = parties
    refused(errors.Malformed, b"FYS1\x01\x01" + struct.pack(">I", 262_145) + bytes(300_000), east, north)


def test_nobody_or_the_same_twice_or_a_key_past_its_time(parties) -> None:
    north, east, _ = parties
    with pytest.raises(errors.Malformed):
        seal(b"", north)
    with pytest.raises(errors.Malformed):
        seal(b"", north, east, east)
    with pytest.raises(errors.Expired):
        seal(b"", north, east, created=east.key.expires)


def test_a_large_plaintext_is_refused_before_it_takes_room(parties, large, tmp_path: Path) -> None:
    north, east, _ = parties
    _, body = sealing.read_seal(large)
    with pytest.raises(errors.Malformed):
        sealing.open_file(
            large[: len(large) - len(body)],
            io.BytesIO(body),
            tmp_path / "opened",
            ADDRESS,
            east.opener(north),
            at_most=1000,
        )


def test_reprs_hold_no_secret(parties) -> None:
    north, east, _ = parties
    sealed = seal(b"patient", north, east)
    epoch = east.ring.epochs()[0]
    shown = repr((sealing.read_seal(sealed)[0], epoch, epoch.key, east.ring, east.opener(north).keys))
    assert epoch.private is not None
    for secret in (epoch.private, east.key.public_key):
        assert repr(secret)[2:40] not in shown
