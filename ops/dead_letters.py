"""Dead letters as an operator sees them: what could not be decided, and what to do with it. Never the payload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from config.settings import Settings
from fedyard.wire.plurals import counted
from fedyard.wire.times import time_text

if TYPE_CHECKING:
    from broker.dead_letters import DeadLetter, DeadLetters


@contextmanager
def opened(settings: Settings) -> Iterator[DeadLetters]:
    """The hub's dead letters, closed after the block. Raises `BrokerUnavailable`, or `JournalLocked` (embedded)."""
    from broker.dead_letters import open_dead_letters  # noqa: PLC0415 - pika is heavy; most commands have no use for it

    letters = open_dead_letters(settings)
    try:
        yield letters
    finally:
        letters.close()


def line(letter: DeadLetter) -> str:
    """One in one line."""
    return f"{letter.id}  {letter.queue:<12} {letter.kind:<22} {counted(letter.failures, 'failure')}  {letter.reason}"


def page(letter: DeadLetter) -> Sequence[str]:
    """Everything that is known of one."""
    return [
        f"id        {letter.id}",
        f"queue     {letter.queue}",
        f"command   {letter.kind}",
        f"died      {time_text(letter.at)}",
        f"failures  {letter.failures}",
        f"reason    {letter.reason}",
        f"size      {letter.size_bytes} bytes, sha256 {letter.digest}",
    ]
