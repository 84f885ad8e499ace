"""Requests to the hub that may be repeated without harm.

Every write carries an `Idempotency-Key`, asks the hub to wait for its decision and follows the command when
that takes longer. What may pass (no connection, a timeout, 429, 5xx) is tried again with growing, jittered
pauses, honouring Retry-After, until `give_up_s` is over: then `Unavailable`. What is ours to fix (4xx) is
`Refused` at once and never repeated. Neither ever carries a token or a payload. A certificate that is not believed, or
a proxy that wants another login, is `Unreachable` at once where it is met first; where there was an answer before, it
may pass as other troubles do. Safe to use from many threads.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3

from fedyard.client.addresses import Origin, beside, hub_origin, origin_of
from fedyard.client.connections import Connections
from fedyard.client.errors import Passing, Refused, Unacceptable, Unavailable, Unreachable
from fedyard.client.routes import routes_of
from fedyard.clock import Clock, SystemClock, draw_key, jitter, micros_now
from fedyard.wire import answers as a
from fedyard.wire import types
from fedyard.wire.backoff import Backoff
from fedyard.wire.plurals import counted
from fedyard.wire.structs import prepare_structs
from fedyard.wire.times import SECOND, moment
from fedyard.wire.version import __version__
from fedyard.wire.versions import HEADER, misfit

T = TypeVar("T")

DECIDE_WAIT_S = 10
"""How long one request asks the hub to wait for its decision; the command is followed after that."""
CONNECT_WITHIN_S = 5.0
ANSWER_WITHIN_S = 15.0
"""Beyond what the hub was asked to wait."""
PAUSES = Backoff(first=0.2, most=10.0)
"""Seconds between tries, where the hub does not say how long."""
RETRY_AFTER_S = (PAUSES.first, 300.0)
"""The least and the most that is believed of a Retry-After."""
ANSWER_LIMIT_BYTES = 67_108_864
PROBLEM_LIMIT_BYTES = 1_048_576
"""Of an answer that says only what is wrong."""
READ_WITHIN_S = 120.0
"""A whole answer, however slowly it comes."""
BLOCK_BYTES = 65_536
MAX_VERSION = 64
"""Characters of the version that the hub says."""
MAX_PAGES = 10_000
"""Of one list, which has as many bytes as one answer together."""
WORTH_READING = range(200, 300)
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
REFUSED = range(400, 500)
"""Anything else, redirects among it, is no answer of a hub's: it is asked again, and nothing is followed."""
CARRY_CONNECT_WITHIN_S = 15.0
"""Also how long the other side may take no bytes at all while it is sent some."""
CARRY_WITHIN_S = 60.0

CLOCK_OFF_MICROS = 300 * SECOND
"""Clocks that differ by more than five minutes are told of: keys and seals go by them."""
_JSON = "application/json"
_COMMAND_PATH = re.compile(r"^/v1/commands/[0-9a-f-]{36}$")


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]
    wait_s: float

    def __str__(self) -> str:
        return f"{self.method} {self.path.split('?', 1)[0]}"


