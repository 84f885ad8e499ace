"""What jobs give, through their door, and what people do with it.

An upload is repeated until its answer is heard, so the same one counts once. Only the newest attempt is heard, as long
as its run goes on and nobody has stopped it: what was stopped stays stopped, whatever comes afterwards.
"""

from __future__ import annotations

from domain import commands as c
from domain import records as r
from domain import results
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions import artifacts
from domain.decisions.access import known_project, missing, need_coordinator
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.room import artifact_event, store_room
from domain.decisions.streams import jobs
from domain.decisions.streams.numbers import needs_of_numbers, next_number
from domain.events import EventKind
from domain.ids import Id, derive
from domain.needs import Needs
from domain.states import ARTIFACT, RUN_FINAL, ArtifactState, InferenceState, ResultState, RunState, Step, follow
from domain.streams.training import TRAINING
from domain.workloads import is_open
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND

KEPT_S = 315_360_000
"""Ten years: its files are kept as long as the result, which people delete."""
WAITS_S = 1800
"""So long an upload may wait to be decided: its bytes lie in the store before any record knows them, and what no record
knows is swept after an hour."""


# by jobs


def needs_of_take_metrics(command: sc.TakeMetrics) -> Needs:
    return Needs(workloads={command.workload_id})


def take_metrics(draft: Draft, command: sc.TakeMetrics) -> Decision:
    """As far as it has come. Late ones never take the place of the final ones."""
    result = _of_job(draft, command)
    if result.state == ResultState.DEPLOYED:
        result = draft.change(
            result, train_metrics_json=command.train_metrics_json, val_metrics_json=command.val_metrics_json
        )
    return draft.accept(_answer(result))


def needs_of_refuse_result(command: sc.RefuseResult) -> Needs:
    return Needs(workloads={command.workload_id})


def refuse_result(draft: Draft, command: sc.RefuseResult) -> Decision:
    """It is on record, and why; what was given already, or is given later, stays."""
    result = _of_job(draft, command)
    task = draft.have(r.TaskRun, result.task_run_id)
    given = any(one.digest for one in jobs.results_of(draft, task.run_id, task.id) if one.position == result.position)
    if result.state == ResultState.DEPLOYED and not given:
        jobs.refused(draft, result, command.detail)
    return draft.accept(_answer(draft.have(sr.TrainingResult, result.id)))


def needs_of_take_result(command: sc.TakeResult) -> Needs:
    needs = Needs(workloads={command.workload_id})
    needs.add(needs_of_numbers("result"))
    needs.add(artifacts.needs_of_declare_artifact(_as_artifact(command, command.model)))
    return needs


def take_result(draft: Draft, command: sc.TakeResult) -> Decision:
    """What a job gave for one architecture: once, however often it says so."""
    result = _of_job(draft, command)
    if command.indefinite:
        result = _of_its_own(draft, result, command)
    given_by_this = result.digest and result.attempt == command.attempt
    if given_by_this and result.digest == command.digest:
        return draft.accept(_answer(result))
    if draft.now - draft.envelope.at > WAITS_S * SECOND:
        raise Refused(
            ProblemType.NOT_STORED,
            f"this upload for result {result.number} waited for {WAITS_S // 60} minutes, and its bytes may be gone: "
            "send it again",
        )
    if given_by_this:
        raise Refused(
            ProblemType.RESULT_TAKEN,
            f"result {result.number} is finished, and attempt {command.attempt} at workload {command.workload_id} has "
            "given it: a job gives one result for each architecture",
        )
    model = _stored(draft, command, command.model)
    matrix = None if command.matrix is None else _stored(draft, command, command.matrix)
    jobs.move(
        draft,
        result,
        Step.SUCCEED,
        detail=command.note,
        attempt=command.attempt,
        digest=command.digest,
        train_metrics_json=command.train_metrics_json,
        val_metrics_json=command.val_metrics_json,
        test_metrics_json=command.test_metrics_json,
        confusion_matrix_json=command.confusion_matrix_json,
        training_time=command.training_time,
        model_format=command.model_format,
        model_artifact_id=model,
        matrix_artifact_id=matrix,
    )
    jobs.given(draft, draft.have(r.TaskRun, result.task_run_id))
    return draft.accept(_answer(draft.have(sr.TrainingResult, result.id)))


def _of_job(draft: Draft, command: sc.TakeMetrics | sc.TakeResult | sc.RefuseResult) -> sr.TrainingResult:
    """One that this attempt may give now."""
    workload_id, attempt, number = command.workload_id, command.attempt, command.number
    workload = draft.get(r.Workload, workload_id)
    row = draft.get(r.WorkloadAttempt, workload_id, attempt)
    if workload is None or row is None or workload.purpose != TRAINING:
        raise missing("workload", workload_id)
    project = draft.have(r.Project, workload.project_id)
    if draft.by.kind != "site" or draft.by.id != project.coordinator_site_id:
        raise missing("workload", workload_id)
    result = next((one for one in draft.every(sr.TrainingResult) if one.number == number), None)
    if result is None or result.workload_id != workload.id:
        raise missing("result", f"{number} of workload {workload_id}")
    if workload.stop_at is not None or attempt != workload.attempt or not is_open(row):
        raise Refused(
            ProblemType.WORKLOAD_ENDED,
            f"attempt {attempt} at workload {workload_id} has ended, shall end or was replaced: it gives nothing",
        )
    run = draft.have(r.Run, result.run_id)
    if RunState(run.state) in RUN_FINAL or result.state not in (ResultState.DEPLOYED, ResultState.FINISHED):
        raise Refused(ProblemType.RUN_FINISHED, f"result {number} is {result.state}, and its run has {run.state}")
    return result


