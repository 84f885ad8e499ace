"""Model files that people have made: TensorFlow's trainer reads one, and code that needs more than its image has cannot
be run by a job of the hub's."""

from __future__ import annotations

from domain import records as r
from domain import results
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.access import missing
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.streams.architectures import own_project
from domain.needs import Needs
from domain.states import ArtifactState
from fedyard.wire.problems import ProblemType


def needs_of_put_model_file(command: sc.PutModelFile) -> Needs:
    return Needs(
        members_of={command.project_id},
        architectures_of={command.project_id},
        versions_of={(command.architecture_id, command.version)},
        inputs={command.artifact_id},
    )


def put_model_file(draft: Draft, command: sc.PutModelFile) -> Decision:
    """From now on; a deployment that was started before is trained from it as well, if its job has not begun."""
    project = own_project(draft, command.project_id)
    of = draft.get(sr.Architecture, command.architecture_id)
    version = draft.get(sr.ArchitectureVersion, command.architecture_id, command.version)
    if of is None or of.project_id != project.id or version is None:
        raise missing("version of an architecture", f"{command.architecture_id}/{command.version}")
    if version.framework != "tf":
        raise Refused(ProblemType.IMPOSSIBLE, f"architecture {of.id} is PyTorch, whose trainer reads its code")
    artifact = draft.get(r.Artifact, command.artifact_id)
    if artifact is None or artifact.project_id != project.id:
        raise missing("artifact", f"{command.artifact_id} of project {project.id}")
    if artifact.state != ArtifactState.STORED:
        raise Refused(ProblemType.ARTIFACT_NOT_STORED, f"artifact {artifact.id} is {artifact.state}")
    if draft.have(r.ArtifactDeclaration, artifact.id).seal is not None:
        raise Refused(ProblemType.IMPOSSIBLE, f"artifact {artifact.id} is sealed, and a trainer opens nothing")
    draft.put(
        sr.ModelFile(
            architecture_id=of.id,
            version=command.version,
            project_id=project.id,
            artifact_id=artifact.id,
            made_at=draft.now,
        )
    )
    return draft.accept(
        results.ModelFileResult(architecture_id=of.id, version=command.version, artifact_id=artifact.id)
    )
