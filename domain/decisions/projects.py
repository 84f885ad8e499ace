"""Projects, their tasks, and who belongs to them."""

from __future__ import annotations

import math

import msgspec

from domain import commands as c
from domain import records as r
from domain import results, values
from domain.decisions.access import (
    active_members,
    acts_for,
    forbidden,
    is_coordinator,
    known_project,
    missing,
    need_coordinator,
    need_no_holder,
    own_site,
)
from domain.decisions.attempts import HOLDER, shall_stop
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.decisions.places import check_cluster
from domain.decisions.room import give_back
from domain.decisions.telling import by_another, membership_causes, note_told, put_on_record, tell, unread
from domain.events import EventKind
from domain.ids import Id
from domain.needs import Needs
from domain.states import MEMBER, RUN_FINAL, MemberState, RunState, Step
from domain.sweeps import ForgetSecrets, RevokeClientTokens
from domain.workloads import flaw_of, site_of
from fedyard.wire import notices as n
from fedyard.wire.problems import ProblemType
from fedyard.wire.scoring import OF_SCORES
from fedyard.wire.times import SECOND, time_text

_tasks_decoder = msgspec.json.Decoder(list[values.TaskSpec])
_PLAIN_FIELDS = ("name", "description", "data_format", "client_image", "joining", "max_live_runs", "sealed")


def tasks_of(project: r.Project) -> list[values.TaskSpec]:
    """The project's tasks as values."""
    return _tasks_decoder.decode(project.tasks_json)


def predecessors(tasks: list[values.TaskSpec]) -> dict[str, list[str]]:
    """For each task the names of those that must have succeeded before it; by default the one listed before it."""
    names = [task.name for task in tasks]
    return {
        task.name: list(task.after) if task.after is not None else names[max(0, place - 1) : place]
        for place, task in enumerate(tasks)
    }


def all_before(tasks: list[values.TaskSpec], name: str) -> set[str]:
    """The names of all tasks that must have succeeded before this one, those before those among them."""
    direct, found, waiting = predecessors(tasks), set[str](), [name]
    while waiting:
        more = set(direct[waiting.pop()]) - found
        found |= more
        waiting += more
    return found


def check_tasks(tasks: list[values.TaskSpec]) -> None:
    """422 unless names are unique, `after` names tasks, there is no circle, and quorums can be met."""
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise _bad_tasks(f"two tasks are named {name!r}; give each its own name")
    after = predecessors(tasks)
    for name, wanted in after.items():
        for other in wanted:
            if other not in after:
                raise _bad_tasks(f"task {name!r} comes after {other!r}, which is no task of this project")
    done: set[str] = set()
    while len(done) < len(names):
        ready = [name for name in names if name not in done and done.issuperset(after[name])]
        if not ready:
            raise _bad_tasks(f"tasks {sorted(set(names) - done)} wait for each other in a circle; break it")
        done.update(ready)
    for task in tasks:
        _check_holders(task)
        if task.initial and not task.aggregate:
            raise _bad_tasks(f"task {task.name!r} aggregates nothing, so it has no first model: leave initial out")
        quorum = task.contract.quorum
        if task.contract.quorum_of == "fraction" and quorum > 1:
            raise _bad_tasks(
                f"task {task.name!r}: a quorum of {quorum} is no fraction; use at most 1, or quorum_of count"
            )
        if task.contract.quorum_of == "count" and quorum != int(quorum):
            raise _bad_tasks(f"task {task.name!r}: a quorum of {quorum} seats is no whole number")
        _check_sample(task)
        _check_metrics(task)


def _check_sample(task: values.TaskSpec) -> None:
    sample, of = task.contract.sample, task.contract.sample_of
    if of == "fraction" and sample > 1:
        raise _bad_tasks(f"task {task.name!r}: a sample of {sample} is no fraction; use at most 1, or sample_of count")
    if of == "count" and sample != int(sample):
        raise _bad_tasks(f"task {task.name!r}: a sample of {sample} seats is no whole number")
    if task.workloads and (of == "count" or sample < 1):
        raise _bad_tasks(
            f"task {task.name!r}: workloads hold seats of it, which wait for every round: leave sample out"
        )


