"""Artifacts: declared, completed, deleted, expired. Their bytes are the web's and the sweeper's; here are the rules."""

from __future__ import annotations

import math

import msgspec

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions import sealing
from domain.decisions.access import (
    active_members,
    acts_for,
    find,
    forbidden,
    is_admin,
    is_coordinator,
    missing,
    need_hub,
    own_site,
)
from domain.decisions.archives import await_archive, begin_check, kept_for_its_project
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.projects import infrastructure_of
from domain.decisions.room import SHARED_KINDS, artifact_event, expire, store_room, take_room
from domain.events import EventKind
from domain.ids import Id
from domain.needs import Needs, those
from domain.states import ARTIFACT, RUN_FINAL, ArtifactState, MemberState, RunState, Step, follow
from domain.values import Micros
from fedyard.wire.chunks import CHUNK_BYTES, DIGEST_BYTES, belong_together, count_of, tree_digest
from fedyard.wire.plurals import counted
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND

_OF_A_LIVE_RUN = ("update", "model", "log")
_MAX_NAMED = 10
"""Chunks named in one refusal."""


def needs_of_declare_artifact(command: c.DeclareArtifact) -> Needs:
    site, project = command.owner_site_id, command.project_id
    return Needs(
        sites={site},
        members_of={project},
        mentioned_runs=those(command.run_id),
        totals_of={project},
        shares_of={(project, site)},
        keys=sealing.keys_in((command.seal,)),
    )


def declare_artifact(draft: Draft, command: c.DeclareArtifact) -> Decision:
    """Room is taken from now on."""
    return draft.accept(declared(draft, command, draft.derive("artifact")), 201)


def declared(draft: Draft, command: c.DeclareArtifact, ident: Id, *, there: bool = False) -> results.Declared:
    """The artifact under that id, or `Refused`. there: so are its bytes, and the caller stores it at once."""
    owner = own_site(draft, command.owner_site_id)
    project = _project_of(draft, command.project_id, owner)
    if command.of_kind in SHARED_KINDS and owner.id != project.coordinator_site_id:
        raise forbidden(
            f"only the coordinator of project {project.id} (site {project.coordinator_site_id}) uploads artifacts of "
            f"kind {command.of_kind!r}"
        )
    _check_place(draft, project, command)
    if not belong_together(command.size_bytes, command.chunk_digests):
        raise _digests_wrong(
            f"{command.size_bytes} bytes are {counted(count_of(command.size_bytes), 'chunk')}, with a digest each"
        )
    if tree_digest(command.chunk_digests) != command.digest:
        raise _digests_wrong("the digest is not the SHA-256 over the digests of the chunks")
    _check_seal(draft, project, owner, command)
    take_room(draft, project, owner, command, there=there)
    artifact = r.Artifact(
        id=ident,
        project_id=project.id,
        owner_site_id=owner.id,
        kind=command.of_kind,
        run_id=command.run_id,
        task_seq=command.task_seq,
        round=command.round,
        size_bytes=command.size_bytes,
        digest=command.digest,
        state=ArtifactState.DECLARED,
        created_at=draft.now,
        ttl_s=None if command.ttl_s is None else math.ceil(command.ttl_s),
        expires_at=draft.now + int(draft.rules.keep_uploads_s * SECOND),
    )
    draft.put(artifact)
    draft.put(r.ArtifactDeclaration(artifact_id=artifact.id, chunk_digests=command.chunk_digests, seal=command.seal))
    await_archive(draft, project, artifact, command)
    need = list(range(count_of(artifact.size_bytes)))
    return results.Declared(id=artifact.id, state=ArtifactState.DECLARED, chunk_bytes=CHUNK_BYTES, need=need)


def _project_of(draft: Draft, project_id: Id, site: r.Site) -> r.Project:
    project = draft.get(r.Project, project_id)
    membership = draft.get(r.Membership, project_id, site.id)
    if project is None or membership is None or membership.state != MemberState.ACTIVE:
        raise missing("project", project_id)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived")
    return project


def _check_place(draft: Draft, project: r.Project, command: c.DeclareArtifact) -> None:
    """422 where run, task and round do not fit the kind; 404 or 409 where the run does not."""
    given = (command.run_id, command.task_seq, command.round)
    wanted = {"update": 3, "model": 3, "log": 2}.get(command.of_kind, 0)
    if command.of_kind == "model" and infrastructure_of(project) is not None and given == (None, None, None):
        return  # a checkpoint of the project's own coordinator
    said = next((place for place, value in enumerate(given) if value is None), len(given))
    if said < wanted or any(value is not None for value in given[said:]):
        names = ", ".join(("run_id", "task_seq", "round")[:wanted]) or "no task or round without their run"
        raise Refused(ProblemType.MISPLACED, f"an artifact of kind {command.of_kind!r} needs {names}")
    if command.run_id is None:
        return
    run = draft.get(r.Run, command.run_id)
    if run is None or run.project_id != project.id:
        raise missing("run", f"{command.run_id} in project {project.id}")
    if command.of_kind in _OF_A_LIVE_RUN and RunState(run.state) in RUN_FINAL:
        raise Refused(ProblemType.RUN_FINISHED, f"run {run.id} is finished: {run.state}; it takes no {command.of_kind}")


