"""Enrolments and sites."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import acts_for, find, forbidden, is_admin, missing, need_admin, need_hub
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.decisions.people import add_token, secret_known
from domain.decisions.room import give_back
from domain.decisions.telling import by_another, tell, tell_coalesced, update_cause
from domain.events import EventKind
from domain.ledger import names_of_secret
from domain.needs import Needs
from domain.states import MEMBER, SITE, MemberState, SiteState, Step, follow
from domain.sweeps import RevokeTokensOf
from domain.values import Micros
from fedyard.wire import notices as n
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND


def needs_of_create_enrolment(command: c.CreateEnrolment) -> Needs:
    return Needs(
        organisations={command.organisation_id},
        token_hashes={command.sha256},
        revocations=names_of_secret(command.sha256),
        counts={("enrolments", command.organisation_id)},
    )


def create_enrolment(draft: Draft, command: c.CreateEnrolment) -> Decision:
    need_admin(draft.by)
    find(draft, r.Organisation, "organisation", command.organisation_id)
    if secret_known(draft, command.sha256):
        raise Refused(ProblemType.TOKEN_TAKEN, "this token's hash is registered already; draw a new secret")
    if command.expires_at <= draft.now:
        raise Refused(ProblemType.ALREADY_EXPIRED, "the enrolment would expire before it could be used")
    remedy = "use those that are open, or let them expire"
    take_one(draft, "enrolments", command.organisation_id, draft.rules.enrolments_per_organisation, remedy)
    made = r.Enrolment(
        id=draft.derive("enrolment"),
        organisation_id=command.organisation_id,
        sha256=command.sha256,
        note=command.note,
        created_by=draft.by.id,
        created_at=draft.now,
        expires_at=command.expires_at,
    )
    draft.put(made)
    draft.event(("organisation", made.organisation_id), EventKind.ENROLMENT_CREATED, {"enrolment_id": made.id})
    return draft.accept(results.Made(id=made.id), 201)


def needs_of_revoke_enrolment(command: c.RevokeEnrolment) -> Needs:
    return Needs(enrolments={command.enrolment_id})


def revoke_enrolment(draft: Draft, command: c.RevokeEnrolment) -> Decision:
    """It is used up without a site, and so in the ledger as well. A repeat changes nothing."""
    need_admin(draft.by)
    enrolment = find(draft, r.Enrolment, "enrolment", command.enrolment_id)
    if enrolment.used_at is not None and enrolment.site_id is not None:
        raise Refused(
            ProblemType.ENROLMENT_USED,
            f"enrolment {enrolment.id} was used by site {enrolment.site_id}; revoke that site's tokens, or retire it",
        )
    if enrolment.used_at is None:
        draft.change(enrolment, used_at=draft.now)
        stream = ("organisation", enrolment.organisation_id)
        draft.event(stream, EventKind.ENROLMENT_REVOKED, {"enrolment_id": enrolment.id})
    return draft.accept(results.Made(id=enrolment.id))


def needs_of_enrol_site(command: c.EnrolSite) -> Needs:
    return Needs(
        site_names={command.name},
        token_hashes={command.token_sha256},
        revocations=names_of_secret(command.token_sha256),
    )


def enrol_site(draft: Draft, command: c.EnrolSite) -> Decision:
    if draft.by.kind != "enrolment":
        raise forbidden("a site enrols with the one-time token of an enrolment; ask the network's admin for one")
    enrolment = find(draft, r.Enrolment, "enrolment", draft.by.id)
    if enrolment.used_at is not None:
        raise Refused(ProblemType.ENROLMENT_USED, f"enrolment {enrolment.id} was used already; ask for a new one")
    if enrolment.expires_at <= draft.now:
        raise Refused(ProblemType.ENROLMENT_EXPIRED, f"enrolment {enrolment.id} has expired; ask for a new one")
    if enrolment.site_id is not None:
        return _become(draft, enrolment, enrolment.site_id, command)
    if any(s.name == command.name for s in draft.every(r.Site)):
        raise Refused(ProblemType.NAME_TAKEN, f"a site named {command.name!r} exists; choose another name")
    site = r.Site(
        id=draft.derive("site"),
        organisation_id=enrolment.organisation_id,
        name=command.name,
        description=command.description,
        identity_key=command.identity_key,
        state=SiteState.ONLINE,
        state_at=draft.now,
        created_at=draft.now,
    )
    draft.put(site)
    draft.put(r.Mailbox(site_id=site.id))
    draft.change(enrolment, used_at=draft.now, site_id=site.id)
    token = add_token(draft, "site", site.id, command.token_sha256, "first", "read write", None)
    draft.event(("organisation", site.organisation_id), EventKind.SITE_ENROLLED, {"site_id": site.id})
    draft.event(
        ("site", site.id),
        EventKind.SITE_ENROLLED,
        {"name": site.name, "identity_key": site.identity_key, "enrolment_id": enrolment.id},
        site_id=site.id,
    )
    return draft.accept(results.MadeWithToken(id=site.id, token_id=token.id), 201)


def _become(draft: Draft, enrolment: r.Enrolment, site_id: str, command: c.EnrolSite) -> Decision:
    """An attempt at a workload becomes the site that holds its seat, which is there and has its name already."""
    site = draft.have(r.Site, site_id)
    if site.state == SiteState.RETIRED:
        raise Refused(ProblemType.ENROLMENT_EXPIRED, f"enrolment {enrolment.id} is of an attempt that has ended")
    draft.change(site, identity_key=command.identity_key)
    draft.change(enrolment, used_at=draft.now)
    token = add_token(draft, "site", site.id, command.token_sha256, "first", "read write", None)
    facts = {"name": site.name, "identity_key": command.identity_key, "enrolment_id": enrolment.id}
    draft.event(("site", site.id), EventKind.SITE_ENROLLED, facts, site_id=site.id)
    return draft.accept(results.MadeWithToken(id=site.id, token_id=token.id), 201)


def administered(draft: Draft, site_id: str) -> r.Site:
    """A site that the caller may change: its own, its organisation's, or any for an admin."""
    site = find(draft, r.Site, "site", site_id)
    if not (acts_for(draft.by, site) or is_admin(draft.by)):
        raise missing("site", site_id)
    return site


