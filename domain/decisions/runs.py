"""Runs: start, queue, stop, restart."""

from __future__ import annotations

import msgspec

from domain import commands as c
from domain import records as r
from domain import results, values
from domain.decisions.access import find, known_project, known_run, missing, need_coordinator, need_hub
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import too_many
from domain.decisions.places import check_where
from domain.decisions.progress.holders import counted
from domain.decisions.progress.runs import begin, create, end, task_run
from domain.decisions.progress.stage import run_event, spec_of
from domain.decisions.progress.tasks import inherited_model, seats_of
from domain.decisions.projects import predecessors, tasks_of
from domain.events import EventKind
from domain.ids import Id, derive
from domain.needs import Needs
from domain.states import (
    RUN_FINAL,
    TASK_RUN,
    ArtifactState,
    MemberState,
    RoundState,
    RunState,
    Step,
    TaskRunState,
    follow,
)
from fedyard.wire.own import tasks_of_run
from fedyard.wire.problems import ProblemType
from fedyard.wire.sampling import needed_of, size_of
from fedyard.wire.times import SECOND


def needs_of_start_run(command: c.StartRun) -> Needs:
    version = command.model_version
    return Needs(
        members_of={command.project_id},
        live_runs_of={command.project_id},
        versions={(command.project_id, version)} if version is not None else set(),
    )


def start_run(draft: Draft, command: c.StartRun) -> Decision:
    project = known_project(draft, command.project_id)
    need_coordinator(draft, project, admin_too=False)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived")
    room = _has_room(draft, project)
    if not room and not command.queue:
        live = _of_tasks(draft, project)[0]
        raise Refused(
            ProblemType.RUN_LIVE,
            f"run {live.id} of project {project.id} is {live.state} and the project allows {project.max_live_runs} at "
            "a time; stop it, wait for its end, or start with queue: true",
        )
    live_count, live_at_once = len(_live(draft, project)), draft.rules.live_runs_per_project
    if live_count >= live_at_once:
        remedy = "stop one that nobody needs, or wait until one ends"
        raise too_many("queued and running runs", project.id, live_count, live_at_once, remedy)
    tasks = _own_tasks(project, command)
    _check_seats(draft, project, tasks)
    model = _first_model(draft, project, tasks, command.model_version)
    waiting = _requests_waiting(draft, project)
    facts = _given(command) | ({"requests_waiting": waiting} if waiting else {})
    run = create(draft, project, draft.derive("run"), within_s=command.finish_within_s, facts=facts)
    for seq, task in enumerate(tasks, start=1):
        begun = task_run(run, seq, task)
        if model is not None and model.task == task.name:
            begun = msgspec.structs.replace(begun, model_message_id=model.message_id)
        draft.put(begun)
    if room:
        begin(draft, run)
    run = draft.have(r.Run, run.id)
    return draft.accept(
        results.StartedRun(
            id=run.id,
            project_id=run.project_id,
            number=run.number,
            attempt=run.attempt,
            state=RunState(run.state),
            requests_waiting=waiting,
        ),
        201,
    )


def _own_tasks(project: r.Project, command: c.StartRun) -> list[values.TaskSpec]:
    """The project's tasks with what this run has of its own. 422 where it cannot have that."""
    try:
        return tasks_of_run(tasks_of(project), command.parameters, command.rounds, command.initial)
    except ValueError as error:
        raise Refused(ProblemType.TASKS_IMPOSSIBLE, str(error)) from None


def _given(command: c.StartRun) -> dict[str, object]:
    """What was given to this run alone, for its record; of parameters the names, since values are in its tasks."""
    said: dict[str, object] = {
        "parameters": {task: sorted(own) for task, own in command.parameters.items() if own},
        "rounds": command.rounds,
        "initial": command.initial,
        "model_version": command.model_version,
    }
    return {name: value for name, value in said.items() if value}


