"""One request on its way through: authenticated, allowed, parsed; and what lives as long as the app."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from flask import Request

from config.secret_box import SecretBox
from config.streams import Streams
from storage.database import Database
from storage.views.messages import Found, Wanted
from storage.views.people import Bearer
from storage.views.sight import Cursor, Paging
from web.http.bodies import PageQuery
from web.http.hub import Hub
from web.live.coalescing import CoalescedReads
from web.live.dead_letters import SeenDeadLetters
from web.live.heartbeats import HeartbeatBuffer
from web.live.inbox_tips import InboxTips
from web.live.metrics import Metrics
from web.live.probe_cache import LastFound, ProbeCache
from web.live.response_cache import ResponseCache
from web.live.shares import Shares
from web.live.signer import Signer
from web.live.tokens import Tokens
from web.live.transfers import Transfers
from web.live.undecided import Undecided
from web.live.waiters import Waiter, Waiters
from web.problems import Problems

WHEN_GONE = "fedyard.when_gone"
"""In a request's environment, where the server can tell that a client hung up: takes what is to be called then."""


@dataclass(frozen=True)
class Web:
    """What lives as long as the app."""

    hub: Hub
    tokens: Tokens
    problems: Problems
    heartbeats: HeartbeatBuffer
    waiters: Waiters
    watchers: Waiters
    """Who waits at open pages: a room of its own, so that looking on takes no place from sites."""
    shares: Shares
    tips: InboxTips
    undecided: Undecided
    metrics: Metrics
    responses: ResponseCache
    inboxes: CoalescedReads[Wanted, Found | None]
    transfers: Transfers
    downloads: Transfers
    """Files that people take along from pages: places of their own, as above."""
    store_of_artifacts: ProbeCache[str]
    readiness: LastFound
    clocks: ProbeCache[str]
    dead_letters: SeenDeadLetters
    silent: ProbeCache[Mapping[str, str]]
    signer: Signer
    webhook_key: bytes = field(repr=False)
    workload_key: bytes = field(repr=False)
    secret_box: SecretBox
    streams: Streams
    door_url: str
    description: Callable[[], bytes]
    """The text of /openapi.json."""

    @property
    def database(self) -> Database:
        return self.hub.database


@dataclass(frozen=True)
class Call:
    """path: ids as text, counts as int. query and body: of the types that the operation names.

    caller_of: how it was found out whose it is, to be asked again while an answer takes long.
    """

    web: Web
    request: Request
    caller: Bearer
    caller_of: Callable[[Web, Request], Bearer]
    path: Mapping[str, Any]
    query: Any
    body: Any
    kept_back: bool = False
    """It may have one of the places that are kept back."""

    @property
    def waiter(self) -> Waiter:
        """The caller as one who waits."""
        return Waiter(self.caller.share, self.request.environ.get(WHEN_GONE))

    def id(self, name: str) -> str:
        return str(self.path[name])

    def name(self, name: str) -> str:
        """Of a file, or of what people have named."""
        return str(self.path[name])

    def count(self, name: str) -> int:
        return int(self.path[name])

    def counts_as(self, writes: int) -> None:
        """The call makes the hub write as much as so many. One is counted already. Raises 429."""
        if writes > 1:
            self.web.shares.writes.charge(self.caller.share.id, writes - 1)

    @property
    def paging(self) -> Paging:
        assert isinstance(self.query, PageQuery), "only lists have pages"
        after = given(self.query.after)
        return Paging(limit=self.query.limit, after=None if after is None else Cursor.of(after))


def given(value: Any) -> Any:
    """A query parameter, or None if it was left out."""
    return None if value is msgspec.UNSET else value
