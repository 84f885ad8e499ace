"""Tasks and their order, who joins, and how a run begins again, as tables of examples."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.decisions.draft import TooEarly
from domain.decisions.projects import infrastructure_of, predecessors
from domain.ids import derive
from domain.rules import Rules
from domain.values import Subject
from tests.domain.scenes import (
    DAY,
    ELSEWHERE,
    NOW,
    ORGANISATION,
    PROJECT,
    RUN,
    SECOND,
    SITES,
    answer,
    by_account,
    by_site,
    came_to,
    decided,
    detail,
    project,
    row,
    run,
    site,
    task,
    task_id,
    written,
)


def spec(name: str, after: list[str] | None = None, **fields: Any) -> v.TaskSpec:
    return v.TaskSpec(name=name, model="m", after=after, **fields)


TASKS = msgspec.json.encode([spec("train")]).decode()


# the order of tasks


@pytest.mark.parametrize(
    ("tasks", "before"),
    [
        ([spec("a")], {"a": []}),
        ([spec("a"), spec("b"), spec("c")], {"a": [], "b": ["a"], "c": ["b"]}),
        ([spec("a"), spec("b", []), spec("c", ["a", "b"])], {"a": [], "b": [], "c": ["a", "b"]}),
        ([spec("a", ["c"]), spec("b"), spec("c", [])], {"a": ["c"], "b": ["a"], "c": []}),
    ],
)
def test_predecessors(tasks: list[v.TaskSpec], before: dict[str, list[str]]) -> None:
    assert predecessors(tasks) == before


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([spec("a"), spec("b", ["a"]), spec("c", ["a"])], "accepted"),
        ([spec("a", ["b"]), spec("b", [])], "accepted"),
        ([spec("a"), spec("a")], "tasks_impossible"),
        ([spec("a", ["b"])], "tasks_impossible"),
        ([spec("a", ["a"])], "tasks_impossible"),
        ([spec("a", ["b"]), spec("b")], "tasks_impossible"),
        ([spec("z"), spec("a", ["c"]), spec("b", ["a"]), spec("c", ["b"])], "tasks_impossible"),
        ([spec("a", contract=v.Contract(quorum=1.0))], "accepted"),
        ([spec("a", contract=v.Contract(quorum=1.01))], "tasks_impossible"),
        ([spec("a", contract=v.Contract(quorum=2.0, quorum_of="count"))], "accepted"),
        ([spec("a", contract=v.Contract(quorum=2.5, quorum_of="count"))], "tasks_impossible"),
        ([spec("a", contract=v.Contract(quorum=0.5, quorum_of="count"))], "tasks_impossible"),
    ],
)
def test_which_tasks_are_possible(tasks: list[v.TaskSpec], expected: str) -> None:
    new = c.CreateProject(coordinator_site_id=SITES[1], name="new", tasks=tasks)
    changed = c.UpdateProject(project_id=PROJECT, tasks=tasks)
    assert came_to(decided(new, project(2), by_site(1))) == expected
    assert came_to(decided(changed, project(2), by_site(0))) == expected


@pytest.mark.parametrize(
    ("where", "created", "changed"),
    [
        ("hub", "accepted", "accepted"),
        ("gpus-1", "accepted", "accepted"),
        ("gpus-2", "impossible", "impossible"),
        (f"site:{SITES[0]}", "accepted", "accepted"),
        (f"site:{SITES[1]}", "not_a_member", "accepted"),  # of a project that is made its coordinator alone is a member
        (f"site:{SITES[4]}", "not_a_member", "not_a_member"),
    ],
)
def test_infrastructure_runs_at_the_hub_or_at_a_member(where: str, created: str, changed: str) -> None:
    said = v.Infrastructure(coordinator_image="c@sha256:1", selector_image="s:1", where=where)
    new = c.CreateProject(coordinator_site_id=SITES[0], name="new", tasks=[spec("train")], infrastructure=said)
    change = c.UpdateProject(project_id=PROJECT, infrastructure=said)
    for command, expected in ((new, created), (change, changed)):
        decision = decided(command, project(2), by_site(0), rules=Rules(clusters="hub=in-cluster,gpus-1=in-cluster"))
        assert came_to(decision) == expected
        if expected == "impossible":
            assert "there are hub, gpus-1: name one of these, or site:<id>" in detail(decision)
        if expected == "accepted":
            assert [infrastructure_of(made) for made in written(decision, r.Project)] == [said]
    kept = decided(
        c.UpdateProject(project_id=PROJECT, description="x"), project(2, infrastructure_json="{}"), by_site(0)
    )
    assert [made.infrastructure_json for made in written(kept, r.Project)] == ["{}"]


@pytest.mark.parametrize(
    ("members", "fields", "expected"),
    [
        (3, {}, "accepted"),
        (1, {"who": "participants"}, "quorum_impossible"),
        (2, {"who": "participants"}, "accepted"),
        (2, {"contract": v.Contract(quorum=3, quorum_of="count")}, "quorum_impossible"),
        (3, {"contract": v.Contract(quorum=3, quorum_of="count")}, "accepted"),
        (3, {"who": "participants", "contract": v.Contract(quorum=3, quorum_of="count")}, "quorum_impossible"),
        (3, {"who": [SITES[1]]}, "accepted"),
        (3, {"who": [SITES[1], SITES[4]]}, "not_a_member"),
    ],
)
def test_whether_a_run_could_ever_have_its_quorum(members: int, fields: dict[str, Any], expected: str) -> None:
    rows = project(members, [spec("train", **fields)])
    assert came_to(decided(c.StartRun(project_id=PROJECT), rows, by_site(0))) == expected


@pytest.mark.parametrize(
    ("tasks", "states", "then", "state"),
    [
        # the first task has just succeeded
        ([spec("a"), spec("b")], ["waiting"], ["active"], "running"),
        ([spec("a"), spec("b"), spec("c")], ["waiting", "waiting"], ["active", "waiting"], "running"),
        ([spec("a"), spec("b", []), spec("c", ["a", "b"])], ["active", "waiting"], ["active", "waiting"], "running"),
        (
            [spec("a"), spec("b", []), spec("c", ["a", "b"])],
            ["succeeded", "waiting"],
            ["succeeded", "active"],
            "running",
        ),
        ([spec("a"), spec("b", []), spec("c", ["a", "b"])], ["failed", "waiting"], ["failed", "skipped"], "failed"),
        ([spec("a"), spec("b", []), spec("c", ["b"])], ["failed", "skipped"], ["failed", "skipped"], "failed"),
        ([spec("a"), spec("b", [])], ["succeeded"], ["succeeded"], "succeeded"),
        ([spec("a")], [], [], "succeeded"),
    ],
)
def test_how_a_run_moves_from_task_to_task(
    tasks: list[v.TaskSpec], states: list[str], then: list[str], state: str
) -> None:
    rows = [*run(["submitted", "submitted"], "aggregating", rounds=1), *project(2, tasks)]
    rows += [task(tasks[0], round=1)]
    rows += [task(one, seq, state=states[seq - 2], round=0) for seq, one in enumerate(tasks[1:], start=2)]
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1), rows, by_site(0))
    found = {one.id: one.state for one in rows if isinstance(one, r.TaskRun)}
    found |= {one.id: one.state for one in written(decision, r.TaskRun)}
    assert [found[task_id(seq)] for seq in range(1, len(tasks) + 1)] == ["succeeded", *then]
    assert [one.state for one in written(decision, r.Run)] == [state]


@pytest.mark.parametrize(
    ("after", "then"),
    [
        ({"b": ["a"], "c": ["b"]}, ["failed", "skipped", "skipped"]),
        ({"b": ["a"], "c": ["a"]}, ["failed", "skipped", "skipped"]),
        ({"b": ["c"], "c": ["a"]}, ["failed", "skipped", "skipped"]),
    ],
)
def test_whatever_comes_after_a_failed_task_is_skipped(after: dict[str, list[str]], then: list[str]) -> None:
    tasks = [spec("a", []), *(spec(name, before) for name, before in after.items())]
    rows = [*run(["submitted", "submitted"], "aggregating"), *project(2, tasks), task(tasks[0])]
    rows += [task(one, seq, state="waiting", round=0) for seq, one in enumerate(tasks[1:], start=2)]
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1, failure="no"), rows, by_site(0))
    found = sorted(written(decision, r.TaskRun), key=lambda one: one.seq)
    assert [one.state for one in found] == then
    (ended,) = written(decision, r.Run)
    assert (ended.state, ended.reason, ended.detail) == (
        "failed",
        "aggregation_failed",
        "task 'a' failed: aggregation_failed",
    )


def test_a_task_that_can_have_no_quorum_any_more_fails_as_it_starts() -> None:
    tasks = [spec("a", rounds=1), spec("b", contract=v.Contract(quorum=3, quorum_of="count"))]
    rows = [*run(["submitted", "submitted"], "aggregating"), *project(2, tasks), task(tasks[0])]
    rows.append(task(tasks[1], 2, state="waiting", round=0))
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1), rows, by_site(0))
    assert {one.name: one.state for one in written(decision, r.TaskRun)} == {"a": "succeeded", "b": "failed"}
    assert [(one.state, one.reason) for one in written(decision, r.Run)] == [("failed", "quorum_not_met")]


@pytest.mark.parametrize(
    ("by", "start", "stop", "restart", "change"),
    [
        ("coordinator", "accepted", "accepted", "accepted", "accepted"),
        ("its people", "accepted", "accepted", "accepted", "accepted"),
        ("admin", "forbidden", "accepted", "forbidden", "accepted"),
        ("participant", "forbidden", "forbidden", "forbidden", "forbidden"),
        ("stranger", "forbidden", "not_found", "not_found", "forbidden"),  # one may join it, so it is no secret
    ],
)
def test_who_starts_and_stops_runs(by: str, start: str, stop: str, restart: str, change: str) -> None:
    people, of_people = by_account("member")
    admin, of_admin = by_account("admin", ELSEWHERE)
    callers = {"coordinator": by_site(0), "its people": people, "admin": admin, "participant": by_site(1)}
    rows = [
        *run(["ready", "invited"]),
        of_people,
        of_admin,
        *site(2),
        row(r.Project, tasks_json=TASKS, max_live_runs=9),
    ]
    rows += [row(r.Site, id=SITES[n], organisation_id=f"org {n}") for n in (1, 2)]
    caller = callers.get(by, by_site(2))
    commands = (c.StartRun(PROJECT), c.StopRun(RUN), c.RestartRun(RUN), c.UpdateProject(PROJECT, description="new"))
    assert [came_to(decided(one, rows, caller)) for one in commands] == [start, stop, restart, change]


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_a_run_that_is_over_is_not_stopped_and_says_how_it_ended(state: str) -> None:
    rows = [*run(["ready", "invited"]), row(r.Run, state=state, reason="enough")]
    decision = decided(c.StopRun(RUN), rows, by_site(0))
    assert came_to(decision) == "run_finished"
    assert detail(decision).startswith(f"run {RUN} is finished: {state} (enough); it cannot stop again")


@pytest.mark.parametrize(("reason", "said"), [("", "stopped by its coordinator"), ("enough", "enough")])
def test_why_a_run_was_stopped(reason: str, said: str) -> None:
    (ended,) = written(decided(c.StopRun(RUN, reason), run(["ready", "invited"]), by_site(0)), r.Run)
    assert (ended.state, ended.reason, ended.detail) == ("cancelled", "stopped", said)


@pytest.mark.parametrize(("requests", "waiting"), [(0, 0), (2, 2)])
def test_who_starts_a_run_hears_of_requests_that_wait(requests: int, waiting: int) -> None:
    rows = project(2)
    for number in range(2, 2 + requests):
        rows += [*site(number), row(r.Membership, site_id=SITES[number], state="requested")]
    rows += [*site(4), row(r.Membership, site_id=SITES[4], state="invited")]
    assert answer(decided(c.StartRun(PROJECT), rows, by_site(0)))["requests_waiting"] == waiting


@pytest.mark.parametrize("command", [c.StartRun(PROJECT), c.RestartRun(RUN), c.UpdateProject(PROJECT, name="new")])
def test_an_archived_project_stays_as_it_is(command: Any) -> None:
    rows = [*over({"a": ("failed", 2)}), row(r.Project, tasks_json=TASKS, archived_at=NOW)]
    assert came_to(decided(command, rows, by_site(0))) == "project_archived"


def test_a_run_takes_the_next_number_of_its_project() -> None:
    decision = decided(c.StartRun(PROJECT), project(2, last_run_number=6), by_site(0))
    assert [(one.number, one.attempt) for one in written(decision, r.Run)] == [(7, 1)]
    assert [one.last_run_number for one in written(decision, r.Project)] == [7]
    assert [(one.seq, one.state, one.first_round) for one in written(decision, r.TaskRun)] == [(1, "active", 1)]


@pytest.mark.parametrize(
    ("command", "begins"),
    [(c.StopRun(RUN), True), (c.RestartRun(RUN), False), (c.PassDeadline(RUN, NOW), True)],
)
def test_when_a_run_ends_the_next_one_has_its_turn_unless_it_begins_again(command: Any, begins: bool) -> None:
    rows = [*run(["ready", "invited"]), row(r.Run, deadline_at=NOW)]
    by = {} if isinstance(command, c.PassDeadline) else {"by": by_site(0)}
    follow_ups = [type(one.command) for one in decided(command, rows, **by).follow_ups]
    assert follow_ups == ([c.BeginRun] if begins else [])


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ({}, None),
        ({"a": "m1"}, "m1"),
        ({"b": "m2"}, "m2"),
        ({"c": "m3"}, None),
        ({"a": "m1", "c": "m3"}, "m1"),
        ({"a": "m1", "b": "m2"}, "m1"),
    ],
)
def test_a_task_begins_with_the_model_of_those_that_it_follows(models: dict[str, str], expected: str | None) -> None:
    """d comes after a, which ends now, and b, which has ended before."""
    tasks = [spec("a", [], rounds=1), spec("b", []), spec("c", []), spec("d", ["a", "b"])]
    rows = [*run(["submitted", "submitted"], "aggregating"), *project(2, tasks)]
    states = ("active", "succeeded", "succeeded", "waiting")
    rows += [
        task(one, seq, state=state, round=int(seq == 1), model_message_id=models.get(one.name))
        for seq, (one, state) in enumerate(zip(tasks, states, strict=True), start=1)
    ]
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1), rows, by_site(0))
    assert [one.model_message_id for one in written(decision, r.TaskRun) if one.name == "d"] == [expected]


# who joins


@pytest.mark.parametrize(
    ("by", "joining", "state", "expected"),
    [
        # the site itself
        ("site", "open", None, "active"),
        ("site", "approval", None, "requested"),
        ("site", "approval", "invited", "active"),
        ("site", "approval", "requested", "requested"),
        ("site", "approval", "left", "requested"),
        ("site", "approval", "declined", "requested"),
        ("site", "open", "left", "active"),
        ("site", "open", "requested", "active"),
        ("site", "invitation", "invited", "active"),
        ("site", "invitation", "left", "not_found"),
        ("site", "invitation", None, "not_found"),
        ("site", "approval", "active", "active"),
        # the coordinator
        ("coordinator", "approval", None, "invited"),
        ("coordinator", "open", None, "invited"),
        ("coordinator", "invitation", None, "invited"),
        ("coordinator", "approval", "requested", "active"),
        ("coordinator", "approval", "invited", "invited"),
        ("coordinator", "approval", "left", "invited"),
        ("coordinator", "approval", "declined", "invited"),
        ("coordinator", "approval", "active", "active"),
        # whoever acts for both
        ("both", "approval", None, "active"),
        ("both", "invitation", "requested", "active"),
        # somebody else
        ("other", "open", None, "forbidden"),
        ("other", "open", "active", "forbidden"),
        ("other", "invitation", None, "not_found"),
    ],
)
def test_what_putting_a_member_comes_to(by: str, joining: str, state: str | None, expected: str) -> None:
    rows = [*project(1, joining=joining), *site(1), *site(2)]
    if state is not None:
        rows.append(row(r.Membership, site_id=SITES[1], state=state, notes="before"))
    subject, account = by_account("member")
    callers: dict[str, Subject] = {"site": by_site(1), "coordinator": by_site(0), "both": subject, "other": by_site(2)}
    decision = decided(c.PutMember(PROJECT, SITES[1], "new"), [*rows, account], callers[by])
    assert (answer(decision)["state"] if decision.accepted else came_to(decision)) == expected
    changed = [one for one in written(decision, r.Membership) if one.site_id == SITES[1]]
    assert bool(changed) is (decision.accepted and expected != state)


@pytest.mark.parametrize(
    ("by", "state", "expected"),
    [
        (1, "active", "left"),
        (1, "requested", "left"),
        (1, "invited", "declined"),
        (0, "active", "left"),
        (0, "requested", "left"),
        (0, "invited", "declined"),
        (1, "left", "left"),
        (1, "declined", "declined"),
        (2, "active", "forbidden"),
    ],
)
def test_what_removing_a_member_comes_to(by: int, state: str, expected: str) -> None:
    rows = [*project(3), row(r.Membership, site_id=SITES[1], state=state), row(r.Run)]
    decision = decided(c.RemoveMember(PROJECT, SITES[1]), rows, by_site(by))
    assert (answer(decision)["state"] if decision.accepted else came_to(decision)) == expected
    assert len(decision.follow_ups) == (1 if decision.accepted and expected != state else 0)  # its seats are dropped


def test_the_coordinator_cannot_leave() -> None:
    assert came_to(decided(c.RemoveMember(PROJECT, SITES[0]), project(2), by_site(0))) == "is_coordinator"


# beginning again


def over(states: dict[str, tuple[str, int]], *, stage: str = "failed", version: int | None = None) -> list[r.Record]:
    """A failed run whose tasks (a, b after a, c after nothing) have these states and have come to these rounds of 3."""
    specs = [spec("a", [], rounds=3), spec("b", ["a"], rounds=3), spec("c", [], rounds=3)][: len(states)]
    rows = [*project(2, specs), row(r.Run, state="failed", number=4, attempt=2)]
    for seq, (one, (state, number)) in enumerate(zip(specs, states.values(), strict=True), start=1):
        newest = None if number < 2 and state != "succeeded" else f"model of {one.name}"
        rows.append(task(one, seq, state=state, round=number, model_message_id=newest))
        if number:
            rows.append(row(r.Round, task_run_id=task_id(seq), number=number, state=stage))
    if version is not None:
        rows.append(
            row(r.Model, project_id=PROJECT, version=version, task="a", task_seq=1, round=2, message_id="chosen")
        )
    return rows


def begun(decision: Any) -> list[tuple[str, str, int, str | None]]:
    """(task, state, first round, model) of the new attempt."""
    tasks = [one for one in written(decision, r.TaskRun) if one.run_id != RUN]
    return [(t.name, t.state, t.first_round, t.model_message_id) for t in sorted(tasks, key=lambda t: t.seq)]


@pytest.mark.parametrize(("ended", "expected"), [((20, 10), "of a"), ((10, 20), "of b"), ((20, 20), "of b")])
@pytest.mark.parametrize("seqs", [(1, 2), (11, 12), (21, 22), (31, 32)])
def test_a_task_after_two_that_were_carried_over_begins_with_the_model_of_the_one_that_ended_last(
    seqs: tuple[int, int], ended: tuple[int, int], expected: str
) -> None:
    """However the ids of the tasks sort, in this attempt and in the one before."""
    specs = [spec("a", []), spec("b", []), spec("c", ["a", "b"])]
    rows = [*project(2, specs), row(r.Run, state="failed")]
    for one, seq, at in zip(specs, seqs, ended, strict=False):
        fields = {"state": "succeeded", "round": 1, "model_message_id": f"of {one.name}", "ended_at": at}
        rows.append(task(one, seq, **fields))
    rows.append(task(specs[2], 40, state="failed"))
    made = begun(decided(c.RestartRun(RUN), rows, by_site(0)))
    assert made[2] == ("c", "active", 1, expected)


@pytest.mark.parametrize(
    ("states", "options", "expected"),
    [
        # as far as it had come: behind the last round that was completed
        ({"a": ("failed", 1)}, {}, [("a", "active", 1, None)]),
        ({"a": ("failed", 3)}, {}, [("a", "active", 3, "model of a")]),
        ({"a": ("cancelled", 0)}, {}, [("a", "active", 1, None)]),
        # what had succeeded is carried over
        (
            {"a": ("succeeded", 3), "b": ("failed", 2)},
            {},
            [("a", "succeeded", 1, "model of a"), ("b", "active", 2, "model of b")],
        ),
        (
            {"a": ("failed", 2), "b": ("skipped", 0), "c": ("succeeded", 3)},
            {},
            [("a", "active", 2, "model of a"), ("b", "waiting", 1, None), ("c", "succeeded", 1, "model of c")],
        ),
        # from the start
        (
            {"a": ("succeeded", 3), "b": ("failed", 2)},
            {"start_from": "start"},
            [("a", "active", 1, None), ("b", "waiting", 1, None)],
        ),
        # from a chosen model, made by a in its second round: what comes after a begins anew, c does not
        (
            {"a": ("succeeded", 3), "b": ("failed", 2), "c": ("succeeded", 3)},
            {"model_version": 7},
            [("a", "active", 3, "chosen"), ("b", "waiting", 1, None), ("c", "succeeded", 1, "model of c")],
        ),
        (
            {"a": ("succeeded", 3), "b": ("failed", 2), "c": ("succeeded", 3)},
            {"model_version": 7, "start_from": "start"},
            [("a", "active", 1, "chosen"), ("b", "waiting", 1, None), ("c", "active", 1, None)],
        ),
    ],
)
def test_where_a_new_attempt_begins(
    states: dict[str, tuple[str, int]], options: dict[str, Any], expected: list[tuple[str, str, int, str | None]]
) -> None:
    command = c.RestartRun(run_id=RUN, finish_within_s=60, **options)
    decision = decided(command, over(states, version=7), by_site(0))
    (new,) = (one for one in written(decision, r.Run) if one.id != RUN)
    assert (new.number, new.attempt, new.restart_of, new.deadline_at) == (4, 3, RUN, NOW + 60 * SECOND)
    assert new.id == derive(RUN, "next attempt")
    assert begun(decision) == expected


def test_a_round_that_was_completed_is_not_made_again() -> None:
    decision = decided(c.RestartRun(run_id=RUN), over({"a": ("failed", 2)}, stage="completed"), by_site(0))
    assert begun(decision) == [("a", "active", 3, "model of a")]


@pytest.mark.parametrize(
    ("changes", "options", "expected"),
    [
        ([], {}, "accepted"),
        ([], {"model_version": 8}, "not_found"),
        ([row(r.Model, project_id=PROJECT, version=7, task="z", task_seq=1, round=1)], {}, "accepted"),
        (
            [row(r.Model, project_id=PROJECT, version=7, task="z", task_seq=1, round=1)],
            {"model_version": 7},
            "model_of_another_task",
        ),
        (
            [row(r.Model, project_id=PROJECT, version=7, task="a", task_seq=2, round=1)],
            {"model_version": 7},
            "model_of_another_task",
        ),
        (
            [row(r.Model, project_id=PROJECT, version=7, task="a", task_seq=1, round=2)],
            {"model_version": 7},
            "accepted",
        ),
        (
            [row(r.Model, project_id=PROJECT, version=7, task="a", task_seq=1, round=3)],
            {"model_version": 7},
            "no_rounds_left",
        ),
        (
            [row(r.Model, project_id=PROJECT, version=7, task="a", task_seq=1, round=3)],
            {"model_version": 7, "start_from": "start"},
            "accepted",
        ),
        ([row(r.Run, id="other", state="running", number=5)], {}, "run_live"),
        ([row(r.Run, id="other", state="created", number=5)], {}, "accepted"),
        ([row(r.Run, id=derive(RUN, "next attempt"), number=4, attempt=3, state="failed")], {}, "restarted_already"),
    ],
)
def test_when_a_run_may_begin_again(changes: list[r.Record], options: dict[str, Any], expected: str) -> None:
    rows = [*over({"a": ("failed", 2)}), *changes]
    assert came_to(decided(c.RestartRun(run_id=RUN, **options), rows, by_site(0))) == expected


@pytest.mark.parametrize(
    ("artifact", "state", "expected"),
    [(None, "", "accepted"), ("a", "stored", "accepted"), ("a", "expired", "model_expired")],
)
def test_a_model_that_nobody_could_get_is_nothing_to_begin_with(
    artifact: str | None, state: str, expected: str
) -> None:
    rows = over({"a": ("failed", 2)})
    rows.append(row(r.Model, project_id=PROJECT, version=7, message_id="model of a", artifact_id=artifact))
    rows += [row(r.Artifact, id="a", state=state)] if artifact else []
    assert came_to(decided(c.RestartRun(run_id=RUN), rows, by_site(0))) == expected


# logs


def writing(seq: int, *pieces: bytes) -> c.WriteLog:
    return c.WriteLog(run_id=RUN, task_seq=1, site_id=SITES[1], seq=seq, pieces=list(pieces))


@pytest.mark.parametrize(
    ("seq", "pieces", "places", "expected"),
    [
        # where three pieces are there, and five in the whole log
        (4, [b"d"], {6: b"d"}, {"seq": 4, "duplicate": False}),
        (4, [b"d", b"e"], {6: b"d", 7: b"e"}, {"seq": 5, "duplicate": False}),
        (3, [b"c", b"d"], {6: b"d"}, {"seq": 4, "duplicate": False}),
        (1, [b"a", b"b", b"c", b"d", b"e"], {6: b"d", 7: b"e"}, {"seq": 5, "duplicate": False}),
        (3, [b"c"], {}, {"seq": 3, "duplicate": True}),
        (1, [b"a", b"b"], {}, {"seq": 3, "duplicate": True}),
        (5, [b"e"], None, None),
        (6, [b"f"], None, None),
    ],
)
def test_which_pieces_of_a_log_are_new(
    seq: int, pieces: list[bytes], places: dict[int, bytes] | None, expected: dict[str, object] | None
) -> None:
    rows = [*run(["invited", "invited"]), r.LogHead(RUN, 5), r.SiteLog(RUN, SITES[1], 1, 3, 100)]
    if places is None:
        with pytest.raises(TooEarly):
            decided(writing(seq, *pieces), rows, by_site(1))
        return
    decision = decided(writing(seq, *pieces), rows, by_site(1))
    assert answer(decision) == expected
    assert {one.place: one.body for one in written(decision, r.LogPiece)} == places
    assert written(decision, r.LogHead) == ([r.LogHead(RUN, 5 + len(places))] if places else [])
    size = 100 + sum(map(len, places.values()))
    assert written(decision, r.SiteLog) == ([r.SiteLog(RUN, SITES[1], 1, 3 + len(places), size)] if places else [])


@pytest.mark.parametrize(
    ("used", "size", "expected"),
    [(0, 100, "accepted"), (60, 40, "accepted"), (60, 41, "log_full"), (101, 1, "log_full")],
)
def test_how_long_a_log_may_be(used: int, size: int, expected: str) -> None:
    """Over all tasks of the run; what the others wrote does not count."""
    rows = [*run(["invited", "invited"]), r.SiteLog(RUN, SITES[1], 2, 9, used), r.SiteLog(RUN, SITES[0], 1, 9, 99)]
    decision = decided(writing(1, bytes(size)), rows, by_site(1), rules=Rules(log_limit_bytes=100))
    assert came_to(decision) == expected


@pytest.mark.parametrize(
    ("ended_at", "expected"),
    [(None, "accepted"), (NOW - 7 * DAY + 1, "accepted"), (NOW - 7 * DAY, "run_finished"), (NOW, "accepted")],
)
def test_a_log_may_be_written_as_long_as_it_is_kept(ended_at: int | None, expected: str) -> None:
    rows = [*run(["invited", "invited"], state="failed" if ended_at else "running", ended_at=ended_at)]
    assert came_to(decided(writing(1, b"a"), rows, by_site(1), rules=Rules(keep_inbox_s=7 * 86_400))) == expected


# changing a project


@pytest.mark.parametrize(
    ("live", "change", "expected"),
    [
        ("running", {"sealed": "required"}, "run_live"),
        ("created", {"sealed": "required"}, "run_live"),
        ("failed", {"sealed": "required"}, "accepted"),
        ("running", {"sealed": "optional"}, "accepted"),  # as it was
        ("running", {"description": "new"}, "accepted"),
        ("running", {"name": "taken"}, "name_taken"),
        ("running", {"name": "mine"}, "accepted"),
    ],
)
def test_what_changes_between_runs_alone(live: str, change: dict[str, Any], expected: str) -> None:
    rows = [*project(2, name="mine", version=6), row(r.Run, state=live), row(r.Project, id="other", name="taken")]
    decision = decided(c.UpdateProject(project_id=PROJECT, **change), rows, by_site(0))
    assert came_to(decision) == expected
    if decision.accepted:
        (changed,) = written(decision, r.Project)
        assert msgspec.structs.asdict(changed) | change == msgspec.structs.asdict(changed)
        assert changed.version == 7


@pytest.mark.parametrize(
    ("live", "expected"), [("running", "run_live"), ("created", "run_live"), ("succeeded", "accepted")]
)
def test_a_project_is_archived_when_no_run_lives(live: str, expected: str) -> None:
    rows = [*project(2), row(r.Run, state=live)]
    assert came_to(decided(c.ArchiveProject(project_id=PROJECT), rows, by_site(0))) == expected


@pytest.mark.parametrize(("archived_at", "expected"), [(None, "coordinates_projects"), (NOW - 1, "accepted")])
def test_who_coordinates_cannot_retire(archived_at: int | None, expected: str) -> None:
    decision = decided(c.RetireSite(SITES[0]), project(2, archived_at=archived_at), by_site(0))
    assert came_to(decision) == expected


def test_who_retires_leaves_everything() -> None:
    rows = project(2)
    decision = decided(c.RetireSite(SITES[1]), rows, by_site(1), seated=[(SITES[1], RUN), (SITES[0], "another")])
    assert [(one.site_id, one.state) for one in written(decision, r.Membership)] == [(SITES[1], "left")]
    assert [one.state for one in written(decision, r.Site)] == ["retired"]
    dropped, lost = [envelope.command for envelope in decision.follow_ups]
    assert isinstance(dropped, c.DropSeats)
    assert (dropped.run_id, dropped.reason) == (RUN, "site_retired")
    assert lost == c.LoseWorkloads(site_id=SITES[1])
    assert {stream.id for stream in written(decision, r.Stream)} == {PROJECT, SITES[1]}
    assert ORGANISATION not in {event.stream_id for event in written(decision, r.Event)}


# who is ready


@pytest.mark.parametrize(
    ("members", "count"),
    [
        ([], 1),
        ([{"ready_until": NOW + 1}], 2),
        ([{"ready_until": NOW}], 1),  # its time is over
        ([{"ready_until": None}], 1),
        ([{"ready_until": NOW + 1, "state": "left"}], 1),
        ([{"ready_until": NOW + 1, "role": "workload"}], 1),  # holds a seat of a run, and runs no client image
    ],
)
def test_ready_are_active_members_who_have_said_so_and_whose_time_is_not_over(
    members: list[dict[str, Any]], count: int
) -> None:
    others = [row(r.Membership, site_id=SITES[place], **each) for place, each in enumerate(members, 2)]
    decision = decided(c.SayReady(project_id=PROJECT, site_id=SITES[1], for_s=60), [*project(2), *others], by_site(1))
    assert answer(decision)["ready_count"] == count
    assert [made.ready_until for made in written(decision, r.Membership)] == [NOW + 60 * SECOND]


@pytest.mark.parametrize(
    ("by", "said", "fields", "expected"),
    [
        (by_site(1), True, {}, "accepted"),
        (by_account("member")[0], True, {}, "accepted"),
        (by_account("member", ELSEWHERE)[0], True, {}, "not_found"),
        (by_site(0), True, {}, "not_found"),  # not the coordinator's to say
        (by_site(1), False, {}, "accepted"),
        (by_site(1), True, {"archived_at": NOW}, "project_archived"),
    ],
)
def test_who_may_say_that_a_site_is_ready(by: Subject, said: bool, fields: dict[str, Any], expected: str) -> None:
    command = c.SayReady(project_id=PROJECT, site_id=SITES[1], ready=said)
    rows = [*project(2, **fields), *(by_account("member", house)[1] for house in (ORGANISATION, ELSEWHERE))]
    assert came_to(decided(command, rows, by)) == expected


def test_saying_it_again_only_moves_the_time() -> None:
    rows = [one for one in project(2) if not (isinstance(one, r.Membership) and one.site_id == SITES[1])]
    rows.append(row(r.Membership, site_id=SITES[1], ready_until=NOW + SECOND))
    again = decided(c.SayReady(project_id=PROJECT, site_id=SITES[1], for_s=60), rows, by_site(1))
    assert written(again, r.Event) == []
    taken_back = decided(c.SayReady(project_id=PROJECT, site_id=SITES[1], ready=False), rows, by_site(1))
    assert [event.kind for event in written(taken_back, r.Event)] == ["member_not_ready"]
    assert [made.ready_until for made in written(taken_back, r.Membership)] == [None]
