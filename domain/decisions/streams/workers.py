"""Workers of federated training: how one begins, and how it shall go. Each is the worker of one match."""

from __future__ import annotations

import re
from typing import Any, Final

from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain import values as v
from domain.decisions.attempts import shall_stop, want
from domain.decisions.draft import Draft, Refused
from domain.decisions.limits import take_one
from domain.decisions.places import check_where
from domain.ids import derive
from domain.states import MATCH, RUN_FINAL, MatchState, Step, follow
from domain.streams.matching import FEDERATED_IMAGES, Misfit, sentence
from domain.streams.serving import worker_environment, worker_job_name
from domain.streams.training import WORKER, Unfit, devices_of, federated_topics
from domain.streams.worker_data import worker_ground_of
from fedyard.cluster.port import Resources
from fedyard.wire.problems import ProblemType

ATTEMPTS: Final = 3
_LABEL: Final = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
"""What an object may be called. A model that somebody else has named may say more than has room in one."""
NO_PLACE, NO_ROOM = "place", "limit"


def prepare(draft: Draft, match: sr.Match, data: sr.DataSource) -> None:
    """Its data must be there, and its topics, before anybody listens to them: the run's, and the one that its worker
    answers in. Looked at and made in one go, or first there and then here, where these are two clusters."""
    try:
        ground = worker_ground_of(data)
    except Unfit as unfit:
        stop(draft, match, unfit.reason, unfit.detail)
        return
    topics = federated_topics(match.string_id, match.client_id)
    if match.cluster == match.data_cluster:
        match = draft.change(match, checked_at=draft.now)
        _ask(
            draft,
            match,
            match.cluster,
            topics=topics,
            needs=ground.topics,
            ranges=ground.ranges,
        )
    elif match.checked_at is None:
        _ask(draft, match, match.data_cluster, needs=ground.topics, ranges=ground.ranges)
    else:
        _ask(draft, match, match.cluster, topics=topics)


def _ask(draft: Draft, match: sr.Match, cluster: str, **what: Any) -> None:
    command = sc.PrepareStream(cluster=cluster, purpose="workers", about_id=match.id, attempt=match.attempts, **what)
    draft.follow_up(command, match.id, cluster, match.attempts)


def want_one(draft: Draft, match: sr.Match, model: sr.ModelAnnouncement, data: sr.DataSource, run: r.Run) -> None:
    """Its worker, where the data are; or why there is none."""
    if run.state in RUN_FINAL:
        stop(draft, match, "run_ended", "the run that trains the model has ended")
        return
    if FEDERATED_IMAGES[model.framework] not in draft.rules.streams.images:
        stop(draft, match, Misfit.FRAMEWORK, sentence(Misfit.FRAMEWORK, model, data))
        return
    project = draft.have(r.Project, match.project_id)
    limit, remedy = draft.rules.workloads_per_project, "stop one, or wait until one has ended, and announce it again"
    try:
        check_where(draft, project, match.location)
        take_one(draft, "workloads", project.id, limit, remedy)
    except Refused as refused:
        no_room = refused.problem == ProblemType.TOO_MANY
        stop(draft, match, NO_ROOM if no_room else NO_PLACE, refused.detail)
        return
    name = worker_job_name(match.string_id, match.client_id)
    asked = v.Asked(name=name, spec=_spec(draft, match, model, data, name), where=match.location)
    workload = want(draft, derive(match.id, WORKER), project, asked, purpose=WORKER, run_id=run.id)
    draft.change(
        match,
        state=follow(MATCH, MatchState(match.state), Step.START),
        state_at=draft.now,
        source_id=data.id,
        workload_id=workload.id,
    )


def _spec(draft: Draft, match: sr.Match, model: sr.ModelAnnouncement, data: sr.DataSource, name: str) -> v.WorkloadSpec:
    streams = draft.rules.streams
    cloud, edge = streams.cluster(match.cluster), streams.cluster(match.data_cluster)
    devices = 0 if edge is None else edge.worker_gpus
    gpus, placement = devices_of(devices)
    told = worker_environment(
        case=match.case_number,
        string_id=match.string_id,
        client_id=match.client_id,
        data=worker_ground_of(data).data,
        cloud_servers="" if cloud is None else cloud.workload_bootstrap_servers,
        data_servers="" if edge is None else edge.workload_bootstrap_servers,
    )
    return v.WorkloadSpec(
        kind="job",
        image=streams.images[FEDERATED_IMAGES[model.framework]],
        environment=told if devices else told | {"NVIDIA_VISIBLE_DEVICES": "none"},
        object_name=name if _LABEL.fullmatch(name) else "",
        resources=Resources(gpus=gpus),
        placement=placement,
        attempts=ATTEMPTS,
    )


def stop(draft: Draft, match: sr.Match, reason: str, detail: str) -> None:
    """It is over, and its worker shall go, if it has one."""
    draft.change(
        match,
        state=follow(MATCH, MatchState(match.state), Step.END),
        state_at=draft.now,
        reason=reason,
        detail=detail[:1000],
    )
    workload = None if match.workload_id is None else draft.get(r.Workload, match.workload_id)
    if workload is not None:
        shall_stop(draft, workload, detail[:200])
