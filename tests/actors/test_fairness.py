"""The order of commands between subjects: by turns, each subject's own order kept."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.fairness import FairQueue, lane_of
from domain import codec
from domain import commands as c
from domain.ids import derive
from domain.values import Subject

NAMES = {name: derive("00000000-0000-4000-8000-000000000000", name) for name in "abcdefgh"}


@dataclass
class Item:
    """As a Dramatiq worker puts it into its queue."""

    message: Any
    name: str


def item(subject: str, number: int) -> Item:
    by = codec.THE_HUB if subject == "hub" else Subject(kind="site", id=NAMES[subject])
    name = f"{subject}{number}"
    site = c.UpdateSite(site_id=NAMES["a"], description=name)
    envelope = codec.envelope_of(site, id=derive(NAMES["a"], name), by=by, at=1)
    return Item(SimpleNamespace(args=(codec.encode(envelope),)), name)


def order(names: list[str]) -> list[str]:
    queue, numbers = FairQueue(), dict.fromkeys([*NAMES, "hub"], 0)
    for subject in names:
        numbers[subject] += 1
        queue.put(item(subject, numbers[subject]))
    return [queue.get_nowait().name for _ in names]


def test_the_subject_is_read_off_the_text() -> None:
    assert lane_of(item("b", 1).message.args[0]) == NAMES["b"]
    assert lane_of(item("hub", 1).message.args[0]) is None
    assert lane_of("no command") is None


def test_a_flood_delays_others_by_one_command_each() -> None:
    assert order(["a", "a", "a", "a", "b", "b", "c"]) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_without_a_flood_it_is_the_order_of_arrival() -> None:
    assert order(list("hgfedcba")) == [f"{name}1" for name in "hgfedcba"]


def test_the_hub_waits_for_nobodys_second_command() -> None:
    assert order(["a", "a", "hub", "hub", "a"]) == ["a1", "hub1", "hub2", "a2", "a3"]


def test_who_comes_later_does_not_wait_for_what_came_before() -> None:
    queue = FairQueue()
    for number in range(1, 7):
        queue.put(item("a", number))
    taken = [queue.get_nowait().name for _ in range(3)]
    queue.put(item("b", 1))
    queue.put(item("b", 2))
    rest = [queue.get_nowait().name for _ in range(5)]
    assert (taken, rest) == (["a1", "a2", "a3"], ["b1", "a4", "b2", "a5", "a6"])


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_each_subjects_own_order_is_kept_and_nothing_is_lost(names: list[str]) -> None:
    found = order(names)
    assert sorted(found) == sorted(f"{s}{n}" for s in set(names) for n in range(1, names.count(s) + 1))
    for subject in set(names):
        own = [int(name[1:]) for name in found if name[0] == subject]
        assert own == sorted(own)
