"""What becomes of a message whose actor raised: tried again later, a bounded number of times, then a dead letter.

Dramatiq's own `Retries` acknowledges the original even if the retry could not be published, and puts
the traceback into it. This one gives the original back to its queue, and notes only the error's class
and our own words.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from dramatiq import Broker
from dramatiq.broker import MessageProxy
from dramatiq.errors import Retry
from dramatiq.middleware import Middleware

from broker.messages import Delivery
from broker.port import Temporary
from broker.routes import ROUTES, Route
from config.clock import Clock, SystemClock, jitter
from config.faults import in_a_line
from domain.codec import Undecodable
from fedyard.wire.backoff import Backoff

LONGEST_DELAY_MS = 600_000
"""RabbitMQ takes back what was not acknowledged for 30 minutes: what waits longer waits in a table."""

ROUTE_OF_ACTOR: Mapping[str, Route] = {route.actor: route for route in ROUTES.values()}

logger = logging.getLogger(__name__)


class SafeRetries(Middleware):
    """Retries by the actor's route. `routes` is by actor name; an actor without one gets no retry.

    An actor may raise `dramatiq.errors.Retry(delay=ms)` to say when ("too early"); it counts like any other. What is
    `Temporary` has tries of its own (`Route.patience`).
    An undecodable envelope is not tried again.
    """

    def __init__(self, routes: Mapping[str, Route] = ROUTE_OF_ACTOR, clock: Clock | None = None) -> None:
        self.routes = routes
        self.clock = clock or SystemClock()

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,  # noqa: ARG002 - Dramatiq's signature
        exception: BaseException | None = None,
    ) -> None:
        if exception is None:
            return
        assert isinstance(message, Delivery)
        route = self.routes.get(message.actor_name)
        failures = message.note_failure(exception, self.clock.now() // 1000)
        if route is None or _is_enough(route, message, exception):
            logger.warning("%s failed %d times, last by %s: dead letter", message, failures, message.reason)
            message.fail()
            return
        delay = delay_ms(route, failures, exception)
        try:
            broker.enqueue(message.copy(), delay=delay)
        except Exception as error:  # noqa: BLE001 - whatever it is, the original must not be acknowledged
            logger.warning("retry of %s not published (%s): back to its queue", message, in_a_line(error))
            message.to_return = True


def _is_enough(route: Route, message: Delivery, error: BaseException) -> bool:
    """What is `Temporary` has tries of its own: the other side may be away for hours. What may be our bug has few."""
    failures, temporary = (int(message.options.get(name, 0)) for name in ("retries", "temporary"))
    if isinstance(error, Undecodable):
        return True
    return temporary > route.patience if isinstance(error, Temporary) else failures - temporary > route.retries


def delay_ms(route: Route, failures: int, error: BaseException) -> int:
    """Milliseconds until the next try: what `Retry` says, else doubled with each failure, moved by chance."""
    if isinstance(error, Retry) and error.delay is not None:
        return min(error.delay, LONGEST_DELAY_MS)
    pause = Backoff(route.min_backoff_ms, route.max_backoff_ms).after(failures)
    return min(int(jitter(pause)), LONGEST_DELAY_MS)
