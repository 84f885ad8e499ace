"""Workloads: what runs for projects, where it does not run why, and what attempts left."""

from __future__ import annotations

import shlex
from typing import Any, Literal, TypeAlias

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.states import WORKLOAD_LIVE, WorkloadState
from domain.values import WorkloadSpec
from fedyard.look.forms import Form
from fedyard.wire.shown import MAX_LINE, shown
from storage.views import projects
from storage.views import workloads as views
from storage.views.resources import Workload, WorkloadLog
from web.api import workloads as api
from web.http.bodies import Count
from web.http.calls import Call, given
from web.http.operations import Operation
from web.page.acting import act, acted_or_shown
from web.page.forms import form_of
from web.page.rendering import WHERE, Shown, ShownList, page, part, shows, takes
from web.problems import not_found

HREF = f"{WHERE}/workloads"
RENEWED_EVERY_S = 15
"""What ends a workload wakes a page at once; what its cluster says meanwhile comes so soon."""
TAIL_BYTES = 32_768
"""Of a log that is followed."""
States: TypeAlias = Literal["", "wanted", "starting", "running", "succeeded", "failed", "stopped", "lost"]
_OF = {one.name: one for one in api.OPERATIONS}
_STOP, _SCALE = _OF["stop_workload"], _OF["scale_workload"]


class WorkloadsQuery(ShownList, frozen=True):
    """state: empty, as a form sends it: of any."""

    state: States = ""


class WorkloadQuery(Shown, frozen=True):
    """attempt: whose log is shown; the newest one's, if it is left out. follow: the log is read while it is written."""

    attempt: Count | UnsetType = UNSET
    follow: bool = False


def listed(call: Call) -> Response:
    database, subject, state = call.web.database, call.caller.subject, call.query.state
    found = views.everywhere(database, subject, call.paging, state or None)
    names = projects.names_of(database, subject, {one.project_id for one in found.items})
    further = f"{HREF}?after={found.next}{f'&state={state}' if state else ''}" if found.next else ""
    return page(
        call,
        "workloads/list.html",
        workloads=found.items,
        names=names,
        next=further,
        states=[("", "any state"), *((one.value, one.value) for one in WorkloadState)],
        form=Form.of(state=state),
        state=state,
        live=sum(one.state in WORKLOAD_LIVE for one in found.items),
        stuck=sum(bool(one.reason) and one.state == WorkloadState.STARTING for one in found.items),
    )


def read(call: Call) -> Response:
    return page(call, "workloads/workload.html", **_facts(call))


def live(call: Call) -> Response:
    """What goes on of it, once there is news, or after a while."""
    before = _seen(call)

    def changed() -> Workload | None:
        found = _seen(call)
        return found[0] if found != before else None

    call.web.watchers.until(("log", before[0].id), RENEWED_EVERY_S, changed, RENEWED_EVERY_S / 3, by=call.waiter)
    return part(call, "workloads/live.html", **_facts(call))


def stop(call: Call) -> Response:
    return _act(call, _STOP, "reason")


def scale(call: Call) -> Response:
    return _act(call, _SCALE, "replicas")


def _act(call: Call, operation: Operation, *names: str) -> Response:
    ident, form = call.id("workload_id"), form_of(call)
    acted = act(call, operation, {"workload_id": ident}, form.body(*names))
    if acted.ok:
        return acted_or_shown(call, acted, to=f"{HREF}/{ident}", template="")
    return acted_or_shown(call, acted, to="", template="workloads/workload.html", form=form, **_facts(call))


def _read(call: Call) -> Workload:
    found = views.workload(call.web.database, call.caller.subject, call.id("workload_id"))
    if found is None:
        raise not_found("workload", call.id("workload_id"))
    return found


def _seen(call: Call) -> tuple[Workload, int]:
    """How it is, and how much its log has."""
    found = _read(call)
    return found, views.log_size(call.web.database, found.id, given(call.query.attempt) or found.attempt)


def _followed(call: Call, log: WorkloadLog) -> str | None:
    """The end of a log that is still written, and from now on is read; None for who may not read it."""
    begin = max(0, views.log_size(call.web.database, log.workload_id, log.attempt) - TAIL_BYTES)
    seen = api.log_now(call.web, call.caller.subject, log.workload_id, log.attempt, begin)
    return _readable(seen.found.log or b"") if isinstance(seen, views.Followed) else None


def _readable(log: bytes) -> str:
    """As people read it: what would hide or reorder a line is made visible, and where a line was written over is
    another one."""
    text = log.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(shown(line, MAX_LINE, lines=True) for line in text.split("\n"))


def _facts(call: Call) -> dict[str, Any]:
    database, subject = call.web.database, call.caller.subject
    found = _read(call)
    attempt = given(getattr(call.query, "attempt", UNSET))
    attempts = views.attempts(database, subject, found.id)
    log = views.log(database, subject, found.id, attempt)
    follows = bool(getattr(call.query, "follow", False)) and log is not None and log.kept_at is None
    query = "&".join(filter(None, (f"attempt={attempt}" if attempt else "", "follow=true" if follows else "")))
    project = projects.project(database, subject, found.project_id)
    name = None if project is None else project.name
    return {
        "workload": found,
        "project": name,
        "attempts": [] if attempts is None else list(reversed(attempts.items)),
        "log": log,
        "text": None if log is None or log.log is None else _readable(log.log),
        "follows": follows,
        "followed": _followed(call, log) if follows and log is not None else None,
        "going": found.state in WORKLOAD_LIVE,
        "scales": found.spec.kind == "service" and found.state in WORKLOAD_LIVE,
        "spec": said_of(found.spec),
        "may_act": subject.role != "auditor",
        "live_src": f"{HREF}/{found.id}/live{'?' if query else ''}{query}",
    }


def said_of(spec: WorkloadSpec) -> list[tuple[str, str]]:
    """What was asked for, as far as anything was: words of a command as a shell takes them, what has parts as JSON."""
    asked = msgspec.to_builtins(spec)
    said = [(name, value) for name, value in asked.items() if value not in (None, "", [], {})]
    return [(name.replace("_", " "), _said(value)) for name, value in said]


def _said(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return shlex.join(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


OPERATIONS = (
    shows("workloads", "page_workloads", "What runs for projects", listed, query=WorkloadsQuery),
    shows("workloads/{workload_id}", "page_workload", "A workload and its attempts", read, query=WorkloadQuery),
    shows(
        "workloads/{workload_id}/live",
        "page_workload_live",
        "What goes on of it",
        live,
        query=WorkloadQuery,
        long=True,
    ),
    takes("workloads/{workload_id}/stop", "page_stop_workload", "Have it go", stop),
    takes("workloads/{workload_id}/replicas", "page_scale_workload", "Have more or fewer of it", scale),
)
