"""Secrets that the hub draws and shows once, and times as the commands carry them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from config.clock import draw_secret
from domain.ids import sha256_hex
from domain.values import Micros
from fedyard.wire.problems import ProblemType
from storage.views import people
from web.http.calls import Call
from web.http.writing import Shows
from web.problems import Refused

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END: Micros = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
NOT_DRAWN = "0" * 64
"""Stands for a drawn hash where a request is told from another."""


@dataclass(frozen=True)
class Secret:
    """A secret that the hub drew; only its hash travels. Its repr does not show it."""

    text: str
    sha256: str

    def __repr__(self) -> str:
        return "Secret(...)"


def drawn_unless(sha256: str | None) -> tuple[str, Secret | None]:
    """The caller's hash; or that of a secret drawn now, with the secret."""
    if sha256 is not None:
        return sha256, None
    text = draw_secret()
    secret = Secret(text, sha256_hex(text.encode()))
    return secret.sha256, secret


def token_of(call: Call, secret: Secret | None) -> Shows:
    """An answer's `token`: the secret, if it is what the store holds the hash of, for an earlier request may have drawn
    another; null then, and if the caller drew it."""

    def shows(_decided: object) -> dict[str, str | None]:
        in_force = secret is not None and people.holds(call.web.database, secret.sha256)
        return {"token": secret.text if secret is not None and in_force else None}

    return shows


def micros_of(time: datetime | None) -> Micros | None:
    """Microseconds since the epoch. Raises 422 for a time that nobody can mean."""
    if time is None:
        return None
    micros = (time - _EPOCH) // timedelta(microseconds=1)
    if not 0 <= micros < _END:
        raise Refused(ProblemType.IMPOSSIBLE, "the time lies outside of the years 1970 to 9998; choose a nearer one")
    return micros
