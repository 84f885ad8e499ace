"""A run's events as server-sent events: from `Last-Event-ID` on, until the run is over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
from flask import Request, Response

from domain.states import RUN_FINAL
from fedyard.wire.problems import ProblemType
from storage.views import events, runs
from storage.views.resources import Event
from web.http.answers import answer
from web.http.auth import still_reads
from web.http.calls import Call
from web.live.waiters import Place
from web.problems import Refused

KEEP_ALIVE = b": still here\n\n"
_PAGE = 100
_AFTER = re.compile(r"0|[1-9][0-9]{0,14}")


def wants_stream(request: Request) -> bool:
    return "text/event-stream" in request.headers.get("Accept", "")


def stream(call: Call, run: str) -> Response:
    """The stream. It holds a place (503 if all are taken). 204 to who returns after the end: an EventSource stops."""
    told = call.request.headers.get("Last-Event-ID")
    if told is not None and not _AFTER.fullmatch(told):
        raise Refused(ProblemType.MALFORMED, "Last-Event-ID: the seq of the last event seen, a whole number")
    after = call.query.after if told is None else int(told)
    if told is not None and _over(call, run) and not _page(call, run, after):
        return answer(None, 204)
    stack = ExitStack()
    place = stack.enter_context(call.web.waiters.place(("run", run), call.waiter))
    response = Response(_lines(call, run, after, place), content_type="text/event-stream")
    response.call_on_close(stack.close)
    return response


def _lines(call: Call, run: str, after: int, place: Place) -> Iterator[bytes]:
    yield b"retry: 2000\n\n"
    while True:
        over = _over(call, run)
        page = _page(call, run, after)
        if still_reads(call) is None:  # asked after the read: what came later than the right is not told
            return
        if page:
            yield b"".join(map(_line, page))
            after = page[-1].seq
            continue
        if over or call.web.waiters.closing or place.let_go:
            return
        call.web.waiters.sleep(place, 60.0)
        yield KEEP_ALIVE


def _over(call: Call, run: str) -> bool:
    """True also for who may not see the run any more. Asked before the events are read, so that none is left out."""
    progress = runs.progress_of(call.web.database, call.caller.subject, run)
    return progress is None or progress.state in RUN_FINAL


def _page(call: Call, run: str, after: int) -> list[Event]:
    web, subject = call.web, call.caller.subject
    progress = runs.progress_of(web.database, subject, run)
    if progress is None:
        return []
    return events.of_run(web.database, subject, run, after=after, limit=_PAGE, past=progress.past).items


def _line(event: Event) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.seq, event.kind.encode(), msgspec.json.encode(event))
