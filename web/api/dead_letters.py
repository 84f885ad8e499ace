"""Dead letters: commands that could not be carried out. What is in one nobody is shown."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.commands import LetterIds, PurgeDeadLetters, ReplayDeadLetters
from domain.results import DeadLettersSettled
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import time_text
from storage.views.resources import Resource, Time
from storage.views.sight import Listed, sees_everything
from web.http.answers import answer
from web.http.auth import PEOPLE
from web.http.bodies import Body, Query
from web.http.calls import Call, Web, given
from web.http.operations import Operation
from web.http.writing import write
from web.problems import Refused

UNREADABLE = "unreadable"


class DeadLetter(Resource, frozen=True):
    """queue: the one it was for; kind: of the command, `unreadable` for what is none: that can only be purged.

    size_bytes and digest (SHA-256) are of the command as it travels.
    """

    id: str
    queue: str
    kind: str
    died_at: Time
    failures: int
    reason: str
    size_bytes: int
    digest: str


class QueueQuery(Query, frozen=True):
    queue: Annotated[str, msgspec.Meta(max_length=64)] | UnsetType = UNSET


class WhichLetters(Body, frozen=True):
    letter_ids: LetterIds


def letters(web: Web, queue: str | None) -> list[DeadLetter]:
    """Of a queue or of all, the oldest first in each. Raises `BrokerUnavailable`."""
    return [
        DeadLetter(
            id=one.id,
            queue=one.queue,
            kind=one.kind,
            died_at=time_text(one.at),
            failures=one.failures,
            reason=one.reason,
            size_bytes=one.size_bytes,
            digest=one.digest,
        )
        for one in web.dead_letters.all()
        if queue in (None, one.queue)
    ]


def listed(call: Call) -> Response:
    if not sees_everything(call.caller.subject):
        raise Refused(ProblemType.FORBIDDEN, "dead letters are for admins and auditors to see")
    return answer(Listed(items=letters(call.web, given(call.query.queue)), next=None))


def replay(call: Call) -> Response:
    body: WhichLetters = call.body
    call.web.dead_letters.forget()
    return write(call, ReplayDeadLetters(organisation_id=_own(call), letter_ids=body.letter_ids))


def purge(call: Call) -> Response:
    body: WhichLetters = call.body
    call.web.dead_letters.forget()
    return write(call, PurgeDeadLetters(organisation_id=_own(call), letter_ids=body.letter_ids))


def _own(call: Call) -> str:
    organisation = call.caller.subject.organisation_id
    assert organisation is not None, "an account is of an organisation"
    return organisation


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/dead-letters",
        name="list_dead_letters",
        about="Commands that could not be carried out, and why; never what is in them (admin, auditor)",
        does=listed,
        who=PEOPLE,
        query=QueueQuery,
        answers={200: Listed[DeadLetter]},
    ),
    Operation(
        method="POST",
        path="/v1/dead-letters/replay",
        name="replay_dead_letters",
        about="Have them tried again; those that fail again come back (admin)",
        does=replay,
        who=PEOPLE,
        scope="write",
        body=WhichLetters,
        write=True,
        answers={200: DeadLettersSettled},
    ),
    Operation(
        method="POST",
        path="/v1/dead-letters/purge",
        name="purge_dead_letters",
        about="Throw them away, unread (admin)",
        does=purge,
        who=PEOPLE,
        scope="write",
        body=WhichLetters,
        write=True,
        answers={200: DeadLettersSettled},
    ),
)
