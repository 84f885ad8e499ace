"""Projects: those that this site may see; one of them with its members, tasks, requests; joined, left, made, begun."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fedyard.actions import projects as actions
from fedyard.actions.runs import Own, only_one
from fedyard.actions.runs import start as begin
from fedyard.actions.site import UsageError
from fedyard.agent.consents import Consent, Wanted, parse_coordinator
from fedyard.agent.contract import task_digest
from fedyard.client.client import Client
from fedyard.client.errors import Refused
from fedyard.look.drawing.graph import Node, graph
from fedyard.look.forms import Form
from fedyard.portal.desk import Answer, Desk, Done, Page, Visit, Wrong
from fedyard.sealed.keys import fingerprint, words
from fedyard.sealed.trust import Pin
from fedyard.wire.answers import Membership, Model, Project, Run, TaskSpec
from fedyard.wire.own import parameters_said, rounds_said
from fedyard.wire.plurals import counted
from fedyard.wire.statements import hex_groups

T = TypeVar("T")
ZIP = b"PK"
"""How an .npz begins."""
SHOWN = 20
"""Of a project's models and runs."""
EXAMPLE = """[
  {
    "name": "train",
    "model": "logistic_regression",
    "rounds": 10,
    "parameters": {"label": "y"}
  }
]"""


@dataclass(frozen=True)
class Row:
    """A project in the list. served: yes, no, left, or changed where its coordinator is another than the consent's."""

    project: Project
    served: str
    own: bool


@dataclass(frozen=True)
class Listed:
    rows: Sequence[Row]
    trouble: str = ""

    @property
    def sentence(self) -> str:
        served = sum(row.served == "yes" for row in self.rows)
        return f"This site serves {counted(served, 'project')} of {len(self.rows)} that it may see."


@dataclass(frozen=True)
class MemberRow:
    """A member with its identity as this site has pinned it; None: it has not met it."""

    member: Membership
    pin: Pin | None
    own: bool


@dataclass(frozen=True)
class TaskRow:
    """A task, and whether this site's people gave it: yes, no, or unknown where they gave none. parameters: as JSON."""

    spec: TaskSpec
    given: str
    digest: str
    parameters: str


@dataclass(frozen=True)
class Shown:
    """One project. membership: this site's own state in it, "" if there is none. finger: the coordinator's."""

    project: Project
    consent: Consent | None
    served: str
    own: bool
    membership: str
    members: Sequence[MemberRow]
    tasks: Sequence[TaskRow]
    drawing: str | None
    runs: Sequence[Run]
    models: Sequence[Model]
    words: str
    hex: str
    compared: bool
    allowed: Sequence[str]
    """Sentences on what of the tasks this site does not run."""

    @property
    def requests(self) -> Sequence[MemberRow]:
        return [one for one in self.members if one.member.state == "requested"]

    @property
    def live_run(self) -> Run | None:
        return next((one for one in self.runs if not one.finished), None)

    @property
    def sentence(self) -> str:
        who = "this site" if self.own else self.project.coordinator_name
        active = sum(one.member.state == "active" for one in self.members)
        part = {"yes": "This site serves it", "left": "This site has left it", "no": "This site does not serve it"}.get(
            self.served, "Its coordinator is not the one that this site agreed to"
        )
        waits = not self.own and self.served == "yes" and self.membership in ("", "requested")
        asked = " and waits to be let in" if waits else ""
        members = f", {counted(active, 'member takes', 'members take')} part" if self.members else ""
        return f"{part}{asked}; {who} coordinates{members}."


def served(consent: Consent | None, project: Project) -> str:
    if consent is None:
        return "no"
    if not consent.live:
        return "left"
    same = (consent.coordinator, consent.identity) == (project.coordinator_site_id, project.coordinator_identity_key)
    return "yes" if same else "changed"


def index(visit: Visit) -> Answer:
    desk, consents = visit.desk, visit.desk.consents()
    found, trouble = desk.asked(lambda client: client.projects())
    own = desk.folder.site_id()
    rows = [Row(one, served(consents.get(one.id), one), one.coordinator_site_id == own) for one in found or ()]
    rows.sort(key=lambda row: (row.project.archived_at is not None, row.served != "yes", row.project.name))
    return Page("projects.html", {"listed": Listed(rows, trouble), "consents": list(consents.values())})


