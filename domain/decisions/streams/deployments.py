"""Deployments: runs that train over streams.

The law, in words:

 * A deployment is a run with one task for each job, and one result for each architecture. Its jobs are named and told
   when it is made; none is started before its data are there, so that nothing that is dear waits for them.
 * It waits for the data source whose key is its number; the first one counts. A federated one waits for none.
 * Its topics are made, and what the data source says is looked at, before any job: what cannot be trained on fails the
   run, not a job.
 * Each job has uploaded all of its results, or has failed (jobs.py). What ends the run from outside ends its jobs.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from domain import records as r
from domain import results
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.access import find, known_project, missing, need_coordinator, need_hub, sees_runs
from domain.decisions.attempts import shall_stop
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one, too_many
from domain.decisions.places import check_where
from domain.decisions.progress import runs
from domain.decisions.progress.stage import run_event
from domain.decisions.streams import jobs
from domain.decisions.streams.architectures import for_the_contract, ids_of, with_their_chains
from domain.decisions.streams.kept import kept_of, known
from domain.decisions.streams.numbers import needs_of_numbers, next_number
from domain.events import EventKind
from domain.ids import Id, derive
from domain.needs import Needs
from domain.rules import StreamCluster
from domain.states import (
    DEPLOYMENT,
    RESULT_LIVE,
    RUN_FINAL,
    DeploymentState,
    ResultState,
    RunState,
    Step,
    follow,
)
from domain.streams import contract
from domain.streams.announcements import AnnouncedData
from domain.streams.serving import string_id_of
from domain.streams.training import (
    BUILD,
    Job,
    Setting,
    Unfit,
    build_task,
    federated_topics,
    ground_of,
    image_of,
    own_control_topic,
    task_of,
)
from domain.values import TaskSpec
from fedyard.wire.problems import ProblemType

MAX_DATA_TOLD = 100
"""Data sources of a deployment that an event tells of: events are kept for ever, and others say how many there are."""
_DATA = "data of a deployment"
_contracts = msgspec.json.Decoder(contract.Deployment)


def contract_of(deployment: sr.Deployment) -> contract.Deployment:
    return _contracts.decode(deployment.contract_json)


# by people


def needs_of_start_deployment(command: sc.StartDeployment) -> Needs:
    project = command.project_id
    needs = Needs(
        members_of={project},
        live_runs_of={project},
        code_of={project},
        counts={(what, project) for what in ("workloads", "workloads of a day", "deployments of a day")},
    )
    needs.add(needs_of_numbers("deployment", "result"))
    return needs


def start_deployment(draft: Draft, command: sc.StartDeployment) -> Decision:
    project = known_project(draft, command.project_id)
    need_coordinator(draft, project)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived")
    if project.sealed == "required":
        raise Refused(
            ProblemType.UNSEALED,
            f"project {project.id} takes sealed payloads alone, and what the jobs of a deployment upload is not "
            "sealed: make the project with sealed: optional",
        )
    cluster = _cluster(draft)
    location = command.where or cluster.where
    check_where(draft, project, location)
    chosen = _architectures(draft, project, command)
    plans = _plans(draft, command.contract, chosen)
    builds = _builds(draft, plans, location)
    _check_limits(draft, project, len(builds) + len(plans))
    within_s = command.finish_within_s
    run = runs.create(draft, project, draft.derive("run"), within_s=within_s, kind=runs.DEPLOYMENT)
    run = runs.start(draft, run)
    number = next_number(draft, "deployment")
    federated = command.contract.federated
    own = command.control == "own"
    deployment = sr.Deployment(
        run_id=run.id,
        number=number,
        project_id=project.id,
        contract_json=msgspec.json.encode(command.contract).decode(),
        cluster=cluster.name,
        location=location,
        string_id=string_id_of(run.id) if federated else "",
        control_topic=own_control_topic(cluster, run.id, number) if own else cluster.control_topics[0],
        state=DeploymentState.PREPARING if federated else DeploymentState.WAITING,
        state_at=draft.now,
        created_at=draft.now,
        attempts=1 if federated else 0,
        configuration_id=command.configuration_id,
    )
    draft.put(deployment)
    model_topic = next(iter(cluster.model_topics), "")
    setting = Setting(
        number=number,
        string_id=deployment.string_id,
        servers=contract.Servers(cluster.workload_bootstrap_servers, deployment.control_topic, model_topic),
        images=draft.rules.streams.images,
        location=location,
        attempts=command.attempts,
        resources=command.resources,
    )
    versions = {one.id: one.version for one in draft.group(sr.Architecture, project.id)}
    for seq, spec in enumerate(builds, start=1):
        task = runs.task_run(run, seq, spec)
        draft.put(task)
        jobs.spawn(draft, run, task, BUILD)
    for seq, plan in enumerate(plans, start=len(builds) + 1):
        job = Job(plan, tuple(next_number(draft, "result") for _ in plan.architecture_ids))
        task = runs.task_run(run, seq, task_of(command.contract, job, setting))
        draft.put(task)
        for position, (rid, architecture) in enumerate(zip(job.rids, plan.architecture_ids, strict=True)):
            draft.put(_result(draft, task, rid, position, architecture, versions[architecture]))
    if federated:
        topics = federated_topics(deployment.string_id)
        topics += [sc.NewTopic(topic) for topic in cluster.model_topics[:1]]  # where its controller announces the model
        if own:
            topics.append(sc.NewTopic(deployment.control_topic))
        prepare = sc.PrepareStream(cluster=cluster.name, purpose="training", about_id=run.id, topics=topics)
        draft.follow_up(prepare, run.id, 1)
    answer = results.StartedDeployment(
        id=run.id, number=number, project_id=project.id, state=DeploymentState(deployment.state)
    )
    return draft.accept(answer, 201)


def _cluster(draft: Draft) -> StreamCluster:
    streams = draft.rules.streams
    cluster = streams.cluster(streams.cloud)
    if cluster is None or not cluster.control_topics:
        raise Refused(
            ProblemType.IMPOSSIBLE,
            f"the hub knows no cluster {streams.cloud!r} of Kafka with a control topic, over which data are announced: "
            "its operator names one in FEDYARD_STREAMS",
        )
    return cluster


def _architectures(draft: Draft, project: r.Project, command: sc.StartDeployment) -> list[contract.Architecture]:
    """Those named, in their order; of a set what feeds them, too."""
    there = {one.id: one for one in kept_of(draft, sr.Architecture, project.id)}
    if (command.configuration_id is None) == (not command.architecture_ids):
        raise Refused(ProblemType.IMPOSSIBLE, "name configuration_id, or architecture_ids, and not both")
    named = list(command.architecture_ids)
    if command.configuration_id is not None:
        named = ids_of(known(draft, sr.Configuration, project.id, command.configuration_id))
    unknown = next((ident for ident in named if ident not in there), None)
    if unknown is not None:
        raise missing("architecture", f"{unknown} of project {project.id}")
    return [for_the_contract(draft, there[ident]) for ident in with_their_chains(named, list(there.values()))]


def _plans(draft: Draft, asked: contract.Deployment, chosen: Sequence[contract.Architecture]) -> list[contract.JobPlan]:
    flaw = contract.flaw_of(asked, chosen)
    if flaw is not None:
        raise Refused(ProblemType.IMPOSSIBLE, flaw)
    unsupported = contract.unsupported_of(asked)
    if unsupported is not None:
        raise Refused(ProblemType.NOT_DONE_HERE, unsupported)
    plans = contract.jobs_of(asked, chosen)
    for plan in plans:
        if image_of(draft.rules.streams.images, plan.framework) is None:
            raise Refused(
                ProblemType.IMPOSSIBLE,
                f"the hub's operator has named no image that trains {plan.framework}: see FEDYARD_STREAMS",
            )
    return plans


def _check_limits(draft: Draft, project: r.Project, count: int) -> None:
    live = sum(RunState(run.state) not in RUN_FINAL for run in draft.group(r.Run, project.id))
    most = draft.rules.live_runs_per_project
    if live >= most:
        raise too_many("queued and running runs", project.id, live, most, "stop one that nobody needs")
    take_one(draft, "deployments of a day", project.id, draft.rules.workloads_per_day, "start the next one tomorrow")
    for _ in range(count):
        take_one(draft, "workloads", project.id, draft.rules.workloads_per_project, "stop one, or wait for its end")
        take_one(draft, "workloads of a day", project.id, draft.rules.workloads_per_day, "start it tomorrow")


def _builds(draft: Draft, plans: Sequence[contract.JobPlan], location: str) -> list[TaskSpec]:
    """Tasks that make the model files which TensorFlow's trainer reads and nobody has made yet."""
    made = []
    for ident in dict.fromkeys(ident for plan in plans if plan.framework == "tf" for ident in plan.architecture_ids):
        one = draft.have(sr.Architecture, ident)
        if draft.get(sr.ModelFile, ident, one.version) is None:
            image = image_of(draft.rules.streams.images, "tf")
            assert image is not None, "asked before"
            made.append(build_task(draft.have(sr.ArchitectureVersion, ident, one.version), one.number, image, location))
    return made


