"""A job's files: inputs are found when it is asked for, outputs declared and completed by the attempt itself."""

from __future__ import annotations

import msgspec

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions import artifacts
from domain.decisions.access import acts_for, find, is_coordinator, is_member, missing
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.room import SHARED_KINDS
from domain.ids import Id
from domain.needs import Needs
from domain.states import ArtifactState, MemberState
from domain.values import WorkloadInput, WorkloadSpec
from domain.workload_files import Found, Kept, Left, kept_of, output_id
from domain.workloads import files_owner_of, is_open, site_of, spec_of
from fedyard.wire.chunks import CHUNK_BYTES, count_of
from fedyard.wire.problems import ProblemType

_encoder = msgspec.json.Encoder(order="deterministic")


def needs_of_inputs(project_id: Id, spec: WorkloadSpec) -> Needs:
    return Needs(
        inputs={one.artifact_id for one in spec.inputs.values() if one.artifact_id is not None},
        versions={(project_id, one.model_version) for one in spec.inputs.values() if one.model_version is not None},
    )


def found(draft: Draft, project: r.Project, where: str, spec: WorkloadSpec) -> Kept:
    """What a job of this spec finds there. 404 for what the caller may not read, or the site that it runs at may not;
    422 for what cannot be read by anybody but those that it was sealed to."""
    if spec.outputs and project.sealed == "required":
        raise Refused(
            ProblemType.UNSEALED,
            f"project {project.id} takes sealed payloads alone, and what a job leaves in outputs is not sealed: have "
            "it hold a seat of a run and seal its result itself, or make the project with sealed: optional",
        )
    if site_of(where) not in (None, project.coordinator_site_id):
        shared = sorted(name for name, one in spec.outputs.items() if one.kind in SHARED_KINDS)
        if shared:
            raise Refused(
                ProblemType.IMPOSSIBLE,
                f"output {shared[0]} is to be an initial file, which only the coordinator of project {project.id} "
                f"uploads; what runs at {where} leaves artifacts of kind result",
            )
    return Kept(inputs={name: _input(draft, project, where, name, one) for name, one in sorted(spec.inputs.items())})


def _input(draft: Draft, project: r.Project, where: str, name: str, asked: WorkloadInput) -> Found:
    ident = asked.artifact_id
    if asked.model_version is not None:
        model = draft.get(r.Model, project.id, asked.model_version)
        if model is None:
            raise missing("model version", f"{asked.model_version} of project {project.id}")
        ident = model.artifact_id
        if ident is None:
            raise Refused(
                ProblemType.IMPOSSIBLE,
                f"input {name}: model version {model.version} lies in a message, which its sites alone can read: "
                "upload it as an artifact",
            )
    assert ident is not None, "one of both is there"
    artifact = draft.get(r.Artifact, ident)
    if artifact is None or artifact.project_id != project.id or not _reads(draft, project, artifact, where):
        raise missing("artifact", f"{ident} of project {project.id}")
    if artifact.state != ArtifactState.STORED:
        raise Refused(
            ProblemType.ARTIFACT_NOT_STORED,
            f"input {name}: artifact {ident} is {artifact.state}; its bytes are not there",
        )
    if draft.have(r.ArtifactDeclaration, ident).seal is not None:
        raise Refused(
            ProblemType.IMPOSSIBLE,
            f"input {name}: artifact {ident} is sealed, and neither the hub nor a cluster can open it: have a workload "
            "that holds a seat of a run receive it, or upload it unsealed",
        )
    return Found(artifact.id, artifact.digest, artifact.size_bytes)


def _reads(draft: Draft, project: r.Project, artifact: r.Artifact, where: str) -> bool:
    """May the caller, and whoever fetches it where it runs? To run the network is not enough."""
    owner = draft.have(r.Site, artifact.owner_site_id)
    shared = artifact.kind in SHARED_KINDS
    caller = acts_for(draft.by, owner) or is_coordinator(draft, project) or (shared and is_member(draft, project))
    site = site_of(where)
    if site is None:
        return caller
    member = draft.get(r.Membership, project.id, site)
    shown = shared and member is not None and member.state == MemberState.ACTIVE
    return caller and (shown or site in (owner.id, project.coordinator_site_id))


