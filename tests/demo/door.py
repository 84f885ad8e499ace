"""A stand-in for the hub's door, as Kafka-ML's programs know it: model, metrics, results, at one server."""

from __future__ import annotations

import json
import threading
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

PREFIX = "/w/s3cr3t"


class Door:
    """models: what is asked for by GET, path (behind the secret) -> bytes. Every request that came is kept."""

    def __init__(self, models: dict[str, bytes]) -> None:
        self.models = models
        self.metrics: list[tuple[str, str, dict[str, Any]]] = []
        """Path, content type, what `data` says."""
        self.uploads: list[tuple[str, dict[str, bytes], dict[str, str]]] = []
        """Path, the parts by name, and of each its headers."""
        self.refusals: list[int] = []
        """What the next uploads are answered with, before they are taken."""
        self.answered: list[int] = []
        door = self

        class Asked(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = door.models.get(self.path.removeprefix(PREFIX))
                self._answer(400 if found is None else 200, found or b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kind, path = self.headers["Content-Type"], self.path.removeprefix(PREFIX)
                if kind.startswith("multipart/form-data"):
                    status = door.refusals.pop(0) if door.refusals else 200
                    door.answered.append(status)
                    if status == 200:
                        door.uploads.append((path, *parts(kind, body)))
                    self._answer(status, b"")
                    return
                door.metrics.append((path, kind, json.loads(parse_qs(body.decode())["data"][0])))
                self._answer(200, b"")

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
        self.url = f"http://127.0.0.1:{self._server.server_port}{PREFIX}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def parts(kind: str, body: bytes) -> tuple[dict[str, bytes], dict[str, str]]:
    """Of a multipart body the contents, and the headers, by the parts' names."""
    whole = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    contents, headers = {}, {}
    for part in whole.get_payload():  # type: ignore[union-attr] # multipart, so parts
        name = str(part.get_param("name", header="content-disposition"))  # type: ignore[union-attr]
        contents[name] = part.get_payload(decode=True)  # type: ignore[union-attr]
        headers[name] = "; ".join(f"{key}: {value}" for key, value in part.items())  # type: ignore[union-attr]
    return contents, headers  # type: ignore[return-value]
