"""The door of Kafka-ML's containers: where a job gets its model, tells how it goes, and gives its result.

Their programs take exactly 200 as a success, and repeat whatever is answered otherwise; so each answer waits until it
is decided, and an upload may come any number of times. Paths and bodies are Kafka-ML's; refusals are as everywhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from flask import Response

from broker.port import BrokerUnavailable
from config.clock import draw_id
from config.logs import unit
from domain import codec
from domain.ids import Id, derive, sha256_hex
from domain.results import TrainingResultAnswer
from domain.states import ResultState
from domain.stream_commands import MAX_METRICS_BYTES, RefuseResult, TakeMetrics, TakeResult, Uploaded
from domain.streams.door import PATH, attempt_of
from domain.streams.measured import Measured, Unkept, measured
from fedyard.wire.chunks import CHUNK_BYTES, Chunk, tree_digest
from fedyard.wire.problems import ProblemType
from storage.blobs.port import Blobs
from storage.views.streams import door as views
from web.api.contents import hand_out
from web.http.auth import DOOR, SITES
from web.http.awaiting import publish
from web.http.calls import Call
from web.http.multipart import Sink, Text, read_parts
from web.http.operations import Operation
from web.http.writing import write
from web.live.transfers import Incoming
from web.problems import Refused, busy, not_found

log = logging.getLogger(__name__)

MAX_SAID_BYTES = 16_777_216
"""Of what a job says, as JSON; of its metrics what is kept has fewer, see domain/streams/measured.py."""
MAX_FORM_BYTES = 3 * MAX_SAID_BYTES + 4096
"""Of metrics as a form: each character may be written as three."""
MAX_MATRIX_BYTES = 16_777_216
MAX_BESIDES_BYTES = MAX_SAID_BYTES + MAX_MATRIX_BYTES + 1_048_576
"""Of a result's body, besides the model."""
AGAIN_S = 3.0
_FOR_GOOD = frozenset({400, 409, 411, 413, 422})
"""Answers to a result that a repeat of it does not change by itself."""
MODEL, MATRIX = "trained_model", ("confussion_matrix", "confusion_matrix")
"""Parts of a result; Kafka-ML spells the second one as it stands here first."""
_FILES = {"tf": "model.h5", "pth": "model.pth"}


# what a job reads


def _result(call: Call) -> views.OfResult:
    found = views.of_result(call.web.database, call.count("rid"))
    if found is None:
        raise not_found("result", call.count("rid"))
    return found


def read_architecture(call: Call) -> Response:
    """The model before its training: of TensorFlow a file, of PyTorch its source without its imports."""
    found = _result(call)
    if found.framework == "pth":
        return Response(found.code, content_type="text/html; charset=utf-8")
    if found.file_artifact_id is None:
        fact = f"architecture {found.architecture_id} has no model file in version {found.version}"
        raise Refused(ProblemType.NOT_STORED, fact)
    response = hand_out(call, found.file_artifact_id)
    response.content_type = "application/model"
    response.headers["Content-Disposition"] = f"attachment; filename={_FILES['tf']}"
    return response


def read_model(call: Call) -> Response:
    """The trained one."""
    found = _result(call)
    if found.model_artifact_id is None or found.state != ResultState.FINISHED:
        raise not_found("model of result", call.count("rid"))
    response = hand_out(call, found.model_artifact_id)
    response.content_type = "application/force-download"
    response.headers["Content-Disposition"] = f"attachment; filename={_FILES[found.framework]}"
    response.headers["ML-Framework"] = found.framework
    response.headers["Access-Control-Expose-Headers"] = "ML-Framework"
    return response


# what a job gives


def take_metrics(call: Call) -> Response:
    """As a form: `data`, with JSON in it."""
    length = _length(call, MAX_FORM_BYTES)
    with call.web.shares.bodies.place(call.caller.share):
        content = Incoming(call.request, length)
        text = b"".join(iter(lambda: content.read(CHUNK_BYTES), b""))
    told = _measured(_said(_field(text)))
    ident, attempt = attempt_of(call.name("door"))
    command = TakeMetrics(
        workload_id=ident,
        attempt=attempt,
        number=call.count("rid"),
        train_metrics_json=told.train_metrics,
        val_metrics_json=told.val_metrics,
    )
    return _once_decided(command, write(call, command, waits=True))


