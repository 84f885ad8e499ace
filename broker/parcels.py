"""What a publisher has on its way: parcels, and the batch of one call that waits for their confirms."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pika

from broker.messages import DramatiqMessage, wire_of
from broker.port import BrokerUnavailable

SEND_WITHIN_S = 2.0


class Batch:
    """What one call sends: a `broker.port.Sending`. Only the publishing thread counts down."""

    def __init__(self, left: int, place: str, failed: Callable[[], None] | None) -> None:
        self.left = left
        self.error: str | None = None
        self.abandoned = False
        self.done = threading.Event()
        self._place = place
        self._failed = failed
        if not left:
            self.done.set()

    def wait(self) -> None:
        """See `Sending.wait`."""
        if not self.done.wait(SEND_WITHIN_S):
            self.abandoned = True
            raise BrokerUnavailable(f"{self._place} did not confirm within {SEND_WITHIN_S} s")
        if self.error is not None:
            raise BrokerUnavailable(self.error)

    def confirm(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.done.set()

    def fail(self, error: str) -> None:
        first, self.error = self.error is None, error
        self.done.set()
        if first and self._failed is not None:
            self._failed()


@dataclass(slots=True, eq=False)
class Parcel:
    """One message on its way. batch is None if nobody waits for it."""

    queue: str
    id: str
    body: bytes
    batch: Batch | None
    attempts: int = 0
    refusals: int = 0
    published_at: float = 0.0

    @property
    def unwanted(self) -> bool:
        return self.batch is not None and (self.batch.abandoned or self.batch.error is not None)

    @property
    def properties(self) -> pika.BasicProperties:
        mode = pika.DeliveryMode.Transient if self.batch is None else pika.DeliveryMode.Persistent
        return pika.BasicProperties(delivery_mode=mode.value, message_id=self.id, content_type="application/json")

    def confirm(self) -> None:
        if self.batch is not None:
            self.batch.confirm()

    def fail(self, error: str) -> None:
        if self.batch is not None:
            self.batch.fail(error)


def refusal(queue: str) -> str:
    return f"queue {queue} takes nothing: it is full, or has no leader at the moment"


def parcel_of(message: DramatiqMessage) -> tuple[str, str, bytes]:
    """Queue, id and body, as `deliver` takes them."""
    return message.queue_name, message.message_id, wire_of(message)
