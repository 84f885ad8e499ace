"""Bytes of artifacts on their way between a request and the store: chunks that come, and what is handed out.

Whose they are, and under which address, says the operation: an artifact's own, or that of a job's file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from config.logs import unit
from domain.ids import Id
from domain.states import ArtifactState
from fedyard.wire.chunks import CHUNK_BYTES, Chunk, chunks_of, size_of
from fedyard.wire.problems import ProblemType
from storage.blobs.port import DigestMismatch, OffsetMismatch, StorageUnavailable
from storage.views import artifacts as views
from web.api.results import ChunkBegun
from web.http.answers import answer
from web.http.auth import still_reads
from web.http.bodies import Position, Query
from web.http.calls import Call, given
from web.live.transfers import Incoming, Place, blocks, range_of
from web.problems import Refused, not_found

log = logging.getLogger(__name__)

RIGHTS_EVERY_S = 5.0
"""How often it is looked whether who reads an artifact still may."""
OCTETS = "application/octet-stream"


class ChunkQuery(Query, frozen=True):
    """from: the body goes on with the chunk there; it may end before the chunk does."""

    start: Position | UnsetType = msgspec.field(name="from", default=UNSET)


def take_chunk(call: Call, ident: Id) -> Response:
    """204 if the chunk is whole now; 200 with how much of it is there, if it was to go on with."""
    length = call.request.content_length
    if length is None:
        raise Refused(ProblemType.LENGTH_REQUIRED, "say Content-Length; a chunk has 4 MiB at most")
    content = Incoming(call.request, length)
    with call.web.transfers.place("in", call.caller.share) as place:
        try:
            there, chunk = _take_in(call, ident, content, length)
            if there == chunk.size_bytes or content.taken == length:
                place.outcome = "whole"
        except Refused:
            if length <= CHUNK_BYTES:
                content.throw_away()
            raise
        finally:
            call.web.transfers.count("in", content.taken)
    return answer(None, 204) if there == chunk.size_bytes else answer(ChunkBegun(bytes=there))


def _take_in(call: Call, ident: Id, content: Incoming, length: int) -> tuple[int, Chunk]:
    chunk = _awaited_chunk(call, ident)
    start = given(call.query.start)
    rest = chunk.size_bytes - (start or 0)
    if length > rest or length == 0 or (start is None and length < rest):
        said = f"chunk {chunk.number} of artifact {ident} has {chunk.size_bytes} bytes"
        raise Refused(
            ProblemType.WRONG_LENGTH, f"{said}; {length} bytes from {start or 0} on are not within it, or not all"
        )
    try:
        return call.web.hub.blobs.put(ident, chunk, content, start=start or 0, length=length), chunk
    except DigestMismatch:
        detail = (
            f"the bytes of chunk {chunk.number} of artifact {ident} are not those that were declared; none was kept"
        )
        raise Refused(ProblemType.DIGEST_MISMATCH, detail) from None
    except OffsetMismatch as error:
        detail = f"{error.there} bytes of chunk {chunk.number} of artifact {ident} are there; go on from there"
        raise Refused(ProblemType.WRONG_OFFSET, detail) from None


def _awaited_chunk(call: Call, ident: Id) -> Chunk:
    number = call.count("chunk")
    found = views.awaited(call.web.database, call.caller.subject, ident, number)
    if found is None:
        raise not_found("artifact", ident)
    if found.state != ArtifactState.DECLARED:
        raise Refused(ProblemType.NOT_TAKEN, f"artifact {ident} is {found.state}; it takes no chunks any more")
    if not found.sha256:
        raise not_found(f"chunk {number} of artifact", ident)
    return Chunk(number, found.sha256, size_of(number, found.size_bytes))


def hand_out(call: Call, ident: Id) -> Response:
    """The bytes, from the first of the range on, a block at a time."""
    found = views.readable(call.web.database, call.caller.subject, ident)
    if found is None:
        raise not_found("artifact", ident)
    if found.state != ArtifactState.STORED:
        raise Refused(ProblemType.NOT_STORED, f"artifact {ident} is {found.state}; its bytes are not there")
    wanted = range_of(call.request, found.size_bytes, found.digest)
    start, end = wanted or (0, found.size_bytes)
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{found.digest}"', "Content-Length": str(end - start)}
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size_bytes}"
    stack = ExitStack()
    place = stack.enter_context(call.web.transfers.place("out", call.caller.share))
    content = _handed_out(call, ident, found, range(start, end), stack, place)
    content = _going_on(next(content, b""), content, ident)  # what cannot be read at all is a problem, no empty answer
    response = Response(content, 200 if wanted is None else 206, headers, content_type=OCTETS)
    response.call_on_close(stack.close)
    return response


def _handed_out(
    call: Call, ident: Id, found: views.Declared, span: range, stack: ExitStack, place: Place
) -> Iterator[bytes]:
    """Where a chunk cannot be read, or who reads may not any more, the answer ends too early, which its length shows.

    stack: lets go of the place. Who reads slowly reads for days: rights are looked at again every `RIGHTS_EVERY_S`.
    """
    whole = chunks_of(found.size_bytes, found.chunk_digests)
    monotonic = call.web.hub.clock.monotonic
    with stack:
        looked_at = monotonic()
        for block in blocks(whole, span.start, span.stop, partial(_chunk_of, call, ident, place)):
            if monotonic() - looked_at >= RIGHTS_EVERY_S:
                if not _still_readable(call, ident):
                    place.outcome = "refused"
                    return
                looked_at = monotonic()
            call.web.transfers.count("out", len(block))
            yield block
        place.outcome = "whole"


def _chunk_of(call: Call, ident: Id, place: Place, chunk: Chunk, start: int, end: int) -> Iterator[bytes]:
    """Raises `Refused` where the records know a chunk that the store lacks."""
    try:
        return call.web.hub.blobs.read(ident, chunk, start, end)
    except KeyError:
        place.outcome = "failed"
        log.warning("a chunk is missing in the store", extra=unit(artifact=ident, chunk=chunk.number))
        detail = f"chunk {chunk.number} of artifact {ident} is missing in the hub's store; tell its operator"
        raise Refused(ProblemType.NOT_STORED, detail) from None


def _going_on(first: bytes, rest: Iterator[bytes], ident: Id) -> Iterator[bytes]:
    """Once the answer has begun there is no other way to say that a chunk cannot be read than to end it too early."""
    yield first
    try:
        yield from rest
    except (StorageUnavailable, Refused) as error:
        log.warning("an artifact is handed out in part", extra=unit(artifact=ident, detail=str(error)))


def _still_readable(call: Call, ident: Id) -> bool:
    """False once the token is revoked, or its owner is no member any more, or the artifact has gone."""
    caller = still_reads(call)
    if caller is None:
        return False
    found = views.readable(call.web.database, caller.subject, ident)
    return found is not None and found.state == ArtifactState.STORED
