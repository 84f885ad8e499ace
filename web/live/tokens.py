"""Whose a bearer token is, from memory where it was seen lately.

Only hashes are looked up, kept and compared. The memory is void as soon as anybody loses rights, and after
half a minute anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from config.clock import Clock
from domain.ids import sha256_hex
from domain.values import TokenKind
from fedyard.wire.problems import ProblemType
from storage.views.people import Bearer
from web.problems import Refused

TRUST_S = 30.0
MAX_REMEMBERED = 20_000
_LONGEST_TOKEN = 200


class Tokens:
    """Callers by the hash of their token. Safe to use from many threads."""

    def __init__(self, look_up: Callable[[str], Bearer | None], clock: Clock) -> None:
        self._look_up = look_up
        self._clock = clock
        self._known: dict[str, tuple[Bearer, float]] = {}
        self._generation = 0
        self._lock = threading.Lock()

    def void(self) -> None:
        """Forget everybody: somebody lost rights, or an announcement of it may be lost."""
        with self._lock:
            self._generation += 1
            self._known.clear()

    def caller(self, authorization: str | None) -> Bearer:
        """The owner of the token in an Authorization header. Raises 401."""
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if not token:
            raise unauthorized(ProblemType.NO_TOKEN, "send Authorization: Bearer <token>")
        if scheme.lower() != "bearer" or len(token) > _LONGEST_TOKEN:
            raise unauthorized(ProblemType.TOKEN_NOT_VALID, "send Authorization: Bearer <token>")
        found = self.of(token, TokenKind.TOKEN)
        if found is None:
            detail = "the token is unknown, revoked, expired or used up, or its owner is gone; ask for another"
            raise unauthorized(ProblemType.TOKEN_NOT_VALID, detail)
        return found

    def of(self, secret: str, *kinds: TokenKind) -> Bearer | None:
        """Whose secret it is, if that is in force and of one of these kinds."""
        found = self._remembered(sha256_hex(secret.encode())) if len(secret) <= _LONGEST_TOKEN else None
        if found is None or found.kind not in kinds:
            return None
        return found if found.expires_at is None or found.expires_at > self._clock.now() else None

    def _remembered(self, sha256: str) -> Bearer | None:
        known = self._known.get(sha256)
        if known is not None and known[1] > self._clock.monotonic():
            return known[0]
        generation = self._generation
        found = self._look_up(sha256)
        if found is not None and found.token_id is not None:  # an enrolment's is good for one call: asked each time
            self._remember(sha256, found, generation)
        return found

    def _remember(self, sha256: str, found: Bearer, generation: int) -> None:
        """Unless rights were lost since the look-up began: then what it found may be old."""
        with self._lock:
            if generation != self._generation:
                return
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[sha256] = (found, self._clock.monotonic() + TRUST_S)


def unauthorized(problem: ProblemType, detail: str) -> Refused:
    """401, with the header that RFC 9110 (15.5.2) asks for."""
    return Refused(problem, detail, {"WWW-Authenticate": 'Bearer realm="fedyard"'})
