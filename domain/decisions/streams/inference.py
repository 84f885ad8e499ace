"""Inference: a service that reads samples from a topic, and writes what a trained model says of them into another one.

Its topics are there before it is: who subscribes to a topic that is missing stays deaf for minutes. So it is prepared
first, cluster by cluster where its topics lie in several, and wanted as a workload once that was reported.
"""

from __future__ import annotations

import msgspec

from domain import records as r
from domain import results, values
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.access import known_project, missing, need_coordinator, sees_runs
from domain.decisions.attempts import shall_stop, want
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.decisions.places import check_where
from domain.decisions.streams.architectures import own_project
from domain.decisions.streams.numbers import needs_of_numbers, next_number
from domain.events import EventKind
from domain.ids import Id
from domain.needs import Needs
from domain.states import INFERENCE, WORKLOAD_LIVE, InferenceState, ResultState, Step, follow
from domain.stream_values import InferenceAsked
from domain.streams import training
from domain.streams.contract import Framework
from domain.streams.serving import (
    TORCH_GROUP,
    Serving,
    clusters_of,
    flaw_of,
    inference_environment,
    inference_group,
    inference_labels,
    inference_object_name,
    topics_on,
)
from fedyard.cluster.port import Resources
from fedyard.wire.problems import ProblemType

ATTEMPTS = 10
"""At its workload: it shall go on until it is stopped."""
_asked_decoder = msgspec.json.Decoder(InferenceAsked)


def needs_of_start_inference(command: sc.StartInference) -> Needs:
    project, asked = command.project_id, command.asked
    needs = needs_of_numbers("inference")
    needs.add(
        Needs(
            members_of={project},
            served={command.result},
            inferences_on={topic for topic in (asked.input_topic, asked.output_topic, asked.output_upper) if topic},
            counts={("workloads", project), ("workloads of a day", project), ("inferences of a day", project)},
        )
    )
    return needs


def start_inference(draft: Draft, command: sc.StartInference) -> Decision:
    project = own_project(draft, command.project_id)
    result = next((one for one in draft.every(sr.TrainingResult) if one.number == command.result), None)
    if result is None or result.project_id != project.id or result.deleted_at is not None:
        raise missing("training result", command.result)
    if result.state != ResultState.FINISHED or result.model_artifact_id is None:
        raise Refused(
            ProblemType.NOT_NOW, f"training result {result.number} is {result.state}: only a finished one has a model"
        )
    version = draft.have(sr.ArchitectureVersion, result.architecture_id, result.version)
    asked = _with_clusters(draft, command.asked)
    check_where(draft, project, command.where)
    flaw = flaw_of(asked, distributed=bool(version.distributed)) or _unready(draft, version.framework)
    if flaw is not None:
        raise Refused(ProblemType.IMPOSSIBLE, flaw)
    _check_topics(draft, project, asked)
    number = next_number(draft, "inference")
    group = inference_group(_framework(version.framework), rid=result.number, number=number)
    _check_group(draft, asked, group)
    take_one(draft, "workloads", project.id, draft.rules.workloads_per_project, "stop one, or wait until one has ended")
    for what in ("workloads of a day", "inferences of a day"):  # one that never comes to run has made its topics, too
        take_one(draft, what, project.id, draft.rules.workloads_per_day, "start the next one tomorrow")
    made = sr.Inference(
        id=draft.derive("inference"),
        number=number,
        project_id=project.id,
        result_id=result.id,
        result_number=result.number,
        framework=version.framework,
        distributed=version.distributed,
        cluster=asked.input_cluster,
        input_topic=asked.input_topic,
        group_id=group,
        asked_json=msgspec.json.encode(asked).decode(),
        location=command.where,
        state=InferenceState.PREPARING,
        state_at=draft.now,
        created_by=draft.by.id,
        created_at=draft.now,
    )
    draft.put(made)
    _prepare(draft, made, asked)
    _tell(draft, made, EventKind.INFERENCE_CREATED)
    return draft.accept(_result(made), 201)


def needs_of_stop_inference(command: sc.StopInference) -> Needs:
    return Needs(members_of={command.project_id}, inferences={command.inference_id})


def stop_inference(draft: Draft, command: sc.StopInference) -> Decision:
    """It shall go; what is on its way out is as it should be. What it reads and writes stays."""
    inference = _known(draft, command.project_id, command.inference_id)
    before = InferenceState(inference.state)
    if (before, Step.STOP) in INFERENCE:
        inference = draft.change(inference, state=follow(INFERENCE, before, Step.STOP), state_at=draft.now)
        workload = _workload(draft, inference)
        if workload is not None:
            shall_stop(draft, workload, "its inference was stopped")
        _tell(draft, inference, EventKind.INFERENCE_STOPPED)
    return draft.accept(_result(inference))


