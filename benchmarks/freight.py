"""Large bodies to a server and back, with plain blocking sockets in threads: what a transfer can do at best."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from config.clock import draw_id
from fedyard.wire.chunks import CHUNK_BYTES

AT_ONCE = 3
"""Chunks of one upload that are on their way at once, as a site's agent does it."""


@dataclass(frozen=True)
class Load:
    """Bytes, as their chunks and digests."""

    chunks: list[bytes]
    digests: list[bytes]

    @classmethod
    def of(cls, size: int, block: Callable[[], bytes]) -> Load:
        """So many bytes, every chunk the same megabytes: only their digests matter here."""
        whole = block() * (CHUNK_BYTES // 1_048_576)
        chunks = [whole[: min(CHUNK_BYTES, size - start)] for start in range(0, size, CHUNK_BYTES)]
        known: dict[int, bytes] = {}
        digests = [known.setdefault(len(chunk), hashlib.sha256(chunk).digest()) for chunk in chunks]
        return cls(chunks, digests)

    @property
    def size(self) -> int:
        return sum(map(len, self.chunks))

    def declaration(self, project_id: str, kind: str, seal: bytes | None = None) -> dict[str, Any]:
        """The body of POST /v1/artifacts."""
        together = b"".join(self.digests)
        return {
            "project_id": project_id,
            "kind": kind,
            "size_bytes": self.size,
            "digest": hashlib.sha256(together).hexdigest(),
            "chunk_digests": base64.b64encode(together).decode(),
            "seal": None if seal is None else base64.b64encode(seal).decode(),
        }


class Freighter:
    """One site's calls. sent_bytes: of all bodies."""

    def __init__(self, url: str, token: str = "") -> None:
        self._place = urlsplit(url)
        self._token = token
        self.sent_bytes = 0

    def ask(self, method: str, path: str, body: object) -> Any:
        """A call with JSON, its decision waited for."""
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Prefer": "wait=30", "Idempotency-Key": draw_id()}
        return json.loads(self._call(self._connected(), method, path, content, headers) or b"null")

    def put_all(self, load: Load, path_of: Callable[[int], str], at_once: int = AT_ONCE) -> None:
        """Every chunk to its path, some at once."""
        numbers = iter(range(len(load.chunks)))

        def carry() -> None:
            connection = self._connected()
            for number in numbers:
                headers = {"Content-Type": "application/octet-stream"}
                self._call(connection, "PUT", path_of(number), load.chunks[number], headers)
            connection.close()

        with ThreadPoolExecutor(at_once) as threads:
            for done in [threads.submit(carry) for _ in range(at_once)]:
                done.result()

    def get(self, path: str) -> int:
        """Read it and throw it away; how many bytes came."""
        connection = self._connected()
        connection.request("GET", path, headers=self._headers())
        answer = connection.getresponse()
        assert answer.status == 200, answer.read(500)
        buffer, total = bytearray(1_048_576), 0
        while count := answer.readinto(buffer):
            total += count
        connection.close()
        return total

    def _connected(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._place.hostname or "127.0.0.1", self._place.port, timeout=120)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _call(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> bytes:
        self.sent_bytes += len(body)
        connection.request(method, path, body, {**self._headers(), **headers})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status < 300, (method, path, answer.status, content[:500])
        return content
