"""A site's keys: who it is, what is sealed to it, and how people compare it.

    identity.key      Ed25519, for ever: signs what the site seals, and its sealing keys            (site.py keeps it)
    keys/<epoch>.json a sealing key: its public statement and, until its grace is over, its private key       (0600)
    keys/lock         held while something in the folder changes: the agent and the command line may both do so

Epochs count 1, 2, 3. A newer epoch supersedes the older ones; these open what was sealed to them until `grace_s`
after the newer one was published. Then, or at once if it is revoked, the private key is deleted. An epoch is
on disk before anybody hears of it. Times are whole microseconds since 1970, as they are signed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from fedyard.sealed.errors import (
    BadSignature,
    Damaged,
    KeyRevoked,
    Malformed,
    NoKey,
    Unsupported,
    WrongEpoch,
)
from fedyard.wire import locks
from fedyard.wire.durable import write_whole
from fedyard.wire.seals import SUITE
from fedyard.wire.statements import enrolment_statement, hex_groups, identity_fingerprint, key_statement
from fedyard.wire.times import SECOND
from fedyard.wire.words import from_words, to_words

"""HPKE base mode with ML-KEM-768 + X25519, HKDF-SHA256 and AES-256-GCM; bodies AES-256-GCM; signatures Ed25519."""
MLKEM_PUBLIC_BYTES = 1184
PUBLIC_BYTES = MLKEM_PUBLIC_BYTES + 32
MLKEM_SEED_BYTES = 64
CONTENT_KEY_BYTES = 32

_HPKE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A site's sealing key of one epoch, as its identity signed it. Sealers stop using it at `expires`."""

    site_id: str
    epoch: int
    created: int
    expires: int
    suite: int
    public_key: bytes
    signature: bytes = b""

    def __repr__(self) -> str:
        return f"Key({self.site_id} epoch {self.epoch})"

    def statement(self) -> bytes:
        """What the identity signs."""
        return key_statement(self.site_id, self.epoch, self.created, self.expires, self.suite, self.public_key)

    def check(self, identity: bytes) -> None:
        """Raises `SealError` unless it is a key of this suite that `identity`, a raw public key, has signed."""
        if self.suite != SUITE:
            raise Unsupported(f"{self} is of suite {self.suite}; this program has {SUITE}")
        if len(self.public_key) != PUBLIC_BYTES:
            raise Malformed(f"{self} has {len(self.public_key)} bytes; suite {SUITE} has {PUBLIC_BYTES}")
        try:
            Ed25519PublicKey.from_public_bytes(identity).verify(self.signature, self.statement())
        except (InvalidSignature, ValueError):
            raise BadSignature(f"{self} is not signed by the identity {hex_groups(fingerprint(identity))}") from None


def wrap(key: Key, content_key: bytes, info: bytes) -> bytes:
    """`content_key` sealed to `key`, bound to `info`. Never the same twice."""
    try:
        public = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(key.public_key[:MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(key.public_key[MLKEM_PUBLIC_BYTES:]),
        )
        return _HPKE.encrypt(content_key, public, info)
    except ValueError:
        raise Malformed(f"{key} is no key that could be sealed to") from None


def unwrap(private: bytes, wrapped: bytes, info: bytes) -> bytes:
    """The content key back. Raises `Damaged`."""
    opener = MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(private[:MLKEM_SEED_BYTES]),
        X25519PrivateKey.from_private_bytes(private[MLKEM_SEED_BYTES:]),
    )
    try:
        return _HPKE.decrypt(wrapped, opener, info)
    except InvalidTag:
        raise Damaged("this site's wrap of the content key is not what was sealed there") from None


# the keyring


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """An epoch as it lies on disk. private: the ML-KEM seed and the X25519 key, None once it was deleted.

    grace_s: how long the epochs before it may still be opened; once superseded, how long this one may.
    published: the hub has it. superseded: when a newer epoch was published; revoked: when; 0 before.
    withdrawn: the hub knows that it is revoked.
    """

    key: Key
    private: bytes | None
    grace_s: float
    published: bool = False
    superseded: int = 0
    revoked: int = 0
    withdrawn: bool = False

    def __repr__(self) -> str:
        return f"Epoch({self.key}, {self.state})"

    @property
    def state(self) -> str:
        """current, superseded, gone or revoked."""
        if self.revoked:
            return "revoked"
        if self.private is None:
            return "gone"
        return "superseded" if self.superseded else "current"

    @property
    def gone_at(self) -> int | None:
        """When its private key is due to be deleted."""
        return self.superseded + int(self.grace_s * SECOND) if self.superseded else None


def enrolment_proof(identity: Ed25519PrivateKey, enrolment_token: str, token_sha256: str, name: str) -> bytes:
    """Shows the hub that the site has its identity key: good for this enrolment, name and token alone (docs/api.md).

    token_sha256: hex, of the token that the site has drawn for itself. 64 bytes.
    """
    hashed = hashlib.sha256(enrolment_token.encode()).hexdigest()
    return identity.sign(enrolment_statement(hashed, token_sha256, name))


