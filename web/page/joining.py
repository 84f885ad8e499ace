"""How a site comes to take part in a project, in words and lines for a shell: it consents at home, never here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from fedyard.wire.plurals import counted
from storage.views.resources import Project


@dataclass(frozen=True)
class Instruction:
    """What to do, and the line for a shell that does it; empty where people do it."""

    sentence: str
    command: str = ""


_LET_IN = {
    "open": "That is all: the site takes part from the next task on that starts.",
    "approval": "The project's coordinator sees the request, and lets the site in or not.",
    "invitation": "It is joined by invitation: the coordinator invites the site first, by its name or id.",
}


def with_agent(project: Project, words: str) -> list[Instruction]:
    """For a site that runs the agent. words: the fingerprint of the coordinator's site."""
    models = sorted({task.model for task in project.tasks if ":" in task.model})
    steps = [
        Instruction(
            f"Ask the people of {project.coordinator_name} for the twelve words of their fingerprint, by telephone or "
            "in person, and compare them with those here: this page is the hub's word."
        ),
        Instruction(
            "Join at the site, which consents by this to serve the project under that coordinator.",
            f"fedyard project join {shlex.quote(project.id)} --coordinator {words}",
        ),
        Instruction(_LET_IN[project.joining]),
    ]
    if models:
        allowed = f"allow = [{', '.join(map(_quoted, models))}]"
        steps.insert(
            1,
            Instruction(
                f"Allow {counted(len(models), 'model')} of the project's own in site.toml, under [tasks]: read what "
                "they do first.",
                allowed,
            ),
        )
    return steps


def own_agent(project: Project) -> Instruction:
    """For the coordinator's site: who makes a project here has not yet said at the site that its agent serves it."""
    return Instruction(
        f"The hub cannot see what the people of {project.coordinator_name} let their own agent serve: until they have "
        "said this at its machine, or pressed Serve it at its portal, its seat fails and nothing is aggregated.",
        f"fedyard project join {shlex.quote(project.id)}",
    )


def _quoted(text: str) -> str:
    """As TOML has a string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def with_client_image(project: Project, command: str) -> list[Instruction]:
    """For a site whose data are read by the project's client image. command: that runs it."""
    return [
        Instruction(
            "Write the client's configuration, with a token that is good for this project alone.",
            f"fedyard project joining {shlex.quote(project.id)} --config config.yaml --token",
        ),
        Instruction(
            "Run the client, with its data in the folder device_data. The image is the coordinator's choice: look at "
            "it before you run it.",
            command,
        ),
        Instruction(
            "Say that the site is ready, so that rounds are begun with it.",
            f"fedyard project ready {shlex.quote(project.id)}",
        ),
    ]


@dataclass(frozen=True)
class Check:
    """One thing that a project's first run needs. done: it is there. remedy: what to do about it."""

    done: bool
    sentence: str
    remedy: str = ""


@dataclass(frozen=True)
class Seats:
    """How many seats a task would have now, and how many a round of it needs."""

    task: str
    there: int
    needed: int


def checklist(project: Project, seats: Sequence[Seats], *, participants: int, invited: int, asking: int) -> list[Check]:
    """What stands between the project and its first run. participants: members beside the coordinator; invited,
    asking: sites that are no members yet."""
    found = []
    for one in seats:
        enough = 0 < one.needed <= one.there
        there = counted(one.there, "seat")
        sentence = f"Task {one.task} would have {there}, and a round of it needs {max(1, one.needed)}."
        found.append(Check(enough, sentence, "" if enough else "Let more sites join, or change its quorum."))
    if not participants:
        remedy = "Invite others, or tell them how a site joins: alone it learns from its own data."
        found.append(Check(False, "Nobody but the coordinator takes part.", remedy))
    if asking:
        found.append(Check(False, f"{counted(asking, 'site asks', 'sites ask')} to join.", "Let them in, or decline."))
    if invited:
        remedy = "A site accepts at its own machine; a run may start before, and it takes part in the next task."
        found.append(
            Check(False, f"{counted(invited, 'invited site has', 'invited sites have')} not answered.", remedy)
        )
    if project.archived_at is not None:
        found.append(Check(False, "The project is archived.", "Create another one."))
    return found