class Calls:
    """The requests of one subject (the owner of `token`); `Client` knows what may be asked.

    closing: when it is set, waits between tries end and the call is given up.
    ca_file: certificates to trust, for a hub behind https with a private authority.
    transfer_hosts: `host` or `host:port` beside the hub that payloads may be carried to and from.
    waiting: is told in a sentence when a first try has failed and others follow, or if the hub's version does not fit.
    allow_plain_http: `host` or `host:port` where the token may go in the clear. Raises `Unprotected` if it would go to
    another machine that is not named there.
    proxy: the one to use, with its login if it wants one; "none" for none; None: as the environment says.
    """

    def __init__(
        self,
        hub: str,
        token: str,
        *,
        give_up_s: float = 60.0,
        clock: Clock | None = None,
        closing: threading.Event | None = None,
        ca_file: str | None = None,
        transfer_hosts: Collection[str] = (),
        allow_plain_http: Collection[str] = (),
        proxy: str | None = None,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._origin = hub_origin(hub, allow_plain_http)
        self._transfer_hosts, self._allow_plain_http = frozenset(transfer_hosts), frozenset(allow_plain_http)
        prepare_structs()
        self._clocks = (0, 0)
        self.hub = hub.rstrip("/")
        self.give_up_s = give_up_s
        self._waiting = waiting
        self._clock = clock or SystemClock()
        self._closing = closing or threading.Event()
        self._headers = {"Authorization": f"Bearer {token}", "Accept": _JSON, "User-Agent": f"fedyard/{__version__}"}
        self._connections = Connections(routes_of(proxy, os.environ), ca_file)
        self._met: set[Origin] = set()
        self.hub_version = ""
        """What the hub's last answer said; empty: nothing yet."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hub!r})"

    def close(self) -> None:
        """Let go of the idle connections."""
        self._connections.close()

    def read(self, path: str, kind: type[T], query: Mapping[str, object] | None = None, *, wait_s: float = 0.0) -> T:
        """The answer to a GET."""
        _, content, _ = self.call("GET", _with_query(path, query or {}), wait_s=wait_s)
        return self.decoded(content, kind)

    def every(self, path: str, query: Mapping[str, object], kind: type[T]) -> Iterator[T]:
        """Every item of a list, page after page."""
        after: str | None = None
        left = ANSWER_LIMIT_BYTES
        for _ in range(MAX_PAGES):
            _, content, _ = self.call("GET", _with_query(path, {**query, "limit": 200, "after": after}))
            left -= len(content)
            if left < 0:
                raise Unavailable(f"GET {path}: the hub's list has more than {ANSWER_LIMIT_BYTES} bytes")
            page = self.decoded(content, page_of(kind))
            yield from page.items
            if page.next is None:
                return
            if page.next == after:
                break
            after = page.next
        raise Unavailable(f"GET {path}: the hub's list has no end")

    def write(self, method: str, path: str, body: object, kind: type[T], *, key: str | None) -> T:
        """Have a command decided; its result. key: as drawn before, for a repeat after a restart."""
        content = None if body is None else encoded(body)
        return self.written(method, path, content, kind, key or draw_key())

    def written(self, method: str, path: str, body: bytes | None, kind: type[T], key: str) -> T:
        """As `write`, with a body that is the same to the byte each time."""
        headers = {"Idempotency-Key": key, "Prefer": f"wait={DECIDE_WAIT_S}"}
        status, content, location = self.call(method, path, body=body, headers=headers, wait_s=DECIDE_WAIT_S)
        if status == HTTPStatus.ACCEPTED:
            content = self._outcome(f"{method} {path}", location)
        return self.decoded(content, kind)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
        give_up_s: float | None = None,
    ) -> tuple[int, bytes, str]:
        """Status, content and Location of the first answer that is worth reading."""
        request = _Request(method, path, body, headers or {}, wait_s)
        patience = self.give_up_s if give_up_s is None else give_up_s
        end = self._clock.monotonic() + patience
        tries = 0
        while True:
            tries += 1
            try:
                return self._once(request)
            except Passing as passing:
                rest = passing.pause_s if passing.pause_s is not None else PAUSES.after(tries)
                left = end - self._clock.monotonic()
                if tries == 1 and rest <= left:
                    self._waiting(f"{request}: {passing} (trying again for {left:.0f} s)")
                if rest > left or self._clock.wait(self._closing, jitter(rest)):
                    often = f"gave up after {counted(tries, 'try', 'tries')} (allowed: {patience:g} s)"
                    raise Unavailable(f"{request}: {passing}; {often}", passing.pause_s or 0.0) from None

    @staticmethod
    def decoded(content: bytes, kind: type[T]) -> T:
        """The content as that type. Raises `Unavailable` if it is none."""
        try:
            return types.decode(content, kind)
        except types.Undecodable as error:
            raise Unavailable(f"the hub's answer is no {kind.__name__} as this client knows it: {error}") from None

    def carry(
        self,
        method: str,
        where: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes] | None = None,
        length: int | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """One try with bytes that are no JSON; the answer, good and unread: who asked closes it.

        where: a path of the hub's, or the whole address of another server, which gets no token. Raises `Passing` for
        what may pass, `Unacceptable` for an address that the site does not go to, `Refused` for the rest.
        """
        ours = where.startswith("/v1/")
        address = self.hub + where if ours else self._beside(where)
        origin = self._origin if ours else origin_of(address)
        assert origin is not None, "`_beside` lets no other pass"
        sent = {**(self._headers if ours else {}), **(headers or {}), "Accept": "*/*"}
        if length is not None:
            sent |= {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        try:
            response = self._connections.to(origin).request(
                method,
                address,
                body=body,
                headers=sent,
                timeout=urllib3.Timeout(connect=CARRY_CONNECT_WITHIN_S, read=CARRY_WITHIN_S),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            if response.status in WORTH_READING:
                self._met.add(origin)
                return response
            content = self._content(response, PROBLEM_LIMIT_BYTES) or b""
        except urllib3.exceptions.HTTPError as error:
            raise self._kept_away(error, origin) from None
        self._look_at(response, origin)
        call = f"{method} {where.split('?', 1)[0]}"
        if response.status in REFUSED and response.status not in TRY_AGAIN:
            raise Refused(call, response.status, _problem(content))
        if not ours and response.status not in TRY_AGAIN:
            raise Unacceptable(f"{call}: {response.status}, which is not followed")
        raise Passing(f"the answer was {response.status}", _seconds(response.headers.get("Retry-After")))

    def _beside(self, address: str) -> str:
        return beside(address, self._origin, self._transfer_hosts, self._allow_plain_http)

    def _kept_away(self, error: urllib3.exceptions.HTTPError, origin: Origin) -> Passing | Unreachable | Unacceptable:
        """What an answer that did not come is to whoever waits for it."""
        fact = self._connections.to_mend(error, origin)
        if fact is None:
            return Passing(self._connections.sentence(error, origin))
        return self._to_mend(fact, origin)

    def _to_mend(self, fact: str, origin: Origin) -> Passing | Unreachable | Unacceptable:
        """Definite where nothing has been answered yet; else it may pass, as a certificate that is renewed does."""
        if origin in self._met:
            return Passing(fact)
        return Unreachable(fact) if origin == self._origin else Unacceptable(fact)

    def _look_at(self, response: urllib3.BaseHTTPResponse, origin: Origin) -> None:
        """Raises if the answer is of a proxy that wants a login, instead of what was asked."""
        fact = self._connections.of_proxy(response, origin)
        if fact is not None:
            raise self._to_mend(fact, origin)
        self._met.add(origin)

    def pause(self, seconds: float) -> bool:
        """Wait between tries, moved by chance; True if the client is closing and there is no next one."""
        return self._clock.wait(self._closing, jitter(seconds))

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def _outcome(self, call: str, location: str) -> bytes:
        """Follow a command until it is decided."""
        if not _COMMAND_PATH.match(location):
            raise Unavailable(f"{call}: the hub answered 202 without a Location of a command")
        end = self._clock.monotonic() + self.give_up_s
        while self._clock.monotonic() < end and not self._closing.is_set():
            command = self.read(location, a.Command, {"wait": DECIDE_WAIT_S}, wait_s=DECIDE_WAIT_S)
            if command.problem is not None:
                raise Refused(call, command.status or command.problem.status, command.problem)
            if command.state == "accepted":
                return bytes(command.result)
            self.pause(PAUSES.first)
        raise Unavailable(
            f"{call}: the hub has this as command {location.rpartition('/')[2]} and has not decided it within"
            f" {self.give_up_s:g} s; it still will. Look later whether it was done before you say it again;"
            " if it lasts, have the hub's operator look after its decider (GET /readyz)"
        )

    def clock_off(self) -> str | None:
        """A sentence with both times, if this machine's clock and the hub's were far apart at the last answer."""
        hub, ours = self._clocks
        if abs(hub - ours) <= CLOCK_OFF_MICROS:
            return None
        return (
            f"clock: this site's said {moment(ours)} when the hub's said {moment(hub)}; set right which is wrong (NTP)"
        )

    def _compare_clocks(self, date: str) -> None:
        """date: as HTTP says it, to the second. What is none is not compared."""
        try:
            hub = parsedate_to_datetime(date)
        except (ValueError, TypeError, OverflowError):
            return
        self._clocks = int(hub.timestamp()) * SECOND, micros_now()

    def versions_off(self) -> str | None:
        """A sentence with both versions, if this program's does not fit the hub's."""
        return misfit(self.hub_version, __version__) or None

    def _compare_versions(self, said: str) -> None:
        """said: by the hub, which somebody on the way may be: it is shown, and nothing else."""
        if said != self.hub_version and len(said) <= MAX_VERSION:
            self.hub_version = said
            if (off := self.versions_off()) is not None:
                self._waiting(off)

    def _once(self, request: _Request) -> tuple[int, bytes, str]:
        headers = {**self._headers, **request.headers}
        if request.body is not None:
            headers["Content-Type"] = _JSON
        try:
            response = self._connections.to(self._origin).request(
                request.method,
                self.hub + request.path,
                body=request.body,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_WITHIN_S, read=request.wait_s + ANSWER_WITHIN_S),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            limit = ANSWER_LIMIT_BYTES if response.status in WORTH_READING else PROBLEM_LIMIT_BYTES
            content = self._content(response, limit)
        except urllib3.exceptions.HTTPError as error:
            raise self._kept_away(error, self._origin) from None
        self._look_at(response, self._origin)
        self._compare_clocks(response.headers.get("Date", ""))
        self._compare_versions(response.headers.get(HEADER, ""))
        if content is None:
            raise Unavailable(f"{request}: the answer has more than {limit} bytes, or takes over {READ_WITHIN_S:g} s")
        if response.status in WORTH_READING:
            return response.status, content, response.headers.get("Location", "")
        if response.status in REFUSED and response.status not in TRY_AGAIN:
            raise Refused(str(request), response.status, _problem(content))
        raise Passing(f"the hub answered {response.status}", _seconds(response.headers.get("Retry-After")))

    def _content(self, response: urllib3.BaseHTTPResponse, limit: int) -> bytes | None:
        """The whole content, with the connection given back to the pool; None if it is over the limit, or too slow."""
        content, end = bytearray(), self._clock.monotonic() + READ_WITHIN_S
        while block := response.read1(BLOCK_BYTES):
            content += block
            if len(content) > limit or self._clock.monotonic() > end:
                response.close()
                return None
        response.release_conn()
        return bytes(content)


def page_of(kind: type[T]) -> type[a.Page[T]]:
    """The type of one page of a list."""
    return a.Page[kind]  # type: ignore[valid-type]


def _problem(content: bytes) -> a.Problem:
    try:
        return types.decode(content, a.Problem)
    except types.Undecodable:
        return a.Problem(detail="the answer says no more")


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is not used by the hub and counts as unsaid."""
    least, most = RETRY_AFTER_S
    said = text is not None and len(text) <= len("86400") and text.isascii() and text.isdigit()
    return max(least, min(float(text or 0), most)) if said else None


def encoded(body: object) -> bytes:
    """The body as JSON."""
    return msgspec.json.encode(body)


def _with_query(path: str, query: Mapping[str, object]) -> str:
    said = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(said)}" if said else path
