"""multipart/form-data as it comes, part by part: fields in memory, up to a limit, and files handed on in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from flask import Request
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from fedyard.wire.problems import ProblemType
from storage.blobs.port import INTAKE_BYTES
from web.live.transfers import Incoming
from web.problems import Refused

MAX_HEADERS_BYTES = 65_536
MAX_PARTS = 20


class Sink(Protocol):
    """Takes one part."""

    def write(self, block: bytes) -> None:
        """The next bytes of it. May raise `Refused`."""

    def end(self) -> None:
        """All of it was there."""


class Text:
    """A part that is kept in memory. limit_bytes: at most; beyond it 413."""

    def __init__(self, name: str, limit_bytes: int) -> None:
        self._name = name
        self._limit_bytes = limit_bytes
        self._content = bytearray()
        self.whole = False

    def write(self, block: bytes) -> None:
        if len(self._content) + len(block) > self._limit_bytes:
            raise Refused(ProblemType.TOO_LARGE, f"`{self._name}` is larger than {self._limit_bytes} bytes")
        self._content += block

    def end(self) -> None:
        self.whole = True

    @property
    def content(self) -> bytes:
        return bytes(self._content)


class _Nowhere:
    """Takes what nobody asked for."""

    def write(self, block: bytes) -> None: ...

    def end(self) -> None: ...


def read_parts(request: Request, content: Incoming, sink_of: Callable[[str, str], Sink | None]) -> None:
    """Hand each part to its sink. sink_of: by name and file name ("" of a field); None for what is passed over.

    Raises 400 for what is no multipart body, or ends too early.
    """
    kind, options = parse_options_header(request.headers.get("Content-Type", ""))
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary:
        raise Refused(ProblemType.MALFORMED, "send the body as multipart/form-data, with a boundary")
    decoder = MultipartDecoder(
        boundary.encode("latin-1", "replace"),
        max_form_memory_size=MAX_HEADERS_BYTES + INTAKE_BYTES,
        max_parts=MAX_PARTS,
    )
    sink: Sink = _Nowhere()
    try:
        for event in _events(decoder, content):
            match event:
                case File():
                    sink = sink_of(event.name or "", event.filename or "-") or _Nowhere()
                case Field():
                    sink = sink_of(event.name or "", "") or _Nowhere()
                case Data():
                    sink.write(event.data)
                    if not event.more_data:
                        sink.end()
                case _:
                    pass
    except ValueError:  # RequestEntityTooLarge is none; the decoder says what is no form
        raise Refused(ProblemType.MALFORMED, "this is no multipart body, or it ended too early") from None


def _events(decoder: MultipartDecoder, content: Incoming) -> Iterator[object]:
    while True:
        event = decoder.next_event()
        if isinstance(event, NeedData):
            block = content.read(INTAKE_BYTES)
            decoder.receive_data(block or None)
            continue
        yield event
        if isinstance(event, Epilogue):
            return