def as_kept(kept: Kept) -> str:
    return _encoder.encode(kept).decode()


def needs_of_declare_output(command: c.DeclareOutput) -> Needs:
    ids = {output_id(command.workload_id, command.name, command.digest, again) for again in (None, command.attempt)}
    needs = Needs(workloads={command.workload_id}, artifacts=ids)
    needs.add(artifacts.needs_of_declare_artifact(_as_artifact(command, "result")))
    return needs


def declare_output(draft: Draft, command: c.DeclareOutput) -> Decision:
    """The artifact that it becomes: the one that is there of the same bytes, or a new one."""
    workload, spec = _job(draft, command.workload_id, command.attempt)
    asked = spec.outputs.get(command.name)
    if asked is None:
        raise missing("output", f"{command.name} of workload {workload.id}")
    ident = output_id(workload.id, command.name, command.digest)
    there = draft.get(r.Artifact, ident)
    if there is not None and there.state == ArtifactState.EXPIRED:
        ident = output_id(workload.id, command.name, command.digest, command.attempt)
        there = draft.get(r.Artifact, ident)
    if there is None:
        result = artifacts.declared(draft, _as_artifact(command, asked.kind), ident)
    else:
        need = [] if there.state == ArtifactState.STORED else list(range(count_of(there.size_bytes)))
        result = results.Declared(id=ident, state=ArtifactState(there.state), chunk_bytes=CHUNK_BYTES, need=need)
    before = kept_of(workload).outputs.get(command.name)
    same = before is not None and before.artifact_id == ident
    left = before if same and before is not None else Left(ident, command.digest, command.size_bytes, command.attempt)
    _keep(draft, workload, command.name, left)
    return draft.accept(result, 201)


def needs_of_complete_output(command: c.CompleteOutput) -> Needs:
    return Needs(workloads={command.workload_id}, artifacts={command.artifact_id})


def complete_output(draft: Draft, command: c.CompleteOutput) -> Decision:
    """It is stored, and on record as this job's."""
    workload, _ = _job(draft, command.workload_id, command.attempt)
    left = kept_of(workload).outputs.get(command.name)
    if left is None or left.artifact_id != command.artifact_id:
        raise missing("output", f"{command.name} of workload {workload.id}")
    if left.stored_at is None:  # unless the artifact is refused
        _keep(draft, workload, command.name, msgspec.structs.replace(left, stored_at=draft.now))
    return artifacts.complete_artifact(draft, c.CompleteArtifact(artifact_id=left.artifact_id, found=command.found))


def _job(draft: Draft, ident: Id, attempt: int) -> tuple[r.Workload, WorkloadSpec]:
    """As long as this attempt is the one that counts, and of whoever it stores for."""
    workload = find(draft, r.Workload, "workload", ident)
    owner = files_owner_of(workload, draft.have(r.Project, workload.project_id).coordinator_site_id)
    if draft.by.kind != "site" or draft.by.id != owner:
        raise missing("workload", ident)
    row = draft.get(r.WorkloadAttempt, ident, attempt)
    if row is None or attempt != workload.attempt or not is_open(row):
        raise Refused(
            ProblemType.WORKLOAD_ENDED,
            f"attempt {attempt} at workload {ident} has ended, or was replaced: it leaves nothing",
        )
    return workload, spec_of(workload)


def _keep(draft: Draft, workload: r.Workload, name: str, left: Left) -> None:
    kept = kept_of(workload)
    kept = msgspec.structs.replace(kept, outputs=kept.outputs | {name: left})
    draft.change(workload, files_json=as_kept(kept))


def _as_artifact(command: c.DeclareOutput, kind: str) -> c.DeclareArtifact:
    return c.DeclareArtifact(
        owner_site_id=command.owner_site_id,
        project_id=command.project_id,
        of_kind="initial" if kind == "initial" else "result",
        size_bytes=command.size_bytes,
        digest=command.digest,
        chunk_digests=command.chunk_digests,
    )
