"""Runs begun: with the project's tasks, or with parameters, rounds and first models of their own."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from fedyard.actions.projects import check_given
from fedyard.actions.site import UsageError
from fedyard.agent.contract import task_digest
from fedyard.agent.site import Folder
from fedyard.agent.state import State
from fedyard.agent.state.first_models import FirstModel
from fedyard.client.client import Client
from fedyard.clock import micros_now
from fedyard.wire.answers import Project, Run, StartedRun, TaskSpec
from fedyard.wire.comparing import compared
from fedyard.wire.durable import write_whole
from fedyard.wire.own import meant_by_none, tasks_of_run

FIRST_MODELS = "first-models"
"""The folder in the site's own."""


@dataclass(frozen=True)
class Own:
    """What a run has of its own, by the names of tasks.

    parameters: each takes the place of the project's of its name. rounds: how many. first_models: files, .npz or any
    other, that tasks begin with. initial: tasks whose hook makes their first model. model_version: of the project.
    """

    parameters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    rounds: Mapping[str, int] = field(default_factory=dict)
    first_models: Mapping[str, Path] = field(default_factory=dict)
    initial: Sequence[str] = ()
    model_version: int | None = None

    @property
    def begun_anew(self) -> list[str]:
        """Tasks that begin with a first model that the coordinator gives."""
        return sorted({*self.initial, *self.first_models})


NOTHING = Own()


def start(
    folder: Folder,
    client: Client,
    project: Project,
    *,
    queue: bool = False,
    own: Own = NOTHING,
    key: str | None = None,
) -> StartedRun:
    """Begin a run. What it has of its own this site's agent accepts then, if it coordinates the project.

    Raises `NotConsented` where this site coordinates what it does not serve: it would not aggregate. Raises
    `UsageError` for what no task of the project can have.
    """
    here = project.coordinator_site_id == folder.site_id()
    if here:
        folder.consents().of(project.id)
    elif own.first_models:
        raise UsageError(f"{project.name} is coordinated by another site, which alone can give a first model")
    try:
        specs = tasks_of_run(project.tasks, own.parameters, own.rounds, own.begun_anew)
    except ValueError as error:
        raise UsageError(str(error)) from None
    state = State(folder.path / "state.sqlite")
    try:
        if here:
            _expect(folder, state, project, specs)
        given = [_kept(folder, state, project.id, task, file) for task, file in sorted(own.first_models.items())]
        try:
            run = client.start_run(
                project.id,
                queue=queue,
                parameters=own.parameters or None,
                rounds=own.rounds or None,
                initial=own.begun_anew,
                model_version=own.model_version,
                key=key,
            )
        except BaseException:
            for one in given:
                state.first_models.forget(one)
            raise
        for one in given:
            if not state.first_models.belongs(one, run.id):
                raise UsageError(
                    f"another run that began at the same time took the first model of run {run.id}: stop both"
                )
        return run
    finally:
        state.close()


def _expect(folder: Folder, state: State, project: Project, specs: Sequence[TaskSpec]) -> None:
    """The agent holds the hub to the run's tasks, too, where it holds it to the project's."""
    changed = [(task, spec) for task, spec in zip(project.tasks, specs, strict=True) if spec != task]
    check_given(folder, project, [task for task, _ in changed])
    if changed and state.runs.own_tasks(project.id):
        state.runs.keep_own_tasks(project.id, [(task_digest(spec), spec.name) for _, spec in changed])


def _kept(folder: Folder, state: State, project_id: str, task: str, file: Path) -> str:
    """A file that a task shall begin with, packed, where the agent finds it; under which id. Raises `UsageError`."""
    from fedyard.tasks.arrays import norm_of, pack, read_file  # noqa: PLC0415 - numpy is heavy, and few runs begin so

    try:
        content = read_file(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: {error}") from None
    id = str(uuid.uuid4())
    where = folder.path / FIRST_MODELS
    where.mkdir(mode=0o700, exist_ok=True)
    target = where / id
    packed = pack(content, folder.settings().tasks.content_limit_bytes, target)
    if isinstance(packed, bytes):
        write_whole(target, packed)
    model = FirstModel(id, project_id, task, "", micros_now(), str(target), norm_of(content))
    for old in state.first_models.keep(model):
        Path(old).unlink(missing_ok=True)
    return id


def first_models_said(tasks: Sequence[TaskSpec], said: Sequence[str]) -> dict[str, Path]:
    """`train=model.npz`, or `model.npz` where one task alone aggregates. Raises `UsageError`."""
    found: dict[str, Path] = {}
    for one in said:
        name, equals, file = one.partition("=")
        if not equals or name not in [task.name for task in tasks]:
            name, file = only_one(tasks, one), one
        if not Path(file).is_file():
            raise UsageError(f"{file}: there is no such file to begin with")
        found[name] = Path(file)
    return found


def only_one(tasks: Sequence[TaskSpec], what: str) -> str:
    """The task that begins with a first model where none is named. Raises `UsageError` where that is not clear."""
    try:
        return meant_by_none([task for task in tasks if task.aggregate] or tasks)
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from None


@dataclass(frozen=True)
class Differing:
    """A task of a run that this site's people have not given. changed: what differs from the project's, in words.

    whole: the task as JSON. The project's is the hub's word as well, and may have been changed alike.
    """

    task: str
    changed: Sequence[str]
    digest: str
    whole: str


def unknown_tasks(folder: Folder, client: Client, run: Run) -> list[Differing]:
    """The tasks of a run that this site's agent, which coordinates it, would not take part in. Raises `UsageError`."""
    if run.coordinator_site_id != folder.site_id():
        raise UsageError(f"run {run.id} is coordinated by another site; its tasks are that site's to accept")
    return differing_tasks(run, client.project(run.project_id), _own_tasks(folder, run.project_id))


def differing_tasks(run: Run, project: Project, ours: Collection[str]) -> list[Differing]:
    """ours: digests of the tasks that this site gave to the project; where it gave none it accepts all."""
    shown = {task.name: task for task in project.tasks}
    digests = [(task, task_digest(task.spec)) for task in run.tasks]
    return [
        Differing(
            task.name,
            differences(shown.get(task.name), task.spec),
            digest,
            msgspec.json.encode(task.spec, order="deterministic").decode(),
        )
        for task, digest in digests
        if ours and digest not in ours
    ]


def accept(folder: Folder, run: Run) -> None:
    """The run's tasks are what this site's people want: its agent takes part in such from now on."""
    state = State(folder.path / "state.sqlite")
    try:
        state.runs.keep_own_tasks(run.project_id, [(task_digest(task.spec), task.name) for task in run.tasks])
    finally:
        state.close()


def _own_tasks(folder: Folder, project_id: str) -> Mapping[str, str]:
    state = State(folder.path / "state.sqlite")
    try:
        return state.runs.own_tasks(project_id)
    finally:
        state.close()


def differences(before: TaskSpec | None, now: TaskSpec) -> list[str]:
    """What of a task differs, in words; of parameters each by its name."""
    if before is None:
        return ["the project has no such task"]
    return [
        f"{row.name}: {row.values[0] or 'nothing'} -> {row.values[1] or 'nothing'}"
        for row in compared([[before], [now]])
        if row.differs
    ]
