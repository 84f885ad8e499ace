"""What the rest of the hub may ask of a broker, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from domain.commands import Envelope


class BrokerUnavailable(Exception):
    """The broker did not confirm in time. The command may lie there all the same: its id makes a repeat harmless."""

    def __init__(self, detail: str, retry_after_s: int = 2) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Temporary(Exception):
    """What was to be done outside cannot be done now, and probably can later: it is tried again, by its route.

    fact: in our own words, for logs and the dead-letter queue; never a payload, a key or a whole URL.
    """

    def __init__(self, fact: str) -> None:
        super().__init__(fact)
        self.fact = fact


class TooLarge(Exception):
    """The envelope is larger than its route allows."""


class Sending(Protocol):
    """Commands on their way to the broker."""

    def wait(self) -> None:
        """Returns when the broker has them safely. Raises `BrokerUnavailable`, as `Publisher.send` does."""


class Sent:
    """A `Sending` that is over: the broker has everything."""

    def wait(self) -> None:
        """Nothing is left to wait for."""


class Publisher(Protocol):
    """Sends commands by their routes. Safe to use from many threads."""

    def begin(self, envelopes: Sequence[Envelope], failed: Callable[[], None]) -> Sending:
        """Send without waiting for the broker's word, for a caller who hears of the decision sooner than of it.

        failed: called at most once, from any thread, when the broker has refused or gone; `Sending.wait` says why.
        Raises as `send` does where that is known at once.
        """

    def send(self, envelopes: Sequence[Envelope]) -> None:
        """Returns when the broker has every durable one safely (publisher-confirmed or on disk).

        Heartbeats (routes that are not durable) are sent without waiting. Raises `BrokerUnavailable` within
        about two seconds, whatever the network does, and `TooLarge`.
        """

    def ready(self) -> str | None:
        """None, or one sentence on what is wrong."""

    def close(self) -> None:
        """Send what was accepted, then let go of the connection."""
