"""What the hub is told when a coordinator reports the stage of a round: pure.

Fedota's coordinator counts its rounds from 0, adds one when a round is COMPLETED and at no other time, and begins with
0 again when it is started again. It reads what it reports only while it reports it, so that a COMPLETED usually arrives
as the SELECTION of the next round, and a late client makes it say CONFIGURATION again of a round that is further. So:
a higher number says that the rounds before are completed, a stage goes forward only, and a lower number at the
beginning of a round is another start of the coordinator.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec


class Stage(IntEnum):
    """As Fedota numbers them."""

    SELECTION = 0
    CONFIGURATION = 1
    REPORTING = 2
    COMPLETED = 3


class Seen(msgspec.Struct, frozen=True):
    """The newest that is known of the coordinator. start: of its program, in seconds that only grow."""

    start: int
    number: int
    stage: Stage


class Told(msgspec.Struct, frozen=True):
    """For the hub: the round has come to that stage."""

    start: int
    number: int
    stage: Stage


def follow(seen: Seen | None, number: int, stage: Stage, now_s: int) -> tuple[Seen, list[Told]]:
    """What is known then, and what the hub is told of it; nothing where it was known. now_s: the start of a coordinator
    that is heard of for the first time."""
    if seen is None:
        return _begin(now_s, number, stage)
    if _is_another_start(seen, number, stage):
        return _begin(max(now_s, seen.start + 1), number, stage)
    if (number, stage) <= (seen.number, seen.stage):
        return seen, []
    completed = []
    if number > seen.number:
        if seen.stage is not Stage.COMPLETED:
            completed.append(seen.number)
        if number - 1 > seen.number:
            completed.append(number - 1)
    told = [Told(seen.start, one, Stage.COMPLETED) for one in completed]
    return Seen(seen.start, number, stage), [*told, Told(seen.start, number, stage)]


def _is_another_start(seen: Seen, number: int, stage: Stage) -> bool:
    if number == seen.number:
        return seen.stage is Stage.COMPLETED and stage is Stage.CONFIGURATION
    return number < seen.number and stage in (Stage.SELECTION, Stage.CONFIGURATION)


def _begin(start: int, number: int, stage: Stage) -> tuple[Seen, list[Told]]:
    before = [Told(start, number - 1, Stage.COMPLETED)] if number else []
    return Seen(start, number, stage), [*before, Told(start, number, stage)]
