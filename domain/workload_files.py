"""A job's files: which artifacts it finds before it begins, which it has left, and what its cluster is told of both."""

from __future__ import annotations

import msgspec

from domain.ids import Id, derive
from domain.records import Workload
from domain.values import Micros, WorkloadSpec
from fedyard.cluster.conventions import FILES_TOKEN
from fedyard.cluster.port import Files, InputFile


class Found(msgspec.Struct, frozen=True):
    """An input: the artifact that it is, by id and digest."""

    artifact_id: Id
    digest: str
    size_bytes: int


class Left(msgspec.Struct, frozen=True):
    """An output, as the newest attempt that left one declared it. stored_at: since when all of it is there."""

    artifact_id: Id
    digest: str
    size_bytes: int
    attempt: int
    stored_at: Micros | None = None


class Kept(msgspec.Struct, frozen=True):
    """By the names that the spec has."""

    inputs: dict[str, Found] = {}
    outputs: dict[str, Left] = {}


_decoder = msgspec.json.Decoder(Kept)


def kept_of(workload: Workload) -> Kept:
    return _decoder.decode(workload.files_json)


def files_of(workload: Workload, spec: WorkloadSpec) -> Files | None:
    """What its cluster is told; None: it has none."""
    if not (spec.inputs or spec.outputs):
        return None
    inputs = {name: InputFile(one.digest, one.size_bytes) for name, one in kept_of(workload).inputs.items()}
    return Files(FILES_TOKEN, inputs, {name: one.required for name, one in spec.outputs.items()})


def missing_of(workload: Workload, spec: WorkloadSpec) -> list[str]:
    """Outputs that are required and not stored."""
    left = kept_of(workload).outputs
    return sorted(
        name
        for name, one in spec.outputs.items()
        if one.required and (name not in left or left[name].stored_at is None)
    )


def flaw_of_files(spec: WorkloadSpec) -> str | None:
    """What cannot be, whatever artifacts there are; None: nothing."""
    if not (spec.inputs or spec.outputs):
        return None
    if spec.kind != "job":
        return "a service has neither inputs nor outputs: it has no end at which it leaves any"
    for name, one in sorted(spec.inputs.items()):
        if (one.artifact_id is None) == (one.model_version is None):
            return f"input {name}: name artifact_id, or model_version, and not both"
    return None


def output_id(workload_id: Id, name: str, digest: str, attempt: int | None = None) -> Id:
    """Of the artifact: the same for what is the same, so that another attempt goes on with it. attempt: for what has
    to be uploaded anew, because the first one has expired."""
    again = () if attempt is None else (attempt,)
    return derive(workload_id, "output", name, digest, *again)
