"""What is done in a site's name by others: an event in the site's stream, and a notice that its people see.

Notices of one cause that somebody else may bring about at will are coalesced: while one of them is unread, the next
one is left out. Whoever reads it looks at what is so by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET

from domain import commands as c
from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.commands import Envelope
from domain.decisions.access import acts_for
from domain.decisions.draft import Draft
from domain.events import EventKind
from domain.ids import Id
from domain.needs import Needs
from domain.states import SiteState
from domain.values import Subject
from fedyard.wire.notices import ActedFor, By, InItsName


def who(draft: Draft, reader: r.Site) -> By:
    """The subject of the command, as a site may know it: an account by name within its own organisation only."""
    by = draft.by
    if by.kind == "site":
        site = draft.get(r.Site, by.id)
        return By(kind=by.kind, id=by.id, name=site.name if site is not None else UNSET)
    if by.kind == "account":
        account = draft.get(r.Account, by.id)
        known = account is not None and account.organisation_id == reader.organisation_id
        return By(kind=by.kind, id=by.id, role=by.role, name=account.name if account is not None and known else UNSET)
    return By(kind=by.kind, id=by.id)


def by_another(draft: Draft, site: r.Site) -> bool:
    """True unless the site itself asks."""
    return draft.by.id != site.id


def tell(draft: Draft, site: r.Site, facts: InItsName, *, project_id: Id | None = None) -> None:
    """The notice, with who did it."""
    draft.notify(site.id, msgspec.structs.replace(facts, by=who(draft, site)), project_id=project_id)


def put_on_record(
    draft: Draft, site: r.Site, event: EventKind, facts: InItsName, *, project_id: Id | None = None
) -> None:
    """The event in the site's stream, and the notice. The stream and the mailbox of the site must be loaded."""
    in_project = {"project_id": project_id} if project_id is not None else {}
    draft.event(("site", site.id), event, {**msgspec.to_builtins(facts), **in_project}, site_id=site.id)
    tell(draft, site, facts, project_id=project_id)


@dataclass(frozen=True)
class Act:
    """What a person does in a site's name: of the site itself, or whose project, run, artifact, webhook or workload it
    is; of a deployment or a training result the key is its number."""

    of: type[r.Site | r.Project | r.Run | r.Artifact | r.Webhook | r.Workload | sr.Deployment | sr.TrainingResult]
    key: Id
    cause: str


def act_of(command: c.AnyCommand, by: Subject) -> Act | None:
    """None for what sites do themselves, for what concerns no site, and for what has notices of its own."""
    if by.kind != "account":
        return None
    of: type[r.Site | r.Project | r.Run | r.Artifact | r.Webhook | r.Workload]
    match command:
        case c.ReportSeat(site_id=key) | c.WriteLog(site_id=key) | c.ReportMissingReceipt(site_id=key):
            of = r.Site
        case c.DeclareArtifact(owner_site_id=key) | c.SayReady(site_id=key):
            of = r.Site
        case c.ReportAggregated(run_id=key) | c.StopRun(run_id=key) | c.RestartRun(run_id=key):
            of = r.Run
        case c.StartRun(project_id=key) | c.UpdateProject(project_id=key) | c.ArchiveProject(project_id=key):
            of = r.Project
        case (
            c.PutMember(project_id=key)
            | c.RemoveMember(project_id=key)
            | c.SetSecret(project_id=key)
            | c.DeleteSecret(project_id=key)
        ):
            of = r.Project
        case c.CreateWebhook(owner_kind="project", owner_id=key) | c.CreateWorkload(project_id=key):
            of = r.Project
        case (
            c.StartInfrastructure(project_id=key)
            | c.StopInfrastructure(project_id=key)
            | c.ScaleSelectors(project_id=key)
        ):
            of = r.Project
        case (
            c.DeleteWebhook(webhook_id=key)
            | c.RotateWebhook(webhook_id=key)
            | c.EnableWebhook(webhook_id=key)
            | c.RedeliverWebhook(webhook_id=key)
        ):
            of = r.Webhook
        case c.StopWorkload(workload_id=key) | c.ScaleWorkload(workload_id=key):
            of = r.Workload
        case c.CompleteArtifact(artifact_id=key) | c.DeleteArtifact(artifact_id=key):
            return Act(r.Artifact, key, f"acted/{by.id}/{_tag(command)}")
        case _:
            return _act_of_streams(command, by)
    return Act(of, key, f"acted/{by.id}/{_tag(command)}/{key}")


