"""Commands as bytes and back: JSON, versioned, strict. Unknown kinds, versions and fields are refused."""

from __future__ import annotations

import re

import msgspec

from domain.commands import AnyCommand, Command, Envelope
from domain.ids import HUB, Id, sha256_hex
from domain.values import Micros, Subject

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Envelope)


class Undecodable(Exception):
    """The bytes are no command of this version. Carries the place and the rule, never the content."""


def encode(envelope: Envelope) -> str:
    """The wire form: JSON text."""
    return _encoder.encode(envelope).decode()


def decode(text: str | bytes) -> Envelope:
    """The envelope back. Raises `Undecodable` without quoting the content (it may be a payload)."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(_without_content(error)) from None


def _without_content(error: Exception) -> str:
    """msgspec's rule and path; what it quotes of the content is cut off."""
    text = str(error)
    path = re.search(r"at `(\$[\w.\[\]]*)`", text)
    rule = re.split("['`]", text)[0].strip()[:200]
    return f"{rule} at {path.group(1)}" if path else rule


def envelope_of(command: AnyCommand, *, id: Id, by: Subject, at: Micros, waited: bool = False) -> Envelope:
    """An envelope with the digest of its command."""
    return Envelope(id=id, at=at, by=by, command=command, waited=waited, digest=digest_of(command))


def digest_of(command: Command) -> str:
    """SHA-256 (hex) of the command's deterministic wire form."""
    return sha256_hex(_encoder.encode(command))


THE_HUB = Subject(kind="hub", id=HUB)
"""The subject of commands that the hub sends itself."""
