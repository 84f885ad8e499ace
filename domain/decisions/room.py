"""Room for artifacts: taken when one is declared, given back when it expires, or when its owner leaves the project."""

from __future__ import annotations

from domain import commands as c
from domain import records as r
from domain.decisions.draft import Draft, Refused
from domain.events import EventKind
from domain.ids import Id
from domain.rules import Room
from domain.states import ARTIFACT, ArtifactState, Step, follow
from domain.sweeps import ForgetDeclaration
from fedyard.wire.problems import ProblemType

SHARED_KINDS = ("initial", "model")
"""The coordinator's, for every member."""
OWNER_LEFT = "its site left the project before it was stored"


def take_room(
    draft: Draft, project: r.Project, owner: r.Site, command: c.DeclareArtifact, *, there: bool = False
) -> None:
    """From the project's quota and the site's share of it. The project is its coordinator's, so that has no share.
    there: its bytes are, so that it is none of the unfinished ones."""
    room, size_bytes = draft.rules.room(command.of_kind), command.size_bytes
    if size_bytes > room.artifact_bytes:
        raise Refused(
            ProblemType.TOO_LARGE,
            f"the artifact of kind {command.of_kind!r} has {size_bytes} bytes, this hub takes {room.artifact_bytes} "
            "of that kind at most; declare less, in several artifacts, or ask its operator for a higher limit",
        )
    share = _share(draft, project.id, owner.id)
    if not there:
        _check_unfinished(project, share, size_bytes, room)
    if owner.id != project.coordinator_site_id and share.live_bytes + size_bytes > room.site_bytes:
        raise Refused(
            ProblemType.SITE_QUOTA_EXCEEDED,
            f"the artifacts of site {owner.id} in project {project.id} have {share.live_bytes} bytes, "
            f"{room.site_bytes} are a participant's share and {size_bytes} more are asked for; delete some that "
            "nobody needs",
        )
    total = _total(draft, project.id)
    if total.live_bytes + size_bytes > room.project_bytes:
        raise Refused(
            ProblemType.QUOTA_EXCEEDED,
            f"the artifacts of project {project.id} have {total.live_bytes} bytes, {room.project_bytes} are allowed "
            f"and {size_bytes} more are asked for; delete some that nobody needs",
        )
    draft.change(total, live_bytes=total.live_bytes + size_bytes, live_count=total.live_count + 1)
    draft.change(
        share,
        live_bytes=share.live_bytes + size_bytes,
        declared_bytes=share.declared_bytes + size_bytes,
        declared_count=share.declared_count + 1,
    )


def _check_unfinished(project: r.Project, share: r.ArtifactShare, size_bytes: int, room: Room) -> None:
    """A single one may have as many bytes as its kind, so these count from the second on."""
    many = share.declared_count >= room.unfinished_count
    large = share.declared_count > 0 and share.declared_bytes + size_bytes > room.unfinished_bytes
    if many or large:
        raise Refused(
            ProblemType.UNFINISHED_ARTIFACTS,
            f"site {share.site_id} has {share.declared_count} artifacts of {share.declared_bytes} bytes in project "
            f"{project.id} that are declared and not stored; {room.unfinished_count} of {room.unfinished_bytes} bytes "
            "are allowed: complete or delete one first",
        )


def _total(draft: Draft, project_id: Id) -> r.ArtifactTotal:
    return draft.get(r.ArtifactTotal, project_id) or r.ArtifactTotal(project_id=project_id)


def _share(draft: Draft, project_id: Id, site_id: Id) -> r.ArtifactShare:
    found = draft.get(r.ArtifactShare, project_id, site_id)
    return found or r.ArtifactShare(project_id=project_id, site_id=site_id)


def store_room(draft: Draft, artifact: r.Artifact) -> None:
    """What was declared is stored now."""
    share = _share(draft, artifact.project_id, artifact.owner_site_id)
    draft.change(
        share, declared_bytes=share.declared_bytes - artifact.size_bytes, declared_count=share.declared_count - 1
    )


def expire(draft: Draft, artifact: r.Artifact, reason: str) -> r.Artifact:
    """Its room is free; its bytes are the sweeper's."""
    if artifact.state == ArtifactState.DECLARED:
        store_room(draft, artifact)
    artifact = draft.change(
        artifact,
        state=follow(ARTIFACT, ArtifactState(artifact.state), Step.EXPIRE),
        expired_at=draft.now,
        reason=reason,
    )
    total = _total(draft, artifact.project_id)
    draft.change(total, live_bytes=total.live_bytes - artifact.size_bytes, live_count=total.live_count - 1)
    share = _share(draft, artifact.project_id, artifact.owner_site_id)
    draft.change(share, live_bytes=share.live_bytes - artifact.size_bytes)
    draft.sweep(ForgetDeclaration(artifact.id))
    artifact_event(draft, artifact, EventKind.ARTIFACT_EXPIRED, reason=reason)
    return artifact


def give_back(draft: Draft, site_id: Id, project_id: Id) -> None:
    """Who leaves a project gives back at once what he has declared in it and not stored."""
    for artifact in draft.group(r.Artifact, site_id):
        if artifact.state == ArtifactState.DECLARED and artifact.project_id == project_id:
            expire(draft, artifact, OWNER_LEFT)


def artifact_event(draft: Draft, artifact: r.Artifact, kind: EventKind, **facts: object) -> None:
    """For its owner's eyes, and the coordinator's; where it is for every member, for every member's."""
    draft.event(
        ("project", artifact.project_id),
        kind,
        {
            "artifact_id": artifact.id,
            "kind": artifact.kind,
            "size_bytes": artifact.size_bytes,
            "digest": artifact.digest,
            "owner_site_id": artifact.owner_site_id,
            **facts,
        },
        run_id=artifact.run_id,
        site_id=None if artifact.kind in SHARED_KINDS else artifact.owner_site_id,
    )
