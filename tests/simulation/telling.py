"""What webhooks must be told: each event that concerns one is one delivery, and no delivery waits for ever."""

from __future__ import annotations

from domain import records as r
from domain.states import WEBHOOK_DELIVERY, WebhookDeliveryState
from domain.webhooks import KINDS
from tests.simulation.copy import Copy
from tests.simulation.world import Broken

_MOVES = {(before, after) for (before, _), after in dict(WEBHOOK_DELIVERY).items()}
_KINDS = {str(event): kind for event, kind in KINDS.items()}


class Telling(Copy):
    """See the module."""

    def _delivery(self, old: r.WebhookDelivery | None, new: r.WebhookDelivery) -> None:
        if old is None:
            others = [one.id for one in self.every(r.WebhookDelivery) if one.cause == new.cause]
            same = [one for one in others if self.rows[r.WebhookDelivery][(one,)].webhook_id == new.webhook_id]
            if same:
                raise Broken(f"webhook {new.webhook_id} has two deliveries of {new.cause}")
            return
        if (old.webhook_id, old.cause, old.body) != (new.webhook_id, new.cause, new.body):
            raise Broken(f"delivery {old.id} was overwritten")
        if new.attempts < old.attempts or new.reported < old.reported:
            raise Broken(f"the attempts at delivery {old.id} went back")
        if old.state != new.state and (WebhookDeliveryState(old.state), new.state) not in _MOVES:
            raise Broken(f"illegal transition: delivery {old.id} went from {old.state} to {new.state}")

    def untold(self) -> str | None:
        """What has not been delivered or given up yet, or None."""
        told = {(one.webhook_id, one.cause) for one in self.every(r.WebhookDelivery)}
        missing = [(hook.id, cause) for hook in self.every(r.Webhook) for cause in self._causes(hook)]
        missing = [one for one in missing if one not in told]
        if missing:
            return f"events were not told: {missing}"
        waiting = [one.id for one in self.every(r.WebhookDelivery) if one.state == WebhookDeliveryState.WAITING]
        return f"deliveries {waiting} wait" if waiting else None

    def _causes(self, hook: r.Webhook) -> list[str]:
        """Events of its organisation's sites, and of the projects that one of these coordinates."""
        streams = {site.id for site in self.every(r.Site) if site.organisation_id == hook.owner_id}
        streams |= {one.id for one in self.every(r.Project) if one.coordinator_site_id in streams}
        return [
            f"{event.stream_id}/{event.seq}"
            for event in self.every(r.Event)
            if event.stream_id in streams and event.at >= hook.since and _KINDS.get(event.kind) in hook.kinds.split()
        ]

    def all_taken(self) -> None:
        """What is said to be delivered was delivered."""
        for one in self.every(r.WebhookDelivery):
            if one.state == WebhookDeliveryState.DELIVERED and one.id not in self._world.receivers.taken:
                raise Broken(f"delivery {one.id} is said to be delivered, and nobody has it")
