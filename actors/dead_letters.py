"""The doing actor of dead letters: it gives them back to their queues, or throws them away, at the broker.

Twice does no harm: a letter that is not there any more is none, and a command that is tried twice is decided once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from broker.port import BrokerUnavailable, Temporary
from domain.commands import AnyCommand, Envelope, SettleDeadLetters

if TYPE_CHECKING:
    from broker.dead_letters import DeadLetters


class DeadLetterDoer:
    """opened: the dead letters of the hub's broker."""

    def __init__(self, opened: Callable[[], AbstractContextManager[DeadLetters]]) -> None:
        self._opened = opened

    def __call__(self, envelope: Envelope) -> list[AnyCommand]:
        """Nothing is reported: what is left of them shows. Raises `Temporary` where the broker is away."""
        command = envelope.command
        assert isinstance(command, SettleDeadLetters), "this actor settles dead letters"
        try:
            with self._opened() as letters:
                for ident in command.letter_ids:
                    if command.purge:
                        letters.purge(id=ident)
                    else:
                        letters.replay(id=ident)
        except BrokerUnavailable as error:
            raise Temporary(f"the broker is away: {error}") from None
        return []
