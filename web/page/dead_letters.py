"""Dead letters: which commands could not be carried out and why, to be tried again or thrown away."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from flask import Response

from broker.port import BrokerUnavailable
from fedyard.wire.problems import ProblemType
from storage.views.sight import sees_everything
from web.api import dead_letters as api
from web.http.calls import Call
from web.http.operations import Operation
from web.page.acting import act, acted_or_shown
from web.page.forms import form_of
from web.page.rendering import WHERE, Shown, page, shows, takes
from web.problems import Refused

AT_ONCE = 100
"""So many one command settles."""
HREF = f"{WHERE}/dead-letters"
_REPLAY, _PURGE = (one for one in api.OPERATIONS if one.method == "POST")


class LettersQuery(Shown, frozen=True):
    """queue: of one alone; empty, as a form sends it: of all."""

    queue: Annotated[str, msgspec.Meta(max_length=64)] = ""


def listed(call: Call) -> Response:
    return page(call, "dead_letters/list.html", **_facts(call, call.query.queue))


def replay(call: Call) -> Response:
    return _settle(call, _REPLAY)


def purge(call: Call) -> Response:
    return _settle(call, _PURGE)


def _settle(call: Call, operation: Operation) -> Response:
    form = form_of(call)
    acted = act(call, operation, body={"letter_ids": list(form.all("letter_ids"))})
    if acted.ok:
        return acted_or_shown(call, acted, to=HREF, template="")
    return acted_or_shown(call, acted, to=HREF, template="dead_letters/list.html", **_facts(call, ""))


def _facts(call: Call, queue: str) -> dict[str, Any]:
    """Raises 403 for who may not see them, also where it is a form that was refused."""
    if not sees_everything(call.caller.subject):
        raise Refused(ProblemType.FORBIDDEN, "dead letters are for admins and auditors to see")
    trouble = ""
    letters: list[api.DeadLetter] = []
    try:
        letters = api.letters(call.web, None)
    except BrokerUnavailable as error:
        trouble = str(error)
    chosen = [one for one in letters if queue in ("", one.queue)]
    readable = [one for one in chosen if one.kind != api.UNREADABLE]
    return {
        "letters": chosen,
        "total": len(letters),
        "trouble": trouble,
        "queue": queue,
        "queues": sorted({one.queue for one in letters} | ({queue} if queue else set())),
        "kinds": sorted({one.kind for one in chosen}),
        "readable": [one.id for one in readable[:AT_ONCE]],
        "unreadable": api.UNREADABLE,
        "acts": call.caller.subject.role == "admin",
    }


OPERATIONS = (
    shows("dead-letters", "page_dead_letters", "Commands that could not be carried out", listed, query=LettersQuery),
    takes("dead-letters/replay", "page_replay_dead_letters", "Have them tried again", replay),
    takes("dead-letters/purge", "page_purge_dead_letters", "Throw them away", purge),
)
