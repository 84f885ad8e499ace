"""Files of workloads, for the steps that see to them: a job's inputs and outputs by their names, and what a project's
own coordinator begins with; with the token of the attempt."""

from __future__ import annotations

from flask import Response

from domain.commands import CompleteOutput, DeclareOutput
from domain.results import Completed, Declared
from domain.states import ArchiveState, ArtifactState
from domain.values import Sha256, Size
from fedyard.wire.chunks import count_of, found_digests
from storage.views import artifacts, models
from storage.views.workloads import Filed, job_with_files, project_of
from web.api.contents import OCTETS, ChunkQuery, hand_out, take_chunk
from web.api.results import ChunkBegun
from web.http.auth import JOB, SITES, WORKLOAD
from web.http.bodies import Body, DigestsText
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import not_found


class NewOutput(Body, frozen=True):
    """As of an artifact."""

    size_bytes: Size
    digest: Sha256
    chunk_digests: DigestsText


def read_archive(call: Call) -> Response:
    """The newest of the project's initial files that is an archive and was checked."""
    ident = call.id("workload_id")
    project = project_of(call.web.database, ident)
    files = artifacts.initial_files(call.web.database, call.caller.subject, project) if project is not None else None
    for one in files or []:
        if one.archive is not None and one.archive.state == ArchiveState.CHECKED and one.state == ArtifactState.STORED:
            return hand_out(call, one.id)
    raise not_found("archive of workload", ident)


def read_model(call: Call) -> Response:
    """The checkpoint that a project's own coordinator shall begin with."""
    ident = call.id("workload_id")
    found = models.begun_with(call.web.database, ident)
    if found is None:
        raise not_found("model of workload", ident)
    return hand_out(call, found)


def _job(call: Call) -> Filed:
    """As it is now: its token has said that it is there."""
    found = job_with_files(call.web.database, call.id("workload_id"))
    if found is None:
        raise not_found("workload", call.id("workload_id"))
    return found


def read_input(call: Call) -> Response:
    found = _job(call).kept.inputs.get(call.name("file"))
    if found is None:
        raise not_found("input", call.name("file"))
    return hand_out(call, found.artifact_id)


def declare(call: Call) -> Response:
    body: NewOutput = call.body
    job = _job(call)
    command = DeclareOutput(
        workload_id=job.workload_id,
        attempt=job.attempt,
        name=call.name("file"),
        project_id=job.project_id,
        owner_site_id=job.owner,
        size_bytes=body.size_bytes,
        digest=body.digest,
        chunk_digests=body.chunk_digests,
    )
    return write(call, command, made="/v1/artifacts/{id}/about")


def put_chunk(call: Call) -> Response:
    return take_chunk(call, _declared(call))


def _declared(call: Call) -> str:
    left = _job(call).kept.outputs.get(call.name("file"))
    if left is None:
        raise not_found("output", call.name("file"))
    return left.artifact_id


def complete(call: Call) -> Response:
    job, ident = _job(call), _declared(call)
    known = artifacts.owned(call.web.database, call.caller.subject, ident)
    if known is None:
        raise not_found("output", call.name("file"))
    there = call.web.hub.blobs.have(ident) if known.state == ArtifactState.DECLARED else {}

    def asked(found: bytes) -> CompleteOutput:
        return CompleteOutput(
            workload_id=job.workload_id, attempt=job.attempt, name=call.name("file"), artifact_id=ident, found=found
        )

    return write(call, asked(found_digests(count_of(known.size_bytes), there)), identity=asked(b""))


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/workloads/{workload_id}/archive",
        name="read_workload_archive",
        about="The project's newest archive of initial files that is checked: for who unpacks it beside a part",
        does=read_archive,
        authentication=WORKLOAD,
        answers={200: None, 206: None},
        media={OCTETS: "The bytes"},
        problems=(409, 416),
    ),
    Operation(
        method="GET",
        path="/v1/workloads/{workload_id}/model",
        name="read_workload_model",
        about="The checkpoint that a project's own coordinator shall begin with: for who lays it into its volume",
        does=read_model,
        authentication=WORKLOAD,
        answers={200: None, 206: None},
        media={OCTETS: "The bytes"},
        problems=(409, 416),
    ),
    Operation(
        method="GET",
        path="/v1/workloads/{workload_id}/inputs/{file}",
        name="read_workload_input",
        about="An input of a job: for what fetches it before the job's program begins",
        does=read_input,
        authentication=JOB,
        who=SITES,
        answers={200: None, 206: None},
        media={OCTETS: "The bytes"},
        problems=(409, 416),
    ),
    Operation(
        method="POST",
        path="/v1/workloads/{workload_id}/outputs/{file}",
        name="declare_workload_output",
        about="What a job has left: the artifact that it becomes, and which chunks of it are needed",
        does=declare,
        authentication=JOB,
        who=SITES,
        scope="write",
        body=NewOutput,
        write=True,
        answers={201: Declared},
    ),
    Operation(
        method="PUT",
        path="/v1/workloads/{workload_id}/outputs/{file}/chunks/{chunk}",
        name="put_workload_output_chunk",
        about="A chunk of what a job has left; as that of an artifact",
        does=put_chunk,
        authentication=JOB,
        who=SITES,
        scope="write",
        query=ChunkQuery,
        takes="The bytes",
        answers={200: ChunkBegun},
        nothing="The chunk is whole, checked, and durably there",
        problems=(408, 409, 411, 422, 507),
    ),
    Operation(
        method="POST",
        path="/v1/workloads/{workload_id}/outputs/{file}/complete",
        name="complete_workload_output",
        about="Every chunk was put: it is stored, and on record as what the job has left",
        does=complete,
        authentication=JOB,
        who=SITES,
        scope="write",
        write=True,
        answers={200: Completed},
    ),
)
