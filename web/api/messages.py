"""Messages between sites."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from flask import Response

from domain.commands import NewMessage, PostMessages
from domain.results import Sent
from domain.values import Slug, Span
from storage.views import messages as views
from storage.views.projects import count_active
from storage.views.resources import Message
from web.http.answers import answer
from web.http.auth import SITES
from web.http.bodies import Body, Payload, Uuid
from web.http.calls import Call
from web.http.operations import Operation
from web.http.parsing import payload_within_limit
from web.http.writing import write
from web.live.shares import weight
from web.problems import not_found


class OneMessage(Body, frozen=True):
    """artifact_id: the artifact that the payload lies in; `body` is its detached seal then, or left out."""

    project_id: Uuid
    to: Literal["coordinator", "participants"] | Annotated[list[Uuid], msgspec.Meta(min_length=1, max_length=10_000)]
    body: Payload | None = None
    kind: Slug = "message"
    run_id: Uuid | None = None
    ttl_s: Span | None = None
    artifact_id: Uuid | None = None


class NewMessages(Body, frozen=True):
    messages: Annotated[list[OneMessage], msgspec.Meta(min_length=1, max_length=100)]


def post(call: Call) -> Response:
    body: NewMessages = call.body
    for number, message in enumerate(body.messages):
        payload_within_limit(message.body, call.web.hub.settings.inline_limit_bytes, f"messages[{number}].body")
    call.counts_as(sum(weight(_recipients(call, message)) for message in body.messages))
    return write(
        call,
        PostMessages(
            sender_site_id=call.caller.subject.id,
            messages=[
                NewMessage(
                    project_id=message.project_id,
                    to=message.to,
                    body=message.body,
                    kind=message.kind,
                    run_id=message.run_id,
                    ttl_s=message.ttl_s,
                    artifact_id=message.artifact_id,
                )
                for message in body.messages
            ],
        ),
    )


def _recipients(call: Call, message: OneMessage) -> int:
    """How many inboxes it goes to."""
    if message.to == "coordinator":
        return 1
    if message.to == "participants":
        return count_active(call.web.database, message.project_id)
    return len(message.to)


def read(call: Call) -> Response:
    found = views.message(call.web.database, call.caller.subject, call.id("message_id"))
    if found is None:
        raise not_found("message", call.id("message_id"))
    return answer(found)


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/messages",
        name="post_messages",
        about="Send one or many messages to the coordinator, the participants, or some of them",
        does=post,
        hot=True,
        who=SITES,
        scope="write",
        body=NewMessages,
        write=True,
        answers={201: Sent},
    ),
    Operation(
        method="GET",
        path="/v1/messages/{message_id}",
        name="read_message",
        about="A message (sender, recipients; a global model: active members); to the sender with its deliveries",
        does=read,
        answers={200: Message},
    ),
)
