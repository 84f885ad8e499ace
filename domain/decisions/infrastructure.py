"""A project's own coordinator and selectors: two workloads that are started, scaled and stopped together.

What they are made of the project says. Said again, starting changes nothing; after a change of the project it replaces
what differs. Their files outlive them, until the project is archived.
"""

from __future__ import annotations

import msgspec

from domain import commands as c
from domain import records as r
from domain import results, values
from domain.decisions.access import known_project, missing, need_coordinator
from domain.decisions.attempts import shall_stop, tell_of, tell_site, want
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.decisions.places import check_where
from domain.decisions.projects import infrastructure_of, tasks_of
from domain.events import EventKind
from domain.infrastructure import COORDINATOR, PARTS, SELECTOR, goal_count, spec_of_part
from domain.needs import Needs
from domain.states import ArtifactState, WorkloadState
from domain.workloads import is_open, spec_of
from fedyard.wire.problems import ProblemType


def needs_of_start_infrastructure(command: c.StartInfrastructure) -> Needs:
    project = command.project_id
    counts = {("workloads", project), ("workloads of a day", project)}
    models = set() if command.model_version is None else {(project, command.model_version)}
    return Needs(members_of={project}, workloads_of={project}, counts=counts, versions=models)


def start_infrastructure(draft: Draft, command: c.StartInfrastructure) -> Decision:
    project = _own(draft, command.project_id)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived: nothing runs for it")
    said = infrastructure_of(project)
    if said is None:
        raise Refused(
            ProblemType.IMPOSSIBLE,
            f"project {project.id} says of no coordinator and selectors: name their images first",
        )
    goal = goal_count(tasks_of(project))
    if goal is None:
        raise Refused(
            ProblemType.IMPOSSIBLE,
            f"the quorum of project {project.id} is a fraction: say how many sites a round needs",
        )
    check_where(draft, project, said.where)
    if command.model_version is not None:
        _check_model(draft, project, command.model_version)
    there = _there(draft, project.id)
    for lost in _lost(draft, project.id):
        shall_stop(draft, lost, "another one is started")
    made = []
    begun = []
    for part in PARTS:
        spec = spec_of_part(part, said, project.id, goal)
        workload = there.get(part)
        model = command.model_version if part == COORDINATOR else None
        if workload is not None and not _is_same(workload, spec, said.where, model):
            shall_stop(draft, workload, "the project says otherwise now")
            workload = None
        if workload is None:
            limit = draft.rules.workloads_per_project
            take_one(draft, "workloads", project.id, limit, "stop one, or wait until one has ended")
            take_one(
                draft, "workloads of a day", project.id, draft.rules.workloads_per_day, "start the next one tomorrow"
            )
            asked = values.Asked(name=part, spec=spec, where=said.where)
            workload = want(draft, draft.derive(part), project, asked, part=part, model_version=model)
            begun.append(part)
        else:
            workload = _scaled(draft, workload, spec.replicas)
        made.append(workload)
    if begun:
        facts: dict[str, object] = {"parts": begun, "where": said.where}
        if command.model_version is not None:
            facts["model_version"] = command.model_version
        draft.event(("project", project.id), EventKind.INFRASTRUCTURE_STARTED, facts)
    return draft.accept(_result(project, made))


def needs_of_stop_infrastructure(command: c.StopInfrastructure) -> Needs:
    return Needs(members_of={command.project_id}, workloads_of={command.project_id})


def stop_infrastructure(draft: Draft, command: c.StopInfrastructure) -> Decision:
    """They shall go; their files stay. What is on its way out, or not there, is as it should be."""
    project = _own(draft, command.project_id)
    there = _there(draft, project.id)
    those = [*there.values(), *_lost(draft, project.id)]
    stopped = [shall_stop(draft, workload, command.reason) for workload in those]
    if stopped:
        draft.event(("project", project.id), EventKind.INFRASTRUCTURE_STOPPED, {"reason": command.reason})
    return draft.accept(_result(project, stopped))


