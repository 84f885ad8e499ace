"""Artifacts: payloads of any size, in chunks. Bytes go between request and store, the rest is commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.commands import CompleteArtifact, DeclareArtifact, DeleteArtifact
from domain.ids import Id
from domain.results import Completed, Declared, Deleted
from domain.states import ArtifactState
from domain.values import CLIENT_SCOPE, ArtifactKind, Sha256, Size, Span
from fedyard.wire.chunks import CHUNK_BYTES, chunk_of, chunks_of, count_of, found_digests, size_of
from fedyard.wire.problems import ProblemType
from storage.views import artifacts as views
from storage.views.resources import Artifact, ArtifactAbout, ArtifactChunks
from storage.views.sight import Listed
from web.api.contents import OCTETS, ChunkQuery, hand_out, take_chunk
from web.api.results import ChunkBegun
from web.http.answers import answer
from web.http.auth import ROUNDS
from web.http.bodies import Body, Count, DigestsText, PageQuery, Payload, Uuid
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.writing import write
from web.problems import Refused, not_found

UPLOADS_AT_ONCE = 100
"""Presigned addresses in one answer."""


class NewArtifact(Body, frozen=True):
    """digest: SHA-256 over chunk_digests, the raw SHA-256s of every 4 MiB of the bytes, one after the other.

    owner_site_id: in whose name; left out by a site, and by who acts for the project's coordinator, it is that one.
    seal: the detached seal, where the bytes are a sealed body. ttl_s: how long to keep it once it is stored.
    archive: the hub reads it and says which files are in it; left out, it does in a project with infrastructure.
    """

    project_id: Uuid
    kind: ArtifactKind
    size_bytes: Size
    digest: Sha256
    chunk_digests: DigestsText
    owner_site_id: Uuid | None = None
    run_id: Uuid | None = None
    task_seq: Count | None = None
    round: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] | None = None
    seal: Payload | None = None
    ttl_s: Span | None = None
    archive: bool | None = None


class ArtifactsQuery(PageQuery, frozen=True):
    project: Uuid | UnsetType = UNSET
    run: Uuid | UnsetType = UNSET
    kind: ArtifactKind | UnsetType = UNSET


def declare(call: Call) -> Response:
    body: NewArtifact = call.body
    leading = call.caller.leading
    if leading is not None and (body.kind, body.project_id, body.run_id) != ("model", leading.project_id, None):
        raise _checkpoints_alone(leading.project_id)
    return write(
        call,
        DeclareArtifact(
            owner_site_id=body.owner_site_id or _owner(call, body.project_id),
            project_id=body.project_id,
            of_kind=body.kind,
            size_bytes=body.size_bytes,
            digest=body.digest,
            chunk_digests=body.chunk_digests,
            run_id=body.run_id,
            task_seq=body.task_seq,
            round=body.round,
            seal=body.seal,
            ttl_s=body.ttl_s,
            archive=body.archive,
        ),
        made="/v1/artifacts/{id}/about",
    )


def _checkpoints_alone(project_id: Id) -> Refused:
    return Refused(
        ProblemType.FORBIDDEN, f"this token is for checkpoints alone: artifacts of kind 'model' of project {project_id}"
    )


def _need_checkpoint(call: Call, ident: Id) -> None:
    """403 for a project's own coordinator, unless it is a checkpoint of that project."""
    leading = call.caller.leading
    if leading is not None and not views.is_checkpoint(call.web.database, ident, leading.project_id):
        raise _checkpoints_alone(leading.project_id)


def _owner(call: Call, project_id: Id) -> Id:
    """The site that asks, or the coordinator for which a person acts; who acts for another site names it."""
    if call.caller.subject.kind == "site":
        return call.caller.subject.id
    coordinator = views.own_coordinator(call.web.database, call.caller.subject, project_id)
    if coordinator is None:
        raise not_found("project", project_id)
    return coordinator


def chunks(call: Call) -> Response:
    """Which chunks are there: their store is asked, it alone knows."""
    ident, blobs = call.id("artifact_id"), call.web.hub.blobs
    found = _owned(call, ident)
    count = count_of(found.size_bytes)
    have: set[int] = set(range(count)) if found.state == ArtifactState.STORED else set()
    if found.state == ArtifactState.DECLARED:
        have = set(blobs.have(ident))
    need = [] if found.state == ArtifactState.EXPIRED else [n for n in range(count) if n not in have]
    uploads = blobs.uploads(ident, [chunk_of(n, found.size_bytes, found.chunk_digests) for n in need[:UPLOADS_AT_ONCE]])
    begun = _begun(call, ident, {n: size_of(n, found.size_bytes) for n in need})
    return answer(
        ArtifactChunks(
            state=ArtifactState(found.state),
            chunk_bytes=CHUNK_BYTES,
            size_bytes=found.size_bytes,
            have=sorted(have),
            need=need,
            partial=begun if blobs.keeps_parts else None,
            uploads=None if uploads is None else {str(n): url for n, url in uploads.items()},
        )
    )


def _begun(call: Call, ident: Id, needed: Mapping[int, int]) -> dict[str, int]:
    """How much is there of needed chunks. All of one may be, if the web died before it was checked: then its last byte
    is asked for again."""
    parts = call.web.hub.blobs.parts(ident) if needed else {}
    return {str(n): min(there, needed[n] - 1) for n, there in parts.items() if n in needed}


