"""What one subject may have, and whose turn it is."""

from __future__ import annotations

import actors.decisions.messages
import actors.decisions.people
import actors.decisions.projects
import actors.decisions.room
import actors.fairness
import web.shares
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World


@bug("commands are decided in the order in which they came, whoever sent them", shown_by=3)
def served_as_they_come(_: World) -> list[Swap]:
    return [(actors.fairness, "lane_of", lambda _: None)]


@bug("a subject may send as much as it likes", shown_by=9)
def rate_unbounded(_: World) -> list[Swap]:
    return [(web.shares.Rate, "take", lambda *_: None)]


@bug("a site may declare as many artifacts as it likes and store none", shown_by=23)
def unfinished_unbounded(_: World) -> list[Swap]:
    return [(actors.decisions.room, "_check_unfinished", lambda *_: None)]


@bug("a sender may leave as many messages unread in one inbox as it likes", shown_by=4)
def backlog_unbounded(_: World) -> list[Swap]:
    return [(actors.decisions.messages, "add_to_backlog", lambda *_: None)]


@bug("a site may have as many tokens as it likes", shown_by=9)
def tokens_unbounded(_: World) -> list[Swap]:
    return [(actors.decisions.people, "take_one", lambda *_: None)]


@bug("a coordinator is told of each joining and leaving, however many of them lie unread", shown_by=9)
def notices_not_coalesced(_: World) -> list[Swap]:
    return [(actors.decisions.projects, "unread", lambda *_: False)]
