"""Who may do what. A thing that the subject may not see is 404, one that it may see but not change is 403.

Rights come before states: who may not do a thing must not learn from the answer whether it is there, or has ended.
"""

from __future__ import annotations

from typing import TypeVar

from domain import records as r
from domain.decisions.draft import Draft, Refused
from domain.ids import Id
from domain.records import Record
from domain.states import MemberState, SiteState
from domain.values import Subject
from fedyard.wire.problems import ProblemType

R = TypeVar("R", bound=Record)


def missing(what: str, key: object) -> Refused:
    """404: not there, or not for this caller, which must look the same."""
    return Refused(ProblemType.NOT_FOUND, f"there is no {what} {key}, or it is not yours to see")


def forbidden(detail: str) -> Refused:
    """403: visible, but not the caller's to change."""
    return Refused(ProblemType.FORBIDDEN, detail)


def find(draft: Draft, kind: type[R], what: str, key: Id) -> R:
    """The row, or a 404."""
    found = draft.get(kind, key)
    if found is None:
        raise missing(what, key)
    return found


def is_admin(by: Subject) -> bool:
    """The network's operator (or the hub itself)."""
    return by.kind == "hub" or (by.kind == "account" and by.role == "admin")


def need_admin(by: Subject) -> None:
    if not is_admin(by):
        raise forbidden("only an account with the role admin may do this")


def need_hub(by: Subject) -> None:
    """Commands that the hub sends itself."""
    if by.kind != "hub":
        raise forbidden("only the hub itself does this")


def acts_for(by: Subject, site: r.Site) -> bool:
    """The site itself, or a member of its organisation."""
    if by.kind == "site":
        return by.id == site.id
    return by.kind == "account" and by.role in ("admin", "member") and by.organisation_id == site.organisation_id


def own_site(draft: Draft, site_id: Id) -> r.Site:
    """A site that the caller acts for and that has not retired. 404 otherwise; 403 for an admin, who sees all sites."""
    site = find(draft, r.Site, "site", site_id)
    if not acts_for(draft.by, site):
        if not is_admin(draft.by):
            raise missing("site", site_id)
        raise forbidden(
            f"site {site_id} belongs to organisation {site.organisation_id}; only it and that organisation's "
            "members may act for it"
        )
    if site.state == SiteState.RETIRED:
        raise Refused(ProblemType.SITE_RETIRED, f"site {site_id} has retired; enrol a new one")
    return site


def need_no_holder(site: r.Site) -> None:
    """403 for a workload's site: with its token a program would else do what was never asked of it."""
    if site.workload_id is not None:
        raise forbidden(
            f"site {site.id} is an attempt at workload {site.workload_id}, and takes part in its run alone: "
            "name a site of an organisation's own"
        )


def is_coordinator(draft: Draft, project: r.Project) -> bool:
    """The project's coordinating site, or a member of its organisation."""
    site = draft.get(r.Site, project.coordinator_site_id)
    return site is not None and acts_for(draft.by, site)


def active_members(draft: Draft, project_id: Id) -> list[Id]:
    """The sites of a project, its coordinator among them, in the order of their ids."""
    return [m.site_id for m in draft.group(r.Membership, project_id) if m.state == MemberState.ACTIVE]


_CONCERNED = (MemberState.ACTIVE, MemberState.INVITED, MemberState.REQUESTED)


def is_member(draft: Draft, project: r.Project, states: tuple[MemberState, ...] = (MemberState.ACTIVE,)) -> bool:
    """A site (or somebody who acts for one) whose membership of the project has one of these states."""
    if draft.by.kind == "site":
        own = draft.get(r.Membership, project.id, draft.by.id)
        return own is not None and own.state in states
    sites = (draft.get(r.Site, m.site_id) for m in draft.group(r.Membership, project.id) if m.state in states)
    return any(site is not None and acts_for(draft.by, site) for site in sites)


def sees(draft: Draft, project: r.Project) -> bool:
    """May the caller know of the project? Everybody may that one may join. Its members must be loaded."""
    known = project.joining != "invitation" or is_admin(draft.by) or is_coordinator(draft, project)
    return known or is_member(draft, project, _CONCERNED)


def sees_runs(draft: Draft, project: r.Project) -> bool:
    """May the caller know of the project's runs? Who is invited, or has asked to join, may not yet."""
    return is_admin(draft.by) or is_coordinator(draft, project) or is_member(draft, project)


def known_project(draft: Draft, project_id: Id) -> r.Project:
    """A project that the caller may know of, or 404."""
    project = find(draft, r.Project, "project", project_id)
    if not sees(draft, project):
        raise missing("project", project_id)
    return project


def known_run(draft: Draft, run_id: Id) -> tuple[r.Run, r.Project]:
    """A run that the caller may know of, with its project, or 404."""
    run = find(draft, r.Run, "run", run_id)
    project = draft.have(r.Project, run.project_id)
    if not sees_runs(draft, project):
        raise missing("run", run_id)
    return run, project


def need_coordinator(draft: Draft, project: r.Project, *, admin_too: bool = True) -> None:
    """Raises 403 unless the caller, who knows of the project, coordinates it (or is an admin, where that is enough)."""
    if is_coordinator(draft, project) or (admin_too and is_admin(draft.by)):
        return
    raise forbidden(
        f"only the coordinator of project {project.id} (site {project.coordinator_site_id} or a member of its "
        "organisation) may do this"
    )
