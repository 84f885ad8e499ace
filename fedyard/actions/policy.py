"""What a site's people see of its own word on projects, and their answers to runs that wait for them."""

from __future__ import annotations

from typing import Literal

import msgspec

from fedyard.actions.site import UsageError
from fedyard.agent.policy import EVERY_PROJECT, ProjectPolicy, differences, policy_of
from fedyard.agent.site import Folder
from fedyard.agent.state import Approval, State

MAX_REASON = 200


class InEffect(msgspec.Struct, frozen=True):
    """What site.toml says of a project that is served. began: runs of it within the last 24 hours."""

    project_id: str
    name: str
    began: int
    policy: ProjectPolicy


class Waits(msgspec.Struct, frozen=True):
    """A task of a run that waits for a person. code: the digest of its code here, empty if there is none.

    asked_at, until: microseconds; until is 0 if the hub did not say. changes: against the project's task of this name
    that was here before, empty if there was none or it was the same.
    """

    run_id: str
    project_id: str
    project: str
    task_seq: int
    name: str
    code: str
    asked_at: int
    until: int
    task: msgspec.Raw
    changes: list[str]


class Effect(msgspec.Struct, frozen=True):
    projects: list[InEffect]
    waiting: list[Waits]


def in_effect(folder: Folder, state: State, now: int) -> Effect:
    """By project's name, and what waits, the oldest first. now: microseconds. Raises `SiteError`."""
    sections, consents = folder.settings().project, folder.consents().all()
    projects = [
        InEffect(one.project_id, one.name, state.approvals.began(one.project_id, now), policy_of(sections, one))
        for one in consents.values()
        if one.live
    ]
    names = {one.project_id: one.name for one in consents.values()}
    waiting = [_waits(state, one, names.get(one.project_id, "")) for one in state.approvals.waiting()]
    return Effect(sorted(projects, key=lambda one: (one.name, one.project_id)), waiting)


def _waits(state: State, asked: Approval, project: str) -> Waits:
    before = state.approvals.before(asked.project_id, asked.name, asked.id)
    return Waits(
        run_id=asked.run_id,
        project_id=asked.project_id,
        project=project,
        task_seq=asked.task_seq,
        name=asked.name,
        code=asked.code,
        asked_at=asked.asked_at,
        until=asked.until,
        task=msgspec.Raw(asked.task_json),
        changes=[] if before is None else differences(before.task_json, asked.task_json),
    )


def lines_of(policy: ProjectPolicy) -> list[str]:
    """What a section says that is not so for every project, as it would stand in site.toml."""
    said = msgspec.to_builtins(policy)
    return [
        f"{name} = {msgspec.json.encode(value).decode()}"
        for name, value in said.items()
        if value is not None and value != getattr(EVERY_PROJECT, name)
    ]


def answer(state: State, run: str, word: Literal["approved", "refused"], now: int, reason: str = "") -> list[Approval]:
    """A person's word on what waits of a run; the tasks that it was for. now: microseconds.

    run: its id, or how that begins. reason: for the run's coordinator, too; the hub reads it. A run that was refused is
    refused for good. Raises `UsageError` if nothing of it waits.
    """
    if len(reason) > MAX_REASON or not reason.isprintable():
        raise UsageError(f"a reason is one line of {MAX_REASON} characters at most")
    asked = [one for one in state.approvals.waiting() if run and one.run_id.startswith(run.lower())]
    runs = {one.run_id for one in asked}
    if len(runs) > 1:
        raise UsageError(f"{run} is how several runs begin: {', '.join(sorted(runs))}")
    if word == "refused":
        for one in runs:
            state.approvals.refuse_run(one, reason)
    done = [one for one in asked if state.approvals.answer(one.id, word, now)]
    if not done:
        raise UsageError(f"nothing of the run {run} waits for a person here: fedyard site policy shows what does")
    return done
