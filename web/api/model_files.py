"""Model files: what a version of an architecture is before its training, where no job of the hub's can make it."""

from __future__ import annotations

from flask import Response

from domain.results import ModelFileResult
from domain.stream_commands import PutModelFile
from web.http.bodies import Body, Uuid
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import not_found


class FileBody(Body, frozen=True):
    """artifact_id: of the project, stored and not sealed; kind `initial` or `result`."""

    artifact_id: Uuid


def put(call: Call) -> Response:
    body: FileBody = call.body
    version = call.count("version")
    if not 1 <= version < 2**31:
        raise not_found("version of an architecture", version)
    command = PutModelFile(
        project_id=call.id("project_id"),
        architecture_id=call.id("architecture_id"),
        version=version,
        artifact_id=body.artifact_id,
    )
    return write(call, command)


OPERATIONS = (
    Operation(
        method="PUT",
        path="/v1/projects/{project_id}/architectures/{architecture_id}/versions/{version}/file",
        name="put_model_file",
        about="The file that TensorFlow's trainer reads, where no job of the hub's can make it (coordinator)",
        does=put,
        scope="write",
        body=FileBody,
        write=True,
        answers={200: ModelFileResult},
    ),
)