class Keyring:
    """The sealing keys of one site, in the folder `keys/`. Reads the disk each time, so that it is never stale."""

    def __init__(self, folder: Path, site_id: str, identity: Ed25519PrivateKey) -> None:
        self.site_id = site_id
        self._folder = folder / "keys"
        self._identity = identity

    def __repr__(self) -> str:
        return f"Keyring({self.site_id})"

    @property
    def identity(self) -> Ed25519PrivateKey:
        return self._identity

    @property
    def identity_key(self) -> bytes:
        """The raw public identity key."""
        return self._identity.public_key().public_bytes_raw()

    def epochs(self) -> list[Epoch]:
        """Every epoch that this folder has ever had, oldest first."""
        numbers = sorted(int(path.stem) for path in self._folder.glob("*.json") if path.stem.isdigit())
        return [epoch for number in numbers if (epoch := self._read(number)) is not None]

    def current(self) -> Key:
        """The newest published key, if it still stands. Raises `NoKey`."""
        published = [epoch for epoch in self.epochs() if epoch.published]
        if not published or published[-1].state != "current":
            raise NoKey(f"site {self.site_id} has no current key")
        return published[-1].key

    def private(self, number: int) -> bytes:
        """The private key of an epoch. Raises `KeyRevoked`, or `WrongEpoch` if it is not here, or no longer."""
        epoch = self._read(number)
        if epoch is None:
            raise WrongEpoch(f"site {self.site_id} has no epoch {number}")
        if epoch.revoked:
            raise KeyRevoked(f"epoch {number} of site {self.site_id} was revoked")
        if epoch.private is None:
            raise WrongEpoch(f"epoch {number} of site {self.site_id} is gone: its grace is over")
        return epoch.private

    def renew(self, now: int, *, valid_s: float, grace_s: float, after: int = 0) -> Epoch:
        """A new epoch, on disk; its number is above all here and above `after`, what the hub has seen of this site."""
        with self._locked():
            number = max([after, *(epoch.key.epoch for epoch in self.epochs())]) + 1
            mlkem, x25519 = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
            key = Key(
                site_id=self.site_id,
                epoch=number,
                created=now,
                expires=now + int(valid_s * SECOND),
                suite=SUITE,
                public_key=mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw(),
            )
            signed = msgspec.structs.replace(key, signature=self._identity.sign(key.statement()))
            private = mlkem.private_bytes_raw() + x25519.private_bytes_raw()
            return self._write(Epoch(key=signed, private=private, grace_s=grace_s))

    def published(self, number: int, now: int) -> None:
        """The hub has the epoch: the grace of the older ones begins."""
        with self._locked():
            newest = self._read(number)
            assert newest is not None
            self._write(msgspec.structs.replace(newest, published=True))
            for epoch in self.epochs():
                if epoch.key.epoch < number and not epoch.superseded:
                    self._write(msgspec.structs.replace(epoch, superseded=now, grace_s=newest.grace_s))

    def revoke(self, number: int, now: int) -> None:
        """Delete the private key of an epoch at once; what was sealed to it and is not open yet is lost."""
        with self._locked():
            epoch = self._read(number)
            if epoch is None:
                raise WrongEpoch(f"site {self.site_id} has no epoch {number}")
            self._write(msgspec.structs.replace(epoch, private=None, revoked=epoch.revoked or now))

    def discard(self, number: int) -> None:
        """Forget an epoch that was never published; its number is free again."""
        with self._locked():
            (self._folder / f"{number}.json").unlink(missing_ok=True)

    def withdrawn(self, number: int) -> None:
        """The hub knows that the epoch is revoked."""
        with self._locked():
            epoch = self._read(number)
            if epoch is not None:
                self._write(msgspec.structs.replace(epoch, withdrawn=True))

    def expire(self, now: int) -> list[int]:
        """Delete the private keys whose grace is over; their epochs."""
        over = []
        with self._locked():
            for epoch in self.epochs():
                if epoch.private is not None and epoch.gone_at is not None and epoch.gone_at <= now:
                    self._write(msgspec.structs.replace(epoch, private=None))
                    over.append(epoch.key.epoch)
        return over

    @contextmanager
    def alone(self, name: str = "tending.lock") -> Iterator[None]:
        """One process at a time brings hub and folder to agree; with its own `name`, one changes a file."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with (self._folder / name).open("w") as lock:
            locks.lock(lock)
            yield

    def _locked(self) -> AbstractContextManager[None]:
        return self.alone("lock")

    def _read(self, number: int) -> Epoch | None:
        try:
            return msgspec.json.decode((self._folder / f"{number}.json").read_bytes(), type=Epoch)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            raise WrongEpoch(f"{self._folder / f'{number}.json'} is damaged: restore it, or revoke the epoch") from None

    def _write(self, epoch: Epoch) -> Epoch:
        write_whole(self._folder / f"{epoch.key.epoch}.json", msgspec.json.encode(epoch))
        return epoch


# fingerprints


def fingerprint(identity: bytes) -> bytes:
    """16 bytes that stand for an identity; `identity` is the raw public key."""
    return identity_fingerprint(identity)


def identity_hash(identity: bytes) -> str:
    """What a header names the sender's identity by."""
    return hashlib.sha256(identity).hexdigest()


def words(finger: bytes) -> str:
    """A fingerprint as 12 English words, the last of which checks the others."""
    return to_words(finger)


def parse_fingerprint(text: str) -> bytes:
    """A fingerprint back from words or hex digits, however they are grouped. Raises `ValueError` with what is wrong."""
    digits = re.sub(r"[\s:-]", "", text).lower()
    if re.fullmatch("[0-9a-f]{32}", digits):
        return bytes.fromhex(digits)
    return from_words(text.lower().split())
