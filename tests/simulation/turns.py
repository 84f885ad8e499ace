"""Whose turn it is at a decider: its production queue, watched.

Of what a decider has in hand, a command waits for as many commands of each other subject as its own subject has before
it, and for two more at most: however many another has sent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from actors.fairness import FairQueue
from broker.messages import Delivery, envelope_in
from domain.ids import HUB
from tests.simulation.world import Broken

MORE = 2


@dataclass(eq=False)
class Waiting:
    """What a Dramatiq worker's queue holds. passed: how many of each subject were taken since it came.

    before: how many of its own subject it has to wait for.
    """

    message: Delivery
    subject: str = ""
    before: int = 0
    passed: Counter[str] = field(default_factory=Counter)


class Turns(FairQueue):
    """The queue of one life of a decider. The hub's own commands are what others' decisions entail: they may pass."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._waiting: list[Waiting] = []

    def _put(self, item: Any) -> None:
        item.subject = envelope_in(item.message).by.id
        item.before = sum(one.subject == item.subject for one in self._waiting)
        self._waiting.append(item)
        super()._put(item)

    def _get(self) -> Any:
        taken = super()._get()
        self._waiting.remove(taken)
        for one in self._waiting:
            if taken.subject in (one.subject, HUB):
                continue
            one.passed[taken.subject] += 1
            if one.passed[taken.subject] > one.before + MORE:
                raise Broken(
                    f"a command of {one.subject} with {one.before} before it waited for "
                    f"{one.passed[taken.subject]} of {taken.subject}: it had no turn"
                )
        return taken