def take_result(call: Call) -> Response:
    """As multipart: `data`, with JSON in it, the model's file, and an image of the confusion matrix if one was made."""
    settings = call.web.hub.settings
    largest = min(settings.artifact_limit_result_bytes, settings.artifact_limit_bytes)
    length = _length(call, largest + MAX_BESIDES_BYTES)
    ident, attempt = attempt_of(call.name("door"))
    found = views.at_door(call.web.database, ident)
    if found is None:
        raise not_found("result", call.count("rid"))
    content, data = Incoming(call.request, length), Text("data", MAX_SAID_BYTES)
    model = _File(call.web.hub.blobs, draw_id(), MODEL, largest)
    matrix = _File(call.web.hub.blobs, draw_id(), MATRIX[0], MAX_MATRIX_BYTES)

    begun: list[Sink] = []

    def sink_of(name: str, filename: str) -> Sink | None:
        files: dict[str, Sink] = {MODEL: model, MATRIX[0]: matrix, MATRIX[1]: matrix}
        sink = data if name == "data" else files.get(name) if filename else None
        if sink is not None and sink in begun:
            raise Refused(ProblemType.MALFORMED, f"`{name}` is there twice; send it once")
        begun.extend([] if sink is None else [sink])
        return sink

    try:
        _read(call, content, sink_of, length)
        uploaded = _uploaded(data, model)
        said = _said(data.content)
        told = _measured(said)
        command = TakeResult(
            project_id=found.project_id,
            owner_site_id=found.subject.id,
            workload_id=ident,
            attempt=attempt,
            number=call.count("rid"),
            digest=sha256_hex(data.content),
            model=uploaded,
            model_format="pt" if _result(call).framework == "pth" else "h5",
            matrix=matrix.uploaded,
            train_metrics_json=told.train_metrics,
            val_metrics_json=told.val_metrics,
            test_metrics_json=told.test_metrics,
            confusion_matrix_json=told.confusion_matrix,
            note=told.note,
            training_time=_seconds(said),
            indefinite=said.get("indefinite") is True,
        )
    except BaseException as error:
        _let_go(model, matrix)
        if isinstance(error, Refused) and error.problem.status in _FOR_GOOD:
            _tell(call, error.detail)
        raise
    response = write(call, command, waits=True)
    if response.status_code != 202 and not _is_of(call, response, model):
        _let_go(model, matrix)
    if response.status_code in _FOR_GOOD:
        _tell(call, str(response.get_json().get("detail", "")))
    return _once_decided(command, response)


def _tell(call: Call, why: str) -> None:
    """That what this attempt gave was refused, once: the run shall not wait for a program that waits for ever."""
    ident, attempt = attempt_of(call.name("door"))
    number = call.count("rid")
    detail = f"what its job gave was refused: {why}"[:1000].replace("\0", "")
    told = RefuseResult(workload_id=ident, attempt=attempt, number=number, detail=detail)
    envelope = codec.envelope_of(
        told,
        id=derive(ident, "refused", attempt, number),
        by=call.caller.subject,
        at=call.web.hub.clock.now(),
    )
    with suppress(BrokerUnavailable):
        publish(call.web, envelope)


def _read(call: Call, content: Incoming, sink_of: Callable[[str, str], Sink | None], length: int) -> None:
    with call.web.transfers.place("in", call.caller.share) as place:
        try:
            read_parts(call.request, content, sink_of)
            place.outcome = "whole"
        except Refused:
            if length <= CHUNK_BYTES:
                content.throw_away()
            raise
        finally:
            call.web.transfers.count("in", content.taken)


def _uploaded(data: Text, model: _File) -> Uploaded:
    if not data.whole or model.uploaded is None:
        raise Refused(ProblemType.MALFORMED, f"a result is `data`, JSON, and a file `{MODEL}`, which has content")
    return model.uploaded


def _is_of(call: Call, response: Response, model: _File) -> bool:
    """Has the result that was answered for this model? It may be that another upload of the same gave it."""
    given = views.of_result(call.web.database, response.get_json()["number"]) if response.status_code == 200 else None
    return given is not None and given.model_artifact_id == model.artifact


def _let_go(*files: _File) -> None:
    """What was stored of an upload that became nothing goes at once: whoever has a way in may send the largest one
    again and again. Of what is not decided in time the sweeper finds what becomes nothing."""
    for one in files:
        one.let_go()


def _once_decided(command: TakeMetrics | TakeResult, response: Response) -> Response:
    """A job that is answered 202 uploads again, ten times, and then ends as if it had succeeded. What is refused is in
    the log, for its program may say no more than the status, and TensorFlow's then waits for other data."""
    if response.status_code == 202:
        raise busy(ProblemType.UNDECIDED, "this was not decided in time; send it again, it counts once", AGAIN_S)
    if response.status_code != 200:
        what, said = ("result", response.get_json()) if isinstance(command, TakeResult) else ("metrics", {})
        facts = {"result": command.number, "workload": command.workload_id, "status": response.status_code}
        log.warning("a job's %s refused", what, extra=unit(**facts, detail=str(said.get("detail", ""))))
    return response


