"""What each command needs to be known before it can be decided."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from domain import commands as c
from domain import records as r
from domain.commands import Envelope
from domain.decisions.keys import name_in_ledger
from domain.decisions.recovery import MOVED, keys_named
from domain.decisions.runs import next_attempt
from domain.decisions.sealing import keys_in
from domain.decisions.telling import act_of, conflict_cause, membership_causes, update_cause
from domain.ids import Id
from domain.ledger import name_of_enrolment, name_of_token, read_name
from domain.needs import Needs


def needs_of(envelopes: Iterable[Envelope]) -> Needs:
    """The needs of a batch together."""
    together = Needs()
    for envelope in envelopes:
        together.add(_of(envelope.command))
        by = envelope.by
        if by.kind == "site":
            together.sites.add(by.id)
        elif by.kind == "enrolment":
            together.enrolments.add(by.id)
        elif by.kind == "account":
            together.accounts.add(by.id)
            together.add(_of_act(envelope))
    return together


def _of(command: c.AnyCommand) -> Needs:  # noqa: C901, PLR0912, PLR0915 - one branch for each command, flat
    match command:
        case c.CreateOrganisation(name=name):
            return Needs(organisation_names={name})
        case c.CreateAccount(organisation_id=organisation, token_sha256=sha256):
            return Needs(
                organisations={organisation},
                token_hashes={sha256},
                revocations=_secret(sha256),
                counts={("accounts", organisation)},
            )
        case c.DisableAccount(account_id=account):
            return Needs(accounts={account}, issued_with={account})
        case c.IssueToken(owner_kind=kind, owner_id=owner, sha256=sha256, issued_by=issuer):
            owners = Needs(accounts={owner}) if kind == "account" else Needs(sites={owner})
            owners.token_hashes = {sha256}
            owners.tokens = _some(issuer)
            owners.revocations = _secret(sha256)
            owners.counts = {("tokens", owner), ("tokens of a day", owner)}
            return owners
        case c.RevokeToken(token_id=token):
            return Needs(tokens={token}, issued_with={token})
        case c.CreateEnrolment(organisation_id=organisation, sha256=sha256):
            return Needs(
                organisations={organisation},
                token_hashes={sha256},
                revocations=_secret(sha256),
                counts={("enrolments", organisation)},
            )
        case c.EnrolSite(name=name, token_sha256=sha256):
            return Needs(site_names={name}, token_hashes={sha256}, revocations=_secret(sha256))
        case c.UpdateSite(site_id=site):
            return Needs(sites={site}, told={update_cause(site)})
        case c.RetireSite(site_id=site):
            return Needs(retiring={site}, declared_by={(None, site)})
        case c.PutSiteKey(site_id=site):
            return Needs(keyrings={site}, revocations={name_in_ledger(command)})
        case c.RevokeSiteKey(site_id=site):
            return Needs(keyrings={site})
        case c.ReportConflict(site_id=site, about_site_id=about, seen=seen):
            return Needs(acquainted={site, about}, told={conflict_cause(site, about, seen)})
        case c.RecoverSite(site_id=site, marks=marks, seats=seats, revoked_tokens=tokens):
            lowest = min((held.seq for held in marks), default=1)
            return Needs(
                recoveries={site},
                history={"history"},
                boxes={(site, lowest)},
                keyrings={site},
                tokens=set(tokens),
                retiring={site},
                logs={(seat.run_id, site) for seat in seats},
                revocations=keys_named(command),
                counts={(MOVED, site)},
            )
        case c.ChangeHistory():
            return Needs(history={"history"})
        case c.RevokeAgain(names=names):
            return _of_names(names)
        case c.EndRestored(run_id=run):
            return Needs(runs={run})
        case c.MarkSitesSilent(site_ids=sites) | c.MarkSitesReturned(site_ids=sites):
            return Needs(sites=set(sites), beats=set(sites))
        case c.RecordHeartbeats():
            return Needs()
        case c.CreateProject(coordinator_site_id=site, name=name):
            counts = {("projects", site), ("projects of a day", site)}
            return Needs(sites={site}, project_names={name}, counts=counts)
        case c.UpdateProject(project_id=project, name=name, sealed=sealed):
            live = {project} if sealed else set()
            return Needs(members_of={project}, project_names={name} if name else set(), live_runs_of=live)
        case c.ArchiveProject(project_id=project):
            return Needs(members_of={project}, live_runs_of={project})
        case c.PutMember(project_id=project, site_id=site):
            return Needs(members_of={project}, sites={site}, told=set(membership_causes(project, site)))
        case c.RemoveMember(project_id=project, site_id=site):
            return Needs(
                members_of={project},
                sites={site},
                live_runs_of={project},
                declared_by={(project, site)},
                told=set(membership_causes(project, site)),
            )
        case c.StartRun(project_id=project):
            return Needs(members_of={project}, live_runs_of={project})
        case c.BeginRun(project_id=project):
            return Needs(members_of={project}, live_runs_of={project}, begin_in={project})
        case c.StopRun(run_id=run):
            return Needs(runs={run})
        case c.RestartRun(run_id=run, model_version=version):
            models = {(run, version)} if version is not None else set()
            return Needs(runs={run, next_attempt(run)}, restarting={run}, models=models)
        case c.ReportSeat(run_id=run, update=update, update_artifact_id=artifact):
            return Needs(runs={run}, keys=keys_in((update,)), artifacts=_some(artifact))
        case c.ReportAggregated(run_id=run, task_seq=seq, round=number, model=model, model_artifact_id=artifact):
            keys = keys_in((model,))
            return Needs(
                runs={run},
                keys=keys,
                keys_in={run} if keys else set(),
                artifacts=_some(artifact),
                submissions={(run, seq, number)} if command.left_out else set(),
            )
        case c.ReportMissingReceipt(run_id=run, task_seq=seq, round=number):
            return Needs(runs={run}, submissions={(run, seq, number)})
        case c.DropSeats(run_id=run, site_id=site):
            return Needs(runs={run}, sites={site}, beats={site})
        case c.PassDeadline(run_id=run):
            return Needs(runs={run})
        case c.WriteLog(run_id=run, site_id=site, pieces=pieces):
            return Needs(sites={site}, logs={(run, site)}, keys=keys_in(pieces))
        case c.PostMessages(sender_site_id=site, messages=messages):
            projects = {message.project_id for message in messages}
            runs = {message.run_id for message in messages if message.run_id is not None}
            keys = keys_in(message.body for message in messages)
            artifacts = {message.artifact_id for message in messages if message.artifact_id is not None}
            return Needs(
                sites={site},
                members_of=projects,
                mentioned_runs=runs,
                keys=keys,
                artifacts=artifacts,
                senders={site},
            )
        case c.DeclareArtifact(owner_site_id=site, project_id=project, run_id=run, seal=seal):
            return Needs(
                sites={site},
                members_of={project},
                mentioned_runs=_some(run),
                totals_of={project},
                shares_of={(project, site)},
                keys=keys_in((seal,)),
            )
        case c.CompleteArtifact(artifact_id=artifact):
            return Needs(artifacts={artifact})
        case c.DeleteArtifact(artifact_id=artifact):
            return Needs(ending_artifacts={artifact})
        case c.ExpireArtifacts(artifact_ids=ending):
            return Needs(ending_artifacts=set(ending))
        case c.AcknowledgeInbox(site_id=site, through=through, mark=mark):
            held = set() if mark is None else {(site, through)}
            return Needs(sites={site}, marks=held, history={"history"})
        case c.ExpireMessages(message_ids=messages):
            return Needs(messages=set(messages))
        case c.ForgetHistory():
            return Needs()
        case _:
            assert_never(command)


def _of_act(envelope: Envelope) -> Needs:
    """What it takes to tell a site of what a person does in its name."""
    act = act_of(envelope.command, envelope.by)
    if act is None:
        return Needs()
    return Needs(
        sites={act.key} if act.of is r.Site else set(),
        led={act.key} if act.of in (r.Project, r.Run) else set(),
        told={act.cause},
    )


def _secret(sha256: str) -> set[str]:
    """A secret may be in the ledger as either."""
    return {name_of_token(sha256), name_of_enrolment(sha256)}


def _of_names(names: Iterable[str]) -> Needs:
    """What the ledger's names are of."""
    needs = Needs(revocations=set(names))
    for named in filter(None, map(read_name, names)):
        match named.kind:
            case "token" | "enrolment":
                needs.token_hashes.add(named.key)
            case "key":
                needs.keyrings.add(named.key)
            case "site":
                needs.sites.add(named.key)
            case _:
                needs.accounts.add(named.key)
    return needs


def _some(key: Id | None) -> set[Id]:
    return set() if key is None else {key}