def _owned(call: Call, ident: Id) -> views.Declared:
    _need_checkpoint(call, ident)
    found = views.owned(call.web.database, call.caller.subject, ident)
    if found is None:
        raise not_found("artifact", ident)
    return found


def put_chunk(call: Call) -> Response:
    _need_checkpoint(call, call.id("artifact_id"))
    return take_chunk(call, call.id("artifact_id"))


def complete(call: Call) -> Response:
    """What lies there is found here; whether it is everything the decision says."""
    ident = call.id("artifact_id")
    found = _owned(call, ident)
    there = call.web.hub.blobs.have(ident) if found.state == ArtifactState.DECLARED else {}
    digests = found_digests(count_of(found.size_bytes), there)
    command = CompleteArtifact(artifact_id=ident, found=digests)
    return write(call, command, identity=CompleteArtifact(artifact_id=ident, found=b""))


def read_initial_file(call: Call) -> Response:
    """The same bytes as of any artifact, where a client's token can be known to be this project's."""
    project, ident = call.id("project_id"), call.id("artifact_id")
    if not views.is_initial_file(call.web.database, project, ident):
        raise not_found("artifact", ident)  # in the words for one that is there and not for the caller
    return hand_out(call, ident)


def read(call: Call) -> Response:
    return hand_out(call, call.id("artifact_id"))


def about(call: Call) -> Response:
    ident = call.id("artifact_id")
    found = views.about(call.web.database, call.caller.subject, ident)
    if found is None:
        raise not_found("artifact", ident)
    if found.state == ArtifactState.STORED and found.chunk_digests is not None:
        urls = call.web.hub.blobs.downloads(ident, chunks_of(found.size_bytes, found.chunk_digests))
        if urls is not None:
            found = msgspec.structs.replace(found, downloads={str(n): url for n, url in urls.items()})
    return answer(found)


def listed(call: Call) -> Response:
    query: ArtifactsQuery = call.query
    return answer(
        views.artifacts(
            call.web.database,
            call.caller.subject,
            call.paging,
            project=given(query.project),
            run=given(query.run),
            kind=given(query.kind),
        )
    )


def delete(call: Call) -> Response:
    return write(call, DeleteArtifact(artifact_id=call.id("artifact_id")))


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/artifacts",
        name="declare_artifact",
        about="Say what will be uploaded: a payload of any size, by the digests of its chunks (or a person for a site)",
        does=declare,
        scope="write",
        other_scopes=(ROUNDS,),
        body=NewArtifact,
        write=True,
        answers={201: Declared},
    ),
    Operation(
        method="GET",
        path="/v1/artifacts",
        name="list_artifacts",
        about="Artifacts that one may see: one's own, the coordinator's project's, and for every member models",
        does=listed,
        query=ArtifactsQuery,
        answers={200: Listed[Artifact]},
    ),
    Operation(
        method="GET",
        path="/v1/artifacts/{artifact_id}",
        name="read_artifact",
        about="The bytes; with a Range some of them",
        does=read,
        answers={200: None, 206: None},
        media={OCTETS: "The bytes"},
        problems=(409, 416),
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/initial-files/{artifact_id}",
        name="read_initial_file",
        about="The bytes of an initial file; with a Range some of them (members, their clients)",
        does=read_initial_file,
        other_scopes=(CLIENT_SCOPE,),
        answers={200: None, 206: None},
        media={OCTETS: "The bytes"},
        problems=(409, 416),
    ),
    Operation(
        method="DELETE",
        path="/v1/artifacts/{artifact_id}",
        name="delete_artifact",
        about="Let an artifact expire now (its owner, the coordinator, admin); not while a live run needs it",
        does=delete,
        scope="write",
        write=True,
        answers={200: Deleted},
    ),
    Operation(
        method="GET",
        path="/v1/artifacts/{artifact_id}/about",
        name="read_artifact_about",
        about="What is known of an artifact",
        does=about,
        answers={200: ArtifactAbout},
    ),
    Operation(
        method="GET",
        path="/v1/artifacts/{artifact_id}/chunks",
        name="list_chunks",
        about="Which chunks of an upload are there and which are needed (its owner)",
        does=chunks,
        other_scopes=(ROUNDS,),
        answers={200: ArtifactChunks},
    ),
    Operation(
        method="PUT",
        path="/v1/artifacts/{artifact_id}/chunks/{chunk}",
        name="put_chunk",
        about="A chunk's bytes, or with `from` some of them; no command (its owner)",
        does=put_chunk,
        scope="write",
        other_scopes=(ROUNDS,),
        query=ChunkQuery,
        takes="The bytes",
        answers={200: ChunkBegun},
        nothing="The chunk is whole, checked, and durably there",
        problems=(408, 409, 411, 422, 507),
    ),
    Operation(
        method="POST",
        path="/v1/artifacts/{artifact_id}/complete",
        name="complete_artifact",
        about="Every chunk was put: the artifact is stored from now on",
        does=complete,
        scope="write",
        other_scopes=(ROUNDS,),
        write=True,
        answers={200: Completed},
    ),
)