def _check_metrics(task: values.TaskSpec) -> None:
    """What a task's models are compared by has to be there in some round."""
    if task.score_every and not task.aggregate:
        raise _bad_tasks(f"task {task.name!r} aggregates nothing, so there is no model to score: leave score_every out")
    for field, rule in (("best", task.best), ("stop_early", task.stop_early)):
        if rule is not None and rule.metric.startswith(OF_SCORES) and not task.score_every:
            raise _bad_tasks(
                f"task {task.name!r}: {field} names {rule.metric!r}, which the sites say of a model; set score_every"
            )
        if rule is not None and not task.aggregate:
            raise _bad_tasks(f"task {task.name!r} aggregates nothing, so its rounds have no metrics: leave {field} out")


def _check_holders(task: values.TaskSpec) -> None:
    if task.workloads and task.code != values.ANY_CODE:
        raise _bad_tasks(
            f"task {task.name!r}: workloads hold seats of it, which say no digest of what they run: leave code out"
        )
    held = [holder.name for holder in task.workloads]
    for holder in task.workloads:
        if holder.spec.kind != "job":
            raise _bad_tasks(f"task {task.name!r}: workload {holder.name!r} holds a seat, so it is a job")
        flaw = flaw_of(holder.spec)
        if flaw is not None:
            raise _bad_tasks(f"task {task.name!r}: workload {holder.name!r}: {flaw}")
        if holder.spec.inputs or holder.spec.outputs:
            raise _bad_tasks(
                f"task {task.name!r}: workload {holder.name!r} holds a seat, so it is a site, and takes and leaves its "
                "payloads itself: leave inputs and outputs out"
            )
        if holder.spec.object_name and holder.count > 1:
            raise _bad_tasks(
                f"task {task.name!r}: {holder.count} workloads {holder.name!r} cannot all be called "
                f"{holder.spec.object_name}: leave object_name out, or name each by itself"
            )
        if held.count(holder.name) > 1:
            raise _bad_tasks(f"task {task.name!r}: two workloads are named {holder.name!r}")


def _bad_tasks(detail: str) -> Refused:
    return Refused(ProblemType.TASKS_IMPOSSIBLE, detail)


def _infrastructure_json(draft: Draft, infrastructure: values.Infrastructure, project_id: Id, coordinator: Id) -> str:
    """As it is kept. 422 where it names no cluster of the hub's, and no active member: nobody else's is asked."""
    site_id = site_of(infrastructure.where)
    if site_id is not None:
        if site_id not in {coordinator, *active_members(draft, project_id)}:
            raise Refused(
                ProblemType.NOT_A_MEMBER,
                f"site {site_id} is no active member of the project: its infrastructure runs at the hub, in a cluster "
                "that the hub's settings name, or at a member",
            )
    else:
        check_cluster(draft, infrastructure.where)
    return msgspec.json.encode(infrastructure).decode()


def infrastructure_of(project: r.Project) -> values.Infrastructure | None:
    """What the project says of its own coordinator and selectors."""
    said = project.infrastructure_json
    return msgspec.json.decode(said, type=values.Infrastructure) if said else None


def needs_of_create_project(command: c.CreateProject) -> Needs:
    site = command.coordinator_site_id
    counts = {("projects", site), ("projects of a day", site)}
    return Needs(sites={site}, project_names={command.name}, counts=counts)


