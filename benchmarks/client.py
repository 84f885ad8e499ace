"""A lean HTTP/1.1 client: one kept-alive connection, one request at a time, as little processor time as possible.

The generator shares two cores with the hub, so what it spends is missing there.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

_CONNECT_WITHIN_S = 20.0


class Unexpected(Exception):
    """The hub answered something else than what the benchmark needs. Carries the problem, never a token."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, path: str, token: str, body: bytes | None = None, *, wait: bool = False) -> bytes:
    """The bytes of a request; can be made beforehand and sent again and again."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
    if wait:
        head += "Prefer: wait=10\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


class Connection(asyncio.Protocol):
    """One connection. `ask` sends a request and waits for its answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._buffer = b""
        self._missing = 0
        self._parts: list[bytes] = []

    @classmethod
    async def open(cls, url: str, source: str | None = None) -> Self:
        """Connected to the server of that URL. source: the address to come from."""
        place = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, connection = await asyncio.wait_for(
            loop.create_connection(
                cls,
                place.hostname or "127.0.0.1",
                place.port or 80,
                local_addr=None if source is None else (source, 0),
            ),
            _CONNECT_WITHIN_S,
        )
        return connection

    async def ask(self, content: bytes) -> Answer:
        """The answer, whatever its status. Raises `ConnectionError` if the other side hangs up."""
        assert self._answer is None, "one request at a time"
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(content)
        try:
            return await self._answer
        finally:
            self._answer = None

    async def need(self, content: bytes, *wanted: int) -> Answer:
        """The answer, which must have one of these statuses. Raises `Unexpected`."""
        answer = await self.ask(content)
        if answer.status not in wanted:
            raise Unexpected(f"{content[:60].decode()!r}: {answer.status} {answer.body[:400].decode(errors='replace')}")
        return answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(f"the hub hung up: {error}"))

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._parts.append(data)
            self._missing -= len(data)
        else:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _length(self._buffer[:end])
            self._parts = [self._buffer]
            self._missing = end + 4 + length - len(self._buffer)
        if self._missing <= 0:
            self._done()

    def _done(self) -> None:
        whole = b"".join(self._parts)
        self._buffer, self._parts, self._missing = b"", [], 0
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(int(whole[9:12]), whole[whole.find(b"\r\n\r\n") + 4 :]))


def _length(head: bytes) -> int:
    low = head.lower()
    at = low.find(b"content-length:")
    if at < 0:
        return 0
    return int(low[at + 15 : (low + b"\r\n").find(b"\r\n", at)])


class Pool:
    """Some connections to one server, for a block."""

    def __init__(self, url: str, count: int) -> None:
        self._url = url
        self._count = count
        self.connections: list[Connection] = []

    async def __aenter__(self) -> list[Connection]:
        for start in range(0, self._count, 100):
            some = min(100, self._count - start)
            self.connections += await asyncio.gather(*(Connection.open(self._url) for _ in range(some)))
        return self.connections

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self.connections:
            connection.close()