def needs_of_delete_inference(command: sc.DeleteInference) -> Needs:
    return Needs(members_of={command.project_id}, inferences={command.inference_id})


def delete_inference(draft: Draft, command: sc.DeleteInference) -> Decision:
    """Show it no more; not before it is gone."""
    inference = _known(draft, command.project_id, command.inference_id)
    workload = _workload(draft, inference)
    there = workload is not None and workload.state in WORKLOAD_LIVE
    if there or inference.state == InferenceState.PREPARING:
        raise Refused(
            ProblemType.IN_USE,
            f"inference {inference.number} is {inference.state}"
            f"{', and its workload is there still' if there else ''}: stop it first, and wait until it has stopped",
        )
    if inference.state == InferenceState.SERVING:  # its workload has ended by itself
        inference = _step(draft, inference, Step.STOP)
    inference = draft.change(inference, deleted_at=draft.now)
    _tell(draft, inference, EventKind.INFERENCE_DELETED)
    return draft.accept(_result(inference))


# what becomes of its topics


def needs_of_prepared(command: sc.ReportStream) -> Needs:
    return Needs(inferences={command.about_id})


def prepared(draft: Draft, report: sc.ReportStream) -> None:
    """On to the next cluster, or to the service; or it has failed of what could not be made."""
    inference = draft.get(sr.Inference, report.about_id)
    if inference is None or inference.state != InferenceState.PREPARING or inference.step != report.attempt:
        return
    project, asked = draft.have(r.Project, inference.project_id), asked_of(inference)
    reason, detail = str(report.reason), report.detail
    if not reason and project.archived_at is not None:
        reason, detail = "archived", f"project {project.id} is archived: nothing runs for it"
    if not reason:  # the settings may be others by now
        detail = _unready(draft, inference.framework) or _unknown_cluster(draft, asked) or ""
        reason = "settings" if detail else ""
    if reason:
        inference = _step(draft, inference, Step.FAIL, reason=reason, detail=detail)
        _tell(draft, inference, EventKind.INFERENCE_FAILED)
        return
    if inference.step < len(clusters_of(asked)):
        _prepare(draft, draft.change(inference, step=inference.step + 1), asked)
        return
    workload = _want(draft, project, inference, asked)
    inference = _step(draft, inference, Step.START, workload_id=workload.id)
    _tell(draft, inference, EventKind.INFERENCE_STARTED)


def asked_of(inference: sr.Inference) -> InferenceAsked:
    return _asked_decoder.decode(inference.asked_json)


def _step(draft: Draft, inference: sr.Inference, step: Step, **fields: object) -> sr.Inference:
    state = follow(INFERENCE, InferenceState(inference.state), step)
    return draft.change(inference, state=state, state_at=draft.now, **fields)


def _prepare(draft: Draft, inference: sr.Inference, asked: InferenceAsked) -> None:
    """Its topics of one cluster."""
    cluster = clusters_of(asked)[inference.step - 1]
    topics = [sc.NewTopic(name=name, partitions=max(asked.replicas, 1)) for name in topics_on(asked, cluster)]
    draft.follow_up(
        sc.PrepareStream(
            cluster=cluster, purpose="inference", about_id=inference.id, attempt=inference.step, topics=topics
        ),
        "prepare",
        inference.id,
        inference.step,
    )


def _want(draft: Draft, project: r.Project, inference: sr.Inference, asked: InferenceAsked) -> r.Workload:
    framework, distributed = _framework(inference.framework), bool(inference.distributed)
    environment = inference_environment(
        _serving(draft, asked),
        number=inference.number,
        rid=inference.result_number,
        framework=framework,
        distributed=distributed,
    )
    gpus, placement = training.devices_of(asked.gpus)
    spec = values.WorkloadSpec(
        kind="service",
        image=draft.rules.streams.images[_image_of(inference.framework)],
        environment=environment | ({"NVIDIA_VISIBLE_DEVICES": "all"} if gpus else {}),
        labels=inference_labels(inference.number),
        object_name=inference_object_name(inference.number),
        resources=Resources(gpus=gpus),
        placement=placement,
        replicas=asked.replicas,
        attempts=ATTEMPTS,
    )
    name = inference_object_name(inference.number)
    wanted = values.Asked(name=name, spec=spec, where=inference.location)
    return want(draft, draft.derive("workload"), project, wanted, purpose=training.INFERENCE)