def _first_model(draft: Draft, project: r.Project, tasks: list[values.TaskSpec], version: int | None) -> r.Model | None:
    """The model of this version, if a task of the project can begin with it. 404, 409 or 422 otherwise."""
    if version is None:
        return None
    model = draft.get(r.Model, project.id, version)
    if model is None:
        raise missing("model", f"{version} of project {project.id}")
    if model.task_seq is None or all(task.name != model.task for task in tasks):
        raise Refused(
            ProblemType.MODEL_OF_ANOTHER_TASK,
            f"model {version} was made by {f'task {model.task!r}' if model.task else 'a coordinator of its own'}; "
            f"project {project.id} has no such task that could begin with it",
        )
    _check_kept(draft, project.id, model, model.task)
    return model


def _requests_waiting(draft: Draft, project: r.Project) -> int:
    """How many sites have asked to join and take no part, since nobody has let them in."""
    return sum(m.state == MemberState.REQUESTED for m in draft.group(r.Membership, project.id))


def _live(draft: Draft, project: r.Project) -> list[r.Run]:
    runs = [run for run in draft.group(r.Run, project.id) if RunState(run.state) not in RUN_FINAL]
    return sorted(runs, key=lambda run: (run.number, run.attempt))


def _of_tasks(draft: Draft, project: r.Project) -> list[r.Run]:
    """Of the live ones those of the project's tasks, of which it has only so many at a time."""
    return [run for run in _live(draft, project) if run.kind == ""]


def _has_room(draft: Draft, project: r.Project) -> bool:
    return len(_of_tasks(draft, project)) < project.max_live_runs


def _check_seats(draft: Draft, project: r.Project, tasks: list[values.TaskSpec]) -> None:
    """422 where a task would have nobody, names a site that is no member, or could never reach its quorum."""
    for task in tasks:
        seats = seats_of(draft, project, task)
        if isinstance(task.who, list):
            strangers = sorted(set(task.who) - set(seats))
            if strangers:
                raise Refused(
                    ProblemType.NOT_A_MEMBER,
                    f"task {task.name!r} names site {strangers[0]}, which is no active member of project {project.id}",
                )
        for holder in task.workloads:
            check_where(draft, project, holder.where)
        count = len(seats) + counted(task)
        drawn, needed = size_of(task.contract, count), needed_of(task.contract, count)
        if not count or needed > drawn:
            some = f", of whom {drawn} are drawn for a round" if drawn < count else ""
            raise Refused(
                ProblemType.QUORUM_IMPOSSIBLE,
                f"task {task.name!r} needs {max(needed, 1)} seats but project {project.id} has {count} active "
                f"members or workloads for it{some}; let more sites join or change its quorum",
            )
    most = draft.rules.workloads_per_project
    if sum(map(counted, tasks)) > most:
        raise too_many("workloads of a run", project.id, sum(map(counted, tasks)), most, "ask for fewer")


def needs_of_begin_run(command: c.BeginRun) -> Needs:
    project = command.project_id
    return Needs(members_of={project}, live_runs_of={project}, begin_in={project})


def begin_run(draft: Draft, command: c.BeginRun) -> Decision:
    """A run of the project has ended: the oldest queued one may begin."""
    need_hub(draft.by)
    project = find(draft, r.Project, "project", command.project_id)
    live = _of_tasks(draft, project)
    queued = [run for run in live if run.state == RunState.CREATED]
    running = len(live) - len(queued)
    if not queued or running >= project.max_live_runs:
        return draft.accept(results.Begun(begun=None))
    begin(draft, queued[0])
    return draft.accept(results.Begun(begun=queued[0].id))


def needs_of_stop_run(command: c.StopRun) -> Needs:
    return Needs(runs={command.run_id})


def stop_run(draft: Draft, command: c.StopRun) -> Decision:
    run, project = known_run(draft, command.run_id)
    need_coordinator(draft, project)
    if RunState(run.state) in RUN_FINAL:
        raise _finished(run, "stop")
    end(draft, run, Step.CANCEL, "stopped", command.reason or "stopped by its coordinator")
    return draft.accept(results.Stopped(id=run.id, state=RunState(draft.have(r.Run, run.id).state)))


