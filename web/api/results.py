"""Answers of the web's own, and results to which it adds a secret. Those of decisions: domain/results.py."""

from __future__ import annotations

from typing import Literal

import msgspec

from domain.ids import Uuid
from domain.results import Changed, ClientTokenResult, Made, MadeWithToken, SignInResult
from domain.values import Role
from storage.views.resources import Time


class Answer(msgspec.Struct, frozen=True):
    """An answer of the web's own."""


class Root(Answer, frozen=True):
    """documentation, health: paths."""

    name: str
    version: str
    documentation: str
    health: str


class Shown(Made, frozen=True, kw_only=True):
    """token: the secret, if the hub drew it and this request's is the one in force."""

    token: str | None

    def __repr__(self) -> str:
        return f"Shown({self.id})"


class SignInShown(SignInResult, frozen=True, kw_only=True):
    """token: the code, if the hub drew it and this request's is the one in force."""

    token: str | None

    def __repr__(self) -> str:
        return f"SignInShown({self.id})"


class ClientToken(ClientTokenResult, frozen=True, kw_only=True):
    """token: the secret, if the hub drew it and this request's is the one in force."""

    token: str | None

    def __repr__(self) -> str:
        return f"ClientToken({self.id})"


class Enrolled(MadeWithToken, frozen=True, kw_only=True):
    token: str | None

    def __repr__(self) -> str:
        return f"Enrolled({self.id})"


class WebhookSecret(Changed, frozen=True, kw_only=True):
    """secret: as Standard Webhooks writes it, derived for this answer alone. version: of it."""

    secret: str

    def __repr__(self) -> str:
        return f"WebhookSecret({self.id})"


class ChunkBegun(Answer, frozen=True):
    """bytes: how many of the chunk are there now; the rest is still needed."""

    bytes: int


class Verification(Answer, frozen=True):
    """Of a part of all chains. streams: walked to their end. faults: what is broken. next: where it goes on."""

    streams: int
    events: int
    faults: list[str]
    next: str | None


class HeartbeatResult(Answer, frozen=True):
    """How often a site shall be heard of."""

    heartbeat_every_s: float


class Me(Answer, frozen=True):
    kind: Literal["account", "site"]
    id: Uuid
    name: str
    organisation_id: Uuid
    role: Role | None
    scopes: list[Literal["read", "write"]]


class CommandView(Answer, frozen=True):
    """kind, status and decided_at are None while it is pending; then `result` or `problem` is there."""

    id: Uuid
    state: Literal["pending", "accepted", "rejected"]
    kind: str | None = None
    status: int | None = None
    result: dict[str, object] | None = None
    problem: dict[str, object] | None = None
    decided_at: Time | None = None


class Health(Answer, frozen=True):
    status: Literal["ok"]


class Readiness(Answer, frozen=True):
    """Each part with "ok", or one sentence on what is wrong. history: that the hub was restored, and who recovered."""

    status: Literal["ready", "not ready"]
    parts: dict[str, str]
    history: str | None = None
