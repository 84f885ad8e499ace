"""Files that people take along: written while they are sent, each in one of a few places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from flask import Response

from web.http.auth import still_reads
from web.http.calls import Call
from web.live.transfers import Place


def download(call: Call, name: str, media: str, pieces: Iterable[bytes]) -> Response:
    """The pieces as a file of that name, each read when the one before it is sent.

    It holds a thread for as long as the other side takes: so it has a place, of which one caller has a few. Raises 429,
    503. It ends where the caller's right to read does.
    """
    stack = ExitStack()
    place = stack.enter_context(call.web.downloads.place("out", call.caller.share))
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    response = Response(_sent(call, pieces, stack, place), 200, headers, content_type=media)
    response.call_on_close(stack.close)
    return response


def _sent(call: Call, pieces: Iterable[bytes], stack: ExitStack, place: Place) -> Iterator[bytes]:
    """stack: lets go of the place."""
    with stack:
        for piece in pieces:
            if still_reads(call) is None:  # asked after the read: what came later than the right is not told
                place.outcome = "refused"
                return
            call.web.downloads.count("out", len(piece))
            yield piece
        place.outcome = "whole"