class _File:
    """A part that goes to the store of artifacts, chunk by chunk; no more than one of them is in memory."""

    def __init__(self, blobs: Blobs, artifact: Id, name: str, limit_bytes: int) -> None:
        self._blobs = blobs
        self.artifact = artifact
        self._name = name
        self._limit_bytes = limit_bytes
        self._chunk = bytearray()
        self._digests = bytearray()
        self._size_bytes = 0
        self.uploaded: Uploaded | None = None
        """Once all of it was there; an empty one is none."""

    def write(self, block: bytes) -> None:
        self._size_bytes += len(block)
        if self._size_bytes > self._limit_bytes:
            raise Refused(ProblemType.TOO_LARGE, f"`{self._name}` is larger than {self._limit_bytes} bytes")
        while block:
            room = CHUNK_BYTES - len(self._chunk)
            self._chunk += block[:room]
            block = block[room:]
            if len(self._chunk) == CHUNK_BYTES:
                self._put()

    def end(self) -> None:
        if self._chunk:
            self._put()
        if self._size_bytes:
            digests = bytes(self._digests)
            self.uploaded = Uploaded(self.artifact, self._size_bytes, tree_digest(digests), digests)

    def let_go(self) -> None:
        """Remove what was stored of it."""
        if self._digests:
            self._blobs.delete(self.artifact)

    def _put(self) -> None:
        content, digest = bytes(self._chunk), hashlib.sha256(self._chunk)
        number = len(self._digests) // digest.digest_size
        chunk = Chunk(number, digest.hexdigest(), len(content))
        self._blobs.put(self.artifact, chunk, io.BytesIO(content), start=0, length=len(content))
        self._digests += digest.digest()
        self._chunk.clear()


def _length(call: Call, limit_bytes: int) -> int:
    length = call.request.content_length
    if length is None:
        raise Refused(ProblemType.LENGTH_REQUIRED, "say Content-Length")
    if length > limit_bytes:
        raise Refused(ProblemType.TOO_LARGE, f"the body has {length} bytes, {limit_bytes} are taken at most")
    return length


def _field(text: bytes) -> bytes:
    with suppress(ValueError):  # of an undecodable or endless form, which has none either
        found = parse_qs(text.decode("ascii"), strict_parsing=True, max_num_fields=20, encoding="utf-8").get("data", [])
        if len(found) == 1:
            return found[0].encode()
    raise Refused(ProblemType.MALFORMED, "send a form, with JSON in its one field `data`")


def _said(text: bytes) -> dict[str, Any]:
    """What Python's `json` writes, which has numbers that JSON has not: of a loss that is none, null is kept."""
    if len(text) > MAX_SAID_BYTES:
        raise Refused(ProblemType.TOO_LARGE, f"`data` has {len(text)} bytes, {MAX_SAID_BYTES} are taken at most")
    try:
        said = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise Refused(ProblemType.MALFORMED, "`data` is no JSON") from None
    if not isinstance(said, dict):
        raise Refused(ProblemType.MALFORMED, "`data` is no JSON object")
    return said


def _measured(said: dict[str, Any]) -> Measured:
    try:
        return measured(said, MAX_METRICS_BYTES)
    except Unkept as flaw:
        raise Refused(ProblemType.MALFORMED, str(flaw)) from None


def _seconds(said: dict[str, Any]) -> str:
    value = said.get("training_time")
    if value is None:
        return ""
    if type(value) not in (int, float) or not 0 <= value < 1e12:
        raise Refused(ProblemType.MALFORMED, "`training_time` is no number of seconds")
    return f"{value:.4f}"


OPERATIONS = (
    Operation(
        method="GET",
        path=PATH + "/{door}/results/{rid}",
        name="read_door_architecture",
        about="The model that a job trains",
        does=read_architecture,
        authentication=DOOR,
        who=SITES,
        answers={200: None, 206: None},
    ),
    Operation(
        method="GET",
        path=PATH + "/{door}/results/model/{rid}",
        name="read_door_model",
        about="The model that a job has trained, for inference",
        does=read_model,
        authentication=DOOR,
        who=SITES,
        answers={200: None, 206: None},
    ),
    Operation(
        method="POST",
        path=PATH + "/{door}/results_metrics/{rid}",
        name="take_door_metrics",
        about="How far a job has come",
        does=take_metrics,
        authentication=DOOR,
        who=SITES,
        scope="write",
        takes="A form",
        write=True,
        answers={200: TrainingResultAnswer},
    ),
    Operation(
        method="POST",
        path=PATH + "/{door}/results/{rid}",
        name="take_door_result",
        about="What a job has given",
        does=take_result,
        authentication=DOOR,
        who=SITES,
        scope="write",
        takes="multipart/form-data",
        write=True,
        answers={200: TrainingResultAnswer},
    ),
)
