"""Requests to the hub that may be repeated without harm.

Every write carries an `Idempotency-Key`, asks the hub to wait for its decision and follows the command when
that takes longer. What may pass (no connection, a timeout, 429, 5xx) is tried again with growing, jittered
pauses, honouring Retry-After, until `give_up_s` is over: then `Unavailable`. What is ours to fix (4xx) is
`Refused` at once and never repeated. Neither ever carries a token or a payload. Safe to use from many threads.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3
from urllib3.connection import HTTPConnection

from controller import answers as a
from controller.clock import Clock, SystemClock, draw_key, jitter
from controller.hub_errors import Passing, Refused, Unavailable
from controller.structs import prepare_structs

T = TypeVar("T")

DECIDE_WAIT_S = 10
"""How long one request asks the hub to wait for its decision; the command is followed after that."""
CONNECT_WITHIN_S = 5.0
ANSWER_WITHIN_S = 15.0
"""Beyond what the hub was asked to wait."""
PAUSE_FIRST_S = 0.2
PAUSE_AT_MOST_S = 10.0
RETRY_AFTER_AT_MOST_S = 300.0
ANSWER_LIMIT_BYTES = 67_108_864
POOL_SIZE = 16
WORTH_READING = range(200, 300)
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
CARRY_CONNECT_WITHIN_S = 15.0
"""Also how long the other side may take no bytes at all while it is sent some."""
CARRY_WITHIN_S = 60.0

UNSENT_BYTES = 65_536
"""What the kernel may hold back beyond what is on its way: a cut loses it, and has it counted as sent."""
_SOCKET_OPTIONS = [
    *HTTPConnection.default_socket_options,
    (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES),
]
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
    ) -> None:
        parts = urlsplit(hub)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the hub's address must look like https://hub.example:8443 or http://127.0.0.1:8080")
        prepare_structs()
        self.hub = hub.rstrip("/")
        self.give_up_s = give_up_s
        self._clock = clock or SystemClock()
        self._closing = closing or threading.Event()
        self._headers = {"Authorization": f"Bearer {token}", "Accept": _JSON, "User-Agent": "fedyard-site"}
        self._pool = urllib3.PoolManager(
            maxsize=POOL_SIZE, block=False, retries=False, ca_certs=ca_file, socket_options=_SOCKET_OPTIONS
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hub!r})"

    def close(self) -> None:
        """Let go of the idle connections."""
        self._pool.clear()

    def read(self, path: str, kind: type[T], query: Mapping[str, object] | None = None, *, wait_s: float = 0.0) -> T:
        """The answer to a GET."""
        _, content, _ = self.call("GET", _with_query(path, query or {}), wait_s=wait_s)
        return self.decoded(content, kind)

    def every(self, path: str, query: Mapping[str, object], kind: type[T]) -> Iterator[T]:
        """Every item of a list, page after page."""
        after: str | None = None
        while True:
            page = self.read(path, page_of(kind), {**query, "limit": 200, "after": after})
            yield from page.items
            if page.next is None:
                return
            after = page.next

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
        tries, pause = 0, PAUSE_FIRST_S
        while True:
            tries += 1
            try:
                return self._once(request)
            except Passing as passing:
                rest = passing.pause_s if passing.pause_s is not None else pause
                left = end - self._clock.monotonic()
                if rest > left or self._clock.wait(self._closing, jitter(rest)):
                    fact = f"{request}: {passing}; gave up after {tries} tries (allowed: {patience:g} s)"
                    raise Unavailable(fact, passing.pause_s or 0.0) from None
                pause = min(2 * pause, PAUSE_AT_MOST_S)

    @staticmethod
    def decoded(content: bytes, kind: type[T]) -> T:
        """The content as that type. Raises `Unavailable` if it is none."""
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            fact = str(error).split("Invalid value")[0][:200]
            raise Unavailable(f"the hub's answer is no {kind.__name__} as this client knows it: {fact}") from None

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
        what may pass, `Refused` for the rest.
        """
        ours = where.startswith("/")
        sent = {**(self._headers if ours else {}), **(headers or {}), "Accept": "*/*"}
        if length is not None:
            sent |= {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        try:
            response = self._pool.request(
                method,
                self.hub + where if ours else where,
                body=body,
                headers=sent,
                timeout=urllib3.Timeout(connect=CARRY_CONNECT_WITHIN_S, read=CARRY_WITHIN_S),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            if response.status in WORTH_READING:
                return response
            content = _content(response) or b""
        except urllib3.exceptions.HTTPError as error:
            raise Passing(f"no answer ({type(error).__name__})") from None
        if response.status in TRY_AGAIN:
            raise Passing(f"the answer was {response.status}", _seconds(response.headers.get("Retry-After")))
        raise Refused(f"{method} {where.split('?', 1)[0]}", response.status, _problem(content))

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
        raise Unavailable(f"{call}: {location} is still undecided after {self.give_up_s:g} s")

    def _once(self, request: _Request) -> tuple[int, bytes, str]:
        headers = {**self._headers, **request.headers}
        if request.body is not None:
            headers["Content-Type"] = _JSON
        try:
            response = self._pool.request(
                request.method,
                self.hub + request.path,
                body=request.body,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_WITHIN_S, read=request.wait_s + ANSWER_WITHIN_S),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            content = _content(response)
        except urllib3.exceptions.HTTPError as error:
            raise Passing(f"no answer ({type(error).__name__})") from None
        if content is None:
            raise Unavailable(f"{request}: the answer has more than {ANSWER_LIMIT_BYTES} bytes")
        if response.status in TRY_AGAIN:
            raise Passing(f"the hub answered {response.status}", _seconds(response.headers.get("Retry-After")))
        if response.status not in WORTH_READING:
            raise Refused(str(request), response.status, _problem(content))
        return response.status, content, response.headers.get("Location", "")


def page_of(kind: type[T]) -> type[a.Page[T]]:
    """The type of one page of a list."""
    return a.Page[kind]  # type: ignore[valid-type]


def _content(response: urllib3.BaseHTTPResponse) -> bytes | None:
    """The whole content, with the connection given back to the pool; None if it is over the limit."""
    content = response.read(ANSWER_LIMIT_BYTES + 1)
    if len(content) > ANSWER_LIMIT_BYTES:
        response.close()
        return None
    response.release_conn()
    return content


def _problem(content: bytes) -> a.Problem:
    try:
        return msgspec.json.decode(content, type=a.Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return a.Problem(detail="the answer says no more")


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is not used by the hub and counts as unsaid."""
    said = text is not None and text.isascii() and text.isdigit()
    return min(float(text or 0), RETRY_AFTER_AT_MOST_S) if said else None


def encoded(body: object) -> bytes:
    """The body as JSON."""
    return msgspec.json.encode(body)


def _with_query(path: str, query: Mapping[str, object]) -> str:
    said = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(said)}" if said else path
