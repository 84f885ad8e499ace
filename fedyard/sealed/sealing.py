"""Sealed payloads, format 1: what leaves a site so that only its recipients can read it, and nobody can change it.

    seal, seal_file      encrypt once, wrap the content key for every recipient, sign
    open, open_file      check who, where, when and everything else, then decrypt
    read_seal            the form alone: what the hub sees, too (fedyard/wire/seals.py)

Order of the checks when opening: form, signer, signature, address, time, recipient, key, replay, then the content.
Nothing of a payload is handed out before all of it was verified. docs/sealing.md has the format byte by byte and says
what it protects from. Times are whole microseconds since 1970.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedyard.sealed import segments
from fedyard.sealed.errors import (
    BadSignature,
    Damaged,
    Expired,
    IdentityChanged,
    Malformed,
    NotRecipient,
    Readdressed,
    Replayed,
    Truncated,
    UnknownSigner,
    Unsealed,
    Unsupported,
)
from fedyard.sealed.keys import CONTENT_KEY_BYTES, Key, identity_hash, unwrap, wrap
from fedyard.wire import seals
from fedyard.wire.durable import whole
from fedyard.wire.seals import (
    MAX_RECIPIENTS,
    PLACE,
    RECEIPT_CHARACTERS,
    SIGNATURE_BYTES,
    SUITE,
    WRAP,
    Header,
    Recipient,
    ciphertext_bytes,
    signed_part,
)
from fedyard.wire.times import moment


class Digests(msgspec.Struct, frozen=True):
    """What an update or a model was made of, as its header says.

    task: digest of the task (`contract.task_digest`). model: seal digest of the model that it started from; None if
    there was none, or it was not sealed. receipts: of the updates that a model was made of; None for an update.
    """

    task: str
    model: str | None = None
    receipts: Sequence[str] | None = None


def digests_in(header: Header) -> Digests | None:
    """What the payload was made of; None of a kind that does not say, or of a sender that did not."""
    task, model, receipts = header.task_digest, header.model_digest, header.receipts
    if isinstance(task, msgspec.UnsetType) or isinstance(model, msgspec.UnsetType):
        return None
    return Digests(task, model, None if isinstance(receipts, msgspec.UnsetType) or receipts is None else receipts)


class Origin(msgspec.Struct, frozen=True):
    """What is kept of a sealed payload's header once it was opened. digest: its seal digest."""

    digest: str
    run: str | None
    task: int | None
    round: int | None
    digests: Digests | None = None


@dataclass(frozen=True)
class Address:
    """Where a payload belongs: who sends it, in which project, run, task and round, and as what."""

    sender: str
    project: str
    kind: str
    run: str | None = None
    task: int | None = None
    round: int | None = None


@dataclass(frozen=True)
class Seal:
    """A payload without its body. signed: the first bytes, through the header. wraps: by index of recipient."""

    header: Header
    signed: bytes
    signature: bytes
    wraps: Mapping[int, bytes]

    def __repr__(self) -> str:
        return f"Seal({self.header.id} {self.header.kind} of {self.header.sender}, {self.header.body_bytes} bytes)"

    def encode(self) -> bytes:
        """The bytes that come before the body."""
        wraps = (WRAP.pack(index, self.wraps[index]) for index in sorted(self.wraps))
        return b"".join((self.signed, self.signature, PLACE.pack(len(self.wraps)), *wraps))

    @property
    def digest(self) -> str:
        """The seal digest, hex: of what is signed, so the same whoever's wraps are there."""
        return hashlib.sha256(self.signed).hexdigest()

    @property
    def origin(self) -> Origin:
        header = self.header
        return Origin(self.digest, header.run, header.task, header.round, digests_in(header))

    def address(self) -> Address:
        header = self.header
        return Address(header.sender, header.project, header.kind, header.run, header.task, header.round)


@dataclass(frozen=True)
class Sealed:
    """What `seal_file` made: the detached seal, and the body's digests as an artifact wants them."""

    seal: bytes
    body: segments.Body


class Keys(Protocol):
    """A site's own keys; `keys.Keyring` is one."""

    @property
    def site_id(self) -> str:
        """Whose they are."""

    def private(self, number: int, /) -> bytes:
        """The private key of an epoch. Raises `KeyRevoked` or `WrongEpoch`."""


@dataclass(frozen=True)
class Opener:
    """What a site needs to open things.

    signers: raw identity keys of the sites that it knows. now: microseconds.
    first_time: told the id of a payload and when it expires once all was verified; False if it was opened before.
    """

    keys: Keys
    signers: Mapping[str, bytes]
    now: int
    first_time: Callable[[str, int], bool]


# sealing


def seal(
    content: bytes,
    address: Address,
    to: Sequence[Key],
    identity: Ed25519PrivateKey,
    *,
    id: str,
    created: int,
    expires: int,
    digests: Digests | None = None,
) -> bytes:
    """`content`, sealed to every key of `to`; the whole payload. `id` is drawn anew for every call.

    digests: what an update or a model was made of.

    Raises `SealError` if it cannot be sealed so.
    """
    content_key = os.urandom(CONTENT_KEY_BYTES)
    sealed = bytearray(ciphertext_bytes(len(content)))
    body = segments.encrypt(content_key, content, _into(sealed))
    made = _sealed(body, content_key, address, to, identity, id=id, created=created, expires=expires, digests=digests)
    return made.seal + sealed


