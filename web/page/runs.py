"""Runs: which there are, and one of them as it goes on, with what people do to it."""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from flask import Response
from msgspec import UNSET, UnsetType

from domain.ids import is_id
from domain.values import TaskSpec
from fedyard.look.forms import Form
from fedyard.look.runs import drawn
from fedyard.look.runs.curves import metrics_csv, room
from fedyard.look.runs.grid import MAX_ROUNDS
from fedyard.look.runs.shown import SiteAbout, late_in, names_in, shown, whys_of
from fedyard.look.runs.words import told
from fedyard.wire import answers
from fedyard.wire.causes import first_cause
from fedyard.wire.comparing import run_settings
from fedyard.wire.own import parameters_said, rounds_said
from fedyard.wire.times import SECOND
from storage.views import events, models, projects, runs, sites, workloads
from storage.views.resources import Model, Project, RunHead, Site
from storage.views.sight import Paging, sees_everything
from web.api import projects as projects_api
from web.api import runs as api
from web.http.answers import API
from web.http.auth import PEOPLE
from web.http.bodies import Count, EventsQuery, Position, Query, Uuid
from web.http.calls import Call, given
from web.http.operations import Operation
from web.page.acting import act, acted_or_shown
from web.page.downloads import download
from web.page.forms import form_of
from web.page.rendering import HTML, WHERE, IdOrNone, Shown, ShownList, page, part, shows, takes
from web.page.seen_runs import seen_run
from web.page.sessions import SESSION
from web.problems import not_found

RunStates: TypeAlias = Literal["live", "created", "running", "succeeded", "failed", "cancelled"]
STATES: tuple[tuple[str, str], ...] = (
    ("", "any state"),
    ("live", "live: queued or running"),
    ("created", "created: queued"),
    ("running", "running"),
    ("succeeded", "succeeded"),
    ("failed", "failed"),
    ("cancelled", "cancelled"),
)
POLL_S = 25.0
"""How long a page's poll waits for news of a run."""
FRESH_S = 5
"""How long what was drawn for one is shown to others while the run does not change: what is said of sites and of time
goes on without it."""
EVENTS_SHOWN = 12
"""On the run's page, the newest; the others have a page of their own."""
OUTS_READ = 500
AHEAD_SHOWN = 20
MODELS_OFFERED = 100
PROJECTS_OFFERED = 200
ROUNDS_READ = 20
"""At once, for the file of metrics."""
MIN_ROUNDS = 4
MAX_CELLS = 4000
"""Of a grid, about: with many seats it has fewer rounds."""


class RunsQuery(ShownList, frozen=True):
    """Empty fields of the form that filters are as if they were left out."""

    state: RunStates | Literal[""] = ""
    project: IdOrNone = ""


class RunQuery(Shown, frozen=True):
    """last: the newest round that is shown; the newest of all if it is left out."""

    last: Count | UnsetType = UNSET


class LiveQuery(Query, frozen=True):
    """after: answered once the run's version is above it."""

    after: Position = 0


class StartQuery(Shown, frozen=True):
    project: Uuid | UnsetType = UNSET


class OfRunQuery(EventsQuery, frozen=True):
    command: Uuid | UnsetType = UNSET


def listed(call: Call) -> Response:
    database, subject, query = call.web.database, call.caller.subject, call.query
    state, project = query.state or None, query.project or None
    found = runs.runs(
        database,
        subject,
        call.paging,
        state=None if state == "live" else state,
        project=project,
        live=state == "live",
        newest_first=True,
    )
    offered = _projects(call)
    names = {one.id: one.name for one in offered}
    names |= projects.names_of(
        database, subject, {one.project_id for one in found.items} | ({project} if project else set())
    )
    coordinators = sites.sites_named(database, subject, [one.coordinator_site_id for one in found.items])
    counts = runs.live_counts(database, subject)
    return page(
        call,
        "runs/list.html",
        runs=found.items,
        next=_further(call, found.next),
        names=names,
        coordinators={ident: site.name for ident, site in coordinators.items()},
        states=STATES,
        projects=[("", "any project"), *((ident, name) for ident, name in names.items())],
        form=Form.of(state=state, project=project),
        filtered=bool(state or project),
        running=counts.get("running", 0),
        queued=counts.get("created", 0),
    )


def _further(call: Call, cursor: str | None) -> str:
    kept = "".join(f"&{name}={value}" for name in ("state", "project") if (value := getattr(call.query, name)))
    return f"{WHERE}/runs?after={cursor}{kept}" if cursor else ""


