"""The least that a WSGI server can be asked for: how fast granian and the generator are by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def reply(
    _environ: dict[str, object], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """`{}` to everything."""
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
    return [b"{}"]