def _check_seal(draft: Draft, project: r.Project, owner: r.Site, command: c.DeclareArtifact) -> None:
    """By the same rules as what travels inline. Who has to be able to open it is asked when it is sent."""
    coordinator = project.coordinator_site_id
    readers = frozenset(active_members(draft, project.id) if owner.id == coordinator else (owner.id, coordinator))
    kind = command.of_kind if command.of_kind in _OF_A_LIVE_RUN else None
    place = sealing.Place(project, owner, kind, frozenset(), readers, command.run_id, command.task_seq, command.round)
    seal = sealing.checked(draft, place, command.seal, sealing.Ciphertext(command.size_bytes, command.digest))
    if seal is None and command.seal is not None:
        raise Refused(ProblemType.SEAL_MALFORMED, "this is no sealed payload of format 1; send its seal, or none")


def _digests_wrong(detail: str) -> Refused:
    return Refused(ProblemType.DIGEST_MISMATCH, detail)


def needs_of_complete_artifact(command: c.CompleteArtifact) -> Needs:
    return Needs(artifacts={command.artifact_id})


def complete_artifact(draft: Draft, command: c.CompleteArtifact) -> Decision:
    """declared -> stored, if every chunk was found and is what was declared."""
    artifact = find(draft, r.Artifact, "artifact", command.artifact_id)
    owner = draft.have(r.Site, artifact.owner_site_id)
    if not acts_for(draft.by, owner):
        raise missing("artifact", artifact.id)
    if artifact.state == ArtifactState.EXPIRED:
        raise _expired(artifact)
    if artifact.state == ArtifactState.DECLARED:
        _check_chunks(artifact, command.found)
        artifact = draft.change(
            artifact,
            state=follow(ARTIFACT, ArtifactState.DECLARED, Step.STORE),
            stored_at=draft.now,
            expires_at=None if artifact.ttl_s is None else draft.now + artifact.ttl_s * SECOND,
        )
        store_room(draft, artifact)
        artifact_event(draft, artifact, EventKind.ARTIFACT_STORED)
    begin_check(draft, artifact)
    return draft.accept(results.Completed(id=artifact.id, state=ArtifactState(artifact.state), digest=artifact.digest))


def _check_chunks(artifact: r.Artifact, found: bytes) -> None:
    """The digest over all that was found is the declared one, or 409 with what is missing."""
    if belong_together(artifact.size_bytes, found) and tree_digest(found) == artifact.digest:
        return
    places = range(count_of(artifact.size_bytes))
    lacking = [n for n in places if not any(found[n * DIGEST_BYTES : (n + 1) * DIGEST_BYTES])]
    named = ", ".join(map(str, lacking[:_MAX_NAMED])) + (", ..." if len(lacking) > _MAX_NAMED else "")
    raise Refused(
        ProblemType.CHUNKS_MISSING,
        f"{len(lacking)} of {len(places)} chunks of artifact {artifact.id} are not there: {named}; put them and "
        "complete it again",
    )


def _expired(artifact: r.Artifact) -> Refused:
    return Refused(
        ProblemType.ARTIFACT_EXPIRED, f"artifact {artifact.id} has expired ({artifact.reason}); declare it anew"
    )


def needs_of_delete_artifact(command: c.DeleteArtifact) -> Needs:
    return Needs(ending_artifacts={command.artifact_id})


def delete_artifact(draft: Draft, command: c.DeleteArtifact) -> Decision:
    """Its owner, the coordinator or an admin wants it gone; refused while a live run needs it."""
    artifact = find(draft, r.Artifact, "artifact", command.artifact_id)
    project = draft.have(r.Project, artifact.project_id)
    owner = draft.have(r.Site, artifact.owner_site_id)
    if not (acts_for(draft.by, owner) or is_coordinator(draft, project) or is_admin(draft.by)):
        raise missing("artifact", artifact.id)
    run = needed_by(draft, artifact)
    if run is not None:
        raise Refused(
            ProblemType.ARTIFACT_NEEDED,
            f"run {run.id} is {run.state} and needs artifact {artifact.id}; stop the run or wait for its end",
        )
    if artifact.state != ArtifactState.EXPIRED:
        artifact = expire(draft, artifact, "deleted")
    return draft.accept(results.Deleted(id=artifact.id, state=ArtifactState(artifact.state)))


def needs_of_expire_artifacts(command: c.ExpireArtifacts) -> Needs:
    return Needs(ending_artifacts=set(command.artifact_ids))


