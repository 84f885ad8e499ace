"""For people called at night: what a workload waits for, and what they can do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from domain.decisions.project_rounds import DEADLINE_PASSED
from domain.ids import Id
from domain.states import WORKLOAD_LIVE, SiteState, WorkloadState
from domain.values import Micros
from domain.workloads import site_of
from fedyard.cluster.port import Reason
from fedyard.wire.times import SECOND
from fedyard.wire.types import UUID_PATTERN
from ops.accounts import AT_ONCE, OPERATOR
from ops.spans import ago, micros, span, until
from storage import clusters
from storage.database import Database
from storage.presence import heard, silent
from storage.views import projects, rounds, sites, workloads
from storage.views.resources import Workload, WorkloadAttempt
from storage.views.sight import Listed, Paging, every

EARLIER = 3
"""Attempts before the newest one that are told of."""
REMEDIES: dict[Reason, str] = {
    Reason.SECRET_MISSING: "have the project's coordinator set it (fedyard project secret set)",
    Reason.IMAGE_NOT_PULLED: "mend the image's name or digest, its registry, or the pull secret",
    Reason.UNSCHEDULABLE: "ask for less, add a node, mend selectors and tolerations, or name another cluster",
    Reason.QUOTA_EXCEEDED: "wait until something there ends, or have its limit raised",
    Reason.NOT_READY: (
        "read its log (fedyard workload log --follow): why does it end, or not listen on the port in the variable PORT?"
    ),
    Reason.NOT_ALLOWED: "ask the site's people: the sentence says what they would have to write into site.toml",
    Reason.IMAGE_UNUSABLE: "name an image that is allowed, or have it allowed where it is to run",
    Reason.CONFIG_INVALID: "mend what the sentence names, and start another one",
    Reason.COMMAND_NOT_FOUND: "mend the command or the image",
    Reason.EXIT_CODE: "read its log: the fault is the program's, or its data's",
    Reason.OUT_OF_MEMORY: "ask for more memory, or take less",
    Reason.DEADLINE_PASSED: "give it longer, or find out what it hangs on",
    Reason.EVICTED: "nothing: its machine needed the room",
    Reason.NODE_LOST: "look after the node",
    Reason.NAMESPACE_GONE: "find out who removed its place",
    Reason.SIGNALLED: "read its log: somebody's kill, or a crash",
    Reason.SILENT: "read its log: does it reach the hub (FEDYARD_WORKLOAD_HUB_URL)?",
    Reason.VANISHED: "find out who removed it",
    Reason.INPUTS_UNAVAILABLE: "see whether the artifact is still there, and whether the cluster reaches the hub",
    Reason.OUTPUTS_MISSING: "read its log: it has ended well without leaving what is required",
    Reason.OUTPUTS_NOT_STORED: "make room, or see why the hub is not reached",
    Reason.SITE_SILENT: "ask the site's people to look after its agent",
    Reason.SITE_RETIRED: "start another one elsewhere",
}
"""What to do about each reason, as docs/workloads.md says at length."""


def named(database: Database, said: str) -> Workload | None:
    """The one that is meant by its id, or by PROJECT/NAME: of several the newest that goes on, else the newest."""
    name, slash, its = said.rpartition("/")
    if not slash:
        return workloads.workload(database, OPERATOR, said.lower()) if _is_id(said) else None
    for project in every(
        lambda paging: projects.projects(database, OPERATOR, paging, name=name, coordinator=None, member=None), AT_ONCE
    ):
        found = [one for one in _of_project(database, project.id) if one.name == its]
        going_on = [one for one in found if one.state in WORKLOAD_LIVE]
        if found:
            return (going_on or found)[-1]
    return None


def why(database: Database, one: Workload, now: Micros) -> Iterator[str]:
    """What it waits for, or how it ended, in lines of text."""
    tries = _attempts(database, one.id)
    began = next((each for each in tries if each.attempt == one.attempt), None)
    since = one.state_at if began is None else began.state_at
    yield f"workload {one.name} ({one.id}), attempt {one.attempt}, at {one.where}: {one.state} since {ago(since, now)}."
    if one.reason:
        yield _reason(one)
        yield f"What to do: {REMEDIES[one.reason]}."
    if one.stop_at is not None and one.state in WORKLOAD_LIVE:
        yield f"It is to go since {ago(one.stop_at, now)}, and its cluster has not said yet that it is gone."
    elif one.state == WorkloadState.WANTED and one.next_at is not None and micros(one.next_at) > now:
        yield f"The next attempt begins {until(one.next_at, now)}."
    elif one.state == WorkloadState.RUNNING and one.spec.deadline_s is not None and began and began.started_at:
        yield _deadline(micros(began.started_at) + round(one.spec.deadline_s * SECOND), now)
    yield from _earlier(one, tries, now)
    if one.state in WORKLOAD_LIVE:
        yield from _where(database, one, now)
    yield from _round(database, one, now)


def _deadline(at: Micros, now: Micros) -> str:
    return (
        f"It is ended in {span(at - now)} if it has not by then (deadline_s)." if at > now else "Its deadline is over."
    )


def _earlier(one: Workload, tries: list[WorkloadAttempt], now: Micros) -> Iterator[str]:
    """Why there is another attempt. What the next one waits for has that reason itself."""
    before = [each for each in tries if each.attempt < one.attempt]
    if one.state == WorkloadState.WANTED and one.reason:
        before = before[:-1]
    if len(before) > EARLIER:
        yield f"  {len(before) - EARLIER} attempts before these have ended, too."
    for each in before[-EARLIER:]:
        why = f", {_reason(each)}" if each.reason else ""
        yield f"  Attempt {each.attempt}: {each.state} {ago(each.state_at, now)}{why}"


def _reason(one: Workload | WorkloadAttempt) -> str:
    code = "" if one.exit_code is None else f" {one.exit_code}"
    return f"{one.reason}{code}: {one.detail}" if one.detail else f"{one.reason}{code}"


def _round(database: Database, one: Workload, now: Micros) -> Iterator[str]:
    """Of a project's own coordinator: the round that it leads, or has led last. One before it has led others."""
    newest = rounds.newest(database, one.project_id)
    if newest is None or newest.workload_id != one.id:
        return
    which = f"Round {newest.number} of epoch {newest.epoch}"
    if newest.deadline_at is not None:
        since = ago(newest.stage_at, now)
        yield f"{which}: {newest.stage} since {since}, as it reports; deadline {until(newest.deadline_at, now)}."
        if newest.stage == "SELECTION":
            yield "  It waits for as many clients as the goal count: fedyard project joining says who is ready."
        return
    reason = f" ({newest.reason})" if newest.reason else ""
    yield f"{which}: {newest.state}{reason} {ago(newest.ended_at, now)}, in {newest.stage}."
    if newest.reason == DEADLINE_PASSED:
        yield (
            "  It stalls: its coordinator has not reported the next stage. Read its log (fedyard workload log --follow)"
            ". If it hangs, as when a client has gone that it had accepted, stop and start the project (fedyard "
            "project stop, start)."
        )