def _result(
    draft: Draft, task: r.TaskRun, rid: int, position: int, architecture: Id, version: int
) -> sr.TrainingResult:
    return sr.TrainingResult(
        id=derive(task.id, "result", position),
        number=rid,
        run_id=task.run_id,
        task_run_id=task.id,
        project_id=draft.have(r.Run, task.run_id).project_id,
        architecture_id=architecture,
        version=version,
        position=position,
        state=ResultState.CREATED,
        state_at=draft.now,
        created_at=draft.now,
    )


def needs_of_delete_deployment(command: sc.DeleteDeployment) -> Needs:
    return Needs(deployments={command.run_id})


def delete_deployment(draft: Draft, command: sc.DeleteDeployment) -> Decision:
    """Once nothing of it goes on, and its results are deleted."""
    deployment = find(draft, sr.Deployment, "deployment", command.run_id)
    run = draft.have(r.Run, deployment.run_id)
    project = draft.have(r.Project, run.project_id)
    if not sees_runs(draft, project):
        raise missing("deployment", deployment.run_id)
    need_coordinator(draft, project)
    left = [one for one in draft.group(sr.TrainingResult, run.id) if one.deleted_at is None]
    if RunState(run.state) not in RUN_FINAL or left:
        what = f"results {', '.join(str(one.number) for one in left[:10])}" if left else "its run, which goes on"
        raise Refused(ProblemType.NOT_NOW, f"deployment {deployment.number} still has {what}: stop and delete these")
    if deployment.deleted_at is None:
        deployment = draft.change(deployment, deleted_at=draft.now)
    return draft.accept(_changed(deployment))


