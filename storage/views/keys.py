"""The key directory: a site's keys, and the one of each member of a project that may be sealed to."""

from __future__ import annotations

from domain.ids import Id
from domain.states import KeyState
from domain.values import Micros, Subject
from storage.database import Database, Row
from storage.views.resources import MemberKey, SiteKey, time_or_none
from storage.views.sight import Clause, Cursor, Listed, Paging, member_of, page, row, sites_seen

_COLUMNS = (
    "key_statements.site_id, key_statements.epoch, key_statements.suite, key_statements.public_key, "
    "key_statements.created_at, key_statements.expires_at, key_statements.signature, site_keys.state, "
    "site_keys.grace_until, site_keys.revoked_at, site_keys.reason"
)
_STATED = "key_statements.site_id = site_keys.site_id AND key_statements.epoch = site_keys.epoch"
_KEY = f"SELECT {_COLUMNS} FROM site_keys JOIN key_statements ON {_STATED}"
_MEMBER = (
    "SELECT memberships.site_id, memberships.created_at, sites.name, memberships.role, sites.identity_key, "
    f"{_COLUMNS} FROM memberships JOIN sites ON sites.id = memberships.site_id "
    "LEFT JOIN site_keys ON site_keys.site_id = memberships.site_id AND site_keys.state = 'current' "
    f"LEFT JOIN key_statements ON {_STATED}"
)


def of_site(database: Database, subject: Subject, site: Id, paging: Paging) -> Listed[SiteKey] | None:
    """All epochs, the revoked ones too; None unless the subject may see the site."""
    if row(database, "SELECT 1 FROM sites", [*sites_seen(subject), Clause("sites.id = %s", (site,))]) is None:
        return None
    return page(
        database,
        _KEY,
        [Clause("site_keys.site_id = %s", (site,))],
        paging,
        _key,
        order=("site_keys.epoch", "site_keys.site_id"),
        cursor_of=lambda one: Cursor(one[1], one[0]),
    )


def of_project(
    database: Database, subject: Subject, project: Id, paging: Paging, now: Micros
) -> Listed[MemberKey] | None:
    """Active members, each with its current key unless that has expired; None unless the subject is one."""
    seen = [*member_of("projects.id", subject), Clause("projects.id = %s", (project,))]
    if row(database, "SELECT 1 FROM projects", seen) is None:
        return None
    return page(
        database,
        _MEMBER,
        [Clause("memberships.project_id = %s AND memberships.state = 'active'", (project,))],
        paging,
        lambda one: _member(one, now),
        order=("memberships.created_at", "memberships.site_id"),
        cursor_of=lambda one: Cursor(one[1], one[0]),
    )


def _member(one: Row, now: Micros) -> MemberKey:
    site, _, name, role, identity_key, *stated = one
    usable = stated[0] is not None and now < stated[5]
    return MemberKey(
        site_id=site, site_name=name, role=role, identity_key=identity_key, key=_key(tuple(stated)) if usable else None
    )


def _key(one: Row) -> SiteKey:
    site, epoch, suite, public_key, created, expires, signature, state, grace, revoked, reason = one
    return SiteKey(
        site_id=site,
        epoch=epoch,
        suite=suite,
        public_key=bytes(public_key),
        created_at=created,
        expires_at=expires,
        signature=bytes(signature),
        state=KeyState(state),
        grace_until=time_or_none(grace),
        revoked_at=time_or_none(revoked),
        reason=reason,
    )
