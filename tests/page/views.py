"""Every page that there is to look at: golden HTML, the walk in a browser, its checks of access for everybody, and the
pictures all read this table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from domain.ids import Id

Who = Literal["admin", "auditor", "coordinator", "member"]


@dataclass(frozen=True)
class View:
    """One page as one person sees it in one scene.

    name: of its golden file. path: with names of the scene's (tests/page/filling.py) in braces. who: None for who has
    not signed in.
    """

    name: str
    path: str
    scene: str = "small"
    who: Who | None = "admin"
    status: int = 200

    def at(self, names: Mapping[str, Id]) -> str:
        return self.path.format_map(names)


# Each noun's own rows; whoever adds a page adds some.

ENTRY: tuple[View, ...] = (
    View("entry", "/", "empty", None),
    View("sign-in", "/page/sign-in?next=/page/people", "empty", None),
    View("sign-in-by-link", "/page/sign-in?code=fyd_0123", "empty", None),
)

PEOPLE: tuple[View, ...] = (
    View("people", "/page/people"),
    View("people-first-day", "/page/people", "empty"),
    View("people-of-others", "/page/people?organisation={organisation}", who="member", status=404),
    View("account", "/page/people/{coordinator}"),
    View("account-disabled", "/page/people/{left}", who="auditor"),
    View("account-new", "/page/people/new"),
    View("organisations", "/page/organisations"),
    View("people-of-one", "/page/people?organisation={organisation}", who="coordinator"),
    View("organisation-new", "/page/organisations/new"),
    View("sessions", "/page/sessions", who="coordinator"),
    View("tokens", "/page/tokens", who="coordinator"),
    View("tokens-of-a-site", "/page/tokens?owner={site_north}", who="coordinator"),
    View("tokens-all", "/page/tokens", "busy"),
)

AUDIT: tuple[View, ...] = (
    View("audit", "/page/audit?about={project}", who="auditor"),
    View("audit-of-somebody", "/page/audit?actor={site_north}&kind=run_created", who="coordinator"),
    View("audit-of-nothing", "/page/audit?kind=site_retired&since=2030-01-01T00:00", "empty"),
    View("audit-misspelt", "/page/audit?actor=Nobody", "empty", status=400),
    View("audit-whole", "/page/audit/verification", "busy"),
)

WEBHOOKS: tuple[View, ...] = (
    View("webhooks", "/page/webhooks"),
    View("webhooks-none", "/page/webhooks", "empty", "auditor"),
    View("webhook", "/page/webhooks/{webhook}", who="coordinator"),
    View("webhook-audited", "/page/webhooks/{webhook}?state=failed", who="auditor"),
    View("webhook-new", "/page/webhooks/new", who="coordinator"),
)

NOW: tuple[View, ...] = (
    View("now", "/page/now"),
    View("now-empty", "/page/now", scene="empty"),
    View("now-of-a-day", "/page/now?span_s=86400", scene="busy", who="auditor"),
    View("now-of-a-coordinator", "/page/now", who="coordinator"),
    View("now-of-a-member", "/page/now", who="member"),
)

DEAD_LETTERS: tuple[View, ...] = (
    View("dead-letters", "/page/dead-letters"),
    View("dead-letters-of-a-queue", "/page/dead-letters?queue=deliveries.v1", who="auditor"),
    View("dead-letters-empty", "/page/dead-letters", scene="empty"),
    View("dead-letters-forbidden", "/page/dead-letters", who="member", status=403),
)

WORKLOADS: tuple[View, ...] = (
    View("workloads", "/page/workloads", who="coordinator"),
    View("workloads-empty", "/page/workloads", scene="empty"),
    View("workloads-none-fits", "/page/workloads?state=succeeded"),
    View("workload", "/page/workloads/{workload}", who="coordinator"),
    View("workload-followed", "/page/workloads/{workload}?follow=true", who="coordinator"),
    View("workload-failed", "/page/workloads/{workload_failed}?attempt=1", who="coordinator"),
    View("workload-unread", "/page/workloads/{workload_failed}", who="auditor"),
    View("workload-waiting", "/page/workloads/{workload_waiting}"),
    View("workload-of-others", "/page/workloads/{workload}", who="member", status=404),
)

STREAMS: tuple[View, ...] = (
    View("streams", "/page/streams"),
    View("streams-empty", "/page/streams", scene="empty"),
    View("streams-of-a-coordinator", "/page/streams", who="coordinator"),
    View("streams-data", "/page/streams/data"),
    View("streams-data-empty", "/page/streams/data?state=expired", who="member"),
    View("quarantine", "/page/streams/quarantine"),
    View("quarantine-empty", "/page/streams/quarantine?state=purged", who="auditor"),
    View("quarantined", "/page/streams/quarantine/{quarantined}"),
    View("quarantined-unread", "/page/streams/quarantine/{quarantined}", who="auditor"),
    View("deployment", "/page/streams/deployments/{run_cancelled}", who="coordinator"),
)

RUNS: tuple[View, ...] = (
    View("runs-empty", "/page/runs", "empty"),
    View("runs", "/page/runs"),
    View("runs-busy", "/page/runs?state=live", "busy"),
    View("runs-none-fits", "/page/runs?state=failed&project={project_new}"),
    View("run", "/page/runs/{run}", who="coordinator"),
    View("run-as-member", "/page/runs/{run}", who="member"),
    View("run-failed", "/page/runs/{run_failed}", who="auditor"),
    View("run-succeeded", "/page/runs/{run_succeeded}"),
    View("run-cancelled", "/page/runs/{run_cancelled}", who="coordinator"),
    View("run-queued", "/page/runs/{run_queued}", who="coordinator"),
    View("run-earlier-rounds", "/page/runs/{run_succeeded}?last=2"),
    View("run-events", "/page/runs/{run_failed}/events"),
    View("run-start", "/page/runs/start?project={project}", who="coordinator"),
    View("run-start-nothing", "/page/runs/start"),
    View("run-restart", "/page/runs/{run_failed}/restart", who="coordinator"),
)

COMPARING: tuple[View, ...] = (
    View("compare", "/page/runs/{run_succeeded}/compare?a={run}&b={run_failed}"),
    View("compare-nothing", "/page/runs/{run_queued}/compare"),
)

PROJECTS: tuple[View, ...] = (
    View("projects", "/page/projects"),
    View("projects-empty", "/page/projects", "empty"),
    View("projects-many", "/page/projects", "busy"),
    View("project", "/page/projects/{project}", who="coordinator"),
    View("project-new", "/page/projects/{project_new}", who="coordinator"),
    View("project-archived", "/page/projects/{project_archived}", who="coordinator"),
    View("project-stranger", "/page/projects/{project_new}", who="member"),
    View("project-members", "/page/projects/{project}/members", who="coordinator"),
    View("project-models", "/page/projects/{project}/models", who="auditor"),
    View("project-change", "/page/projects/{project}/change", who="coordinator"),
)

WIZARD: tuple[View, ...] = (
    View("wizard", "/page/projects/new", who="coordinator"),
    View("wizard-no-site", "/page/projects/new", "empty"),
    View("first-run", "/page/projects/{project_new}/first-run", who="coordinator"),
    View("first-run-ready", "/page/projects/{project}/first-run", who="coordinator"),
)

SITES: tuple[View, ...] = (
    View("sites", "/page/sites"),
    View("sites-empty", "/page/sites", "empty"),
    View("sites-many", "/page/sites", "busy", "auditor"),
    View("sites-of-member", "/page/sites", who="member"),
    View("site", "/page/sites/{site}"),
    View("site-own", "/page/sites/{site_east}", who="member"),
    View("site-of-others", "/page/sites/{site_north}", who="member"),
    View("site-retired", "/page/sites/{site_old}"),
    View("enrol", "/page/sites/enrol"),
    View("enrol-member", "/page/sites/enrol", who="member"),
)

DESCRIBING: tuple[View, ...] = (
    View("api", "/page/api", who="member"),
    View("api-call", "/page/api/create_project"),
    View("api-file", "/page/api/put_chunk"),
)

COMMANDS: tuple[View, ...] = (View("command-pending", "/page/commands/{admin}"),)

PROBLEMS: tuple[View, ...] = (
    View("nowhere", "/page/nowhere", "empty", None, 404),
    View("not_there", "/page/runs/{project}", status=404),
)

VIEWS = (
    *ENTRY,
    *PEOPLE,
    *AUDIT,
    *WEBHOOKS,
    *NOW,
    *DEAD_LETTERS,
    *WORKLOADS,
    *STREAMS,
    *RUNS,
    *COMPARING,
    *PROJECTS,
    *WIZARD,
    *SITES,
    *DESCRIBING,
    *COMMANDS,
    *PROBLEMS,
)

_PLACE = re.compile(r"\{\w+\}|\?.*")
ONE_OF_EACH = tuple({_PLACE.sub("", view.path): view for view in reversed(VIEWS)}.values())[::-1]
"""Of the views of each page the first."""
OTHERS = tuple(view for view in VIEWS if view not in ONE_OF_EACH)
"""A page's further states, and as other people see it."""
