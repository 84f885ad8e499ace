"""Sites and what happened to them."""

from __future__ import annotations

from domain.ids import Id
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.resources import Site, time_or_none
from storage.views.sight import Clause, Cursor, Listed, Paging, member_of, own, page, row, sees_everything, sites_seen

_SITE = (
    "SELECT sites.id, sites.organisation_id, sites.name, sites.description, sites.identity_key, sites.state, "
    "sites.state_at, site_beats.seen_at, sites.created_at FROM sites "
    "LEFT JOIN site_beats ON site_beats.site_id = sites.id"
)


def sites(
    database: Database,
    subject: Subject,
    paging: Paging,
    *,
    state: str | None,
    organisation: Id | None,
    project: Id | None,
) -> Listed[Site]:
    """project: none are found unless the subject may see its members."""
    where = [*sites_seen(subject), Clause("sites.identity_key <> ''")]  # an attempt that has not enrolled is nobody yet
    if state is not None:
        where.append(Clause("sites.state = %s", (state,)))
    if organisation is not None:
        where.append(Clause("sites.organisation_id = %s", (organisation,)))
    if project is not None:
        told = [Clause("memberships.project_id = %s", (project,)), *member_of("memberships.project_id", subject)]
        conditions = " AND ".join(clause.sql for clause in told)
        members = f"SELECT memberships.site_id FROM memberships WHERE memberships.state = 'active' AND {conditions}"
        where.append(Clause(f"sites.id IN ({members})", tuple(value for clause in told for value in clause.params)))
    return page(
        database,
        _SITE,
        where,
        paging,
        _site,
        order=("sites.created_at", "sites.id"),
        cursor_of=lambda one: Cursor(one[8], one[0]),
    )


def site(database: Database, subject: Subject, ident: Id) -> Site | None:
    found = row(database, _SITE, [*sites_seen(subject), Clause("sites.id = %s", (ident,))])
    return None if found is None else _site(found)


def may_see_site_events(database: Database, subject: Subject, ident: Id) -> bool:
    """The site's own organisation, admins and auditors."""
    mine = [] if sees_everything(subject) else [own("sites.id", subject)]
    return row(database, "SELECT 1 FROM sites", [*mine, Clause("sites.id = %s", (ident,))]) is not None


def _site(one: Row) -> Site:
    ident, organisation, name, description, identity_key, state, state_at, seen_at, created_at = one
    return Site(
        id=ident,
        organisation_id=organisation,
        name=name,
        description=description,
        identity_key=identity_key,
        state=state,
        state_at=time_text(state_at),
        seen_at=time_or_none(seen_at),
        created_at=time_text(created_at),
    )
