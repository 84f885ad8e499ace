"""Every page and every form of the portal, by path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedyard.portal.desk import Answer, Visit
from fedyard.portal.pages import agent, keys, left, messages, models, now, policy, projects, runs, trust

Does = Callable[[Visit], Answer]


@dataclass(frozen=True)
class Shows:
    """A page, or a file. path: as Flask has it. waits: it may hold its answer back until something is new."""

    path: str
    does: Does
    waits: bool = False


@dataclass(frozen=True)
class Takes:
    """A form. again: the page that shows it once more, with what was wrong. file: it may bring one."""

    path: str
    does: Does
    again: Does
    file: bool = False


PAGES: Sequence[Shows] = (
    Shows("/", now.show),
    Shows("/live", now.live, waits=True),
    Shows("/left", left.show),
    Shows("/policy", policy.show),
    Shows("/agent", agent.show),
    Shows("/projects", projects.index),
    Shows("/projects/new", projects.new),
    Shows("/projects/<uuid:project_id>", projects.show),
    Shows("/runs", runs.index),
    Shows("/runs/<uuid:run_id>", runs.show),
    Shows("/runs/<uuid:run_id>/live", runs.live, waits=True),
    Shows("/runs/<uuid:run_id>/logs", runs.logs),
    Shows("/models", models.show),
    Shows("/models/files/<name>", models.file),
    Shows("/models/<uuid:project_id>/<int:version>", models.download),
    Shows("/messages", messages.show),
    Shows("/messages/<int:seq>", messages.read),
    Shows("/messages/<int:seq>/content", messages.content),
    Shows("/trust", trust.show),
    Shows("/keys", keys.show),
)

FORMS: Sequence[Takes] = (
    Takes("/projects/new", projects.create, projects.new),
    Takes("/projects/<uuid:project_id>/join", projects.join, projects.show),
    Takes("/projects/<uuid:project_id>/leave", projects.leave, projects.show),
    Takes("/projects/<uuid:project_id>/let-in", projects.let_in, projects.show),
    Takes("/projects/<uuid:project_id>/decline", projects.decline, projects.show),
    Takes("/projects/<uuid:project_id>/tasks", projects.accept_tasks, projects.show),
    Takes("/projects/<uuid:project_id>/start", projects.start, projects.show, file=True),
    Takes("/policy/approve", policy.approve, policy.show),
    Takes("/policy/refuse", policy.refuse, policy.show),
    Takes("/runs/<uuid:run_id>/stop", runs.stop, runs.show),
    Takes("/runs/<uuid:run_id>/restart", runs.restart, runs.show),
    Takes("/runs/<uuid:run_id>/accept", runs.accept, runs.show),
    Takes("/messages", messages.send, messages.show, file=True),
    Takes("/trust", trust.compare, trust.show),
    Takes("/keys/rotate", keys.rotate, keys.show),
    Takes("/keys/revoke", keys.revoke, keys.show),
)
