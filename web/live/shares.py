"""What one caller may have of the web: so many calls a second, and so many places of each kind.

A share is a subject's (a site, an account, an enrolment), however many tokens it has; those that are good for one thing
alone in its name have others (`Bearer.share`). Beyond it the answer is 429 with
Retry-After and the fields of draft-ietf-httpapi-ratelimit-headers; where everybody's places are taken, 503. Some places
of each kind are kept back for people, and for what carries secrets: they are never taken by sites' everyday calls.
docs/adr/0015-shares.md says why.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Literal

from config.clock import Clock, jitter, wait_for
from config.logs import unit
from domain.ids import Id
from domain.values import Subject
from fedyard.wire.problems import ProblemType
from web.problems import Refused, busy

log = logging.getLogger(__name__)

Limit = Literal["reads", "writes", "writes_under_way", "bodies", "transfers", "polls"]

BURST_S = 10.0
"""A caller who was quiet may make the calls of this many seconds at once."""
KEPT_BACK = 8
"""One place in so many is kept back."""
ROWS_PER_WRITE = 20
"""Rows of one call (recipients of a message, pieces of a log) that count as one write: they are written together."""
MAX_REMEMBERED = 20_000
HELD_S = 1.0
"""How much later an impatient caller's refusal is answered."""
AGAIN_S = 1.0
"""When a place may be free again."""
NAMED_EVERY_S = 60.0
"""A caller who is refused for a share stands in the log once in so long."""
MAX_NAMED = 100
"""Callers that are named in that time."""
SIGN_INS = 4
"""Who signs in may have one body in so many, and one address one in so many of these."""
_NO_END = 1_000_000


@dataclass(frozen=True)
class Policy:
    """limit: its name. quota: calls in `window_s`; or without a window, how many at once."""

    limit: Limit
    quota: int
    window_s: float | None = None

    def refusal(self, detail: str, again_s: float) -> Refused:
        """429. The caller may come back after `again_s`, moved by chance upwards so that a crowd spreads."""
        seconds = max(1, ceil(again_s * jitter(1.25, 0.2)))
        window = f";w={self.window_s:.0f}" if self.window_s is not None else ';qu="concurrent-requests"'
        headers = {
            "Retry-After": str(seconds),
            "RateLimit-Policy": f'"{self.limit}";q={self.quota}{window}',
            "RateLimit": f'"{self.limit}";r=0;t={seconds}',
        }
        problem = ProblemType.RATE_EXCEEDED if self.window_s is not None else ProblemType.SHARE_EXCEEDED
        return Refused(problem, detail, headers)


class Rate:
    """A token bucket for each subject, kept as the time at which it will be full again (GCRA): one number, no timer.

    Without a lock: two threads of one subject that meet between reading and writing count as one call, which favours
    the caller and costs nobody else anything.
    """

    def __init__(self, limit: Limit, per_s: float, clock: Clock) -> None:
        self._policy = Policy(limit, max(1, round(per_s * BURST_S)), BURST_S)
        self._each_s = 1.0 / per_s
        self._monotonic = clock.monotonic
        self._full_at: dict[Id, float] = {}
        self.refused = 0

    def take(self, subject: Id) -> None:
        """One call. Raises 429."""
        now = self._monotonic()
        full_at = self._full_at.get(subject, now)
        full_at = max(now, full_at) + self._each_s
        if full_at - now > BURST_S + self._each_s / 2:  # half a call: sums of fractions are not exact
            raise self._refused(full_at - now - BURST_S)
        if len(self._full_at) >= MAX_REMEMBERED:
            self._forget(now)
        self._full_at[subject] = full_at

    def charge(self, subject: Id, count: int) -> None:
        """So many more, for a call that was taken already and makes the hub write that much. Raises 429: none is taken.

        What is more than a whole burst passes if the burst is there, and is paid for afterwards.
        """
        now = self._monotonic()
        before = max(now, self._full_at.get(subject, now))
        needed = min(count, self._policy.quota - 1)
        if needed and before + needed * self._each_s - now > BURST_S + self._each_s / 2:
            raise self._refused(before + needed * self._each_s - now - BURST_S)
        self._full_at[subject] = before + count * self._each_s

    def _refused(self, again_s: float) -> Refused:
        self.refused += 1
        quota, limit = self._policy.quota, self._policy.limit
        detail = f"more than {quota} {limit} in {BURST_S:.0f} s; wait as Retry-After says, then go on more slowly"
        return self._policy.refusal(detail, again_s)

    def _forget(self, now: float) -> None:
        """Who could make a whole burst again needs no memory; if that are few, everybody begins anew."""
        kept = {subject: at for subject, at in list(self._full_at.items()) if at > now}
        self._full_at = kept if len(kept) < MAX_REMEMBERED // 2 else {}


def weight(rows: int) -> int:
    """How many writes so many rows count as; one at least."""
    return max(1, ceil(rows / ROWS_PER_WRITE))


