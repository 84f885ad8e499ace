"""Every state times every step: what the table has leads on, what it lacks is forbidden."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from domain import states as s

TABLES: list[tuple[Mapping[tuple[Any, s.Step], Any], type[StrEnum]]] = [
    (s.RUN, s.RunState),
    (s.TASK_RUN, s.TaskRunState),
    (s.ROUND, s.RoundState),
    (s.SEAT, s.SeatState),
    (s.SITE, s.SiteState),
    (s.MEMBER, s.MemberState),
    (s.DELIVERY, s.DeliveryState),
    (s.KEY, s.KeyState),
    (s.ARTIFACT, s.ArtifactState),
]
CELLS = [(table, state, step) for table, kind in TABLES for state in kind for step in s.Step]


@pytest.mark.parametrize(("table", "state", "step"), CELLS)
def test_every_cell(table: Mapping[tuple[Any, s.Step], Any], state: StrEnum, step: s.Step) -> None:
    if (state, step) in table:
        assert s.follow(table, state, step) == table[state, step]
    else:
        with pytest.raises(s.Forbidden):
            s.follow(table, state, step)


@pytest.mark.parametrize(
    ("table", "final"),
    [
        (s.RUN, s.RUN_FINAL),
        (s.TASK_RUN, s.TASK_RUN_FINAL),
        (s.ROUND, s.ROUND_FINAL),
        (s.SEAT, {s.SeatState.DONE, s.SeatState.FAILED, s.SeatState.CANCELLED}),
        (s.SITE, {s.SiteState.RETIRED}),
        (s.DELIVERY, {s.DeliveryState.EXPIRED, s.DeliveryState.MOVED}),
        (s.ARTIFACT, {s.ArtifactState.EXPIRED}),
        (s.KEY, {s.KeyState.REVOKED}),
    ],
)
def test_a_final_state_stays_final(table: Mapping[tuple[Any, s.Step], Any], final: set[StrEnum]) -> None:
    assert {state for state, _ in table} & set(final) == set()


@pytest.mark.parametrize(("table", "kind"), TABLES)
def test_every_state_is_reached_and_every_other_one_leads_on(
    table: Mapping[tuple[Any, s.Step], Any], kind: type[StrEnum]
) -> None:
    first = next(iter(kind))
    reached = {first, *table.values()}
    assert reached == set(kind)


def test_the_seats_table_is_the_one_that_was_agreed() -> None:
    live = ["invited", "preparing", "ready", "training", "uploading", "submitted"]
    agreed = {
        ("invited", "accept"): "preparing",
        ("invited", "ready"): "ready",
        ("preparing", "ready"): "ready",
        ("ready", "round_started"): "training",
        ("training", "trained"): "uploading",
        ("training", "submit"): "submitted",
        ("uploading", "submit"): "submitted",
        ("submitted", "next_round"): "invited",
        ("submitted", "task_done"): "done",
        ("dropped", "rejoin"): "invited",
        **{(state, "fail"): "failed" for state in live},
        **{(state, "drop"): "dropped" for state in live},
        **{(state, "cancel"): "cancelled" for state in live},
    }
    assert {(str(state), str(step)): str(target) for (state, step), target in s.SEAT.items()} == agreed