def seal_file(
    source: Path,
    target: Path,
    address: Address,
    to: Sequence[Key],
    identity: Ed25519PrivateKey,
    *,
    id: str,
    created: int,
    expires: int,
    digests: Digests | None = None,
) -> Sealed:
    """Seal a file: the body goes to `target`, which is there once it is whole; the seal is returned."""
    content_key = os.urandom(CONTENT_KEY_BYTES)
    with source.open("rb", buffering=0) as stream, whole(target) as handle:
        body = segments.encrypt(content_key, stream, _at(handle))
    return _sealed(body, content_key, address, to, identity, id=id, created=created, expires=expires, digests=digests)


def _sealed(
    body: segments.Body,
    content_key: bytes,
    address: Address,
    to: Sequence[Key],
    identity: Ed25519PrivateKey,
    *,
    id: str,
    created: int,
    expires: int,
    digests: Digests | None,
) -> Sealed:
    keys = sorted(to, key=lambda key: key.site_id)
    _check_keys(keys, created)
    header = Header(
        id=id,
        sender=address.sender,
        recipients=[Recipient(key.site_id, key.epoch) for key in keys],
        project=address.project,
        run=address.run,
        task=address.task,
        round=address.round,
        kind=address.kind,
        identity=identity_hash(identity.public_key().public_bytes_raw()),
        key_commitment=_commitment(content_key),
        created=created,
        expires=expires,
        body_bytes=body.body_bytes,
        body_digest=body.digest,
        plain_bytes=body.plain_bytes,
        task_digest=msgspec.UNSET if digests is None else digests.task,
        model_digest=msgspec.UNSET if digests is None else digests.model,
        receipts=msgspec.UNSET if digests is None else _sorted(digests.receipts),
    )
    signed = signed_part(header)
    wraps = {index: wrap(key, content_key, _wrap_info(signed, index)) for index, key in enumerate(keys)}
    made = Seal(header, signed, identity.sign(_SEAL_CONTEXT + signed), wraps)
    encoded = made.encode()
    read_seal(encoded)  # what nobody could read is not sent
    return Sealed(encoded, body)


def _sorted(receipts: Sequence[str] | None) -> list[str] | None:
    return None if receipts is None else sorted(receipts)


def _check_keys(keys: Sequence[Key], now: int) -> None:
    if not 1 <= len(keys) <= MAX_RECIPIENTS:
        raise Malformed(f"{len(keys)} recipients; a payload has 1 to {MAX_RECIPIENTS}")
    for key in keys:
        if key.suite != SUITE:
            raise Unsupported(f"{key} is of suite {key.suite}; this program has {SUITE}")
        if key.expires <= now:
            raise Expired(f"{key} is past its time, and nothing may be sealed to it")


# opening


def open(sealed: bytes, expected: Address, opener: Opener) -> bytes:
    """The content of a whole payload that was sealed for `expected`. Raises `SealError`."""
    found, body = read_seal(sealed)
    content_key = _verified(found, expected, opener)
    if len(body) < found.header.body_bytes:
        raise Truncated(f"{found} has {len(body)} bytes of body")
    if len(body) > found.header.body_bytes:
        raise Damaged(f"{found} has {len(body)} bytes of body")
    content = bytearray(found.header.plain_bytes)
    _decrypt(found, content_key, body, _into(content), opener)
    return bytes(content)


def check(detached: bytes, expected: Address, opener: Opener, *, at_most: int) -> Header:
    """All that a detached seal can tell before its body is fetched: whether it is worth it. Raises `SealError`."""
    found, _ = read_seal(detached)
    _verified(found, expected, opener)
    _fits(found, at_most)
    return found.header


def open_file(
    detached: bytes, source: Path | segments.Source, target: Path, expected: Address, opener: Opener, *, at_most: int
) -> Header:
    """Open a body that lies in `source` (a file, or a stream) with its seal; `target` is there once all was verified.

    at_most: bytes that the plaintext may have. Raises `SealError`; then there is no `target`, or the one from before.
    """
    found, rest = read_seal(detached)
    if rest:
        raise Malformed(f"{found} is detached, but {len(rest)} bytes follow it")
    content_key = _verified(found, expected, opener)
    _fits(found, at_most)
    with whole(target) as handle:
        if isinstance(source, Path):
            with source.open("rb", buffering=0) as stream:
                _decrypt(found, content_key, stream, _at(handle), opener)
        else:
            _decrypt(found, content_key, source, _at(handle), opener)
    return found.header


