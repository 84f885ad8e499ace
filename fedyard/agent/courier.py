"""Payloads on their way: sealed before they leave the site, opened when they come, large ones by way of an artifact.

    pack        content -> a whole sealed payload, or a detached seal and the file with its body
    unpack      a message -> its content, once everything about it was checked

Raises `SealError` for what cannot be sealed or opened; `trust.Changed`, a swapped identity, ends the agent.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, get_args

from fedyard.agent.directories import Directories, Directory
from fedyard.agent.site import Settings
from fedyard.agent.state import State
from fedyard.client.client import Client
from fedyard.client.errors import HubError, Refused, Unacceptable, Unavailable
from fedyard.client.transfer import Transfer
from fedyard.clock import draw_key, micros_now
from fedyard.sealed import sealing
from fedyard.sealed.errors import (
    Damaged,
    Diverted,
    Gone,
    IdentityChanged,
    NoKey,
    Readdressed,
    UnknownSigner,
    Unsealed,
)
from fedyard.sealed.keys import Key, Keyring
from fedyard.sealed.sealing import Address, Digests, Opener, Origin
from fedyard.sealed.trust import Trust
from fedyard.wire.durable import write_whole
from fedyard.wire.problems import ProblemType
from fedyard.wire.seals import is_sealed
from fedyard.wire.times import DAY
from fedyard.wire.types import ArtifactKind

MAX_INLINE_BYTES = 262_144
"""What the hub carries inline, wraps not counted; what is larger goes by an artifact."""
INLINE_SEAL_BYTES = 49_152
"""Room for the header of a payload for hundreds of recipients."""
_GOOD_FOR = {"update": 30 * DAY, "model": 400 * DAY, "initial": 400 * DAY, "result": 400 * DAY, "log": 400 * DAY}
"""How long what is sealed may be opened; everything else for 30 days."""

SEAL_ANEW = (ProblemType.KEY_UNUSABLE, ProblemType.SEAL_EXPIRED, ProblemType.SEAL_READDRESSED)
"""Refusals for keys, time or recipients: the directory has changed; it is read again, and the payload sealed anew."""

Packed: TypeAlias = bytes | Path


@dataclass(frozen=True)
class Parcel:
    """What is ready to be sent. body: the whole payload, or its detached seal (None if unsealed).

    file: where the body lies that belongs to a detached seal; it goes by an artifact. digest: the seal's, empty if
    there is none. to: the sites that it is for.
    """

    body: bytes | None
    file: Path | None = None
    digest: str = ""
    to: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Parcel({len(self.body or b'')} bytes, file={self.file})"


@dataclass(frozen=True)
class Unpacked:
    """A payload's content, and what its header said of where it is from; None if it came unsealed."""

    content: Packed
    origin: Origin | None = None

    def __repr__(self) -> str:
        return f"Unpacked({self.origin})"


