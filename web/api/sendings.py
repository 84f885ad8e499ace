"""Data sources that are announced once more, for another deployment: asked for, and answered once they are written."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response

from domain.ids import Id
from domain.states import SendingState
from domain.stream_commands import SendDataSource
from storage.views.streams import sendings as views
from storage.views.streams.data_sources import data_source
from storage.views.streams.sendings import Sending
from web.http.answers import answer
from web.http.bodies import Body, Query, Wait
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import SECRET_WAIT_S, write
from web.problems import not_found

LOOKS_EVERY_S = 0.2
"""What ends a sending is announced to nobody, and comes within a moment."""


class NewSending(Body, frozen=True):
    """deployment: the number of the one that is to train on these data."""

    deployment: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class WaitQuery(Query, frozen=True):
    wait: Wait = 0.0


def send(call: Call) -> Response:
    """The answer comes when the record's delivery report is there, or a failure; `sending` if neither came in time."""
    source = call.id("data_source_id")
    if data_source(call.web.database, call.caller.subject, source) is None:
        raise not_found("data source", source)
    command = SendDataSource(data_source_id=source, deployment_number=call.body.deployment)
    decided = write(call, command, made="/v1/sendings/{id}", waits=True)
    if decided.status_code != 201:
        return decided
    found = ended(call, decided.get_json()["id"], SECRET_WAIT_S)
    assert found is not None, "who may make it may see it"
    return answer(found, 201, _kept(decided))


def ended(call: Call, key: Id, wait_s: float) -> Sending | None:
    """As it is once it has ended, or after `wait_s`; None if there is none that the caller may know of."""
    web, subject = call.web, call.caller.subject

    def look() -> Sending | None:
        found = views.sending(web.database, subject, key)
        return None if found is not None and found.state == SendingState.SENDING else found

    if views.sending(web.database, subject, key) is None:
        return None
    last = web.waiters.until(("command", key), wait_s, look, LOOKS_EVERY_S, by=call.waiter)
    return last or views.sending(web.database, subject, key)


def _kept(decided: Response) -> dict[str, str]:
    names = ("Location", "Fedyard-Command", "Preference-Applied")
    return {name: decided.headers[name] for name in names if name in decided.headers}


def read(call: Call) -> Response:
    key = call.id("sending_id")
    found = ended(call, key, call.query.wait)
    if found is None:
        raise not_found("sending", key)
    return answer(found)


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/data-sources/{data_source_id}/send",
        name="send_data_source",
        about="Announce data once more, for another deployment (its coordinator, member of the first one's project)",
        does=send,
        scope="write",
        body=NewSending,
        write=True,
        answers={201: Sending},
    ),
    Operation(
        method="GET",
        path="/v1/sendings/{sending_id}",
        name="read_sending",
        about="What became of a data source that was announced once more (members)",
        does=read,
        query=WaitQuery,
        long=True,
        answers={200: Sending},
    ),
)