def _of_its_own(draft: Draft, begun_for: sr.TrainingResult, command: sc.TakeResult) -> sr.TrainingResult:
    """What goes on gives a new result each time; the one that it was begun for stays as it is."""
    ident = derive(begun_for.id, "goes on", command.attempt, command.digest)
    there = draft.get(sr.TrainingResult, ident)
    if there is not None:
        return there
    made = sr.TrainingResult(
        id=ident,
        number=next_number(draft, "result"),
        run_id=begun_for.run_id,
        task_run_id=begun_for.task_run_id,
        project_id=begun_for.project_id,
        architecture_id=begun_for.architecture_id,
        version=begun_for.version,
        position=begun_for.position,
        state=ResultState.DEPLOYED,
        state_at=draft.now,
        created_at=draft.now,
        workload_id=begun_for.workload_id,
    )
    draft.put(made)
    return made


def _stored(draft: Draft, command: sc.TakeResult, uploaded: sc.Uploaded) -> Id:
    """The artifact that it becomes, at once: all of its chunks lie there."""
    artifacts.declared(draft, _as_artifact(command, uploaded), uploaded.artifact_id, there=True)
    artifact = draft.have(r.Artifact, uploaded.artifact_id)
    state = follow(ARTIFACT, ArtifactState.DECLARED, Step.STORE)
    artifact = draft.change(artifact, state=state, stored_at=draft.now, expires_at=draft.now + KEPT_S * SECOND)
    store_room(draft, artifact)
    artifact_event(draft, artifact, EventKind.ARTIFACT_STORED)
    return artifact.id


def _as_artifact(command: sc.TakeResult, uploaded: sc.Uploaded) -> c.DeclareArtifact:
    return c.DeclareArtifact(
        owner_site_id=command.owner_site_id,
        project_id=command.project_id,
        of_kind="result",
        size_bytes=uploaded.size_bytes,
        digest=uploaded.digest,
        chunk_digests=uploaded.chunk_digests,
        ttl_s=KEPT_S,
    )


# by people


def needs_of_stop_result(command: sc.StopResult) -> Needs:
    return Needs(results={command.number})


def stop_result(draft: Draft, command: sc.StopResult) -> Decision:
    """Of a chain all are stopped: one job makes them."""
    result = _own(draft, command.number)
    if result.state not in (ResultState.CREATED, ResultState.DEPLOYED):
        raise Refused(ProblemType.NOT_NOW, f"result {result.number} is {result.state}: there is nothing to stop")
    jobs.stop(draft, draft.have(r.TaskRun, result.task_run_id), command.reason or "stopped")
    return draft.accept(_answer(draft.have(sr.TrainingResult, result.id)))


def needs_of_delete_result(command: sc.DeleteResult) -> Needs:
    return Needs(results={command.number}, serving={command.number})


def delete_result(draft: Draft, command: sc.DeleteResult) -> Decision:
    """Of what goes on the job has to be stopped first; one that was never begun is stopped with it."""
    result = _own(draft, command.number)
    if result.state == ResultState.DEPLOYED:
        raise Refused(ProblemType.NOT_NOW, f"result {result.number} is deployed: stop it first")
    serving = [one.number for one in draft.every(sr.Inference) if _serves(one, result)]
    if serving:
        raise Refused(
            ProblemType.IN_USE,
            f"inference {serving[0]} answers with result {result.number}, and reads its model whenever it starts anew: "
            "stop it first",
        )
    if result.state == ResultState.CREATED:
        jobs.stop(draft, draft.have(r.TaskRun, result.task_run_id), "deleted")
        result = draft.have(sr.TrainingResult, result.id)
    if result.deleted_at is None:
        result = draft.change(result, deleted_at=draft.now)
        for ident in (result.model_artifact_id, result.matrix_artifact_id):
            if ident is not None:
                draft.follow_up(c.DeleteArtifact(artifact_id=ident), ident)
    return draft.accept(_answer(result))


def _serves(one: sr.Inference, result: sr.TrainingResult) -> bool:
    return one.result_number == result.number and one.state in (InferenceState.PREPARING, InferenceState.SERVING)


def _own(draft: Draft, number: int) -> sr.TrainingResult:
    result = next((one for one in draft.every(sr.TrainingResult) if one.number == number), None)
    if result is None:
        raise missing("result", number)
    need_coordinator(draft, known_project(draft, result.project_id))
    return result


def _answer(result: sr.TrainingResult) -> results.TrainingResultAnswer:
    return results.TrainingResultAnswer(id=result.id, number=result.number, state=ResultState(result.state))
