"""Faults come in an order of their own, and some of them alone."""

from __future__ import annotations

import random

from chaos.faults import SOON, Conductor, Fault
from config.clock import SystemClock


def conductor(*deck: Fault, seed: int = 1) -> Conductor:
    return Conductor(deck, random.Random(seed), SystemClock(), lambda _text: None)


def test_what_no_test_shall_be_without_comes_soon():
    rare = [Fault("restore", "hub", "", lambda _chance: lambda: None, within=SOON)]
    others = [Fault("kill", str(number), "", lambda _chance: lambda: None) for number in range(40)]
    for seed in range(20):
        first = conductor(*rare, *others, seed=seed)._first()
        assert first.index(rare[0]) < SOON
        assert sorted(map(str, first)) == sorted(map(str, [*rare, *others]))


def test_a_fault_that_wants_to_be_alone_waits_for_the_others():
    happened: list[str] = []

    def fault(name: str, *, alone: bool, seconds: float) -> Fault:
        def begin(_chance: random.Random):
            happened.append(f"{name} begins")
            return lambda: happened.append(f"{name} ends")

        return Fault("fault", name, "", begin, seconds, rest_s=0, alone=alone)

    lasting, lonely = fault("lasting", alone=False, seconds=0.2), fault("lonely", alone=True, seconds=0.2)
    told = conductor()
    for one in (lasting, lonely, fault("last", alone=False, seconds=0)):
        assert told._room.acquire(timeout=30)
        told._begin([one])
    told.end()
    assert happened == [f"{name} {what}" for name in ("lasting", "lonely", "last") for what in ("begins", "ends")]