def create_project(draft: Draft, command: c.CreateProject) -> Decision:
    site = own_site(draft, command.coordinator_site_id)
    need_no_holder(site)
    _check_name(draft, command.name)
    check_tasks(command.tasks)
    take_one(draft, "projects", site.id, draft.rules.projects_per_coordinator, "archive one that nobody needs")
    take_one(draft, "projects of a day", site.id, draft.rules.projects_per_day, "create the next one tomorrow")
    project_id = draft.derive("project")
    infrastructure = command.infrastructure
    project = r.Project(
        id=project_id,
        organisation_id=site.organisation_id,
        coordinator_site_id=site.id,
        tasks_json=msgspec.json.encode(command.tasks).decode(),
        last_run_number=0,
        created_at=draft.now,
        infrastructure_json=_infrastructure_json(draft, infrastructure, project_id, site.id) if infrastructure else "",
        **{name: getattr(command, name) for name in _PLAIN_FIELDS},
    )
    draft.put(project)
    draft.put(
        r.Membership(
            project_id=project.id,
            site_id=site.id,
            role="coordinator",
            state=MemberState.ACTIVE,
            notes="",
            created_at=draft.now,
            state_at=draft.now,
        )
    )
    draft.event(
        ("project", project.id),
        EventKind.PROJECT_CREATED,
        {"name": project.name, "coordinator": site.id, "sealed": project.sealed},
    )
    if by_another(draft, site):
        put_on_record(
            draft,
            site,
            EventKind.PROJECT_CREATED,
            n.ProjectCreated(name=project.name),
            project_id=project.id,
        )
    return draft.accept(results.Made(id=project.id), 201)


def _check_name(draft: Draft, name: str) -> None:
    if any(p.name == name for p in draft.every(r.Project)):
        raise Refused(ProblemType.NAME_TAKEN, f"a project named {name!r} exists; choose another name")


def needs_of_update_project(command: c.UpdateProject) -> Needs:
    project = command.project_id
    return Needs(
        members_of={project},
        project_names={command.name} if command.name else set(),
        live_runs_of={project} if command.sealed else set(),
    )


def update_project(draft: Draft, command: c.UpdateProject) -> Decision:
    project = known_project(draft, command.project_id)
    need_coordinator(draft, project)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived; create a new one")
    if command.name is not None and command.name != project.name:
        _check_name(draft, command.name)
    fields = {name: getattr(command, name) for name in _PLAIN_FIELDS if getattr(command, name) is not None}
    if command.tasks is not None:
        check_tasks(command.tasks)
        fields["tasks_json"] = msgspec.json.encode(command.tasks).decode()
    if command.infrastructure is not None:
        fields["infrastructure_json"] = _infrastructure_json(
            draft, command.infrastructure, project.id, project.coordinator_site_id
        )
    if command.sealed is not None and command.sealed != project.sealed:
        _check_no_run_lives(draft, project, "whether its payloads are sealed changes between runs")
    facts = {"fields": sorted(fields)} | ({"sealed": command.sealed} if command.sealed else {})
    project = draft.change(project, version=project.version + 1, **fields)
    draft.event(("project", project.id), EventKind.PROJECT_UPDATED, facts)
    return draft.accept(results.Changed(id=project.id, version=project.version))


def needs_of_archive_project(command: c.ArchiveProject) -> Needs:
    project = command.project_id
    return Needs(members_of={project}, live_runs_of={project}, workloads_of={project})


def archive_project(draft: Draft, command: c.ArchiveProject) -> Decision:
    project = known_project(draft, command.project_id)
    need_coordinator(draft, project)
    _check_no_run_lives(draft, project, "an archived project has none")
    if project.archived_at is None:
        draft.change(project, archived_at=draft.now, version=project.version + 1)
        draft.sweep(RevokeClientTokens(project.id, None, draft.now))
        draft.event(("project", project.id), EventKind.PROJECT_ARCHIVED)
        for workload in draft.group(r.Workload, project.id):
            shall_stop(draft, workload, "the project was archived")
        draft.sweep(ForgetSecrets(project.id))
    return draft.accept(results.Made(id=project.id))


def _check_no_run_lives(draft: Draft, project: r.Project, why: str) -> None:
    live = [run for run in draft.group(r.Run, project.id) if RunState(run.state) not in RUN_FINAL]
    if live:
        raise Refused(
            ProblemType.RUN_LIVE,
            f"run {live[0].id} of project {project.id} is {live[0].state}; stop it or wait for its end: {why}",
        )