class Courier:
    """The payloads of one site. Safe to use from many threads."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        keyring: Keyring,
        trust: Trust,
        directories: Directories,
        state: State,
        client: Client,
        transfer: Transfer,
    ) -> None:
        self.keyring, self.trust, self.directories = keyring, trust, directories
        self.site_id = keyring.site_id
        self._folder, self._settings = folder, settings
        self._state, self._client, self._transfer = state, client, transfer

    # out

    def pack(
        self, content: Packed, address: Address, to: Collection[str], spool: Path, digests: Digests | None = None
    ) -> Parcel:
        """Seal `content` to these sites. `spool`: a file for the body, if it is large. digests: what it was made of.

        Not sealed at all only if the project leaves it open, this site's configuration too, and a key is missing.
        """
        keys, named = self._keys(address.project, to), tuple(sorted(set(to)))
        if keys is None:
            return replace(self._plain(content, spool), to=named)
        id, created = draw_key(), micros_now()
        expires = created + _GOOD_FOR.get(address.kind, 30 * DAY)
        if isinstance(content, Path):
            made = sealing.seal_file(
                content,
                spool,
                address,
                keys,
                self.keyring.identity,
                id=id,
                created=created,
                expires=expires,
                digests=digests,
            )
            return Parcel(made.seal, spool, sealing.read_seal(made.seal)[0].digest, named)
        sealed = sealing.seal(
            content, address, keys, self.keyring.identity, id=id, created=created, expires=expires, digests=digests
        )
        seal, body = sealing.read_seal(sealed)
        if len(body) + INLINE_SEAL_BYTES <= MAX_INLINE_BYTES:
            return Parcel(sealed, digest=seal.digest, to=named)
        write_whole(spool, body)
        return Parcel(sealed[: len(sealed) - len(body)], spool, seal.digest, named)

    def pack_small(self, content: bytes, address: Address, to: Collection[str]) -> bytes:
        """As `pack`, for what is sure to be small."""
        assert len(content) < MAX_INLINE_BYTES // 2
        body = self.pack(content, address, to, _NOWHERE).body
        assert body is not None
        return body

    def _keys(self, project_id: str, to: Collection[str]) -> list[Key] | None:
        """The keys to seal to; None if the payload goes unsealed."""
        directory = self.directories.of(project_id)
        try:
            return [directory.key_of(site_id) for site_id in sorted(set(to))]
        except NoKey:
            if not self._unsealed(directory):
                raise
            return None

    def upload(self, parcel: Parcel, address: Address, key: str) -> str:
        """Bring a parcel's file to the hub; the artifact's id. A repeat goes on where the last try ended."""
        assert parcel.file is not None
        try:
            return self._transfer.upload(
                parcel.file,
                project_id=address.project,
                kind=address.kind if address.kind in ARTIFACT_KINDS else "result",
                run_id=address.run,
                task_seq=address.task,
                round=address.round,
                seal=parcel.body,
                key=key,
            )
        except Unacceptable as error:
            raise Diverted(str(error)) from None

    def _plain(self, content: Packed, spool: Path) -> Parcel:
        if isinstance(content, Path):
            return Parcel(None, content)
        if len(content) <= MAX_INLINE_BYTES:
            return Parcel(content)
        write_whole(spool, content)
        return Parcel(None, spool)

    def _unsealed(self, directory: Directory) -> bool:
        return directory.sealed == "optional" and self._settings.trust.unsealed

    # in

    def unpack(
        self,
        body: bytes | None,
        expected: Address,
        *,
        place: str,
        target: Path,
        artifact_id: str | None = None,
        anywhere: bool = False,
    ) -> Unpacked:
        """The content of a payload that the hub shows as `expected`; bytes, or `target` if it is large.

        place: what it is, so that it is known when it is shown again as something else. anywhere: run, task and round
        may be others, as with a model that a restarted run begins with.
        """
        self.directories.consented(expected.project)
        if body is None or not is_sealed(body):
            return Unpacked(self._taken_unsealed(body, expected, target, artifact_id))
        found, _ = sealing.read_seal(body)
        if anywhere:
            expected = replace(expected, run=found.header.run, task=found.header.task, round=found.header.round)
        try:
            return Unpacked(self._opened(body, expected, place, target, artifact_id), found.origin)
        except (UnknownSigner, IdentityChanged):
            self.directories.of(
                expected.project, fresh=True
            )  # a new member; or a swapped identity, which is raised here
        return Unpacked(self._opened(body, expected, place, target, artifact_id), found.origin)

    def size_of(self, seal: bytes | None) -> int:
        """How many bytes of an artifact are fetched at most: what its seal says, or the site's limit without one.

        Raises `SealError`.
        """
        if seal is None or not is_sealed(seal):
            return self._settings.tasks.content_limit_bytes
        return sealing.read_seal(seal)[0].header.body_bytes

    def signed_by_us(self, body: bytes | None, project_id: str, kind: str) -> str | None:
        """The seal digest of what this site has sealed in a project; None if it is not sealed. Raises `SealError`.

        Only the signature is checked: it may lie far back, and the key that opens it be gone.
        """
        if body is None or not is_sealed(body):
            return None
        found = sealing.signed_by(body, {self.site_id: self.keyring.identity_key})
        if (found.header.project, found.header.kind) != (project_id, kind):
            raise Readdressed(f"{found} was sealed for another project, or as something else than a {kind}")
        return found.digest

    def _opened(self, body: bytes, expected: Address, place: str, target: Path, artifact_id: str | None) -> Packed:
        opener = Opener(
            self.keyring,
            {**self.trust.signers(), self.site_id: self.keyring.identity_key},
            micros_now(),
            lambda seal_id, expires: self._state.bodies.first_opened(seal_id, place, expires),
        )
        if artifact_id is None:
            return sealing.open(body, expected, opener)
        limit = self._settings.tasks.content_limit_bytes + _OVERHEAD_BYTES
        header = sealing.check(body, expected, opener, at_most=limit)
        download = target.with_name(f"{target.name}.sealed")
        self._download(artifact_id, download, header.body_digest, header.body_bytes)
        sealing.open_file(body, download, target, expected, opener, at_most=limit)
        download.unlink(missing_ok=True)
        return target

    def _download(self, artifact_id: str, path: Path, digest: str | None, at_most: int) -> None:
        try:
            self._transfer.download(artifact_id, path, digest=digest, at_most=at_most)
        except Unacceptable as error:
            raise Diverted(str(error)) from None
        except Refused as error:
            if error.token_unknown:
                raise
            raise Gone(f"artifact {artifact_id} cannot be had: {error.slug}") from None
        except Unavailable:
            raise
        except HubError as error:
            raise Damaged(str(error)) from None

    def _taken_unsealed(self, body: bytes | None, expected: Address, target: Path, artifact_id: str | None) -> Packed:
        if not self._unsealed(self.directories.of(expected.project)):
            raise Unsealed(f"a {expected.kind} of site {expected.sender} that is not sealed")
        if artifact_id is None:
            return body or b""
        self._download(artifact_id, target, None, self._settings.tasks.content_limit_bytes + _OVERHEAD_BYTES)
        return target


ARTIFACT_KINDS = frozenset(get_args(ArtifactKind))
_NOWHERE = Path()
_OVERHEAD_BYTES = 1_048_576
"""What packing adds to content, at most."""
