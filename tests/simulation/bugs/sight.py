"""What others may see."""

from __future__ import annotations

import domain.decisions.messages
import storage.views.logs
import storage.views.messages
import storage.views.runs
from domain import records as r
from domain.decisions.draft import Draft
from domain.states import MemberState
from storage.views.sight import Clause
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World
from web.live.response_cache import ResponseCache


@bug("a participant is shown a run as its coordinator is", shown_by=9)
def participants_see_every_seat(_: World) -> list[Swap]:
    return [(storage.views.runs, "_sees_whole", lambda *_: True)]


@bug("the run that was shown to one is shown from memory to everybody", shown_by=9)
def answers_kept_for_all(_: World) -> list[Swap]:
    get, put = ResponseCache.get, ResponseCache.put
    return [
        (ResponseCache, "get", lambda self, key, version: get(self, (key[0], None), version)),
        (ResponseCache, "put", lambda self, key, version, answer: put(self, (key[0], None), version, answer)),
    ]


@bug("a participant may read the log of every site", shown_by=9)
def logs_open_to_all(_: World) -> list[Swap]:
    return [(storage.views.logs, "coordinates_run", lambda *_: True)]


@bug("whoever knows a message's id may read it", shown_by=9)
def messages_open_to_all(_: World) -> list[Swap]:
    return [(storage.views.messages, "own", lambda *_: Clause("1 = 1"))]


@bug("a participant's message goes to every member", shown_by=2)
def letters_to_everybody(_: World) -> list[Swap]:
    def everybody(draft: Draft, project: r.Project, *_: object) -> list[str]:
        return [m.site_id for m in draft.group(r.Membership, project.id) if m.state == MemberState.ACTIVE]

    return [(domain.decisions.messages, "_recipients", everybody)]