def needs_of_scale_selectors(command: c.ScaleSelectors) -> Needs:
    return Needs(members_of={command.project_id}, workloads_of={command.project_id})


def scale_selectors(draft: Draft, command: c.ScaleSelectors) -> Decision:
    """So many from now on: also when they are started again."""
    project = _own(draft, command.project_id)
    said = infrastructure_of(project)
    if said is None:
        raise Refused(ProblemType.IMPOSSIBLE, f"project {project.id} says of no selectors: name their image first")
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived: nothing runs for it")
    if command.selectors != said.selectors:
        said = msgspec.structs.replace(said, selectors=command.selectors)
        text = msgspec.json.encode(said).decode()
        project = draft.change(project, infrastructure_json=text, version=project.version + 1)
    there = _there(draft, project.id)
    if SELECTOR in there:
        there[SELECTOR] = _scaled(draft, there[SELECTOR], command.selectors)
    return draft.accept(_result(project, list(there.values())))


def _own(draft: Draft, project_id: str) -> r.Project:
    """A project whose infrastructure the caller may change."""
    project = known_project(draft, project_id)
    need_coordinator(draft, project)
    return project


def _there(draft: Draft, project_id: str) -> dict[str, r.Workload]:
    """The parts that are to run, by name."""
    live = [one for one in draft.group(r.Workload, project_id) if one.part and one.stop_at is None and not one.ended_at]
    return {one.part: one for one in sorted(live, key=lambda one: PARTS.index(one.part))}


def _lost(draft: Draft, project_id: str) -> list[r.Workload]:
    """Parts that were lost with a silent site, and may come back with it."""
    lost = [one for one in draft.group(r.Workload, project_id) if one.part and one.stop_at is None and one.ended_at]
    return [one for one in lost if is_open(draft.have(r.WorkloadAttempt, one.id, one.attempt))]


def _check_model(draft: Draft, project: r.Project, version: int) -> None:
    """It is there, and a checkpoint of the project's own coordinator: no other can be its `fl_checkpoint`."""
    model = draft.get(r.Model, project.id, version)
    if model is None:
        raise missing("model", f"{version} of project {project.id}")
    if model.epoch is None or model.artifact_id is None:
        raise Refused(
            ProblemType.IMPOSSIBLE,
            f"model {version} of project {project.id} was made by run {model.run_id}: the project's own coordinator "
            "begins with a checkpoint that it has made itself",
        )
    artifact = draft.have(r.Artifact, model.artifact_id)
    if artifact.state != ArtifactState.STORED:
        raise Refused(
            ProblemType.MODEL_EXPIRED,
            f"model {version} of project {project.id} is not at the hub any more: its artifact {artifact.id} is "
            f"{artifact.state} ({artifact.reason}); start with another version, or with none",
        )


def _is_same(workload: r.Workload, spec: values.WorkloadSpec, where: str, model_version: int | None) -> bool:
    """But for the number of replicas, which is scaled. Without a model it goes on with what it has."""
    if model_version not in (None, workload.model_version):
        return False
    return workload.cluster == where and msgspec.structs.replace(spec_of(workload), replicas=spec.replicas) == spec


def _scaled(draft: Draft, workload: r.Workload, replicas: int) -> r.Workload:
    if replicas != workload.replicas:
        workload = draft.change(workload, replicas=replicas)
        tell_of(draft, workload, EventKind.WORKLOAD_SCALED, replicas=replicas)
        tell_site(draft, workload)
    return workload


def _result(project: r.Project, workloads: list[r.Workload]) -> results.InfrastructureResult:
    return results.InfrastructureResult(
        project_id=project.id,
        workloads=[
            results.WorkloadResult(
                id=one.id, project_id=project.id, state=WorkloadState(one.state), attempt=one.attempt
            )
            for one in workloads
        ],
    )