def show(visit: Visit) -> Answer:
    """Raises `HubError`: of a project there is nothing to show without the hub."""
    return Page("project.html", {"shown": _shown(visit.desk, visit.desk.client(), visit.path["project_id"])})


def _shown(desk: Desk, client: Client, project_id: str) -> Shown:
    project, own_id = client.project(project_id), desk.folder.site_id()
    consent, pins = desk.consents().get(project.id), desk.folder.trust(desk.settings()).pins()
    members = _seen(lambda: client.members(project.id))
    runs = sorted(
        _seen(lambda: client.runs(project_id=project.id)), key=lambda run: (run.number, run.attempt), reverse=True
    )
    ours = desk.state().runs.own_tasks(project.id)
    finger = fingerprint(project.coordinator_identity_key)
    pin = pins.get(project.coordinator_site_id)
    return Shown(
        project=project,
        consent=consent,
        served=served(consent, project),
        own=project.coordinator_site_id == own_id,
        membership=next((one.state for one in members if one.site_id == own_id), ""),
        members=[MemberRow(one, pins.get(one.site_id), one.site_id == own_id) for one in members],
        tasks=tasks_of(project.tasks, ours),
        drawing=drawn(project.tasks),
        runs=runs[:SHOWN],
        models=_seen(lambda: client.models(project.id))[: -SHOWN - 1 : -1],
        words=words(finger),
        hex=hex_groups(finger),
        compared=pin is not None and pin.how == "fingerprint" and pin.identity == project.coordinator_identity_key,
        allowed=_not_allowed(desk, project.tasks),
    )


def _seen(ask: Callable[[], Sequence[T]]) -> Sequence[T]:
    """What the hub shows to members alone: nothing, to a site that is none."""
    try:
        return ask()
    except Refused as error:
        if error.status not in (403, 404):
            raise
        return []


def tasks_of(tasks: Sequence[TaskSpec], ours: Mapping[str, str]) -> list[TaskRow]:
    digests = [(task, task_digest(task)) for task in tasks]
    return [
        TaskRow(
            task,
            ("yes" if digest in ours else "no") if ours else "unknown",
            digest,
            msgspec.json.encode(task.parameters).decode(),
        )
        for task, digest in digests
    ]


def drawn(tasks: Sequence[TaskSpec]) -> str | None:
    """What follows what; None for a single task, which follows nothing."""
    if len(tasks) < 2:
        return None
    nodes = [Node(one.name, one.name, f"{one.model}, {counted(one.rounds, 'round')}") for one in tasks]
    edges = [
        (before, task.name)
        for place, task in enumerate(tasks)
        for before in ([tasks[place - 1].name] if task.after is None and place else task.after or [])
    ]
    return graph("Tasks, and what follows what", nodes, edges)


def _not_allowed(desk: Desk, tasks: Sequence[TaskSpec]) -> list[str]:
    from fedyard.tasks.registry import why_unknown  # noqa: PLC0415 - numpy is heavy, and other pages need none

    allow = desk.settings().tasks.allow
    return list(dict.fromkeys(why for task in tasks if (why := why_unknown(task.model, allow))))


# actions


def join(visit: Visit) -> Answer:
    """As `fedyard project join`: whose project it is has to be said, by its words or by believing the hub this once."""
    desk, form = visit.desk, visit.form
    client = desk.client()
    project = client.project(visit.path["project_id"])
    own = project.coordinator_site_id == desk.folder.site_id()
    said, believed = form.value("coordinator").strip(), form.has("believe", "true")
    if not own and not said and not believed:
        raise Wrong("coordinator", "type the words that its people told you, or believe the hub this once")
    try:
        wanted = parse_coordinator(said) if said else Wanted()
    except ValueError as error:
        raise Wrong("coordinator", str(error)) from None
    _, membership = actions.join(desk.folder, client, project, wanted, form.value("notes"))
    text = (
        f"{project.name}: {membership.state}" if membership else f"{project.name} is served; this site coordinates it"
    )
    return Done(f"/projects/{project.id}", f"{text}.")


