"""Bad luck on purpose: what befalls the requests that match a rule."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tests.cluster.apiserver.errors import ApiError

Effect = Literal["answer", "drop_before", "drop_after", "cut"]
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    502: "",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Request(NamedTuple):
    """One of the log. status: 0 while it runs, and where its connection was dropped. at_s: the server's time."""

    method: str
    path: str
    query: dict[str, str]
    body: object
    status: int
    user: str
    at_s: float
    content_type: str


@dataclass
class Rule:
    """method: empty: any. path: a regular expression, searched in path and query. times: so often, None: always.
    answer: with status, message, retry_after_s. drop_before: the connection closes before anything was done;
    drop_after: after it was. cut: of a watch, after so many events. delay_s: before whatever follows."""

    path: str = ""
    method: str = ""
    times: int | None = 1
    effect: Effect | None = "answer"
    status: int = 500
    message: str = "the test's bad luck"
    retry_after_s: int | None = None
    delay_s: float = 0.0
    after_events: int = 0
    hits: int = 0
    hold: threading.Event | None = None
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._pattern = re.compile(self.path)

    def fits(self, method: str, target: str) -> bool:
        used_up = self.times is not None and self.hits >= self.times
        return not used_up and self.method in {"", method} and bool(self._pattern.search(target))

    def error(self) -> ApiError:
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return ApiError(self.status, _REASONS.get(self.status, ""), self.message, {}, headers)


class Faults:
    """The rules that stand, oldest first; the first that fits counts."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, rule: Rule) -> Rule:
        with self._lock:
            self._rules.append(rule)
        return rule

    def fail(
        self,
        method: str = "",
        path: str = "",
        *,
        status: int = 500,
        times: int | None = 1,
        message: str = "the test's bad luck",
        retry_after_s: int | None = None,
    ) -> Rule:
        """Answer with that status instead of doing anything. 403: an admission that refuses; 410: forgotten history."""
        return self.add(Rule(path, method, times, "answer", status, message, retry_after_s))

    def drop(self, method: str = "", path: str = "", *, done: bool, times: int | None = 1) -> Rule:
        """Close the connection without an answer. done: after it took effect."""
        return self.add(Rule(path, method, times, "drop_after" if done else "drop_before"))

    def slow(self, method: str = "", path: str = "", *, delay_s: float, times: int | None = 1) -> Rule:
        return self.add(Rule(path, method, times, None, delay_s=delay_s))

    def hold(self, method: str = "", path: str = "", *, times: int | None = 1) -> threading.Event:
        """Until the event is set: for a test that wants two requests in a certain order."""
        event = threading.Event()
        self.add(Rule(path, method, times, None, hold=event))
        return event

    def cut(self, path: str = "", *, after_events: int = 0, times: int | None = 1) -> Rule:
        """Close the next watch's connection after so many events, in the middle of a line."""
        return self.add(Rule(path, "GET", times, "cut", after_events=after_events))

    def clear(self) -> None:
        """The rules that hold requests let them go."""
        with self._lock:
            for rule in self._rules:
                if rule.hold:
                    rule.hold.set()
            self._rules.clear()

    def take(self, method: str, target: str, *, watch: bool) -> Rule | None:
        with self._lock:
            for rule in self._rules:
                if (rule.effect != "cut" or watch) and rule.fits(method, target):
                    rule.hits += 1
                    return rule
        return None
