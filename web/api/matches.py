"""Federated models that were announced, and what their runs were matched with."""

from __future__ import annotations

from collections.abc import Collection

from flask import Response
from msgspec import UNSET, UnsetType

from config.streams import open_streams
from domain.states import AnnouncementState
from storage.views.sight import Listed
from storage.views.streams import matches as views
from storage.views.streams.matches import Match, ModelAnnouncement
from web.http.answers import answer
from web.http.bodies import PageQuery
from web.http.calls import Call, given
from web.http.operations import Operation
from web.problems import not_found


class AnnouncementsQuery(PageQuery, frozen=True):
    state: AnnouncementState | UnsetType = UNSET


def announcements(call: Call) -> Response:
    state = given(call.query.state)
    return answer(views.announcements(call.web.database, call.caller.subject, call.paging, _images(call), state=state))


def of_run(call: Call) -> Response:
    run = call.id("run_id")
    found = views.of_run(call.web.database, call.caller.subject, run, call.paging, _images(call))
    if found is None:
        raise not_found("run", run)
    return answer(found)


def _images(call: Call) -> Collection[str]:
    """The names of those that the settings have, as of now."""
    return open_streams(call.web.hub.settings).images.keys()


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/model-announcements",
        name="list_model_announcements",
        about="Federated models that were announced in Kafka (admin, auditor; others: of runs that they coordinate)",
        does=announcements,
        query=AnnouncementsQuery,
        answers={200: Listed[ModelAnnouncement]},
    ),
    Operation(
        method="GET",
        path="/v1/runs/{run_id}/matches",
        name="list_matches",
        about="Data that fit a federated run's model, and data that do not, with why (coordinator, admin, auditor)",
        does=of_run,
        query=PageQuery,
        answers={200: Listed[Match]},
    ),
)
