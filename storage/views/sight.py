"""Who sees what, as conditions of SQL, and pages of lists.

Every condition is made of constant SQL; values travel as parameters only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from domain.ids import Id
from domain.values import Micros, Subject
from storage.database import Database, Row

T = TypeVar("T")


@dataclass(frozen=True)
class Clause:
    """A condition with its parameters."""

    sql: str
    params: tuple[object, ...] = ()


@dataclass(frozen=True)
class Cursor:
    """The place in a list behind which the next page begins: lists run from old to new, if nobody wants them turned."""

    at: Micros
    id: Id

    @property
    def text(self) -> str:
        return f"{self.at}-{self.id}"

    @classmethod
    def of(cls, text: str) -> Cursor:
        """The cursor that `text` was made from; its form was checked before."""
        at, _, ident = text.partition("-")
        return cls(int(at), ident)


@dataclass(frozen=True)
class Paging:
    limit: int
    after: Cursor | None = None


class Listed(msgspec.Struct, Generic[T], frozen=True):
    """A page. `next` is the cursor of the page after it, or None."""

    items: list[T]
    next: str | None


def every(page: Callable[[Paging], Listed[T]], at_once: int) -> list[T]:
    """All that a list has, read page by page."""
    found: list[T] = []
    paging = Paging(at_once)
    while True:
        listed = page(paging)
        found += listed.items
        if listed.next is None:
            return found
        paging = Paging(at_once, Cursor.of(listed.next))


def sees_everything(subject: Subject) -> bool:
    """Admins and auditors read every record."""
    return subject.kind == "account" and subject.role in ("admin", "auditor")


def own(column: str, subject: Subject) -> Clause:
    """`column` names a site that the subject acts for: a site itself, for a member or admin any of its organisation.

    An auditor acts for none, that of its own organisation neither: it sees what is on record, and no body.
    """
    if subject.kind == "site":
        return Clause(f"{column} = %s", (subject.id,))
    if subject.role == "auditor":
        return Clause("1 = 0")
    return Clause(f"{column} IN (SELECT id FROM sites WHERE organisation_id = %s)", (subject.organisation_id,))


def sites_seen(subject: Subject) -> list[Clause]:
    """The own organisation's sites and those that share a project (to its coordinator also who asks to join)."""
    if sees_everything(subject):
        return []
    mine = own("mine.site_id", subject)
    shared = (
        "sites.id IN (SELECT other.site_id FROM memberships mine JOIN memberships other "
        "ON other.project_id = mine.project_id WHERE mine.state = 'active' "
        "AND (other.state = 'active' OR mine.role = 'coordinator') AND "
    )
    return [Clause(f"(sites.organisation_id = %s OR {shared}{mine.sql}))", (subject.organisation_id, *mine.params))]


def projects_seen(subject: Subject) -> list[Clause]:
    """Open and approval projects; by invitation only those that one is in or invited to."""
    if sees_everything(subject):
        return []
    mine = own("mine.site_id", subject)
    related = (
        "EXISTS (SELECT 1 FROM memberships mine WHERE mine.project_id = projects.id "
        "AND mine.state IN ('active', 'invited', 'requested') AND "
    )
    return [Clause(f"(projects.joining <> 'invitation' OR {related}{mine.sql}))", mine.params)]


def member_of(column: str, subject: Subject) -> list[Clause]:
    """`column` names a project in which the subject is an active member."""
    return [] if sees_everything(subject) else [acting_member_of(column, subject)]


def acting_member_of(column: str, subject: Subject) -> Clause:
    """The same for who may read bodies: to run the network, or to audit it, is not enough."""
    mine = own("mine.site_id", subject)
    member = f"EXISTS (SELECT 1 FROM memberships mine WHERE mine.project_id = {column} AND mine.state = 'active' AND "
    return Clause(f"{member}{mine.sql})", mine.params)


def runs_seen(subject: Subject) -> list[Clause]:
    """Runs of projects in which the subject is an active member, and those in which a site of its own had a seat."""
    if sees_everything(subject):
        return []
    member, seat = acting_member_of("runs.project_id", subject), own("seats.site_id", subject)
    took_part = f"EXISTS (SELECT 1 FROM seats WHERE seats.run_id = runs.id AND {seat.sql})"
    return [Clause(f"({member.sql} OR {took_part})", (*member.params, *seat.params))]


def rows(database: Database, select: str, where: Sequence[Clause], tail: str = "", *more: object) -> list[Row]:
    """The rows of `select` for which every clause holds."""
    conditions = " AND ".join(clause.sql for clause in where)
    sql = " ".join((select, "WHERE" if where else "", conditions, tail))
    with database.connection():
        return database.all(sql, *(value for clause in where for value in clause.params), *more)


def row(database: Database, select: str, where: Sequence[Clause]) -> Row | None:
    """The first of them."""
    found = rows(database, select, where, "LIMIT 1")
    return found[0] if found else None


def page(
    database: Database,
    select: str,
    where: Sequence[Clause],
    paging: Paging,
    made: Callable[[Row], T],
    *,
    order: tuple[str, str],
    cursor_of: Callable[[Row], Cursor],
    newest_first: bool = False,
) -> Listed[T]:
    """One page in the order of the two columns `order`, the first a time, the second an id."""
    first, second = order
    after, way = ("<", "DESC") if newest_first else (">", "ASC")
    from_there = f"({first}, {second}) {after} (%s, %s)"
    behind = [Clause(from_there, (paging.after.at, paging.after.id))] if paging.after else []
    ordered = f"ORDER BY {first} {way}, {second} {way} LIMIT %s"
    found = rows(database, select, [*where, *behind], ordered, paging.limit + 1)
    shown = found[: paging.limit]
    more = len(found) > paging.limit
    return Listed(items=[made(one) for one in shown], next=cursor_of(shown[-1]).text if more else None)