class Places:
    """Places of one kind: `total` of them, at most `each` for one subject, one in eight kept back.

    full: the 503 where all are taken.
    """

    def __init__(self, limit: Limit, total: int, each: int, full: Callable[[], Refused]) -> None:
        self._policy = Policy(limit, each)
        self._total = total
        self._everyday = total - total // KEPT_BACK
        self._full = full
        self._lock = threading.Lock()
        self._taken: dict[Id, int] = {}
        self.open = 0
        self.refused = 0

    @contextmanager
    def place(self, by: Subject, *, kept_back: bool = False) -> Iterator[None]:
        """For the block. kept_back: it may be one of those that are kept back. Raises 429, 503."""
        self.enter(by, kept_back=kept_back)
        try:
            yield
        finally:
            self.leave(by)

    def enter(self, by: Subject, *, kept_back: bool = False) -> None:
        """Raises 429, 503."""
        with self._lock:
            taken = self._taken.get(by.id, 0)
            if taken < self._policy.quota:
                if self.open >= (self._total if kept_back or is_kept_for(by) else self._everyday):
                    raise self._full()
                self._taken[by.id] = taken + 1
                self.open += 1
                return
            self.refused += 1
        what = self._policy.limit.replace("_", " ")
        detail = f"{taken} of your {what} are open, which is all that one caller may have; wait for one to end"
        raise self._policy.refusal(detail, AGAIN_S)

    def leave(self, by: Subject) -> None:
        with self._lock:
            self.open -= 1
            self._taken[by.id] -= 1
            if not self._taken[by.id]:
                del self._taken[by.id]


class Tarpit:
    """Who comes again before Retry-After is over is refused late, so that a flood of refusals keeps no processor busy.

    A refused call costs little, but a caller who makes the next one at once on every connection would have the web do
    nothing else. `places` calls are held at once, each in a thread; where all are taken the answer comes at once.
    occupied: told whenever one begins to wait.
    """

    def __init__(self, places: int, clock: Clock, occupied: Callable[[], None] = lambda: None) -> None:
        self._places = places
        self._monotonic = clock.monotonic
        self._occupied = occupied
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._early_until: dict[Id, float] = {}
        self.open = 0
        self.held = 0
        """Calls that were held so far."""

    def refused(self, subject: Id, again_s: float) -> None:
        """A call of that subject is beyond its share and may come again after `again_s`; returns when it goes on."""
        now = self._monotonic()
        with self._lock:
            early = now < self._early_until.get(subject, now)
            if len(self._early_until) >= MAX_REMEMBERED:
                self._early_until = {one: until for one, until in self._early_until.items() if until > now}
            if len(self._early_until) < MAX_REMEMBERED:
                self._early_until[subject] = now + again_s
            if not early or self.open >= self._places:
                return
            self.open += 1
            self.held += 1
        try:
            self._occupied()
            wait_for(self._over, HELD_S)
        finally:
            with self._lock:
                self.open -= 1

    def release(self) -> None:
        """The server stops: all are answered, and none is held any more."""
        self._over.set()


class Refusals:
    """Names in the log who is refused for a share: the figures of /metrics name nobody, and an operator asks who it is.

    Each caller once a minute, with how many calls of it were refused in the minute before.
    """

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._lock = threading.Lock()
        self._begun = clock.monotonic()
        self._counts: dict[Id, int] = {}
        self._before: dict[Id, int] = {}

    def note(self, by: Subject, detail: str) -> None:
        """One of that caller's calls was refused. detail: what it was told."""
        now = self._monotonic()
        with self._lock:
            if (past := now - self._begun) >= NAMED_EVERY_S:
                self._before = self._counts if past < 2 * NAMED_EVERY_S else {}
                self._counts, self._begun = {}, now
            if by.id in self._counts:
                self._counts[by.id] += 1
                return
            if len(self._counts) >= MAX_NAMED:
                return
            self._counts[by.id] = 1
            before = self._before.get(by.id, 0)
        log.warning(
            "a caller is beyond its share",
            extra=unit(kind=by.kind, caller=by.id, organisation=by.organisation_id, refused_before=before, told=detail),
        )


def is_kept_for(by: Subject) -> bool:
    """People, and who enrols, find a place when sites have taken all of theirs."""
    return by.kind != "site"


class Shares:
    """The limits of this web process. Each is counted by itself in every web process."""

    def __init__(
        self, *, reads_per_s: float, writes_per_s: float, writes_each: int, bodies: int, clock: Clock, tarpit: Tarpit
    ) -> None:
        """writes_each: of one subject under way at once, from before a body is read until the answer is made.
        bodies: of all subjects, while they are read. tarpit: for refused calls."""
        self.tarpit = tarpit
        self.refusals = Refusals(clock)
        self.reads = Rate("reads", reads_per_s, clock)
        self.writes = Rate("writes", writes_per_s, clock)
        self.under_way = Places("writes_under_way", _NO_END, writes_each, lambda: _too_many_bodies(bodies))
        self.bodies = Places("bodies", bodies, bodies, lambda: _too_many_bodies(bodies))
        few = max(1, bodies // SIGN_INS)
        self.sign_ins = Places("bodies", few, max(1, few // SIGN_INS), lambda: _too_many_bodies(few))
        """Of the places for bodies those that somebody may have who has proved nothing yet, by address."""

    def refused(self) -> dict[str, int]:
        """Calls refused with 429 so far, by limit."""
        return {"reads": self.reads.refused, "writes": self.writes.refused, "writes_under_way": self.under_way.refused}


def _too_many_bodies(total: int) -> Refused:
    return busy(
        ProblemType.TOO_MANY_BODIES, f"{total} bodies are being read, which is all that there may be; try again", 2
    )