def expire_artifacts(draft: Draft, command: c.ExpireArtifacts) -> Decision:
    """Those that are past their time and that nobody needs; the ticker asks for the others again."""
    need_hub(draft.by)
    expired = []
    for artifact in filter(None, (draft.get(r.Artifact, artifact_id) for artifact_id in command.artifact_ids)):
        if _is_over(draft, artifact, int(draft.rules.keep_artifacts_s * SECOND)) and needed_by(draft, artifact) is None:
            expire(draft, artifact, "not completed in time" if artifact.stored_at is None else "kept long enough")
            expired.append(artifact.id)
    return draft.accept(results.Expired(expired=expired))


def _is_over(draft: Draft, artifact: r.Artifact, keep: Micros) -> bool:
    """Past its time. A global model has none while its project lives, nor has a checked archive of initial files."""
    if artifact.state == ArtifactState.EXPIRED:
        return False
    if artifact.state == ArtifactState.DECLARED or artifact.ttl_s is not None:
        until = artifact.expires_at
    else:
        run = None if artifact.run_id is None else draft.have(r.Run, artifact.run_id)
        since = artifact.stored_at if run is None else run.ended_at
        until = None if since is None else max(since, artifact.stored_at or 0) + keep
    is_global_model = artifact.kind == "model" and (artifact.message_id is not None or _is_version(draft, artifact))
    if is_global_model and draft.have(r.Project, artifact.project_id).archived_at is None:
        return False
    if artifact.ttl_s is None and kept_for_its_project(draft, artifact):
        return False
    return until is not None and until <= draft.now


def _is_version(draft: Draft, artifact: r.Artifact) -> bool:
    """Is it the checkpoint of a round that the project's own coordinator has led?"""
    rounds = draft.group(r.ProjectRound, artifact.project_id)
    return any(one.checkpoint_artifact_id == artifact.id for one in rounds)


def needed_by(draft: Draft, artifact: r.Artifact) -> r.Run | None:
    """A live run that needs it, if there is one. An unfinished upload is needed by nobody.

    An update: while its round is not over. A global model: while it is the newest of a task, or not reported yet.
    An initial file: while any run of the project lives. What else belongs to a run: while that lives.
    """
    if artifact.state != ArtifactState.STORED:
        return None
    live = [run for run in draft.group(r.Run, artifact.project_id) if RunState(run.state) not in RUN_FINAL]
    return next((run for run in live if _needs(draft, run, artifact)), None)


def _needs(draft: Draft, run: r.Run, artifact: r.Artifact) -> bool:
    tasks = draft.group(r.TaskRun, run.id)
    if artifact.message_id is not None and any(task.model_message_id == artifact.message_id for task in tasks):
        return True
    if artifact.kind == "initial":
        return True
    if artifact.run_id != run.id:
        return False
    if artifact.kind == "model":
        return artifact.message_id is None
    reached = next((task.round for task in tasks if task.seq == artifact.task_seq), 0)
    return artifact.kind != "update" or (artifact.round or 0) >= reached


# references


class Place(msgspec.Struct, frozen=True):
    """Where a payload says that it belongs; an artifact that carries it must say the same."""

    project_id: Id
    owner_site_id: Id
    run_id: Id | None
    task_seq: int | None = None
    round: int | None = None
    kind: str | None = None


def carry(draft: Draft, artifact_id: Id, place: Place, message_id: Id) -> r.Artifact:
    """The artifact that a message's payload lies in, bound to that message. It must be stored, and from that place."""
    artifact = draft.get(r.Artifact, artifact_id)
    if artifact is None or artifact.owner_site_id != place.owner_site_id or artifact.project_id != place.project_id:
        raise missing("artifact", f"{artifact_id} of site {place.owner_site_id} in project {place.project_id}")
    if artifact.state == ArtifactState.EXPIRED:
        raise _expired(artifact)
    if artifact.state != ArtifactState.STORED:
        raise Refused(
            ProblemType.ARTIFACT_NOT_STORED,
            f"artifact {artifact.id} is {artifact.state}; put its chunks and complete it first",
        )
    if not _from_there(artifact, place):
        raise Refused(
            ProblemType.MISPLACED,
            f"artifact {artifact.id} is of kind {artifact.kind!r}, run {artifact.run_id}, task {artifact.task_seq}, "
            f"round {artifact.round}, and cannot be sent as something else",
        )
    if place.kind is None and artifact.kind in _OF_A_LIVE_RUN:  # also sent as a letter: it stays the run's
        return artifact
    return draft.change(artifact, message_id=message_id)


def _from_there(artifact: r.Artifact, place: Place) -> bool:
    if place.kind is None:  # a message between sites: the run, if the artifact belongs to one
        return artifact.run_id in (None, place.run_id)
    declared = (artifact.kind, artifact.run_id, artifact.task_seq, artifact.round)
    return declared == (place.kind, place.run_id, place.task_seq, place.round)