def _finished(run: r.Run, verb: str) -> Refused:
    return Refused(
        ProblemType.RUN_FINISHED,
        f"run {run.id} is finished: {run.state} ({run.reason}); it cannot {verb} again: start a new one, or restart it",
    )


def needs_of_restart_run(command: c.RestartRun) -> Needs:
    run, version = command.run_id, command.model_version
    return Needs(
        runs={run, next_attempt(run)},
        restarting={run},
        models={(run, version)} if version is not None else set(),
    )


def restart_run(draft: Draft, command: c.RestartRun) -> Decision:
    """A new attempt: a run of its own under the same number. What had succeeded is carried over, unless it comes after
    a task that begins anew with a chosen model."""
    old, project = known_run(draft, command.run_id)
    need_coordinator(draft, project, admin_too=False)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived")
    if old.kind:
        raise Refused(
            ProblemType.IMPOSSIBLE,
            f"run {old.id} trains over streams (kind {old.kind}), and its data were announced for it alone: start "
            "another training",
        )
    later = draft.get(r.Run, next_attempt(old.id))
    if later is not None:
        raise Refused(ProblemType.RESTARTED_ALREADY, f"run {old.id} was restarted as run {later.id}; restart that")
    others = [run for run in _of_tasks(draft, project) if run.id != old.id and run.state == RunState.RUNNING]
    if len(others) >= project.max_live_runs:
        raise Refused(ProblemType.RUN_LIVE, f"run {others[0].id} of project {project.id} is running; stop it first")
    old_tasks = {t.seq: t for t in draft.group(r.TaskRun, old.id)}
    model = None if command.model_version is None else _chosen_model(draft, old_tasks, command, command.model_version)
    anew = set(old_tasks) if command.start_from == "start" else _behind(old_tasks, model)
    carried = {seq for seq, task in old_tasks.items() if _has_its_model(draft, task)} - anew
    _check_seats(draft, project, [spec_of(task) for seq, task in old_tasks.items() if seq not in carried])
    reached = {seq: _reached(draft, task) for seq, task in old_tasks.items()}
    if RunState(old.state) not in RUN_FINAL:
        end(draft, old, Step.CANCEL, "restarted", "its coordinator restarted it", next_too=False)
    run = r.Run(
        id=next_attempt(old.id),
        project_id=project.id,
        coordinator_site_id=project.coordinator_site_id,
        number=old.number,
        attempt=old.attempt + 1,
        state=RunState.CREATED,
        reason="",
        detail="",
        created_by=draft.by.id,
        created_at=draft.now,
        deadline_at=draft.now + int(command.finish_within_s * SECOND),
        restart_of=old.id,
    )
    draft.put(run)
    facts = {"number": run.number, "attempt": run.attempt, "restart_of": old.id}
    run_event(draft, run, EventKind.RUN_CREATED, facts | ({"model_version": model.version} if model else {}))
    for seq, old_task in sorted(old_tasks.items()):
        task = task_run(run, seq, spec_of(old_task))
        if model is not None and seq == model.task_seq:
            first = 1 if command.start_from == "start" else model.round + 1
            task = msgspec.structs.replace(task, first_round=first, model_message_id=model.message_id)
        elif seq not in anew:
            completed, newest = reached[seq]
            task = msgspec.structs.replace(task, first_round=completed + 1, model_message_id=newest)
            if seq in carried:
                state = follow(TASK_RUN, TaskRunState.WAITING, Step.CARRY)
                task = msgspec.structs.replace(
                    task,
                    state=state,
                    reason="carried",
                    round=completed,
                    first_round=old_task.first_round,
                    ended_at=old_task.ended_at,
                )
                run_event(draft, run, EventKind.TASK_CARRIED, {"task": task.name, "from_run": old.id})
        draft.put(task)
    _check_models(draft, run)
    begin(draft, run)
    run = draft.have(r.Run, run.id)
    return draft.accept(
        results.RunResult(
            id=run.id,
            project_id=run.project_id,
            number=run.number,
            attempt=run.attempt,
            state=RunState(run.state),
        ),
        201,
    )


