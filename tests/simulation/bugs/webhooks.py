"""Webhooks: once for each event, and until somebody has it."""

from __future__ import annotations

from typing import Any

import config.clock
import domain.decisions.webhooks
import domain.table
from actors.webhooks import WebhookDoer
from domain import commands as c
from domain import records as r
from domain.decisions.draft import Decision, Draft
from domain.states import WebhookDeliveryState
from storage.due import Due
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World

_queue = domain.decisions.webhooks.queue_deliveries
_report = domain.decisions.webhooks.report_delivery


def _drawn(*_: object) -> str:
    return config.clock.draw_id()


def _cursor_believed(draft: Draft, command: c.QueueDeliveries) -> Decision:
    draft.put(r.EventCursor(stream_id=command.stream_id, seq=command.after))
    return _queue(draft, command)


@bug("the decision does not look how far a stream was told, so that what two tickers found is told twice", shown_by=17)
def cursor_not_looked_at(_: World) -> list[Swap]:
    return [(domain.decisions.webhooks, "queue_deliveries", _cursor_believed)]


@bug("the same, and the ids of deliveries are drawn instead of derived", shown_by=2)
def drawn_ids_of_deliveries(_: World) -> list[Swap]:
    return [
        (domain.decisions.webhooks, "queue_deliveries", _cursor_believed),
        (domain.decisions.webhooks, "derive", _drawn),
    ]


@bug("the doer forgets to report")
def deliveries_not_reported(_: World) -> list[Swap]:
    deliver = WebhookDoer.__call__

    def silent(self: WebhookDoer, envelope: Any) -> list[Any]:
        deliver(self, envelope)
        return []

    return [(WebhookDoer, "__call__", silent)]


@bug("the ticker does not look for attempts that are due", shown_by=18)
def attempts_not_begun_again(_: World) -> list[Swap]:
    return [(Due, "deliveries", lambda *_: [])]


@bug("a delivery is settled when its first attempt is reported, whatever came of it", shown_by=2)
def failures_taken_for_success(_: World) -> list[Swap]:
    def hasty(draft: Draft, command: c.ReportDelivery) -> Decision:
        decision = _report(draft, command)
        delivery = draft.get(r.WebhookDelivery, command.delivery_id)
        if delivery is not None and delivery.state == WebhookDeliveryState.WAITING:
            draft.change(delivery, state=WebhookDeliveryState.DELIVERED, next_at=None)
            return draft.accept(decision.answer)
        return decision

    return [(domain.decisions.webhooks, "report_delivery", hasty)]