def needs_of_put_member(command: c.PutMember) -> Needs:
    project, site = command.project_id, command.site_id
    return Needs(members_of={project}, sites={site}, told=set(membership_causes(project, site)))


def put_member(draft: Draft, command: c.PutMember) -> Decision:
    """The site joins, asks to, or accepts; the coordinator invites or approves. A repeat changes nothing."""
    project = known_project(draft, command.project_id)
    site = _site_of(draft, project, command.site_id)
    if site is None:
        raise missing("site", command.site_id)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived")
    if site.state == "retired":
        raise Refused(ProblemType.SITE_RETIRED, f"site {site.id} has retired")
    membership = draft.get(r.Membership, project.id, site.id)
    state = MemberState(membership.state) if membership else None
    if state == MemberState.ACTIVE:
        return draft.accept(results.MemberResult(project_id=project.id, site_id=site.id, state=state))
    need_no_holder(site)
    step = _joining_step(draft, project, site, state)
    target = MEMBER[state, step]
    if membership is None:
        membership = r.Membership(
            project_id=project.id,
            site_id=site.id,
            role="participant",
            state=target,
            notes=command.notes,
            created_at=draft.now,
            state_at=draft.now,
        )
        draft.put(membership)
    elif target != state:
        draft.change(membership, state=target, notes=command.notes or membership.notes, state_at=draft.now)
    if target != state:
        _tell_membership(draft, project, site, step)
    return draft.accept(results.MemberResult(project_id=project.id, site_id=site.id, state=target))


def _joining_step(draft: Draft, project: r.Project, site: r.Site, state: MemberState | None) -> Step:
    """What the caller's PUT means, given who it is and how one joins this project."""
    if acts_for(draft.by, site) and is_coordinator(draft, project):
        return Step.ADMIT
    if acts_for(draft.by, site):
        if state == MemberState.INVITED or project.joining == "open":
            return Step.ADMIT
        if project.joining == "approval":
            return Step.REQUEST
        raise forbidden(f"project {project.id} is joined by invitation; ask its coordinator")
    return Step.ADMIT if state == MemberState.REQUESTED else Step.INVITE


def _site_of(draft: Draft, project: r.Project, site_id: str) -> r.Site | None:
    """The site whose membership the caller may change: its own, or any for the coordinator; None where there is none.

    403 to everybody else, whether there is such a site, and whatever its membership is.
    """
    site = draft.get(r.Site, site_id)
    if not (is_coordinator(draft, project) or (site is not None and acts_for(draft.by, site))):
        raise forbidden(f"only site {site_id} itself may join or leave, and only the coordinator may let it in or out")
    return site


_MEMBERSHIP_EVENTS: dict[Step, tuple[EventKind, type[n.Membership]]] = {
    Step.INVITE: (EventKind.MEMBER_INVITED, n.MemberInvited),
    Step.REQUEST: (EventKind.MEMBER_REQUESTED, n.MemberRequested),
    Step.ADMIT: (EventKind.MEMBER_ADMITTED, n.MemberAdmitted),
    Step.DECLINE: (EventKind.MEMBER_DECLINED, n.MemberDeclined),
    Step.LEAVE: (EventKind.MEMBER_LEFT, n.MemberLeft),
}


def _tell_membership(draft: Draft, project: r.Project, site: r.Site, step: Step, reason: str = "") -> None:
    """The event, a notice to the site and one to the coordinator; what another did to the site stands in its stream."""
    event, notice = _MEMBERSHIP_EVENTS[step]
    told = notice(site_id=site.id, reason=reason)
    facts = msgspec.to_builtins(told)
    draft.event(("project", project.id), event, facts, site_id=site.id)
    if by_another(draft, site):
        draft.event(("site", site.id), event, {**facts, "project_id": project.id}, site_id=site.id)
    asked, invited = membership_causes(project.id, site.id)
    for site_id in sorted({site.id, project.coordinator_site_id}):
        reader = draft.have(r.Site, site_id)
        to_coordinator = site_id == project.coordinator_site_id
        cause = asked if to_coordinator else invited
        coalesced = not acts_for(draft.by, reader) and (to_coordinator or step in (Step.INVITE, Step.DECLINE))
        if coalesced and unread(draft, site_id, cause):
            continue
        tell(draft, reader, told, project_id=project.id)
        if coalesced and step in _OPENING:
            note_told(draft, site_id, cause)


