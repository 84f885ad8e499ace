"""What a project keeps under numbers, and may delete: looked up alike, whatever it is."""

from __future__ import annotations

from typing import TypeVar

from domain import stream_records as sr
from domain.decisions.access import missing
from domain.decisions.draft import Draft
from domain.ids import Id

K = TypeVar("K", sr.Architecture, sr.Configuration)


def kept_of(draft: Draft, kind: type[K], project_id: Id) -> list[K]:
    """All that the project has, oldest first."""
    found = [one for one in draft.group(kind, project_id) if one.deleted_at is None]
    return sorted(found, key=lambda one: one.number)


def known(draft: Draft, kind: type[K], project_id: Id, ident: Id) -> K:
    """One of the project's, or 404."""
    found = draft.get(kind, ident)
    if found is None or found.project_id != project_id or found.deleted_at is not None:
        raise missing(kind.__name__.lower(), ident)
    return found