def _projects(call: Call) -> list[Project]:
    """Those that one may know of, as many as a choice has room for."""
    found = projects.projects(
        call.web.database,
        call.caller.subject,
        Paging(PROJECTS_OFFERED),
        name=None,
        coordinator=None,
        member=None,
    )
    return [one for one in found.items if one.archived_at is None]


def read(call: Call) -> Response:
    last = given(call.query.last)
    run = _read(call, last)
    database, subject = call.web.database, call.caller.subject
    coordinates = runs.coordinates_run(database, subject, run.id)
    return page(
        call,
        "runs/run.html",
        **_facts(call, run, last),
        ended=False,
        may_stop=not run.finished and (coordinates or subject.role == "admin"),
        may_restart=coordinates and not run.kind,
    )


def live(call: Call) -> Response:
    """The part of the page that goes on, once the run has changed or the wait is over; drawn once for all who may see
    the same of it."""
    web, subject, ident = call.web, call.caller.subject, call.id("run_id")

    def look() -> runs.Progress:
        found = runs.progress_of(web.database, subject, ident)
        if found is None:
            raise not_found("run", ident)
        return found

    def newer() -> runs.Progress | None:
        found = look()
        return found if found.version > call.query.after else None

    progress = web.watchers.until(("run", ident), POLL_S, newer, by=call.waiter) or look()
    viewer = None if sees_everything(subject) else subject.organisation_id
    key = (f"page of {ident}", viewer)
    version = progress.version * 10**12 + web.hub.clock.now() // (FRESH_S * SECOND)
    kept = None if progress.past else web.responses.get(key, version)
    if kept is None:
        run = _read(call)
        response = part(call, "runs/live.html", **_facts(call, run, None), ended=run.finished)
        kept = gzip.compress(response.get_data(), compresslevel=5)
        if not progress.past and run.version == progress.version:
            web.responses.put(key, version, kept)
    return _unpacked_for(call, kept)


def _unpacked_for(call: Call, zipped: bytes) -> Response:
    """What is the same for many is kept packed, and there is nothing secret in it that packing would tell of."""
    headers = {"Vary": "Accept-Encoding"}
    if call.request.accept_encodings.quality("gzip") > 0:
        return Response(zipped, 200, {**headers, "Content-Encoding": "gzip"}, content_type=HTML)
    return Response(gzip.decompress(zipped), 200, headers, content_type=HTML)


