"""What one subject may have, and whose turn it is."""

from __future__ import annotations

import actors.fairness
import domain.decisions.messages
import domain.decisions.people
import domain.decisions.projects
import domain.decisions.room
import web.live.shares
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World


@bug("commands are decided in the order in which they came, whoever sent them", shown_by=3)
def served_as_they_come(_: World) -> list[Swap]:
    return [(actors.fairness, "lane_of", lambda _: None)]


@bug("a subject may send as much as it likes", shown_by=9)
def rate_unbounded(_: World) -> list[Swap]:
    return [(web.live.shares.Rate, "take", lambda *_: None)]


@bug("a site may declare as many artifacts as it likes and store none", shown_by=23)
def unfinished_unbounded(_: World) -> list[Swap]:
    return [(domain.decisions.room, "_check_unfinished", lambda *_: None)]


@bug("a sender may leave as many messages unread in one inbox as it likes", shown_by=32)
def backlog_unbounded(_: World) -> list[Swap]:
    return [(domain.decisions.messages, "add_to_backlog", lambda *_: None)]


@bug("a site may have as many tokens as it likes", shown_by=9)
def tokens_unbounded(_: World) -> list[Swap]:
    return [(domain.decisions.people, "take_one", lambda *_: None)]


@bug("a coordinator is told of each joining and leaving, however many of them lie unread", shown_by=9)
def notices_not_coalesced(_: World) -> list[Swap]:
    return [(domain.decisions.projects, "unread", lambda *_: False)]