_OPENING = (Step.REQUEST, Step.INVITE, Step.ADMIT)
"""While a notice of such a step is unread, those of the steps behind it are left out. Who was let in or removed by the
coordinator always hears of it."""


def needs_of_remove_member(command: c.RemoveMember) -> Needs:
    project, site = command.project_id, command.site_id
    return Needs(
        members_of={project},
        sites={site},
        live_runs_of={project},
        workloads_of={project},
        declared_by={(project, site)},
        told=set(membership_causes(project, site)),
    )


def remove_member(draft: Draft, command: c.RemoveMember) -> Decision:
    """The site leaves or declines; the coordinator removes or declines. Live seats are dropped."""
    project = known_project(draft, command.project_id)
    site = _site_of(draft, project, command.site_id)
    membership = draft.get(r.Membership, project.id, command.site_id)
    if site is None or membership is None:
        raise missing("member", f"{command.site_id} of project {project.id}")
    if membership.role == "coordinator":
        raise Refused(ProblemType.IS_COORDINATOR, f"site {site.id} coordinates project {project.id}: archive it")
    state = MemberState(membership.state)
    step = Step.LEAVE if (state, Step.LEAVE) in MEMBER else Step.DECLINE
    if (state, step) not in MEMBER:
        return draft.accept(results.MemberResult(project_id=project.id, site_id=site.id, state=state))
    target = MEMBER[state, step]
    draft.change(membership, state=target, state_at=draft.now, ready_until=None)
    draft.sweep(RevokeClientTokens(project.id, site.id, draft.now))
    give_back(draft, site.id, project.id)
    _tell_membership(draft, project, site, step, command.reason)
    for workload in draft.group(r.Workload, project.id):
        if site_of(workload.cluster) == site.id:
            shall_stop(draft, workload, "the site left the project")
    for run in draft.group(r.Run, project.id):
        if run.state == RunState.RUNNING:
            detail = command.reason or "the site left the project"
            draft.follow_up(
                c.DropSeats(run_id=run.id, site_id=site.id, reason="member_left", detail=detail), run.id, site.id
            )
    return draft.accept(results.MemberResult(project_id=project.id, site_id=site.id, state=target))


def needs_of_say_ready(command: c.SayReady) -> Needs:
    return Needs(members_of={command.project_id}, sites={command.site_id})


def say_ready(draft: Draft, command: c.SayReady) -> Decision:
    """An active member says until when it is ready, or that it is not. Said once more it only moves the time.

    The event is the site's: who of its people has said so is not the project's to know.
    """
    project = known_project(draft, command.project_id)
    site = own_site(draft, command.site_id)
    membership = draft.get(r.Membership, project.id, site.id)
    if membership is None or membership.state != MemberState.ACTIVE:
        raise missing("member", f"{site.id} of project {project.id}")
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived")
    before = is_ready(membership, draft.now)
    until = draft.now + math.ceil(command.for_s) * SECOND if command.ready else None
    membership = draft.change(membership, ready_until=until)
    if before != command.ready:
        event = EventKind.MEMBER_READY if command.ready else EventKind.MEMBER_NOT_READY
        draft.event(("site", site.id), event, {"project_id": project.id}, site_id=site.id)
    members = draft.group(r.Membership, project.id)
    active = [each for each in members if each.state == MemberState.ACTIVE and each.role != HOLDER]
    return draft.accept(
        results.ReadyResult(
            project_id=project.id,
            site_id=site.id,
            ready_until=None if until is None else time_text(until),
            ready_count=sum(is_ready(each, draft.now) for each in active),
        )
    )


def is_ready(membership: r.Membership, now: values.Micros) -> bool:
    """Has the site said so, and is that time not over?"""
    return membership.ready_until is not None and membership.ready_until > now
