"""Archives of initial files: declared with an artifact, read by a doing actor when that is stored, used once checked.

What an archive's bytes are the actor says (actors/archives.py); what follows from it is decided here.
"""

from __future__ import annotations

import msgspec

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import need_hub
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.projects import infrastructure_of
from domain.decisions.room import artifact_event
from domain.events import EventKind
from domain.needs import Needs
from domain.states import ARCHIVE, ArchiveState, ArtifactState, Step, follow
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND

CHECKED = "checked archives"
AGAIN_AFTER_S = 3600
"""A check that has not ended for so long is begun again, if its artifact is completed once more."""


def await_archive(draft: Draft, project: r.Project, artifact: r.Artifact, command: c.DeclareArtifact) -> None:
    """The archive's row, if the artifact is one. 422 where it cannot be."""
    infrastructure = infrastructure_of(project)
    by_itself = artifact.kind == "initial" and command.seal is None and infrastructure is not None
    if not (by_itself if command.archive is None else command.archive):
        return
    if artifact.kind != "initial":
        raise Refused(ProblemType.IMPOSSIBLE, f"an archive is of kind 'initial', not {artifact.kind!r}")
    if command.seal is not None:
        raise Refused(
            ProblemType.IMPOSSIBLE,
            "the hub checks what is in an archive, so it is not sealed; the project has to be `sealed: optional`",
        )
    required = infrastructure.required_files if infrastructure else []
    draft.put(
        r.Archive(
            artifact_id=artifact.id,
            project_id=project.id,
            state=ArchiveState.AWAITED,
            state_at=draft.now,
            required_json=msgspec.json.encode(required).decode(),
        )
    )


def begin_check(draft: Draft, artifact: r.Artifact) -> None:
    """The artifact is stored: if it is an archive, it is read now. A check that seems lost is begun again."""
    archive = draft.get(r.Archive, artifact.id)
    if archive is None:
        return
    late = archive.state == ArchiveState.CHECKING and draft.now - archive.state_at >= AGAIN_AFTER_S * SECOND
    if not (archive.state == ArchiveState.AWAITED or late):
        return
    draft.change(archive, state=ArchiveState.CHECKING, state_at=draft.now)
    command = c.CheckArchive(
        project_id=artifact.project_id,
        artifact_id=artifact.id,
        size_bytes=artifact.size_bytes,
        digest=artifact.digest,
        required=msgspec.json.decode(archive.required_json, type=list[str]),
    )
    draft.follow_up(command, "check")


def kept_for_its_project(draft: Draft, artifact: r.Artifact) -> bool:
    """A checked archive is what a project begins with: it is kept until people delete it, or archive the project."""
    archive = draft.get(r.Archive, artifact.id)
    checked = archive is not None and archive.state == ArchiveState.CHECKED
    return checked and draft.have(r.Project, artifact.project_id).archived_at is None


def needs_of_report_archive(command: c.ReportArchive) -> Needs:
    return Needs(artifacts={command.artifact_id}, counts={(CHECKED, command.project_id)})


def report_archive(draft: Draft, command: c.ReportArchive) -> Decision:
    """checking -> checked, with its files and the next version; or refused. A second report changes nothing."""
    need_hub(draft.by)
    archive = draft.get(r.Archive, command.artifact_id)
    artifact = draft.get(r.Artifact, command.artifact_id)
    if archive is None or artifact is None or artifact.state != ArtifactState.STORED:
        return draft.accept(results.ArchiveReported(state=None))
    state = ArchiveState(archive.state)
    if state != ArchiveState.CHECKING:
        return draft.accept(results.ArchiveReported(state=state))
    if command.flaw:
        state = follow(ARCHIVE, state, Step.REFUSE)
        draft.change(archive, state=state, state_at=draft.now, flaw=command.flaw, detail=command.detail)
        artifact_event(draft, artifact, EventKind.ARCHIVE_REFUSED, flaw=command.flaw)
        return draft.accept(results.ArchiveReported(state=state))
    state = follow(ARCHIVE, state, Step.PASS)
    version = draft.count(CHECKED, artifact.project_id) + 1
    draft.add_to(CHECKED, artifact.project_id)
    files = msgspec.json.encode(command.files).decode()
    draft.change(archive, state=state, state_at=draft.now, version=version, files_json=files)
    artifact_event(draft, artifact, EventKind.ARCHIVE_CHECKED, version=version, files=len(command.files))
    return draft.accept(results.ArchiveReported(state=state))
