"""Secrets of projects: that they are there, never what they are."""

from __future__ import annotations

from domain.ids import Id
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database
from storage.views.resources import ProjectSecret
from storage.views.sight import Clause, Listed, own, row, rows, sees_everything

_SECRETS = "SELECT name, set_by, set_at, key_id FROM project_secrets"


def of_project(database: Database, subject: Subject, project: Id, key_id: str) -> Listed[ProjectSecret] | None:
    """All of them, by name; None if the caller may not know of them. key_id: of the key that the hub has now."""
    where = [Clause("id = %s", (project,))]
    where += [] if sees_everything(subject) else [own("coordinator_site_id", subject)]
    if row(database, "SELECT id FROM projects", where) is None:
        return None
    found = rows(database, _SECRETS, [Clause("project_id = %s AND key_id <> ''", (project,))], "ORDER BY name")
    return Listed(
        items=[
            ProjectSecret(name=name, set_by=set_by, set_at=time_text(set_at), opens=under == key_id)
            for name, set_by, set_at, under in found
        ],
        next=None,
    )