def leave(visit: Visit) -> Answer:
    desk, project_id = visit.desk, visit.path["project_id"]
    left = actions.leave(desk.folder, desk.client(), project_id)
    text = (
        "This site does not serve the project any more" if left.withdrawn else "This site takes no part in the project"
    )
    if left.unheard:
        text = f"{text}; the hub has not heard of it yet: {left.unheard}"
    return Done("/projects", f"{text}.")


def let_in(visit: Visit) -> Answer:
    project_id, site_id = visit.path["project_id"], visit.form.value("site")
    membership = actions.approve(visit.desk.client(), project_id, site_id, "this project")
    return Done(f"/projects/{project_id}#members", f"{visit.form.value('name') or site_id}: {membership.state}.")


def decline(visit: Visit) -> Answer:
    project_id, site_id = visit.path["project_id"], visit.form.value("site")
    membership = visit.desk.client().remove_member(project_id, site_id, key=visit.key)
    return Done(f"/projects/{project_id}#members", f"{visit.form.value('name') or site_id}: {membership.state}.")


def start(visit: Visit) -> Answer:
    desk, client = visit.desk, visit.desk.client()
    project = client.project(visit.path["project_id"])
    with tempfile.TemporaryDirectory(dir=desk.folder.path) as spool:
        own = _own(visit, project.tasks, Path(spool))
        run = begin(desk.folder, client, project, queue=visit.form.has("queue", "true"), own=own, key=visit.key)
    more = counted(run.requests_waiting, "site has", "sites have") if run.requests_waiting else ""
    waits = f" {more} asked to join and will take no part until let in." if more else ""
    return Done(f"/runs/{run.id}", f"Run {run.number} is {run.state}.{waits}")


def _own(visit: Visit, tasks: Sequence[TaskSpec], spool: Path) -> Own:
    """What the run shall have of its own, as the form says it. Raises `Wrong`."""
    form, said = visit.form, {"parameters": parameters_said, "rounds": rounds_said}
    read: dict[str, Any] = {}
    for name, meant in said.items():
        lines = [line.strip() for line in form.value(name).splitlines() if line.strip()]
        try:
            read[name] = meant(lines, tasks)
        except ValueError as error:
            raise Wrong(name, f"{error}.") from None
    version, task = form.value("model_version").strip(), form.value("first_task").strip()
    if version and not version.isdecimal():
        raise Wrong("model_version", "a number, as in the list of the project's models")
    first: dict[str, Path] = {}
    if visit.file is not None:
        file = spool / ("first.npz" if visit.file.startswith(ZIP) else "first.bin")
        file.write_bytes(visit.file)
        first = {task or only_one(tasks, "a file to begin with"): file}
    return Own(read["parameters"], read["rounds"], first, model_version=int(version) if version else None)


def accept_tasks(visit: Visit) -> Answer:
    """As `fedyard project tasks --accept`: what the hub shows is what this site's people want."""
    desk, client = visit.desk, visit.desk.client()
    project = client.project(visit.path["project_id"])
    if project.coordinator_site_id != desk.folder.site_id():
        raise UsageError("this project is coordinated by another site; its tasks are that site's to give")
    actions.remember(desk.folder, project.id, project.tasks)
    return Done(f"/projects/{project.id}", "The tasks are as this site's people want them.")


def new(visit: Visit) -> Answer:
    form = visit.form if visit.form.values else Form.of(tasks=EXAMPLE, joining="approval", sealed="required")
    return Page("project_new.html", {"form": form})


def create(visit: Visit) -> Answer:
    desk, form = visit.desk, visit.form
    name = form.value("name").strip()
    if not name:
        raise Wrong("name", "give it a name")
    try:
        tasks = msgspec.json.decode(form.value("tasks").encode(), type=list[dict[str, object]])
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise Wrong("tasks", str(error)) from None
    try:
        made = actions.create(
            desk.folder,
            desk.client(),
            name,
            tasks,
            "tasks",
            description=form.value("description"),
            data_format=form.value("data_format"),
            joining=form.value("joining", "approval"),
            sealed=form.value("sealed", "required"),
            key=visit.key,
        )
    except UsageError as error:
        raise Wrong("tasks", str(error)) from None
    return Done(f"/projects/{made}", f"{name} is made, and this site coordinates it. Tell the others its id: {made}")
