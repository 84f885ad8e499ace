"""What is done in a site's name by others: an event in the site's stream, and a notice that its people see."""

from __future__ import annotations

from typing import Any

from actors.decisions.draft import Draft
from broker.protocol import records as r
from broker.protocol.events import EventKind, Notice
from broker.protocol.ids import Id


def who(draft: Draft, reader: r.Site) -> dict[str, Any]:
    """The subject of the command, as a site may know it: an account by name within its own organisation only."""
    by = draft.by
    shown: dict[str, Any] = {"kind": by.kind, "id": by.id}
    if by.kind == "site":
        site = draft.get(r.Site, by.id)
        return shown | ({"name": site.name} if site is not None else {})
    if by.kind == "account":
        account = draft.get(r.Account, by.id)
        shown["role"] = by.role
        if account is not None and account.organisation_id == reader.organisation_id:
            shown["name"] = account.name
    return shown


def by_another(draft: Draft, site: r.Site) -> bool:
    """True unless the site itself asks."""
    return draft.by.id != site.id


def tell(draft: Draft, site: r.Site, notice: Notice, facts: dict[str, Any], *, project_id: Id | None = None) -> None:
    """The notice, with who did it."""
    draft.notify(site.id, notice, {**facts, "by": who(draft, site)}, project_id=project_id)


def put_on_record(
    draft: Draft,
    site: r.Site,
    event: EventKind,
    notice: Notice,
    facts: dict[str, Any],
    *,
    project_id: Id | None = None,
) -> None:
    """The event in the site's stream, and the notice. The stream and the mailbox of the site must be loaded."""
    in_project = {"project_id": project_id} if project_id is not None else {}
    draft.event(("site", site.id), event, {**facts, **in_project}, site_id=site.id)
    tell(draft, site, notice, facts, project_id=project_id)
