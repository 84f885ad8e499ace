"""Attempts at workloads: how one begins, with the seat that it holds if it is one of a run's, and how it shall go.

The holder of a seat is a site of its own for as long as the attempt lives: it enrols with a one-time token, and from
then on all that holds for sites holds for it. The next attempt is another site.
"""

from __future__ import annotations

import msgspec

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.decisions.draft import Draft
from domain.events import EventKind
from domain.ids import Id, derive
from domain.states import MEMBER, SITE, MemberState, SiteState, Step, WorkloadState, follow
from domain.sweeps import RevokeTokensOf
from domain.workloads import is_open, site_of, spec_of
from fedyard.wire.notices import WorkloadWanted

HOLDER = "workload"
"""The role of its membership."""
_encoder = msgspec.json.Encoder(order="deterministic")


def want(
    draft: Draft,
    ident: Id,
    project: r.Project,
    asked: v.Asked,
    task: r.TaskRun | None = None,
    *,
    part: str = "",
    files_json: str = "{}",
    model_version: int | None = None,
    purpose: str = "",
    run_id: Id | None = None,
) -> r.Workload:
    """A workload and its first attempt. task: that it holds a seat of. part: of the project's infrastructure.
    files_json: what it finds. model_version: that it begins with. purpose: what it is for streams; then it holds no
    seat, whatever task it belongs to, and run_id may say of which run it is, if it is of no task."""
    spec = asked.spec
    workload = r.Workload(
        id=ident,
        project_id=project.id,
        name=asked.name,
        cluster=asked.where,
        kind=spec.kind,
        spec_json=_encoder.encode(spec).decode(),
        replicas=spec.replicas,
        attempts=spec.attempts,
        state=WorkloadState.WANTED,
        state_at=draft.now,
        created_at=draft.now,
        run_id=run_id if task is None else task.run_id,
        task_run_id=None if task is None else task.id,
        part=part,
        files_json=files_json,
        model_version=model_version,
        purpose=purpose,
    )
    spec_of(workload)  # what cannot be read again would fail whoever lists it or decides about it, from now on
    draft.put(workload)
    tell_of(draft, workload, EventKind.WORKLOAD_CREATED, of_kind=spec.kind, where=workload.cluster)
    begin(draft, workload)
    return workload


def begin(draft: Draft, workload: r.Workload) -> r.WorkloadAttempt:
    """Its newest attempt is wanted. The seat is the caller's to make, at the site of the attempt."""
    attempt = r.WorkloadAttempt(
        workload_id=workload.id,
        attempt=workload.attempt,
        state=WorkloadState.WANTED,
        state_at=draft.now,
        created_at=draft.now,
        site_id=None if workload.run_id is None or workload.purpose else _holder(draft, workload),
    )
    draft.put(attempt)
    tell_site(draft, workload)
    return attempt


def tell_site(draft: Draft, workload: r.Workload) -> None:
    """What is wanted of the site that it runs at has changed; it knows what follows from its own reports."""
    site_id = site_of(workload.cluster)
    if site_id is None:
        return
    site = draft.have(r.Site, site_id)
    if site.state != SiteState.RETIRED and draft.by.id != site.id:
        wanted = WorkloadWanted(workload_id=workload.id, attempt=workload.attempt)
        draft.notify(site.id, wanted, project_id=workload.project_id, run_id=workload.run_id)


def _holder(draft: Draft, workload: r.Workload) -> Id:
    """The site that holds the seat for this attempt. Nobody is it before it has enrolled."""
    project = draft.have(r.Project, workload.project_id)
    site = r.Site(
        id=derive(workload.id, "holder", workload.attempt),
        organisation_id=draft.have(r.Site, project.coordinator_site_id).organisation_id,
        name=f"{workload.name[:48]} {workload.id} {workload.attempt}",
        description="",
        identity_key="",
        state=SiteState.ONLINE,
        state_at=draft.now,
        created_at=draft.now,
        workload_id=workload.id,
    )
    draft.put(site)
    draft.put(r.Mailbox(site_id=site.id))
    draft.put(
        r.Membership(
            project_id=project.id,
            site_id=site.id,
            role=HOLDER,
            state=MemberState.ACTIVE,
            notes="",
            created_at=draft.now,
            state_at=draft.now,
        )
    )
    return site.id


def let_enrol(draft: Draft, workload: r.Workload, attempt: r.WorkloadAttempt, sha256: str) -> r.WorkloadAttempt:
    """With the one-time token of this hash the attempt becomes its site; once."""
    assert attempt.site_id is not None, "only who holds a seat enrols"
    site = draft.have(r.Site, attempt.site_id)
    draft.put(
        r.Enrolment(
            id=derive(site.id, "enrolment"),
            organisation_id=site.organisation_id,
            sha256=sha256,
            note=f"attempt {attempt.attempt} at workload {workload.id}",
            created_by=draft.by.id,
            created_at=draft.now,
            expires_at=draft.have(r.Run, workload.run_id).deadline_at,
            site_id=site.id,
        )
    )
    return draft.change(attempt, token_sha256=sha256)


def let_go(draft: Draft, workload: r.Workload, attempt: r.WorkloadAttempt) -> None:
    """An attempt has ended: its site has retired, and its tokens stop working."""
    site = None if attempt.site_id is None else draft.get(r.Site, attempt.site_id)
    if site is None or site.state == SiteState.RETIRED:
        return
    draft.change(site, state=follow(SITE, SiteState(site.state), Step.RETIRE), state_at=draft.now)
    draft.sweep(RevokeTokensOf(site.id, draft.now))
    member = draft.get(r.Membership, workload.project_id, site.id)
    if member is not None and (MemberState(member.state), Step.LEAVE) in MEMBER:
        draft.change(member, state=MEMBER[MemberState(member.state), Step.LEAVE], state_at=draft.now)


def shall_stop(draft: Draft, workload: r.Workload, reason: str) -> r.Workload:
    """Write that it shall go, unless it has ended, or shall go already. What was lost with a silent site may come back
    with it."""
    if workload.stop_at is not None or not is_open(draft.have(r.WorkloadAttempt, workload.id, workload.attempt)):
        return workload
    workload = draft.change(workload, stop_at=draft.now, stop_reason=reason)
    tell_of(draft, workload, EventKind.WORKLOAD_STOPPING)
    tell_site(draft, workload)
    site = draft.get(r.Site, site_of(workload.cluster))
    if site is not None and site.state == SiteState.RETIRED:  # nobody is there to say what became of it
        draft.follow_up(c.LoseWorkloads(site_id=site.id), site.id, workload.id)
    return workload


def tell_of(draft: Draft, workload: r.Workload, kind: EventKind, **facts: object) -> None:
    """An event in its project's stream; of a run's, one of the run."""
    said: dict[str, object] = {"workload_id": workload.id, "name": workload.name, "attempt": workload.attempt}
    draft.event(("project", workload.project_id), kind, said | facts, run_id=workload.run_id)