def _changed(deployment: sr.Deployment) -> results.DeploymentResult:
    return results.DeploymentResult(
        id=deployment.run_id, number=deployment.number, state=DeploymentState(deployment.state)
    )


# by what is announced and prepared


def needs_of_data_arrived(cluster: str, said: AnnouncedData) -> Needs:  # noqa: ARG001 - a hook's signature
    return Needs(deployment_numbers=set() if said.deployment_number is None else {said.deployment_number})


def data_arrived(draft: Draft, source: sr.DataSource) -> None:
    """The deployment that its key names may have waited for these data; else it is told why they are of no use."""
    deployment = next((one for one in draft.every(sr.Deployment) if one.number == source.deployment_number), None)
    if deployment is None:
        return
    run = draft.have(r.Run, deployment.run_id)
    useless = _useless(deployment, run, source)
    facts = {"data_source_id": source.id, "number": deployment.number}
    told = draft.count(_DATA, run.id)
    draft.add_to(_DATA, run.id)
    if useless is not None:
        if told < MAX_DATA_TOLD:
            run_event(draft, run, EventKind.DATA_NOT_USED, facts | {"why": useless})
        return
    run_event(draft, run, EventKind.DATA_ARRIVED, facts)
    try:
        _check_first(draft, deployment, source)
        ground = ground_of(contract_of(deployment), deployment.number, deployment.control_topic, source)
    except Unfit as unfit:
        draft.change(deployment, data_source_id=source.id)
        runs.end(draft, run, Step.FAIL, unfit.reason, f"data source {source.id}: {unfit.detail}"[:1000])
        return
    own = deployment.control_topic != source.topic
    draft.change(
        deployment,
        state=follow(DEPLOYMENT, DeploymentState(deployment.state), Step.PREPARE),
        state_at=draft.now,
        data_source_id=source.id,
        attempts=deployment.attempts + 1,
    )
    prepare = sc.PrepareStream(
        cluster=deployment.cluster,
        purpose="training",
        about_id=run.id,
        attempt=deployment.attempts + 1,
        topics=[sc.NewTopic(deployment.control_topic)] if own else [],
        needs=ground.topics,
        ranges=ground.ranges,
        records=[ground.record] if own else [],
    )
    draft.follow_up(prepare, run.id, deployment.attempts + 1)


