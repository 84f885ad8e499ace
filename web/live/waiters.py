"""Waiting without asking: one plain lock for each waiter, released when what it waits for has changed.

The signals' thread releases; nothing is read on behalf of a waiter until it is awake. A waiter takes its place
before it reads (or publishes), so that no announcement falls between. Should one be lost all the same, every
waiter looks by itself now and then. docs/adr/0005-waiting.md says why it is built so.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from config.clock import Clock
from domain.ids import Id
from domain.values import Subject
from fedyard.wire.problems import ProblemType
from storage.signals import Announcement, Decided
from web.live.shares import AGAIN_S, KEPT_BACK, Policy, Tarpit, is_kept_for
from web.problems import busy

T = TypeVar("T")
Key: TypeAlias = tuple[Literal["command", "inbox", "run", "log", "hub"], Id]

SLICE = 64
BETWEEN_SLICES_S = 0.006
"""Many threads that wake at once hinder each other; a slice every few milliseconds is done sooner."""
LOOK_AGAIN_S = 30.0
"""How long a lost announcement can hold up a waiter. The signals notice a lost connection much sooner by themselves."""
ENDING = 2
"""A caller's polls, in shares of it: those that are open, and as many that were told to end and have not yet. Streams
that nobody reads, and polls that begin late, take places and threads of everybody meanwhile."""


class Place:
    """One waiter's place. `woken` is guarded by the room's lock. let_go: it shall end, with what it has."""

    __slots__ = ("_lock", "decided", "let_go", "woken")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.woken = False
        self.let_go = False
        self.decided: Decided | None = None

    def wake(self) -> None:
        self._lock.release()

    def wait(self, seconds: float) -> bool:
        """True if woken within `seconds`."""
        return self._lock.acquire(timeout=max(0.0, seconds))


@dataclass(frozen=True)
class Waiter:
    """Who polls. when_gone: told what to call when the client hangs up, where the server can tell."""

    subject: Subject
    when_gone: Callable[[Callable[[], None]], None] | None = None


class Waiters:
    """All waiters of this process. Over the cap the answer is 503. occupied: told whenever one begins to wait.

    each: polls of one subject at once. Beyond it its oldest poll ends, with what it has: whoever hung up without the
    server's notice has the oldest ones, so that a caller is held up by nobody but himself, and others not at all. Who
    begins polls faster than they end is refused.
    tarpit: where a poll beyond the share begins, if the caller's last one did so a moment ago.
    """

    def __init__(
        self,
        cap: int,
        clock: Clock,
        occupied: Callable[[], None] = lambda: None,
        each: int | None = None,
        tarpit: Tarpit | None = None,
    ) -> None:
        self._cap = cap
        self._everyday = cap - cap // KEPT_BACK
        self._each = cap if each is None else each
        self._clock = clock
        self._occupied = occupied
        self._tarpit = Tarpit(0, clock) if tarpit is None else tarpit
        self._lock = threading.Lock()
        self._places: dict[Key, set[Place]] = defaultdict(set)
        self._of: dict[Id, dict[Place, None]] = {}
        self.open = 0
        self.refused = 0
        self.over_share = 0
        """Polls refused with 429."""
        self.ended_early = 0
        """Polls that ended because their caller began more than its share."""
        self.gone = 0
        """Polls whose client hung up."""
        self.closing = False

    @contextmanager
    def place(self, key: Key, by: Waiter | None = None, *, kept_back: bool = False) -> Iterator[Place]:
        """A place to wait for `key`. by: counts towards this subject's share. Raises 503 if none is free."""
        place = Place()
        oldest = None
        with self._lock:
            kept_back = kept_back or (by is not None and is_kept_for(by.subject))
            mine = {} if by is None else self._of.get(by.subject.id, {})
            full = len(mine) >= self._each
            if not full and self.open >= (self._cap if kept_back else self._everyday):
                self.refused += 1
                raise busy(
                    ProblemType.TOO_MANY_POLLS,
                    f"all {self._cap} places to wait are taken; try again later, or read without wait",
                    4,
                )
            if full:
                oldest = next((one for one in mine if not one.let_go), None)
                if oldest is None or len(mine) >= ENDING * self._each:  # as many have been told to end and have not yet
                    self.over_share += 1
                    detail = f"more than {self._each} polls of yours are open; wait for one to end"
                    raise Policy("polls", self._each).refusal(detail, AGAIN_S)
                self.ended_early += 1
            self.open += 1
            self._places[key].add(place)
            if by is not None:
                self._of.setdefault(by.subject.id, mine)[place] = None
        try:
            if oldest is not None:
                self._let_go(oldest)
                if by is not None:  # else two polls more than its share would end each other without a pause
                    self._tarpit.refused(by.subject.id, AGAIN_S)
            if by is not None and by.when_gone is not None:
                by.when_gone(lambda: self._hung_up(place))
            yield place
        finally:
            with self._lock:
                place.let_go = True
                self.open -= 1
                self._places[key].discard(place)
                if not self._places[key]:
                    del self._places[key]
                if by is not None:
                    del mine[place]
                    if not mine and self._of.get(by.subject.id) is mine:
                        del self._of[by.subject.id]

    def sleep(self, place: Place, seconds: float, again_s: float = LOOK_AGAIN_S) -> None:
        """Until woken, released, or `seconds` are over; `again_s` at most. Read afterwards."""
        if self.closing or place.let_go:
            return
        self._occupied()
        if place.wait(min(seconds, again_s)):
            with self._lock:
                place.woken = False

    def until(
        self,
        key: Key,
        seconds: float,
        look: Callable[[], T | None],
        again_s: float = LOOK_AGAIN_S,
        by: Waiter | None = None,
    ) -> T | None:
        """The first that `look` finds, looked for at once and whenever `key` changed, for `seconds`; else None."""
        found = look()
        if found is not None or seconds <= 0 or self.closing:
            return found
        end = self._clock.monotonic() + seconds
        with self.place(key, by) as place:
            while (found := look()) is None:
                left = end - self._clock.monotonic()
                if left <= 0 or self.closing or place.let_go:
                    return None
                self.sleep(place, left, again_s)
        return found

    def heard(self, announcement: Announcement) -> None:
        """Wake who waits for what changed."""
        with self._lock:
            asleep: list[Place] = []
            for decided in announcement.decided:
                for place in self._places.get(("command", decided.id), ()):
                    place.decided = decided
                    asleep.append(place)
            for site in announcement.inboxes:
                asleep.extend(self._places.get(("inbox", site), ()))
            for run in announcement.runs:
                asleep.extend(self._places.get(("run", run), ()))
            for run in announcement.logs:
                asleep.extend(self._places.get(("log", run), ()))
        self._wake(asleep)

    def wake(self, place: Place) -> None:
        """Wake one waiter, for a reason of its own."""
        self._wake([place])

    def wake_all(self) -> None:
        """After a gap in the announcements: everybody looks."""
        with self._lock:
            everybody = [place for places in self._places.values() for place in places]
        self._wake(everybody)

    def _hung_up(self, place: Place) -> None:
        if not place.let_go:
            self.gone += 1
            self._let_go(place)

    def _let_go(self, place: Place) -> None:
        place.let_go = True
        self.wake(place)

    def release(self) -> None:
        """The server stops: whoever waits answers what it has, and nobody waits any more."""
        self.closing = True
        self.wake_all()

    def _wake(self, places: list[Place]) -> None:
        for start in range(0, len(places), SLICE):
            if start:
                self._clock.sleep(BETWEEN_SLICES_S)
            with self._lock:
                for place in places[start : start + SLICE]:
                    if not place.woken:
                        place.woken = True
                        place.wake()