def _where(database: Database, one: Workload, now: Micros) -> Iterator[str]:
    """Who looks after it, if that is what it waits for."""
    site_id = site_of(one.where)
    if site_id is not None:
        site = sites.site(database, OPERATOR, site_id)
        if site is not None and site.state != SiteState.ONLINE:
            last = ago(site.seen_at, now) if site.seen_at else "never"
            yield f"Site {site.name}, whose agent starts it, is {site.state}, last heard of {last}: ask its people."
        elif site is not None and one.state == WorkloadState.WANTED and not (one.reason or one.next_at):
            yield f"The agent of site {site.name} has not begun it: what its log says, and `fedyard site workloads`."
        return
    trouble = clusters.told(database, now).get(one.where)
    if trouble:
        yield f"The cluster {one.where} is not looked after: {trouble}"
    missed = silent(heard(database), now, now)
    for role in ("reconciler", "doer"):
        if role in missed:
            yield f"Nobody starts it: {missed[role]}."
    before = _replaced(database, one)
    if before is not None:
        yield f"It waits until workload {before.id} is gone, which it replaces and which is to go."
    elif one.state == WorkloadState.WANTED and not (one.reason or one.next_at or trouble or missed):
        yield "It is on its way to its cluster; if that lasts, FEDYARD_CLUSTERS of the reconciler may not name it."


def _replaced(database: Database, one: Workload) -> Workload | None:
    """Of a part of a project's infrastructure that has not begun: the one before, whose name it takes over."""
    parts = workloads.parts(database, one.project_id) if one.state == WorkloadState.WANTED else []
    if not any(part.workload_id == one.id for part in parts):
        return None
    same = [each for each in _of_project(database, one.project_id) if each.name == one.name and each.id != one.id]
    return next((each for each in same if each.state in WORKLOAD_LIVE and each.stop_at is not None), None)


def listed(database: Database, *, state: str | None) -> list[Workload]:
    """Of all projects, from old to new."""
    return every(lambda paging: workloads.everywhere(database, OPERATOR, paging, state), AT_ONCE)


def line(database: Database, one: Workload) -> str:
    """One workload in one line."""
    project = projects.project(database, OPERATOR, one.project_id)
    code = "" if one.exit_code is None else f" {one.exit_code}"
    told = f"{one.state} ({one.reason}{code})" if one.reason else one.state
    going = ", is to go" if one.stop_at is not None and one.state in WORKLOAD_LIVE else ""
    name = f"{project.name if project else one.project_id}/{one.name}"
    return f"{one.id}  {name}  at {one.where}  {told}{going}  attempt {one.attempt}  since {one.state_at}"


def _of_project(database: Database, project: Id) -> list[Workload]:
    def page(paging: Paging) -> Listed[Workload]:
        found = workloads.of_project(database, OPERATOR, project, paging, None)
        assert found is not None  # an operator sees all of them
        return found

    return every(page, AT_ONCE)


def _attempts(database: Database, ident: Id) -> list[WorkloadAttempt]:
    found = workloads.attempts(database, OPERATOR, ident)
    return found.items if found is not None else []


def _is_id(said: str) -> bool:
    return re.fullmatch(UUID_PATTERN, said.lower()) is not None
