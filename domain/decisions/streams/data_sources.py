"""Data sources: what people do with them."""

from __future__ import annotations

from domain import results
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.access import find, need_admin
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.streams import matching
from domain.decisions.streams.clusters import stream_of
from domain.events import EventKind
from domain.needs import Needs
from domain.states import AnnouncementState, Step
from fedyard.wire.problems import ProblemType


def needs_of_withdraw_data_source(command: sc.WithdrawDataSource) -> Needs:
    return Needs(data_sources={command.data_source_id})


def withdraw_data_source(draft: Draft, command: sc.WithdrawDataSource) -> Decision:
    """An admin, since who announced it in Kafka has no name. Withdrawn twice, it is withdrawn."""
    need_admin(draft.by)
    source = find(draft, sr.DataSource, "data source", command.data_source_id)
    if source.state not in (AnnouncementState.LIVE, AnnouncementState.WITHDRAWN):
        raise Refused(ProblemType.NOT_NOW, f"data source {source.id} is {source.state} already")
    if source.state == AnnouncementState.LIVE:
        matching.move(draft, source, Step.WITHDRAW)
        facts = {"data_source_id": source.id, "reason": command.reason}
        draft.event(stream_of(draft, source.cluster), EventKind.DATA_SOURCE_WITHDRAWN, facts)
        if source.purpose == "data":
            matching.data_withdrawn(draft, source)
    return draft.accept(results.Withdrawn(id=source.id, state=AnnouncementState.WITHDRAWN))
