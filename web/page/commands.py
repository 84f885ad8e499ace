"""What became of a command, for who sent it and could not wait for its decision."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from flask import Response

from domain.ids import Id, is_id
from domain.records import Outcome
from domain.values import Micros
from fedyard.wire.problems import Problem
from storage.views import commands as views
from web.http.calls import Call
from web.http.writing import ACCEPTED
from web.page.rendering import WHERE, page, part, shows

PARTS_WAIT_S = 20.0
LOOK_EVERY_S = 1.0
"""Only who waited from the start hears of a decision: who looks later looks by himself."""
_MADE = {
    "create_project": "projects",
    "start_run": "runs",
    "restart_run": "runs",
    "create_organisation": "people/organisations",
}
"""Where what a command makes has its page, by the command's kind."""


@dataclass(frozen=True)
class Shown:
    kind: str
    accepted: bool
    decided_at: Micros
    refusal: Problem | None
    href: str


def read(call: Call) -> Response:
    ident = call.id("command_id")
    outcome = views.outcome_for(call.web.database, call.caller.subject, ident)
    return page(call, "commands/command.html", ident=ident, outcome=_shown(outcome))


def live(call: Call) -> Response:
    web, ident = call.web, call.id("command_id")
    outcome = web.watchers.until(
        ("command", ident),
        PARTS_WAIT_S,
        lambda: views.outcome_for(web.database, call.caller.subject, ident),
        LOOK_EVERY_S,
        by=call.waiter,
    )
    return part(call, "commands/live.html", ident=ident, outcome=_shown(outcome))


def _shown(outcome: Outcome | None) -> Shown | None:
    if outcome is None:
        return None
    if outcome.state != ACCEPTED:
        refusal = msgspec.json.decode(outcome.answer_json, type=Problem)
        return Shown(outcome.kind, accepted=False, decided_at=outcome.decided_at, refusal=refusal, href="")
    return Shown(
        outcome.kind, accepted=True, decided_at=outcome.decided_at, refusal=None, href=_href(outcome.kind, outcome)
    )


def _href(kind: str, outcome: Outcome) -> str:
    made: Id | None = msgspec.json.decode(outcome.answer_json, type=dict[str, object]).get("id")  # type: ignore[assignment]
    return f"{WHERE}/{_MADE[kind]}/{made}" if kind in _MADE and made is not None and is_id(made) else ""


OPERATIONS = (
    shows("commands/{command_id}", "page_command", "What became of a command", read),
    shows("commands/{command_id}/live", "page_command_live", "The same, once it is decided", live, long=True),
)