def _act_of_streams(command: c.AnyCommand, by: Subject) -> Act | None:
    """The same of training over streams."""
    of: type[r.Project | r.Run | sr.Deployment | sr.TrainingResult]
    match command:
        case (
            sc.CreateArchitecture(project_id=key)
            | sc.ChangeArchitecture(project_id=key)
            | sc.DeleteArchitecture(project_id=key)
            | sc.PutModelFile(project_id=key)
            | sc.CreateConfiguration(project_id=key)
            | sc.ChangeConfiguration(project_id=key)
            | sc.DeleteConfiguration(project_id=key)
        ):
            of = r.Project
        case (
            sc.StartDeployment(project_id=key)
            | sc.StartInference(project_id=key)
            | sc.StopInference(project_id=key)
            | sc.DeleteInference(project_id=key)
        ):
            of = r.Project
        case sc.DeleteDeployment(run_id=key):
            of = r.Run
        case sc.StopResult(number=number) | sc.DeleteResult(number=number):
            of, key = sr.TrainingResult, str(number)
        case sc.SendDataSource(deployment_number=number):
            of, key = sr.Deployment, str(number)
        case _:
            return None
    return Act(of, key, f"acted/{by.id}/{_tag(command)}/{key}")


def needs_of_act(envelope: Envelope) -> Needs:
    """What it takes to tell a site of what a person does in its name."""
    act = act_of(envelope.command, envelope.by)
    if act is None:
        return Needs()
    return Needs(
        sites={act.key} if act.of is r.Site else set(),
        led={act.key} if act.of in (r.Project, r.Run) else set(),
        told={act.cause},
    )


def _tag(command: c.AnyCommand) -> str:
    return str(type(command).__struct_config__.tag)


def record_act(draft: Draft) -> None:
    """Put a person's act in a site's name into that site's stream and inbox; once, until the notice was read.

    Should the act be refused, this is thrown away with the draft.
    """
    command = draft.envelope.command
    act = act_of(command, draft.by)
    if act is None:
        return
    found = _named(draft, act)
    if isinstance(found, r.Webhook):  # an organisation's concerns no site
        found = draft.get(r.Project, found.owner_id)
    if isinstance(found, r.Workload | sr.Deployment | sr.TrainingResult):
        found = draft.get(r.Project, found.project_id)
    if isinstance(found, r.Site):
        site: r.Site | None = found
    else:
        owner = found and (found.owner_site_id if isinstance(found, r.Artifact) else found.coordinator_site_id)
        site = draft.get(r.Site, owner) if owner else None
    if site is None or site.state == SiteState.RETIRED or unread(draft, site.id, act.cause):
        return
    if isinstance(command, c.PutMember | c.RemoveMember) and not acts_for(draft.by, site):
        return  # it is about the other site's membership, by that site's people: the coordinator has its notice
    facts = ActedFor(
        act=_tag(command),
        site_id=act.key if act.of is r.Site else UNSET,
        project_id=found.id if isinstance(found, r.Project) else UNSET,
        run_id=act.key if act.of is r.Run else UNSET,
        artifact_id=act.key if act.of is r.Artifact else UNSET,
    )
    put_on_record(draft, site, EventKind.ACTED_FOR, facts)
    note_told(draft, site.id, act.cause)


def _named(draft: Draft, act: Act) -> Any:
    if act.of in (sr.Deployment, sr.TrainingResult):
        numbered = [*draft.every(sr.Deployment), *draft.every(sr.TrainingResult)]
        return next((one for one in numbered if type(one) is act.of and str(one.number) == act.key), None)
    return draft.get(act.of, act.key)


def unread(draft: Draft, site_id: Id, cause: str) -> bool:
    """Does a notice of this cause still wait to be acknowledged by this site?"""
    last = draft.get(r.Told, cause)
    box = draft.have(r.Mailbox, site_id)
    return last is not None and last.site_id == site_id and box.acknowledged_seq < last.seq <= box.last_seq


def note_told(draft: Draft, site_id: Id, cause: str) -> None:
    """The notice just put into the site's inbox is the last one of this cause."""
    draft.put(r.Told(cause=cause, site_id=site_id, seq=draft.have(r.Mailbox, site_id).last_seq, at=draft.now))


def tell_coalesced(draft: Draft, site: r.Site, cause: str, facts: InItsName) -> None:
    """The notice, unless one of this cause is unread."""
    if not unread(draft, site.id, cause):
        tell(draft, site, facts)
        note_told(draft, site.id, cause)


def membership_causes(project_id: Id, site_id: Id) -> tuple[str, str]:
    """Of what the site does about its membership, for the coordinator; of what the coordinator does, for the site."""
    return f"asked/{project_id}/{site_id}", f"invited/{project_id}/{site_id}"


def update_cause(site_id: Id) -> str:
    return f"updated/{site_id}"


def conflict_cause(site_id: Id, about_site_id: Id, seen: str) -> str:
    """Each identity that is seen has its own record; of one that shows ever new ones there are 256 at once at most."""
    return f"conflict/{site_id}/{about_site_id}/{seen[:2]}"