def read_seal(payload: bytes) -> tuple[Seal, bytes]:
    """The seal, and the bytes after it. Its form is good; nothing else is known of it yet.

    Raises `Unsealed`, `Unsupported`, `Malformed` or `Truncated`.
    """
    try:
        found = seals.read_seal(payload)
    except seals.NotSealed:
        raise Unsealed(f"{len(payload)} bytes that are not sealed") from None
    except seals.SealTruncated:
        raise Truncated(f"the seal ends after {len(payload)} bytes") from None
    except seals.SealMalformed as error:
        raise Malformed(str(error)) from None
    except seals.SealUnsupported as error:
        raise Unsupported(
            f"sealed in version {error.version}, suite {error.suite}; this program has {seals.VERSION}, {SUITE}"
        ) from None
    signed = found.signed_bytes
    pairs = WRAP.iter_unpack(payload[found.wraps_at : found.body_at])
    return (
        Seal(found.header, payload[:signed], payload[signed : signed + SIGNATURE_BYTES], dict(pairs)),
        payload[found.body_at :],
    )


def signed_by(payload: bytes, signers: Mapping[str, bytes]) -> Seal:
    """The seal of a payload (whole or detached) whose signature holds; nothing is opened. Raises `SealError`."""
    found, _ = read_seal(payload)
    _check_signature(found, signers)
    return found


def receipt_of(seal_digest: str) -> str:
    """How a model names an update."""
    return seal_digest[:RECEIPT_CHARACTERS]


def _check_signature(found: Seal, signers: Mapping[str, bytes]) -> None:
    header = found.header
    signer = signers.get(header.sender)
    if signer is None:
        raise UnknownSigner(f"{found}: no identity of site {header.sender} is pinned here")
    if header.identity != identity_hash(signer):
        raise IdentityChanged(f"{found} names another identity than the one that is pinned for site {header.sender}")
    try:
        Ed25519PublicKey.from_public_bytes(signer).verify(found.signature, _SEAL_CONTEXT + found.signed)
    except (InvalidSignature, ValueError):
        raise BadSignature(f"{found} is not signed by site {header.sender}") from None


def _verified(found: Seal, expected: Address, opener: Opener) -> bytes:
    """The content key of a payload whose sender, address, time and key are as they should be."""
    header = found.header
    _check_signature(found, opener.signers)
    if found.address() != expected:
        raise Readdressed(f"{found} was sealed for {_differences(found.address(), expected)}")
    if header.expires <= opener.now:
        raise Expired(f"{found} was good until {moment(header.expires)}; this site's clock says {moment(opener.now)}")
    return _content_key(found, opener.keys)


def _fits(found: Seal, at_most: int) -> None:
    if found.header.plain_bytes > at_most:
        raise Malformed(f"{found} holds {found.header.plain_bytes} bytes; this site takes {at_most} here")


def _differences(sealed: Address, expected: Address) -> str:
    pairs = [(name, getattr(sealed, name), getattr(expected, name)) for name in Address.__dataclass_fields__]
    return ", ".join(f"{name} {was} and shown for {wanted}" for name, was, wanted in pairs if was != wanted)


def _content_key(found: Seal, keys: Keys) -> bytes:
    mine = [(index, r) for index, r in enumerate(found.header.recipients) if r.site == keys.site_id]
    if not mine:
        raise NotRecipient(f"{found} is not sealed to site {keys.site_id}")
    index, recipient = mine[0]
    if index not in found.wraps:
        raise NotRecipient(f"{found} is sealed to site {keys.site_id}, but came without its wrap")
    content_key = unwrap(keys.private(recipient.epoch), found.wraps[index], _wrap_info(found.signed, index))
    if not hmac.compare_digest(_commitment(content_key), found.header.key_commitment):
        raise Damaged(f"{found}: this site's wrap holds another key than the one that was committed to")
    return content_key


def _decrypt(
    found: Seal, content_key: bytes, source: segments.Source | bytes, sink: segments.Sink, opener: Opener
) -> None:
    """The whole body, its digest, and that it is opened for the first time."""
    body = segments.decrypt(content_key, source, sink, found.header.body_bytes)
    if not hmac.compare_digest(body.digest, found.header.body_digest):
        raise Damaged(f"{found}: the body is not the one that was signed")
    if not opener.first_time(found.header.id, found.header.expires):
        raise Replayed(f"{found} was opened before, in another place")


# parts

_SEAL_CONTEXT = b"fedyard seal 1\0"
_WRAP_CONTEXT = b"fedyard wrap 1\0"
_COMMIT_CONTEXT = b"fedyard commit 1\0"


def _wrap_info(signed: bytes, index: int) -> bytes:
    return _WRAP_CONTEXT + hashlib.sha256(signed).digest() + PLACE.pack(index)


def _commitment(content_key: bytes) -> str:
    return hmac.new(content_key, _COMMIT_CONTEXT, hashlib.sha256).hexdigest()


def _into(memory: bytearray) -> segments.Sink:
    """A sink that fills memory of the right size."""

    def sink(content: memoryview, offset: int) -> None:
        memory[offset : offset + len(content)] = content

    return sink


def _at(handle: int) -> segments.Sink:
    """A sink that writes to a descriptor."""

    def sink(content: memoryview, offset: int) -> None:
        while content:
            done = os.pwrite(handle, content, offset)
            content, offset = content[done:], offset + done

    return sink
