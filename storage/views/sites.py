"""Sites and what happened to them."""

from __future__ import annotations

from collections.abc import Sequence

from domain.ids import Id
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.resources import Site, SiteHealth, time_or_none
from storage.views.sight import (
    Clause,
    Cursor,
    Listed,
    Paging,
    member_of,
    own,
    page,
    row,
    rows,
    sees_everything,
    sites_seen,
)

_SITE = (
    "SELECT sites.id, sites.organisation_id, sites.name, sites.description, sites.identity_key, sites.state, "
    "sites.state_at, site_beats.seen_at, sites.created_at FROM sites "
    "LEFT JOIN site_beats ON site_beats.site_id = sites.id"
)

_STATES = "SELECT sites.state, count(*) FROM sites"
_HEALTH = (
    "SELECT sites.id, sites.created_at, mailboxes.last_seq, mailboxes.acknowledged_seq, "
    "(SELECT min(inbox.created_at) FROM inbox WHERE inbox.site_id = sites.id "
    "AND inbox.seq = mailboxes.acknowledged_seq + 1), "
    "key_statements.epoch, key_statements.created_at, key_statements.expires_at, "
    "history.changes, history.history_id, history.since, recoveries.history_id, recoveries.at, "
    "site_agents.version "
    "FROM sites CROSS JOIN history LEFT JOIN mailboxes ON mailboxes.site_id = sites.id "
    "LEFT JOIN site_keys ON site_keys.site_id = sites.id AND site_keys.state = 'current' "
    "LEFT JOIN key_statements ON key_statements.site_id = sites.id AND key_statements.epoch = site_keys.epoch "
    "LEFT JOIN recoveries ON recoveries.site_id = sites.id "
    "LEFT JOIN site_agents ON site_agents.site_id = sites.id"
)
"""The oldest entry that is not acknowledged is the one behind the newest that is; after a recovery, which leaves
numbers out, it is not known until something is acknowledged."""


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


def by_state(database: Database, subject: Subject) -> dict[str, int]:
    """How many sites with each state the subject may see."""
    where = [*sites_seen(subject), Clause("sites.identity_key <> ''")]
    return {one[0]: int(one[1]) for one in rows(database, _STATES, where, "GROUP BY sites.state")}


def site(database: Database, subject: Subject, ident: Id) -> Site | None:
    found = row(database, _SITE, [*sites_seen(subject), Clause("sites.id = %s", (ident,))])
    return None if found is None else _site(found)


def health(database: Database, subject: Subject, sites: Sequence[Id]) -> dict[Id, SiteHealth]:
    """Of those of the sites that the subject acts for; of all for who sees every record."""
    mine = [] if sees_everything(subject) else [own("sites.id", subject)]
    found = rows(database, _HEALTH, [*mine, Clause("sites.id {any:uuid}", (database.many(sites),))])
    return {one[0]: _health(one) for one in found}


def sites_named(database: Database, subject: Subject, idents: Sequence[Id]) -> dict[Id, Site]:
    """Of these ids the sites that the subject sees."""
    named = Clause("sites.id {any:uuid}", (database.many(idents),))
    return {one[0]: _site(one) for one in rows(database, _SITE, [*sites_seen(subject), named])}


def may_see_site_events(database: Database, subject: Subject, ident: Id) -> bool:
    """The site's own organisation, admins and auditors."""
    mine = [] if sees_everything(subject) else [own("sites.id", subject)]
    return row(database, "SELECT 1 FROM sites", [*mine, Clause("sites.id = %s", (ident,))]) is not None


def _health(one: Row) -> SiteHealth:
    _, made_at, last_seq, acknowledged_seq, oldest, epoch, created_at, expires_at, *rest = one
    changes, history, since, recovered, recovered_at, version = rest
    behind = changes > 0 and made_at <= since and recovered != history
    return SiteHealth(
        agent_version=version,
        last_seq=last_seq or 0,
        acknowledged_seq=acknowledged_seq or 0,
        waiting_since=time_or_none(oldest),
        key_epoch=epoch,
        key_created_at=time_or_none(created_at),
        key_expires_at=time_or_none(expires_at),
        mismatch_since=time_text(since) if behind else None,
        recovered_at=time_or_none(recovered_at) if recovered == history else None,
    )


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
