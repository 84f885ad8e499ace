"""Heads of the chains of events, signed by the hub: who keeps one can tell later that a tail was cut off."""

from __future__ import annotations

from flask import Response

from storage.views import heads as views
from storage.views.resources import Heads
from web.http.answers import answer
from web.http.bodies import PageQuery
from web.http.calls import Call
from web.http.operations import Operation


def list_heads(call: Call) -> Response:
    web = call.web
    found = views.seen(web.database, call.caller.subject, call.paging)
    return answer(Heads(key=web.signer.public, items=web.signer.sign(found.items), next=found.next))


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/heads",
        name="list_heads",
        about="Heads of the chains of events that the caller may know of, signed by the hub",
        does=list_heads,
        query=PageQuery,
        answers={200: Heads},
    ),
)
