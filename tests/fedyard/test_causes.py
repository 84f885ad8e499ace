"""Why a run has failed: what came first, and not what fell with it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fedyard.wire.answers import Event, Round, Run, Seat, Submission, TaskRun, TaskSpec
from fedyard.wire.causes import first_cause

RUN, PROJECT = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
NORTH, SOUTH, WEST = (f"00000000-0000-4000-8000-00000000010{n}" for n in range(3))
NAMES = {NORTH: "north", SOUTH: "south", WEST: "west"}
AT = datetime(2026, 3, 1, tzinfo=UTC)


def task(*seats: tuple[str, str], reason: str = "quorum_not_met", left_out: str | None = None) -> TaskRun:
    given = [Submission(site_id=left_out, left_out="seal_undecryptable")] if left_out else []
    return TaskRun(
        seq=1,
        name="train",
        state="failed",
        spec=TaskSpec(name="train", model="m"),
        reason=reason,
        round=2,
        seats=[Seat(site_id=site, round=2, state=state, report_seq=1) for site, state in seats],
        rounds=[Round(number=2, state="failed", submissions=given)],
    )


def run(*tasks: TaskRun, state: str = "failed") -> Run:
    return Run(
        id=RUN,
        project_id=PROJECT,
        number=3,
        attempt=1,
        state=state,
        version=9,
        coordinator_site_id=WEST,
        tasks=list(tasks),
        detail="task 'train' failed: quorum_not_met",
    )


def event(seq: int, kind: str, site: str | None = None, **facts: object) -> Event:
    return Event(
        stream_id=PROJECT, seq=seq, kind=kind, at=AT, run_id=RUN, site_id=site, facts={"task": "train", **facts}
    )


ENDED = event(
    9,
    "task_failed",
    reason="quorum_not_met",
    detail="3 seats are needed in round 2 and 1 can still be had or have come",
)


@pytest.mark.parametrize(
    ("failed", "events", "sentence"),
    [
        (
            run(task((NORTH, "failed"), (SOUTH, "cancelled"), (WEST, "cancelled"))),
            [ENDED, event(7, "seat_failed", NORTH, round=2, reason="train: the task has a fault (ZeroDivisionError)")],
            (
                "north failed in round 2 of task train: train: the task has a fault (ZeroDivisionError); then: "
                "quorum_not_met: 3 seats are needed in round 2 and 1 can still be had or have come"
            ),
        ),
        (  # the one that went first, whatever the order that they are shown in
            run(task((NORTH, "failed"), (SOUTH, "dropped"))),
            [
                event(8, "seat_failed", NORTH, round=2, reason="train: no rows"),
                event(6, "seat_dropped", SOUTH, round=2, reason="site_silent", detail="not heard of for 600 s"),
            ],
            "south was dropped in round 2 of task train: site_silent: not heard of for 600 s; 1 more seat went as well",
        ),
        (  # and none that went since the task has ended
            run(task((NORTH, "failed"), (SOUTH, "dropped"))),
            [
                ENDED,
                event(7, "seat_failed", NORTH, round=2, reason="train: no rows"),
                event(10, "seat_dropped", SOUTH, round=2, reason="site_retired"),
            ],
            (
                "north failed in round 2 of task train: train: no rows; then: quorum_not_met: 3 seats are needed in "
                "round 2 and 1 can still be had or have come"
            ),
        ),
        (  # of another round only where nothing went in this one
            run(task((NORTH, "failed"), (SOUTH, "dropped"))),
            [
                event(3, "seat_dropped", SOUTH, round=1, reason="deadline_missed"),
                event(8, "seat_failed", NORTH, round=2, reason="train: no rows"),
            ],
            "north failed in round 2 of task train: train: no rows; 1 more seat went as well",
        ),
        (  # what was dropped and came back is no cause; the second time counts
            run(task((NORTH, "cancelled"), (SOUTH, "dropped"))),
            [
                event(2, "seat_dropped", NORTH, round=2, reason="site_silent"),
                event(4, "seat_dropped", SOUTH, round=1, reason="deadline_missed"),
                event(8, "seat_dropped", SOUTH, round=2, reason="site_silent"),
            ],
            "south was dropped in round 2 of task train: site_silent",
        ),
        (
            run(task((NORTH, "failed"), left_out=NORTH)),
            [event(8, "seat_left_out", NORTH, round=2, reason="seal_undecryptable", detail="it does not open")],
            "north was left out in round 2 of task train: seal_undecryptable: it does not open",
        ),
        (
            run(task((NORTH, "cancelled"), reason="aggregation_failed")),
            [event(9, "task_failed", reason="aggregation_failed", detail="aggregate: there was not enough memory")],
            (
                "the coordinator west made no model in round 2 of task train: aggregation_failed: aggregate: there was "
                "not enough memory"
            ),
        ),
        (  # a participant, who sees nobody else's seat
            run(task((NORTH, "cancelled"))),
            [ENDED],
            (
                "round 2 of task train failed: quorum_not_met: 3 seats are needed in round 2 and 1 can still be had or "
                "have come"
            ),
        ),
        (
            run(task((NORTH, "failed"))),
            [event(8, "seat_failed", NORTH, round=2), event(3, "seat_failed", SOUTH, round=1, reason="of old")],
            "north failed in round 2 of task train: no reason was given",
        ),
    ],
)
def test_what_came_first_is_named(failed: Run, events: list[Event], sentence: str) -> None:
    cause = first_cause(failed, events)
    assert cause is not None
    assert cause.sentence(NAMES) == sentence


def test_a_site_without_a_name_is_told_by_its_id() -> None:
    cause = first_cause(run(task((NORTH, "failed"))), [event(8, "seat_failed", NORTH, round=2, reason="no rows")])
    assert cause is not None
    assert cause.sentence({}) == f"site {NORTH} failed in round 2 of task train: no rows"


@pytest.mark.parametrize("state", ["running", "succeeded", "cancelled", "created"])
def test_nothing_is_made_up_for_what_has_not_failed(state: str) -> None:
    assert first_cause(run(task((NORTH, "failed")), state=state), [event(8, "seat_failed", NORTH, round=2)]) is None


def test_nothing_is_made_up_for_a_run_that_no_task_has_failed() -> None:
    assert first_cause(run(), [event(8, "seat_failed", NORTH, round=2)]) is None
