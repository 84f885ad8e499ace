"""What is sealed comes out as it was. test_sealing_attacks.py has what an adversary may try."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedyard.agent.contract import task_digest
from fedyard.sealed import errors, sealing, segments
from fedyard.sealed.keys import Key, fingerprint, words
from fedyard.sealed.sealing import Opener
from fedyard.wire.answers import TaskSpec
from fedyard.wire.chunks import digests_of, tree_digest
from fedyard.wire.seals import ciphertext_bytes
from fedyard.wire.statements import hex_groups
from tests.fedyard import independent_seal as second
from tests.fedyard.parties import ADDRESS, NOW, RUN, SOUTH, forgetful, header_of, refused, seal

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.json"))
BORDERS = sorted(
    {
        max(0, n * unit + d)
        for n in (0, 1, 4, 5, 8)
        for unit in (segments.PLAIN_SEGMENT_BYTES, segments.SEGMENT_BYTES)
        for d in (-17, -16, -1, 0, 1, 16)
    }
)


@given(st.binary(max_size=2000))
@settings(max_examples=30)
def test_what_is_sealed_opens_at_every_recipient_and_nowhere_else(parties, content: bytes) -> None:
    north, east, south = parties
    sealed = seal(content, north, south, east)
    assert sealing.open(sealed, ADDRESS, east.opener(north)) == content
    assert sealing.open(sealed, ADDRESS, south.opener(north)) == content
    assert len(content) < 8 or content not in sealed
    refused(errors.NotRecipient, sealed, north, north)


@pytest.mark.parametrize("size", BORDERS)
def test_round_trip_around_borders(parties, size: int, tmp_path: Path) -> None:
    north, east, _ = parties
    content = (os.urandom(4099) * (size // 4099 + 1))[:size]
    sealed = seal(content, north, east)
    found, body = sealing.read_seal(sealed)
    assert len(body) == found.header.body_bytes == ciphertext_bytes(size)
    assert sealing.open(sealed, ADDRESS, east.opener(north)) == content
    plain, sealed_file = tmp_path / "plain", tmp_path / "body"
    plain.write_bytes(content)
    made = sealing.seal_file(
        plain, sealed_file, ADDRESS, [east.key], north.ring.identity, id=RUN, created=NOW, expires=NOW + 1
    )
    assert made.body.digest == second.tree_digest(sealed_file.read_bytes())
    assert tree_digest(digests_of(sealed_file.read_bytes())) == made.body.digest
    assert len(made.body.chunk_digests) == 32 * -(-made.body.body_bytes // segments.CHUNK_BYTES)
    east.opened.clear()
    sealing.open_file(made.seal, sealed_file, tmp_path / "opened", ADDRESS, east.opener(north), at_most=size)
    assert (tmp_path / "opened").read_bytes() == content
    assert sealing.open(made.seal + sealed_file.read_bytes(), ADDRESS, forgetful(east, north)) == content


@given(size=st.sampled_from(BORDERS), shift=st.integers(-40, 40), data=st.data())
@settings(max_examples=20)
def test_a_stream_that_comes_in_odd_pieces(parties, size: int, shift: int, data) -> None:
    """Body and digest depend on the bytes alone, not on how they come; any cut is seen."""
    size = max(0, size + shift)
    content = (b"0123456789abc" * (size // 13 + 1))[:size]
    key = bytes(32)
    step = data.draw(st.sampled_from([1000, 65_537, 1_048_576, 5_000_000]))
    whole = bytearray(ciphertext_bytes(size))
    body = segments.encrypt(key, Dribble(content, step), sealing._into(whole))
    again = bytearray(len(whole))
    assert segments.encrypt(key, content, sealing._into(again)) == body
    assert whole == again
    opened = bytearray(size)
    assert segments.decrypt(key, Dribble(bytes(whole), step), sealing._into(opened), len(whole)) == body
    assert opened == content
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(errors.Truncated):
        segments.decrypt(key, Dribble(bytes(whole[:cut]), step), sealing._into(bytearray(size)), len(whole))
    with pytest.raises(errors.Damaged):
        segments.decrypt(key, Dribble(bytes(whole) + b"x", step), sealing._into(bytearray(size)), len(whole))


class Dribble:
    def __init__(self, content: bytes, step: int) -> None:
        self._stream, self._step = io.BytesIO(content), step

    def readinto(self, buffer: memoryview, /) -> int:
        return self._stream.readinto(buffer[: self._step])


def test_a_gibibyte_would_not_be_held_in_memory(tmp_path: Path) -> None:
    """Memory that Python takes for 100 MiB is that of a few chunks."""

    class Zeros:
        left = 104_857_600

        def readinto(self, buffer: memoryview, /) -> int:
            got = min(self.left, len(buffer))
            self.left -= got
            return got

    tracemalloc.start()
    body = segments.encrypt(bytes(32), Zeros(), lambda _content, _offset: None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert body.plain_bytes == 104_857_600
    assert peak < 2 * (segments._THREADS + 1) * segments.CHUNK_BYTES


@given(st.binary(max_size=300), st.booleans())
def test_noise_is_refused_and_nothing_else_happens(parties, noise: bytes, magic: bool) -> None:
    north, east, _ = parties
    with pytest.raises(errors.SealError):
        sealing.open(b"FYS1\x01\x01" * magic + noise, ADDRESS, east.opener(north))


def test_a_failed_write_is_raised() -> None:
    def full(_content: memoryview, _offset: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        segments.encrypt(bytes(32), bytes(30_000_000), full)


@pytest.mark.parametrize("size", [0, 1, 1_048_560, 1_048_561, 4_194_240, 4_194_241])
def test_the_second_program_opens_what_we_seal_and_we_open_what_it_seals(parties, size: int) -> None:
    north, east, south = parties
    content = os.urandom(size)
    sealed = seal(content, north, east, south)
    header, opened = second.open_payload(sealed, SOUTH, south.ring.private(1), north.ring.identity_key)
    assert (opened, header["kind"]) == (content, "update")
    to = [(p.site_id, p.key.epoch, p.key.public_key) for p in (south, east)]
    theirs = second.seal(content, header_of(ADDRESS), to, north.ring.identity.private_bytes_raw())
    assert sealing.open(theirs, ADDRESS, east.opener(north)) == content
    assert sealing.open(theirs, ADDRESS, south.opener(north)) == content


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vectors(path: Path) -> None:
    vector = {
        name: base64.b64decode(value)
        if name not in ("recipient_site", "fingerprint_hex", "fingerprint_words", "plain_bytes", "task_json")
        else value
        for name, value in json.loads(path.read_text()).items()
    }
    identity, site = vector["identity_public"], vector["recipient_site"]
    content, sealed = vector.get("plain"), vector["sealed"]
    if content is None:
        size, pattern = vector["plain_bytes"], vector["plain_pattern"]
        content = (pattern * (size // len(pattern) + 1))[:size]
        body = bytearray(ciphertext_bytes(size))
        segments.encrypt(vector["content_key"], content, sealing._into(body))
        sealed += body
    found, _ = sealing.read_seal(sealed)

    class Fixed:
        site_id = site

        def private(self, number: int, /) -> bytes:
            assert number == 3
            return vector["recipient_private"]

    if "task_json" in vector:
        task = msgspec.json.decode(vector["task_json"], type=TaskSpec)
        assert sealing.digests_in(found.header) == sealing.Digests(task_digest(task), "ab" * 32, ["cd" * 16, "ef" * 16])
    opener = Opener(Fixed(), {found.header.sender: identity}, NOW, lambda _id, _expires: True)
    assert sealing.open(sealed, found.address(), opener) == content
    assert second.open_payload(sealed, site, vector["recipient_private"], identity)[1] == content
    key = Key(
        site_id=site,
        epoch=3,
        created=1_767_225_600_000_000,
        expires=4_102_444_800_000_000,
        suite=1,
        public_key=vector["recipient_public"],
        signature=vector["key_signature"],
    )
    assert key.statement() == vector["key_statement"]
    key.check(identity)
    finger = fingerprint(identity)
    assert hex_groups(finger).replace(" ", "") == vector["fingerprint_hex"] == second.fingerprint(identity)
    assert words(finger) == vector["fingerprint_words"]
    assert hashlib.sha256(identity).hexdigest() == found.header.identity