def _check_first(draft: Draft, deployment: sr.Deployment, source: sr.DataSource) -> None:
    """In the topic that all share its jobs read the first record of its number, whenever it was announced. Raises
    `Unfit` if that is another one than these data."""
    place = (deployment.number, deployment.cluster, deployment.control_topic)
    earlier = [
        one
        for one in draft.every(sr.DataSource)
        if (one.deployment_number, one.cluster, one.topic) == place
        and one.id != source.id
        and (one.taken_at, one.log_offset) <= (source.taken_at, source.log_offset)
    ]
    if earlier:
        raise Unfit(
            "announced_before",
            f"data source {earlier[0].id} was announced under number {deployment.number} in topic "
            f"{deployment.control_topic}, which all share, before this deployment was there, and its jobs would read "
            "that one: start another deployment, with a control topic of its own if it can be",
        )


def _useless(deployment: sr.Deployment, run: r.Run, source: sr.DataSource) -> str | None:
    if RunState(run.state) in RUN_FINAL:
        return f"the deployment has {run.state}"
    if deployment.string_id:
        return "a federated deployment trains on data at the edge"
    if deployment.state != DeploymentState.WAITING:
        return "it has its data already: the first that are announced count"
    if source.cluster != deployment.cluster:
        return f"they lie in cluster {source.cluster}, and its jobs read {deployment.cluster}"
    return None


def needs_of_prepared(report: sc.ReportStream) -> Needs:
    return Needs(deployments={report.about_id})


def prepared(draft: Draft, report: sc.ReportStream) -> None:
    """Its topics are there, and its data: every job is wanted as soon as all model files are. What is not there fails
    the run before any job."""
    deployment = draft.get(sr.Deployment, report.about_id)
    asked = None if deployment is None else (deployment.state, deployment.attempts, deployment.prepared_at)
    if deployment is None or asked != (DeploymentState.PREPARING, report.attempt, None):
        return
    run = draft.have(r.Run, deployment.run_id)
    if RunState(run.state) in RUN_FINAL:
        return
    if report.reason:
        runs.end(draft, run, Step.FAIL, report.reason, report.detail)
        return
    draft.change(deployment, prepared_at=draft.now)
    jobs.begin(draft, run)


# its end


def needs_of_end_deployment(command: sc.EndDeployment) -> Needs:
    return Needs(deployments={command.run_id}, holders_of={command.run_id})


def end_deployment(draft: Draft, command: sc.EndDeployment) -> Decision:
    """Its run has ended, for whatever reason: nothing of it goes on."""
    need_hub(draft.by)
    deployment = draft.have(sr.Deployment, command.run_id)
    run = draft.have(r.Run, command.run_id)
    assert RunState(run.state) in RUN_FINAL, f"run {run.id} goes on"
    step = Step.FAIL if run.state == RunState.FAILED else Step.STOP
    for result in draft.group(sr.TrainingResult, run.id):
        if result.state in RESULT_LIVE:
            jobs.move(draft, result, step, result.reason or run.reason, result.detail if result.reason else run.detail)
    for workload in draft.every(r.Workload):
        if workload.run_id == run.id:
            shall_stop(draft, workload, run.reason)
    if deployment.state != DeploymentState.ENDED:
        state = follow(DEPLOYMENT, DeploymentState(deployment.state), Step.END)
        deployment = draft.change(deployment, state=state, state_at=draft.now)
    if deployment.string_id:
        draft.follow_up(sc.SettleWorkers(run_id=run.id), run.id)
    return draft.accept(_changed(deployment))


def workers_gone(draft: Draft, run: r.Run, detail: str) -> None:
    """Nobody is left to train at the edge, and its controller would wait for ever."""
    if RunState(run.state) not in RUN_FINAL:
        runs.end(draft, run, Step.FAIL, "too_few", detail)
