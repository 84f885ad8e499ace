"""A file transfer with nothing around it: PUT writes a file durably, GET reads it. What granian itself can do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("BARE_FOLDER", "."))
BLOCK = 262_144


def transfer(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """PUT or GET of a file named by the path's last part."""
    path = FOLDER / Path(environ["PATH_INFO"]).name
    if environ["REQUEST_METHOD"] == "PUT":
        _keep(path, environ["wsgi.input"], int(environ["CONTENT_LENGTH"]))
        start_response("204 No Content", [("Content-Length", "0")])
        return [b""]
    start_response("200 OK", [("Content-Length", str(path.stat().st_size))])
    return _blocks(path)


def _keep(path: Path, content: Any, left: int) -> None:
    with path.open("wb", buffering=0) as stream:
        while left and (block := content.read(min(BLOCK, left))):
            stream.write(block)
            left -= len(block)
        os.fsync(stream.fileno())


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(BLOCK):
            yield block