def _read(call: Call, last: int | None = None) -> answers.Run:
    """The run as the API shows it, with the rounds of its grids: 404 where one may not see it."""
    seats, _ = runs.seats_and_rounds(call.web.database, call.id("run_id"))
    many = max(MIN_ROUNDS, min(MAX_ROUNDS, MAX_CELLS // max(1, seats)))
    return seen_run(call, call.id("run_id"), runs.Window(many, last))


def _measured(call: Call, run: answers.Run) -> answers.Run:
    """The same with the rounds of its curves, and the sites that have a line there."""
    _, furthest = runs.seats_and_rounds(call.web.database, run.id)
    many, lines = room(furthest)
    names = names_in(run)
    first = sorted(names, key=lambda site: (names[site].casefold(), site))[:lines]
    return seen_run(call, run.id, runs.Window(many, None, first))


def _facts(call: Call, run: answers.Run, last: int | None) -> dict[str, Any]:
    """What the part of the page shows that goes on. last: the newest round of the grids."""
    web, subject, now = call.web, call.caller.subject, call.web.hub.clock.now()
    progress = runs.progress_of(web.database, subject, run.id)
    past = progress is None or progress.past
    project = projects.project(web.database, subject, run.project_id)
    late = late_in(run)
    known = sites.sites_named(web.database, subject, [*late, run.coordinator_site_id])
    held = workloads.not_begun(web.database, late)
    outs = events.newest_of_run(web.database, subject, run.id, limit=OUTS_READ, past=past, outs=True)
    seen = shown(
        run,
        {ident: site.name for ident, site in known.items()},
        now=datetime.fromtimestamp(now / SECOND, UTC),
        sites={ident: _about(known[ident], held.get(ident, "")) for ident in late if ident in known},
        whys=whys_of(outs),
        whole=runs.sees_whole(web.database, subject, run.id),
        cause=first_cause(run, outs),
        last=last,
        measured=_measured(call, run),
    )
    return {
        "run": run,
        "shown": seen,
        "project": None if project is None else project.name,
        "settings": [] if project is None else run_settings([task.spec for task in run.tasks], project.tasks),
        "events": events.newest_of_run(web.database, subject, run.id, limit=EVENTS_SHOWN, past=past),
        "models": _models(call, run),
        "drawn": drawn,
        "told": told,
        "site_href": f"{WHERE}/sites/{{}}".format,
        "last": last,
        "ahead": _ahead(call, run),
        "hub_troubles": {} if run.finished else (web.silent.trouble() or {}),
        "src": "" if run.finished or last is not None else f"{WHERE}/runs/{run.id}/live?after={run.version}",
    }


def _ahead(call: Call, run: answers.Run) -> list[RunHead]:
    """The live runs of its project that a queued one waits for."""
    if run.state != "created":
        return []
    database, subject = call.web.database, call.caller.subject
    found = runs.runs(database, subject, Paging(AHEAD_SHOWN), state=None, project=run.project_id, live=True)
    return [one for one in found.items if one.number < run.number and not one.kind]


def _about(site: Site, held_by: str) -> SiteAbout:
    seen_at = None if site.seen_at is None else datetime.fromisoformat(site.seen_at)
    return SiteAbout(site.state, seen_at, held_by)


def _models(call: Call, run: answers.Run) -> dict[int, dict[int, tuple[str, str]]]:
    """The newest that this run made, by task and round: the word for each, and where it is."""
    made: dict[int, dict[int, tuple[str, str]]] = defaultdict(dict)
    for one in models.newest(call.web.database, call.caller.subject, run.project_id, MODELS_OFFERED):
        if one.run_id == run.id and one.task_seq is not None:
            href = f"{WHERE}/projects/{run.project_id}/models/{one.version}"
            made[one.task_seq][one.round] = f"model {one.version}", href
    return made


def read_events(call: Call) -> Response:
    run = _read(call)
    progress = runs.progress_of(call.web.database, call.caller.subject, run.id)
    past = progress is None or progress.past
    after, limit = call.query.after, call.query.limit
    found = events.of_run(call.web.database, call.caller.subject, run.id, after=after, limit=limit, past=past)
    return page(
        call,
        "runs/events.html",
        told=told,
        run=run,
        events=found.items,
        names=names_in(run),
        project=projects.names_of(call.web.database, call.caller.subject, [run.project_id]).get(run.project_id),
        first=f"{WHERE}/runs/{run.id}/events" if after else "",
        next=f"{WHERE}/runs/{run.id}/events?after={found.next}" if found.next else "",
    )


def read_metrics(call: Call) -> Response:
    """A file for a spreadsheet: every metric of every round, a line for each, read so many rounds at a time."""
    run = _read(call)
    _, furthest = runs.seats_and_rounds(call.web.database, run.id)

    def pieces() -> Iterator[bytes]:
        for last in range(ROUNDS_READ, max(1, furthest) + ROUNDS_READ, ROUNDS_READ):
            some = seen_run(call, run.id, runs.Window(ROUNDS_READ, last))
            yield metrics_csv(some, names_in(some), headings=last == ROUNDS_READ).encode()

    return download(call, f"run-{run.number}-{run.attempt}-metrics.csv", "text/csv; charset=utf-8", pieces())


def begin(call: Call) -> Response:
    """The form that starts one."""
    form = Form.of(project_id=given(call.query.project), finish_within_h=168)
    return page(call, "runs/start.html", form=form, **_to_start(call, form))


def _to_start(call: Call, form: Form) -> dict[str, Any]:
    """settings: what the tasks of the chosen project have now, for who wants something else."""
    chosen = _chosen(call, form)
    rows = [] if chosen is None else run_settings(chosen.tasks)
    return {"projects": _coordinated(call), "chosen": chosen, "settings": rows}


def _chosen(call: Call, form: Form) -> Project | None:
    ident = form.value("project_id")
    return projects.project(call.web.database, call.caller.subject, ident) if is_id(ident) else None


def _coordinated(call: Call) -> list[tuple[str, str]]:
    """Projects that one may start runs of: those that a site of one's own coordinates."""
    mine = sites.sites_named(
        call.web.database, call.caller.subject, [one.coordinator_site_id for one in _projects(call)]
    )
    subject = call.caller.subject
    own = {ident for ident, site in mine.items() if site.organisation_id == subject.organisation_id}
    return [
        (one.id, one.name) for one in _projects(call) if one.coordinator_site_id in own and subject.role != "auditor"
    ]


def start(call: Call) -> Response:
    form = form_of(call)
    project = form.value("project_id")
    if not is_id(project):
        form = form.with_error("project_id", "Choose a project.")
        return page(call, "runs/start.html", status=422, form=form, **_to_start(call, form))
    chosen = _chosen(call, form)
    own, wrong = _own(form, [] if chosen is None else chosen.tasks)
    if wrong is not None:
        return page(call, "runs/start.html", status=422, form=wrong, **_to_start(call, form))
    acted = act(call, _START, {"project_id": project}, {**form.body("queue", "model_version"), **_within(form), **own})
    return acted_or_shown(
        call,
        acted,
        to=f"{WHERE}/runs/{{id}}",
        template="runs/start.html",
        fields={"finish_within_s": "finish_within_h"},
        **_to_start(call, form),
    )


def _own(form: Form, tasks: list[TaskSpec]) -> tuple[dict[str, object], Form | None]:
    """What the run is to have of its own, as a body has it; or the form with what is wrong with it."""
    own: dict[str, object] = {}
    for name, read in (("parameters", parameters_said), ("rounds", rounds_said)):
        said = [line.strip() for line in form.value(name).splitlines() if line.strip()]
        try:
            own |= {name: read(said, tasks)} if said else {}
        except ValueError as error:
            return {}, form.with_error(name, f"{error}.")
    initial = form.value("initial").replace(",", " ").split()
    return own | ({"initial": initial} if initial else {}), None


def _within(form: Form) -> dict[str, object]:
    """Hours as people say them are the API's seconds."""
    text = form.value("finish_within_h").strip()
    try:
        return {"finish_within_s": float(text) * 3600} if text else {}
    except ValueError:
        return {"finish_within_s": text}


def stop(call: Call) -> Response:
    ident = call.id("run_id")
    acted = act(call, _STOP, {"run_id": ident}, form_of(call).body("reason"))
    return acted_or_shown(call, acted, to=f"{WHERE}/runs/{ident}", template="runs/refused.html", ident=ident)


def begin_again(call: Call) -> Response:
    """The form that begins another attempt."""
    run = _read(call)
    form = Form.of(start_from="reached", finish_within_h=168)
    return page(call, "runs/restart.html", run=run, form=form, **_to_restart(call, run))


def _to_restart(call: Call, run: answers.Run) -> dict[str, Any]:
    database, subject = call.web.database, call.caller.subject
    tasks = {(task.seq, task.name) for task in run.tasks}
    fitting = [
        one
        for one in models.newest(database, subject, run.project_id, MODELS_OFFERED)
        if (one.task_seq, one.task) in tasks
    ]
    offered = [("", "none: as said above"), *((str(one.version), _said_of(one, run)) for one in fitting)]
    return {
        "models": offered,
        "project": projects.names_of(database, subject, [run.project_id]).get(run.project_id),
    }


def _said_of(model: Model, run: answers.Run) -> str:
    whose = "this run" if model.run_id == run.id else "another run"
    measured = ", ".join(f"{name} {value!r}" for name, value in sorted(model.metrics.items())[:2])
    return f"{model.version}: {model.task}, round {model.round}, of {whose}{f' ({measured})' if measured else ''}"


def restart(call: Call) -> Response:
    form, ident = form_of(call), call.id("run_id")
    body = {**form.body("start_from", "model_version"), **_within(form)}
    acted = act(call, _RESTART, {"run_id": ident}, body)
    run = _read(call)
    return acted_or_shown(
        call,
        acted,
        to=f"{WHERE}/runs/{{id}}",
        template="runs/restart.html",
        fields={"finish_within_s": "finish_within_h"},
        run=run,
        **_to_restart(call, run),
    )


_START = next(one for one in projects_api.OPERATIONS if one.name == "start_run")
_STOP, _RESTART = (next(one for one in api.OPERATIONS if one.name == name) for name in ("stop_run", "restart_run"))
OPERATIONS = (
    shows("runs", "page_runs", "Runs", listed, query=RunsQuery),
    shows("runs/start", "page_run_begin", "The form that starts a run", begin, query=StartQuery),
    takes("runs/start", "page_run_start", "Start a run", start),
    shows("runs/{run_id}", "page_run", "A run", read, query=RunQuery),
    shows("runs/{run_id}/live", "page_run_live", "The part of it that goes on", live, query=LiveQuery, long=True),
    shows("runs/{run_id}/events", "page_run_events", "What happened in a run", read_events, query=OfRunQuery),
    shows("runs/{run_id}/restart", "page_run_begin_again", "The form for another attempt", begin_again),
    takes("runs/{run_id}/restart", "page_run_restart", "Begin another attempt of a run", restart),
    takes("runs/{run_id}/stop", "page_run_stop", "Stop a run", stop),
    Operation(
        method="GET",
        path=f"{WHERE}/runs/{{run_id}}/metrics.csv",
        name="page_run_metrics",
        about="Metrics of a run as a file",
        does=read_metrics,
        kind=API,
        authentication=SESSION,
        who=PEOPLE,
        answers={200: None},
    ),
)