def needs_of_update_site(command: c.UpdateSite) -> Needs:
    return Needs(sites={command.site_id}, told={update_cause(command.site_id)})


def update_site(draft: Draft, command: c.UpdateSite) -> Decision:
    site = administered(draft, command.site_id)
    draft.change(site, description=command.description)
    facts = {"description": command.description}
    draft.event(("site", site.id), EventKind.SITE_UPDATED, facts, site_id=site.id)
    if by_another(draft, site) and site.state != SiteState.RETIRED:
        tell_coalesced(draft, site, update_cause(site.id), n.SiteUpdated(description=command.description))
    return draft.accept(results.SiteResult(id=site.id, state=SiteState(site.state)))


def needs_of_retire_site(command: c.RetireSite) -> Needs:
    return Needs(retiring={command.site_id}, declared_by={(None, command.site_id)})


def retire_site(draft: Draft, command: c.RetireSite) -> Decision:
    """Leave the network for good: tokens revoked, memberships ended, live seats dropped."""
    site = administered(draft, command.site_id)
    if site.state == SiteState.RETIRED:
        return draft.accept(results.Retired(id=site.id, state="retired"))
    coordinated = [p for p in draft.every(r.Project) if p.coordinator_site_id == site.id and p.archived_at is None]
    if coordinated:
        raise Refused(
            ProblemType.COORDINATES_PROJECTS,
            f"site {site.id} coordinates project {coordinated[0].id}; archive its projects first",
        )
    site = draft.change(site, state=follow(SITE, SiteState(site.state), Step.RETIRE), state_at=draft.now)
    draft.sweep(RevokeTokensOf(site.id, draft.now))
    for membership in [m for m in draft.every(r.Membership) if m.site_id == site.id]:
        state = MemberState(membership.state)
        if (state, Step.LEAVE) in MEMBER:
            draft.change(membership, state=MEMBER[state, Step.LEAVE], state_at=draft.now)
            give_back(draft, site.id, membership.project_id)
            left = n.MemberLeft(site_id=site.id, reason="the site has retired")
            facts = msgspec.to_builtins(left)
            draft.event(("project", membership.project_id), EventKind.MEMBER_LEFT, facts, site_id=site.id)
            project = draft.have(r.Project, membership.project_id)
            draft.notify(project.coordinator_site_id, left, project_id=project.id)
    for site_id, run_id in draft.state.seated:
        if site_id == site.id:
            drop = c.DropSeats(run_id=run_id, site_id=site.id, reason="site_retired", detail="the site has retired")
            draft.follow_up(drop, run_id)
    draft.follow_up(c.LoseWorkloads(site_id=site.id), site.id)
    draft.event(("site", site.id), EventKind.SITE_RETIRED, site_id=site.id)
    if by_another(draft, site):  # its last: a poll that waits hears of it, others are refused from now on
        tell(draft, site, n.SiteRetired())
    return draft.accept(results.Retired(id=site.id, state="retired"))


def seen_at(draft: Draft, site: r.Site) -> Micros:
    """When a site was last heard of; enrolling is a sign of life, too."""
    return max(draft.state.seen.get(site.id, 0), site.created_at)


def needs_of_mark_sites_silent(command: c.MarkSitesSilent) -> Needs:
    return Needs(sites=set(command.site_ids), beats=set(command.site_ids))


def mark_sites_silent(draft: Draft, command: c.MarkSitesSilent) -> Decision:
    """The ticker's finding, looked at again: its clock may be wrong, and a site may have called meanwhile."""
    lately = draft.now - int(draft.rules.silent_after_s * SECOND)
    return _mark(
        draft,
        command.site_ids,
        Step.FALL_SILENT,
        EventKind.SITE_FELL_SILENT,
        lambda site: seen_at(draft, site) <= lately,
    )


def needs_of_mark_sites_returned(command: c.MarkSitesReturned) -> Needs:
    return Needs(sites=set(command.site_ids), beats=set(command.site_ids))


def mark_sites_returned(draft: Draft, command: c.MarkSitesReturned) -> Decision:
    """The same: a site is back that was heard of lately, and since it was marked."""
    lately = draft.now - int(draft.rules.silent_after_s * SECOND)
    return _mark(
        draft,
        command.site_ids,
        Step.RETURN,
        EventKind.SITE_RETURNED,
        lambda site: seen_at(draft, site) > max(lately, site.state_at),
    )


def _mark(draft: Draft, site_ids: list[str], step: Step, kind: EventKind, is_so: Callable[[r.Site], bool]) -> Decision:
    need_hub(draft.by)
    marked = []
    for site in filter(None, (draft.get(r.Site, site_id) for site_id in site_ids)):
        target = SITE.get((SiteState(site.state), step))
        if target is not None and is_so(site):
            draft.change(site, state=target, state_at=draft.now)
            draft.event(("site", site.id), kind, site_id=site.id)
            marked.append(site.id)
    return draft.accept(results.Marked(site_ids=marked))