def _check_models(draft: Draft, run: r.Run) -> None:
    """409 where a task begins with a model whose artifact has expired: no seat could get it. Inline ones stay."""
    tasks = draft.group(r.TaskRun, run.id)
    carried = {task.name for task in tasks if task.state == TaskRunState.SUCCEEDED}
    after = predecessors([spec_of(task) for task in sorted(tasks, key=lambda task: task.seq)])
    for task in tasks:
        begins_with = task.model_message_id
        if begins_with is None and carried.issuperset(after[task.name]):
            begins_with = inherited_model(draft, run, after[task.name])
        if task.name in carried or begins_with is None:
            continue
        for model in draft.group(r.Model, begins_with):
            _check_kept(draft, run.project_id, model, task.name)


def _check_kept(draft: Draft, project_id: Id, model: r.Model, task: str) -> None:
    artifact = None if model.artifact_id is None else draft.have(r.Artifact, model.artifact_id)
    if artifact is not None and artifact.state == ArtifactState.EXPIRED:
        raise Refused(
            ProblemType.MODEL_EXPIRED,
            f"task {task!r} would begin with model {model.version} of project {project_id}, whose artifact "
            f"{artifact.id} has expired ({artifact.reason}); begin with another version (model_version), or, of a "
            "restart, with start_from: start and none",
        )


def _chosen_model(draft: Draft, tasks: dict[int, r.TaskRun], command: c.RestartRun, version: int) -> r.Model:
    """The model of this version, if a task of the run can go on with it. 404 or 422 otherwise."""
    project_id = draft.have(r.Run, command.run_id).project_id
    model = draft.get(r.Model, project_id, version)
    if model is None:
        raise missing("model", f"{version} of project {project_id}")
    if model.task_seq is None:
        raise Refused(
            ProblemType.MODEL_OF_ANOTHER_TASK,
            f"model {version} is a checkpoint of the project's own coordinator: start that with it, not a run",
        )
    task = tasks.get(model.task_seq)
    if task is None or task.name != model.task:
        raise Refused(
            ProblemType.MODEL_OF_ANOTHER_TASK,
            f"model {version} was made by task {model.task_seq}, {model.task!r}; run {command.run_id} has no such task",
        )
    if command.start_from == "reached" and model.round >= spec_of(task).rounds:
        raise Refused(
            ProblemType.NO_ROUNDS_LEFT,
            f"model {version} was made in round {model.round}, the last one of task {task.name!r}; restart with "
            "start_from: start to train all rounds on top of it",
        )
    return model


def _behind(tasks: dict[int, r.TaskRun], model: r.Model | None) -> set[int]:
    """The task that begins with a chosen model, and all that come after it: what they made is not carried over."""
    if model is None:
        return set()
    seqs = {task.name: seq for seq, task in tasks.items()}
    after = predecessors([spec_of(task) for _, task in sorted(tasks.items())])
    anew = {model.task}
    while more := {name for name, before in after.items() if name not in anew and anew.intersection(before)}:
        anew |= more
    return {seqs[name] for name in anew}


def next_attempt(run_id: Id) -> Id:
    """The id of the run that restarts this one: there can be only one."""
    return derive(run_id, "next attempt")


def _reached(draft: Draft, task: r.TaskRun) -> tuple[int, str | None]:
    """How many rounds of a task have their model, and its newest global model."""
    completed = task.round if _is_made(draft, task) else max(0, task.round - 1)
    return max(completed, task.first_round - 1), task.model_message_id


def _has_its_model(draft: Draft, task: r.TaskRun) -> bool:
    """True if nothing is left to be made of a task: it has succeeded, or ended while its last model was scored."""
    if task.state == TaskRunState.SUCCEEDED:
        return True
    return task.round >= spec_of(task).rounds and _is_made(draft, task)


def _is_made(draft: Draft, task: r.TaskRun) -> bool:
    """Has the round that a task has come to all that it is run for?"""
    if task.state == TaskRunState.SUCCEEDED:
        return True
    current = draft.get(r.Round, task.id, task.round)
    return current is not None and current.state in (RoundState.SCORING, RoundState.COMPLETED)
