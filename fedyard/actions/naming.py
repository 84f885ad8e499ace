"""What people mean by a name, a short id, or a project and a number."""

from __future__ import annotations

import re

from fedyard.actions.site import UsageError
from fedyard.agent.consents import Wanted, choose
from fedyard.client.client import Client
from fedyard.wire.answers import Project, Run

ID_LENGTH = 36
BEGINS_ID = re.compile("[0-9a-f-]{4,35}")
"""How an id may be said in short."""
SHOWN = 10
"""Of the runs that a short id may mean."""


def names_of(client: Client) -> dict[str, str]:
    """Sites' names by id."""
    return {site.id: site.name for site in client.sites()}


def place_named(client: Client, project_id: str, where: str) -> str:
    """Where something runs, as the hub takes it: `site:` and the name of a member's site means its id.

    Raises `UsageError`.
    """
    prefix, colon, name = where.partition(":")
    if prefix != "site" or not colon or len(name) == ID_LENGTH:
        return where
    members = client.members(project_id)
    found = [one.site_id for one in members if one.site_name == name]
    if len(found) != 1:
        few = "no site" if not found else f"{len(found)} sites"
        raise UsageError(
            f"{where}: {few} of that name in the project: say site: and an id, as `fedyard project members` lists them"
        )
    return f"site:{found[0]}"


def project_named(client: Client, name: str) -> Project:
    """The project of this name or id; a live one, if there is one. Raises `NotChosen` if there are several."""
    found = projects_called(client, name)
    live = choose(found, name, Wanted())
    if live is None and not found:
        raise UsageError(f"there is no project {name!r}, or this site may not see it")
    return live or found[0]


def projects_called(client: Client, name: str) -> list[Project]:
    """What the hub shows under a name or an id."""
    named = [project for project in client.projects(name=name) if project.name == name]
    return named or [project for project in client.projects() if project.id == name]


def run_named(client: Client, text: str) -> Run:
    """A run by its id, by a beginning of its id, or by its project and number; then its last attempt."""
    name, slash, number = text.rpartition("/")
    if not slash:
        return client.run(id_of_run(client, text))
    runs = [r for r in client.runs(project_id=project_named(client, name).id) if str(r.number) == number]
    if not runs:
        raise UsageError(f"project {name!r} has no run {number}")
    return max(runs, key=lambda run: run.attempt)


def id_of_run(client: Client, text: str, what: str = "run") -> str:
    """Raises `UsageError` if no run that this site may see has an id that begins so, or several have."""
    said = text.lower()
    if len(said) == ID_LENGTH:
        return said
    if not BEGINS_ID.fullmatch(said):
        raise UsageError(f"{text!r} names no {what}: say PROJECT/NUMBER, its id, or how its id begins (4 characters)")
    found = [run for run in client.runs() if run.id.startswith(said)]
    if len(found) == 1:
        return found[0].id
    if not found:
        raise UsageError(f"there is no {what} whose id begins with {said}, or this site may not see it")
    which = ", ".join(f"{run.id} (number {run.number}, attempt {run.attempt}, {run.state})" for run in found[:SHOWN])
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise UsageError(f"the ids of {len(found)} runs begin with {said}: {which}{more}; say more of it")
