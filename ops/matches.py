"""Federated models and their workers, for `fedyard-hub why` and `fedyard-hub streams models`."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from domain.ids import Id
from domain.streams.matching import FEDERATED_IMAGES
from fedyard.wire.plurals import counted
from ops.accounts import AT_ONCE, OPERATOR
from storage.database import Database
from storage.views.sight import Paging, every
from storage.views.streams import matches
from storage.views.streams.matches import Match, ModelAnnouncement

SHOWN = 20
"""Lines about data; the API has all of them."""


def why(database: Database, run: Id) -> Iterator[str]:
    """Nothing for a run without a federated model."""
    model = matches.model_of(database, run)
    if model is None:
        return
    found = matches.of_run(database, OPERATOR, run, Paging(SHOWN), FEDERATED_IMAGES.values())
    assert found is not None, "the operator sees every run"
    working = matches.count_working(database, run)
    yield f"Its federated model {model.string_id} has {counted(working, 'worker')} at the edge."
    if not found.items:
        yield "  No data are announced in the data_topics of any cluster."
    for one in found.items:
        yield f"  {_line(one)}"
    if found.next is not None:
        yield f"  and more: GET /v1/runs/{run}/matches"


def _line(one: Match) -> str:
    data = f"{one.data_topic or one.source_id} in {one.cluster}"
    if one.state is None:
        return f"{data} does not fit: {'; '.join(each.detail for each in one.misfits) or 'it was announced just now'}"
    worker = "" if one.workload_state is None else f", worker {one.workload_id} {one.workload_state}"
    reason = f": {one.detail or one.reason}" if one.reason else ""
    return f"{data} is matched, {one.state}{worker}{reason}"


def announcements(database: Database, images: Collection[str], state: str | None) -> list[ModelAnnouncement]:
    """Oldest first. images: the names of those that the settings have. state: only those."""
    return every(lambda page: matches.announcements(database, OPERATOR, page, images, state=state), AT_ONCE)


def announced(one: ModelAnnouncement) -> str:
    """One of them in one line."""
    run = f"run {one.run_id}" if one.run_id else "no run"
    found = f"{counted(one.matches, 'match', 'matches')}, {counted(one.workers, 'worker')}"
    why = f": {one.why}" if one.why else ""
    return f"{one.string_id} in {one.cluster}, since {one.announced_at}  {one.state}  {run}  {found}{why}"
