"""Projects: their members, runs and models, and what their coordinator says."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedyard.actions.messages import sent
from fedyard.actions.projects import approve, changed_tasks, remember, specs_of
from fedyard.actions.runs import Own, only_one, start
from fedyard.actions.site import UsageError
from fedyard.client.listed import Listed
from fedyard.python.asking import bound, client_of
from fedyard.python.models import Model
from fedyard.python.runs import Run
from fedyard.wire import answers as a
from fedyard.wire import types as w
from fedyard.wire.notebooks import table
from fedyard.wire.own import tasks_of_run
from fedyard.wire.plurals import counted
from fedyard.wire.shown import shown

if TYPE_CHECKING:
    from fedyard.tasks import Arrays


class Project(a.Project, frozen=True, kw_only=True, dict=True):
    """A project as the hub showed it when it was asked."""

    def refresh(self) -> Project:
        """As it is now."""
        asking = client_of(self)
        return bound(Project, asking.project(self.id), asking)

    def members(self) -> Sequence[a.Membership]:
        return client_of(self).members(self.id)

    def approve(self, site: str) -> a.Membership:
        """Let a site (name or id) in that has asked. Raises `UsageError` if it has not."""
        return approve(client_of(self), self.id, site, self.name)

    def runs(self) -> Listed[Run]:
        asking = client_of(self)
        return Listed(bound(Run, one, asking) for one in asking.runs(project_id=self.id))

    def run(self, number: int) -> Run:
        """The last attempt of the run of this number. Raises `UsageError` if there is none."""
        found = [one for one in self.runs() if one.number == number]
        if not found:
            raise UsageError(f"project {self.name!r} has no run {number}")
        return max(found, key=lambda one: one.attempt).refresh()

    def models(self) -> Listed[Model]:
        """Every version of its model, oldest first."""
        asking = client_of(self)
        return Listed(bound(Model, one, asking, project_id=self.id) for one in asking.models(self.id))

    def model(self, version: int | None = None) -> Model:
        """A version of its model; the newest, if none is named. Raises `UsageError` if there is none."""
        found = [one for one in self.models() if version in (None, one.version)]
        if not found:
            which = "no model yet" if version is None else f"no model version {version}"
            raise UsageError(f"project {self.name!r} has {which}")
        return found[-1]

    def start(
        self,
        *,
        parameters: Mapping[str, Mapping[str, object]] | None = None,
        rounds: int | Mapping[str, int] | None = None,
        first_model: str | PathLike[str] | Arrays | Mapping[str, str | PathLike[str] | Arrays] | None = None,
        initial: Sequence[str] = (),
        model_version: int | None = None,
        queue: bool = False,
    ) -> Run:
        """Begin a run, with the project's tasks or with what is the run's own.

        parameters, rounds: by the names of tasks; a number alone is of the only task that makes a model. first_model:
        arrays by name, or a file, that the task (or, by its name, each named one) begins with: the coordinator's site
        seals it, so that needs its folder. initial: tasks whose hook makes their first model. model_version: of the
        project, which the task that made it begins with. Raises `UsageError`, `NeedsFolder`, `Refused`.
        """
        asking = client_of(self)
        by_task = {only_one(self.tasks, "rounds"): rounds} if isinstance(rounds, int) else dict(rounds or {})
        given = _by_task(self, first_model)
        if not asking.leads(self.coordinator_site_id):
            if given:
                asking.as_site("sealing a first model")
                raise UsageError(f"{self.name} is coordinated by another site, which alone can give a first model")
            self._check(parameters or {}, by_task, initial)
            made = asking.start_run(
                self.id,
                queue=queue,
                parameters=parameters or None,
                rounds=by_task or None,
                initial=initial,
                model_version=model_version,
            )
        else:
            folder, site = asking.as_site("starting a run as its coordinator")
            with tempfile.TemporaryDirectory(dir=folder.path) as spool:
                limit = folder.settings().tasks.content_limit_bytes
                files = {task: _file(content, Path(spool) / f"{task}.npz", limit) for task, content in given.items()}
                own = Own(parameters or {}, by_task, files, initial, model_version)
                made = start(folder, site, self, queue=queue, own=own)
        return bound(Run, asking.run(made.id), asking)

    def change(
        self,
        *,
        parameters: Mapping[str, Mapping[str, object]] | None = None,
        rounds: int | Mapping[str, int] | None = None,
        tasks: Sequence[Mapping[str, object]] | None = None,
        name: str | None = None,
        description: str | None = None,
        data_format: str | None = None,
        client_image: str | None = None,
        joining: w.Joining | None = None,
        sealed: w.Sealed | None = None,
        infrastructure: Mapping[str, object] | None = None,
        max_live_runs: int | None = None,
    ) -> Project:
        """Change what it says of itself; it as it is then. What is None stays. Its tasks hold from the next run on.

        parameters, rounds: of its tasks, as `start` takes them. tasks: all of them, in the place of those it has.
        Tasks are changed as the coordinator's site, whose agent holds the hub to those that its people gave: that needs
        its folder. Raises `NeedsFolder`, `UsageError`, `Refused`.
        """
        fields: dict[str, Any] = {
            "name": name,
            "description": description,
            "data_format": data_format,
            "client_image": client_image,
            "joining": joining,
            "sealed": sealed,
            "infrastructure": infrastructure,
            "max_live_runs": max_live_runs,
        }
        asking = client_of(self)
        if parameters is None and rounds is None and tasks is None:
            asking.update_project(self.id, **fields)
            return self.refresh()
        if tasks is not None and (parameters is not None or rounds is not None):
            raise UsageError("say either all tasks, or parameters and rounds of those that there are")
        folder, site = asking.as_site("changing a project's tasks")
        if not asking.leads(self.coordinator_site_id):
            raise UsageError(f"{self.name} is coordinated by another site, which alone can change its tasks")
        if tasks is None:
            by_task = {only_one(self.tasks, "rounds"): rounds} if isinstance(rounds, int) else dict(rounds or {})
            tasks = changed_tasks(folder, site, self.refresh(), parameters or {}, by_task)
        specs = specs_of(tasks, "the tasks")
        site.update_project(self.id, tasks=tasks, **fields)
        remember(folder, self.id, specs)
        return self.refresh()

    def send(self, content: str | bytes | PathLike[str], to: str | Sequence[str], *, kind: str | None = None) -> str:
        """Seal and send a message; its id. content: a text, bytes, or a file's path as a `Path`.

        to: "coordinator", "participants", or names or ids of members. Raises `NeedsFolder`.
        """
        folder, site = client_of(self).as_site("sealing a message")
        whom = (to,) if isinstance(to, str) else tuple(to)
        body = content.encode() if isinstance(content, str) else content
        return sent(folder, site, self, whom, body if isinstance(body, bytes) else Path(body), kind)[0]

    def _check(
        self, parameters: Mapping[str, Mapping[str, object]], rounds: Mapping[str, int], initial: Sequence[str]
    ) -> None:
        try:
            tasks_of_run(self.tasks, parameters, rounds, sorted(initial))
        except ValueError as error:
            raise UsageError(str(error)) from None

    def _repr_html_(self) -> str:
        about = {"project": self.name, "id": self.id, "coordinator": self.coordinator_name, "joining": self.joining}
        about |= {"runs so far": str(self.last_run_number), "description": self.description}
        tasks = [(one.name, one.model, one.rounds, one.parameters) for one in self.tasks]
        return table(("", ""), [*about.items()]) + table(("task", "model", "rounds", "parameters"), tasks)

    def __str__(self) -> str:
        """In a line: its tasks are `tasks`."""
        return shown(f"project {self.name!r}, {counted(len(self.tasks), 'task')}; {self.id}")


def _by_task(project: Project, given: object) -> dict[str, object]:
    """First models by the names of tasks."""
    if given is None:
        return {}
    if isinstance(given, Mapping) and given and set(given) <= {task.name for task in project.tasks}:
        return dict(given)
    return {only_one(project.tasks, "a first model"): given}


def _file(content: object, target: Path, limit_bytes: int) -> Path:
    """Where the content lies, written to `target` if it is arrays."""
    from fedyard.tasks.arrays import pack  # noqa: PLC0415 - numpy is heavy, and few runs begin so
    from fedyard.tasks.packed import write  # noqa: PLC0415 - likewise

    if not isinstance(content, Mapping):
        path = Path(str(content))
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file to begin with")
        return path
    write(pack(content, limit_bytes), target)
    return target
