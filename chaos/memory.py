"""What a reduced site keeps of its conversation with the hub, so that it can tell a hub whose history went back.

As much as an agent keeps and no more: marks, seats with their reports, messages, revocations. Two threads of the site
use it: the one that follows the inbox, and the one that sends messages.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from chaos.ledger import Asked
from config.clock import Micros
from fedyard.wire.times import SECOND

MARKS = 300
SEATS = 100
"""The newest; the hub takes 200 in a claim."""
SENT_FOR: Micros = 120 * SECOND
"""For so long a message is sent again: longer than from a backup to the recovery from it."""
STEPS = frozenset({"invited", "round_started", "aggregate", "seat_dropped"})
"""Entries whose effect must not be had twice."""


@dataclass(frozen=True)
class Sent:
    """A command that the hub has taken, to the byte. report_seq: of a report on a seat; 0 for a model or a message."""

    at: Micros
    method: str
    path: str
    body: bytes
    key: str
    asked: Asked
    report_seq: int = 0


@dataclass
class Seat:
    """report_seq: of the newest report that counted. ended: its run is over."""

    report_seq: int
    ended: bool = False
    reports: list[Sent] = field(default_factory=list)


SeatKey = tuple[str, int]


class Memory:
    """after, mark: where the site is in its inbox. history_id: of the hub's history, empty before the first answer."""

    def __init__(self) -> None:
        self.after = 0
        self.mark: str | None = None
        self.history_id = ""
        self.seats: dict[SeatKey, Seat] = {}
        self.live_runs: set[str] = set()
        self._entries: deque[tuple[int, str, str, tuple[object, ...]]] = deque(maxlen=MARKS)
        self._had: set[tuple[object, ...]] = set()
        self._revoked: list[str] = []
        self._messages: deque[Sent] = deque()
        self._lock = threading.Lock()

    # the inbox

    def take(self, entry: dict[str, Any]) -> bool:
        """The entry is here; False if its effect was had in a part of the history that the hub has forgotten."""
        seq, step = int(entry["seq"]), _step(entry)
        if seq > self.after:
            self.after, self.mark = seq, entry["mark"]
            self._entries.append((seq, entry["mark"], entry["kind"], step))
        if entry["kind"] == "token_revoked":
            self._revoked.append(str(entry["facts"]["token_id"]))
        if step in self._had:
            self._had.discard(step)
            return False
        return True

    def claim(self) -> dict[str, object]:
        """The body of a recovery."""
        marks = [{"seq": seq, "mark": mark} for seq, mark, _, _ in reversed(self._entries)]
        if self.mark and not any(one["seq"] == self.after for one in marks):  # where a recovery told it to read on
            marks.insert(0, {"seq": self.after, "mark": self.mark})
        seats = [
            {
                "run_id": run,
                "task_seq": task,
                "report_seq": seat.report_seq,
                "state": "ended" if seat.ended else "live",
            }
            for (run, task), seat in list(self.seats.items())[-SEATS:]
        ]
        return {
            "history_id": self.history_id or None,
            "last_seq": self.after,
            "marks": marks,
            "seats": seats,
            "seats_cut": len(self.seats) > SEATS,
            "revoked_tokens": self._revoked[-SEATS:],
        }

    def recovered(self, history_id: str, common: int, read_after: int, mark: str | None) -> None:
        """Read on from there. What was had behind `common` is not done again."""
        self._had = {step for seq, _, kind, step in self._entries if seq > common and kind in STEPS}
        kept = [one for one in self._entries if one[0] <= common]
        self._entries.clear()
        self._entries.extend(kept)
        self.history_id, self.after, self.mark = history_id, read_after, mark

    def not_had(self, run_id: str, task_seq: int) -> None:
        """What comes again for that seat has its effect after all."""
        self._had = {step for step in self._had if step[1:3] != (run_id, task_seq)}

    # seats

    def seat(self, key: SeatKey) -> Seat:
        return self.seats.setdefault(key, Seat(0))

    def invited(self, key: SeatKey, report_seq: int) -> None:
        """The newest come last, and old ones go."""
        seat = self.seats.pop(key, None) or Seat(report_seq)
        seat.report_seq, seat.ended = report_seq, False
        self.seats[key] = seat
        for old in list(self.seats)[: -2 * SEATS]:
            del self.seats[old]

    def run_ended(self, run_id: str) -> None:
        self.live_runs.discard(run_id)
        for (run, _), seat in self.seats.items():
            if run == run_id:
                seat.ended = True
                seat.reports.clear()

    def forget_run(self, run_id: str) -> None:
        """The hub does not know it any more."""
        self.live_runs.discard(run_id)
        for key in [key for key in self.seats if key[0] == run_id]:
            del self.seats[key]

    # messages

    def sent(self, message: Sent) -> None:
        """The hub has taken it, for the first time or again."""
        with self._lock:
            self._messages.append(message)
            while self._messages and self._messages[0].at < message.at - SENT_FOR:
                self._messages.popleft()

    def to_send_again(self, now: Micros) -> Iterator[Sent]:
        """Messages that a restored hub may have forgotten, oldest first; each is to be `sent` again."""
        with self._lock:
            messages = [one for one in self._messages if one.at >= now - SENT_FOR]
            self._messages.clear()
        yield from (replace(one, at=now) for one in messages)


def _step(entry: dict[str, Any]) -> tuple[object, ...]:
    return entry["kind"], entry["run_id"], entry["task_seq"], entry["round"]
