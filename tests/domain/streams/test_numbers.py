"""Numbers that are never given twice, also not by a hub whose store was restored."""

from __future__ import annotations

from domain import records as r
from domain import stream_records as sr
from domain.decisions.streams.numbers import GAP, needs_of_numbers, next_number
from tests.domain.scenes import draft, row


def history(changes: int) -> r.History:
    return row(r.History, one=1, changes=changes)


def test_they_count_from_one_and_each_name_for_itself() -> None:
    made = draft([history(0)])
    assert [next_number(made, "deployment") for _ in range(3)] == [1, 2, 3]
    assert next_number(made, "result") == 1


def test_they_go_on_where_the_store_says() -> None:
    assert next_number(draft([history(0), sr.Counter(name="result", last=41, changes=0)]), "result") == 42


def test_a_restored_store_leaves_out_what_it_may_have_forgotten() -> None:
    """One restored twice leaves out twice as much; then it counts on by one."""
    made = draft([history(3), sr.Counter(name="deployment", last=7, changes=1)])
    assert [next_number(made, "deployment") for _ in range(2)] == [7 + 2 * GAP + 1, 7 + 2 * GAP + 2]


def test_so_does_one_in_whose_backup_there_was_no_number_yet() -> None:
    assert next_number(draft([history(1)]), "deployment") == GAP + 1


def test_what_they_need_is_named() -> None:
    needs = needs_of_numbers("deployment", "result")
    assert (needs.counters, needs.history) == ({"deployment", "result"}, {"history"})
