"""What became of a command."""

from __future__ import annotations

import msgspec
from flask import Response

from domain.records import Outcome
from fedyard.wire.times import time_text
from storage.views import commands as views
from web.api.results import CommandView
from web.http.answers import answer
from web.http.auth import ENROLMENTS, EVERYBODY
from web.http.bodies import Query, Wait
from web.http.calls import Call
from web.http.operations import Operation

UNANNOUNCED_S = 0.2
"""How often a wait here looks by itself: only commands that were waited for from the start are announced."""


class WaitQuery(Query, frozen=True):
    wait: Wait = 0.0


def read(call: Call) -> Response:
    """Another's command is like one that nobody sent: pending, for as long as it is waited for."""
    web, subject, ident = call.web, call.caller.subject, call.id("command_id")
    outcome = web.waiters.until(
        ("command", ident),
        call.query.wait,
        lambda: views.outcome_for(web.database, subject, ident),
        UNANNOUNCED_S,
        by=call.waiter,
    )
    return answer(CommandView(id=ident, state="pending") if outcome is None else _shown(outcome))


def _shown(outcome: Outcome) -> CommandView:
    said = msgspec.json.decode(outcome.answer_json, type=dict[str, object])
    accepted = outcome.state == "accepted"
    return CommandView(
        id=outcome.id,
        state="accepted" if accepted else "rejected",
        kind=outcome.kind,
        status=outcome.status,
        result=said if accepted else None,
        problem=None if accepted else said,
        decided_at=time_text(outcome.decided_at),
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/commands/{command_id}",
        name="read_command",
        about="What became of a command (who sent it, admin); pending where that is not known",
        does=read,
        who=EVERYBODY | ENROLMENTS,
        query=WaitQuery,
        long=True,
        answers={200: CommandView},
    ),
)