def _serving(draft: Draft, asked: InferenceAsked) -> Serving:
    """With the servers of its clusters, as workloads reach them."""

    def servers(name: str) -> str:
        cluster = draft.rules.streams.cluster(name)
        return "" if cluster is None else cluster.workload_bootstrap_servers

    return Serving(
        input_format=asked.input_format,
        input_config=asked.input_config,
        input_topic=asked.input_topic,
        output_topic=asked.output_topic,
        input_servers=servers(asked.input_cluster),
        output_servers=servers(asked.output_cluster),
        upper_servers=servers(asked.upper_cluster),
        output_upper=asked.output_upper,
        limit=asked.limit,
    )


# what may not be


def _with_clusters(draft: Draft, asked: InferenceAsked) -> InferenceAsked:
    """Those that were left out are that of deployments; one that the hub does not know is refused."""
    streams = draft.rules.streams
    cloud = asked.input_cluster or streams.cloud
    asked = msgspec.structs.replace(
        asked,
        input_cluster=cloud,
        output_cluster=asked.output_cluster or cloud,
        upper_cluster=asked.upper_cluster or cloud,
    )
    unknown = _unknown_cluster(draft, asked)
    if unknown is not None:
        raise Refused(ProblemType.IMPOSSIBLE, unknown)
    return asked


def _unknown_cluster(draft: Draft, asked: InferenceAsked) -> str | None:
    for name in clusters_of(asked):
        if draft.rules.streams.cluster(name) is None:
            return f"the hub knows no cluster of Kafka {name!r}: name one of its settings, or have its operator add it"
    return None


def _unready(draft: Draft, framework: str) -> str | None:
    if _image_of(framework) not in draft.rules.streams.images:
        return f"the hub has no image {_image_of(framework)}: its operator names one among the images of streams"
    return None


def _check_topics(draft: Draft, project: r.Project, asked: InferenceAsked) -> None:
    """What is read is shown to the project's members, and what is written is believed by who reads it."""
    theirs = {
        (cluster, topic)
        for other in draft.every(sr.Inference)
        if other.project_id != project.id and other.deleted_at is None
        for cluster in clusters_of(asked_of(other))
        for topic in topics_on(asked_of(other), cluster)
    }
    for name in clusters_of(asked):
        cluster = draft.rules.streams.cluster(name)
        for topic in topics_on(asked, name):
            if cluster is not None and cluster.is_the_hubs(topic):
                raise Refused(ProblemType.IMPOSSIBLE, f"topic {topic} of {name} is the hub's or Kafka's: name another")
            if (name, topic) in theirs:
                raise Refused(
                    ProblemType.NAME_TAKEN, f"topic {topic} of {name} is of another project's inference: name another"
                )


def _check_group(draft: Draft, asked: InferenceAsked, group: str) -> None:
    """Two that read a topic in one group would each get some of its records."""
    if group != TORCH_GROUP:
        return
    live = (InferenceState.PREPARING, InferenceState.SERVING)
    for other in draft.every(sr.Inference):
        here = (other.cluster, other.input_topic) == (asked.input_cluster, asked.input_topic)
        if here and other.group_id == TORCH_GROUP and other.state in live:
            raise Refused(
                ProblemType.NAME_TAKEN,
                f"a PyTorch inference reads topic {asked.input_topic} of {asked.input_cluster} already, and the "
                "container of this one would share its records: use another topic, or stop the other one",
            )


def _known(draft: Draft, project_id: Id, inference_id: Id) -> sr.Inference:
    """One of a project that the caller may change, or 404."""
    project = known_project(draft, project_id)
    if not sees_runs(draft, project):
        raise missing("project", project_id)
    need_coordinator(draft, project)
    found = draft.get(sr.Inference, inference_id)
    if found is None or found.project_id != project.id or found.deleted_at is not None:
        raise missing("inference", inference_id)
    return found


def _workload(draft: Draft, inference: sr.Inference) -> r.Workload | None:
    return None if inference.workload_id is None else draft.have(r.Workload, inference.workload_id)


def _framework(text: str) -> Framework:
    return "pth" if text == "pth" else "tf"


def _image_of(framework: str) -> str:
    return "pytorch_inference" if framework == "pth" else "tensorflow_inference"


def _tell(draft: Draft, inference: sr.Inference, kind: EventKind) -> None:
    facts: dict[str, object] = {"inference_id": inference.id, "number": inference.number}
    facts |= {"result": inference.result_number, "reason": inference.reason}
    draft.event(("project", inference.project_id), kind, facts)


def _result(inference: sr.Inference) -> results.InferenceResult:
    return results.InferenceResult(
        id=inference.id,
        project_id=inference.project_id,
        number=inference.number,
        state=InferenceState(inference.state),
    )
