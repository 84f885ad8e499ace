"""What a container wrote, line by line, and how it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from tests.cluster.apiserver.clock import nano, parsed
from tests.cluster.apiserver.errors import ApiError

MAX_LOG_LINES = 100_000


class Log:
    """Lines with the time at which each came; a last one may be without its end."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.lines: list[tuple[float, bytes]] = []
        self.ended = False

    def add(self, at: float, data: bytes) -> None:
        with self.changed:
            for piece in data.splitlines(keepends=True):
                if self.lines and not self.lines[-1][1].endswith(b"\n"):
                    self.lines[-1] = (self.lines[-1][0], self.lines[-1][1] + piece)
                else:
                    self.lines.append((at, piece))
            del self.lines[:-MAX_LOG_LINES]
            self.changed.notify_all()

    def end(self) -> None:
        with self.changed:
            self.ended = True
            self.changed.notify_all()


def read(log: Log, query: dict[str, str], closed: Callable[[], bool], now: Callable[[], float]) -> Iterator[bytes]:
    """tailLines first, then sinceTime (whole seconds, as the real API server hands it on), then limitBytes of that from
    its beginning; timestamps count."""
    since = 0.0
    if query.get("sinceTime"):
        since = float(int(parsed(query["sinceTime"])))
    elif query.get("sinceSeconds"):
        since = now() - int(query["sinceSeconds"])
    left = int(query["limitBytes"]) if query.get("limitBytes") else 2**62
    if left < 1:
        raise ApiError(422, "Invalid", "PodLogOptions is invalid: limitBytes: must be greater than 0", {})
    stamps, follow = query.get("timestamps") in {"true", "1"}, query.get("follow") in {"true", "1"}
    with log.changed:
        at = max(0, len(log.lines) - int(query["tailLines"])) if query.get("tailLines") else 0
    return _pieces(log, at, since, left, closed, stamps=stamps, follow=follow)


def _pieces(
    log: Log, at: int, since: float, left: int, closed: Callable[[], bool], *, stamps: bool, follow: bool
) -> Iterator[bytes]:
    while True:
        with log.changed:
            lines, ended = log.lines[at:], log.ended
            if lines and not lines[-1][1].endswith(b"\n") and not ended and follow:
                lines = lines[:-1]
            if follow and not lines and not ended and not closed():
                log.changed.wait(0.5)
                continue
        at += len(lines)
        for when, text in lines:
            if when < since:
                continue
            piece = (nano(when).encode() + b" " + text if stamps else text)[:left]
            left -= len(piece)
            yield piece
            if not left:
                return
        if not follow or (ended and not lines) or closed():
            return
