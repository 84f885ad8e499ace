"""The doing actor of webhooks: one request for each attempt at a delivery, and a report on what came of it.

It knows no record: the command says where to, what and with which versions of the secret to sign. A request that is
made twice, since the report on it was lost, carries the same `webhook-id` both times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from actors.requests import Answered, NotSent
from config.clock import Clock
from domain.commands import AnyCommand, DeliverWebhook, Envelope, ReportDelivery
from domain.webhooks import LEASE_S, secret_of, signature
from fedyard.wire.times import SECOND

Post: TypeAlias = Callable[[str, str, Mapping[str, str], bytes], Answered]
"""Whose it is, address, headers, body -> the answer. Raises `NotSent`."""


class WebhookDoer:
    """key: what secrets are derived from."""

    def __init__(self, key: bytes, post: Post, clock: Clock) -> None:
        self._key = key
        self._post = post
        self._clock = clock

    def __call__(self, envelope: Envelope) -> list[AnyCommand]:
        """Make the request; the report on it. Raises nothing that a receiver can bring about.

        An attempt that has waited in the queue for longer than its report is waited for is not made: it has another
        after it by then, and a queue that is late would only grow.
        """
        command = envelope.command
        assert isinstance(command, DeliverWebhook), "this actor delivers webhooks"
        if self._clock.now() >= envelope.at + LEASE_S * SECOND:
            return []
        body = command.body.encode()
        try:
            answer = self._post(command.organisation_id, command.url, self._headers(command, body), body)
        except NotSent as error:
            return [_report(command, failure=error.code)]
        return [_report(command, status=answer.status, retry_after_s=answer.retry_after_s)]

    def _headers(self, command: DeliverWebhook, body: bytes) -> dict[str, str]:
        at_s = self._clock.now() // SECOND
        secrets = [secret_of(self._key, command.webhook_id, version) for version in command.versions]
        return {
            "Content-Type": "application/json",
            "webhook-id": command.delivery_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": signature(secrets, command.delivery_id, at_s, body),
        }


def _report(
    command: DeliverWebhook, *, status: int | None = None, failure: str = "", retry_after_s: float | None = None
) -> ReportDelivery:
    return ReportDelivery(
        delivery_id=command.delivery_id,
        attempt=command.attempt,
        status=status,
        failure=failure,
        retry_after_s=retry_after_s,
    )
