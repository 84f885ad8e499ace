"""Dead letters are settled at the broker by the doer; twice does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.dead_letters import DeadLetterDoer
from broker.dead_letters import DeadLetters, EmbeddedDeadLetters
from broker.journal import Journal, entry_of
from broker.messages import message_of
from broker.port import BrokerUnavailable, Temporary
from config.clock import SystemClock
from domain import codec
from domain.commands import Envelope, SettleDeadLetters, StopRun
from domain.ids import derive


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[EmbeddedDeadLetters]:
    journal = Journal(tmp_path / "journal.sqlite", SystemClock())
    yield EmbeddedDeadLetters(journal)
    journal.close()


def dead(letters: EmbeddedDeadLetters, number: int) -> str:
    """A command that lies dead; its id."""
    ident = derive("dead", number)
    message = message_of(codec.envelope_of(StopRun(run_id=ident), id=ident, by=codec.THE_HUB, at=1))
    (row,) = letters.journal.add([entry_of(message)], lambda _: None).result()
    letters.journal.bury(row, entry_of(message), 9, "ValueError")
    return ident


def settling(letter_ids: list[str], *, purge: bool = False) -> Envelope:
    command = SettleDeadLetters(letter_ids=letter_ids, purge=purge)
    return codec.envelope_of(command, id=derive("settling", *letter_ids), by=codec.THE_HUB, at=1)


def test_those_that_are_named_are_settled_and_no_others(letters: EmbeddedDeadLetters) -> None:
    @contextmanager
    def opened() -> Iterator[DeadLetters]:
        yield letters

    one, two, three = (dead(letters, number) for number in range(3))
    doer = DeadLetterDoer(opened)
    assert doer(settling([one])) == []
    assert doer(settling([one, "gone"])) == []
    doer(settling([two], purge=True))
    doer(settling([two], purge=True))
    assert [letter.id for letter in letters.list()] == [three]
    assert [ident for _, ident, _, _ in letters.journal.live()] == [one]


def test_a_broker_that_is_away_is_tried_again() -> None:
    @contextmanager
    def opened() -> Iterator[DeadLetters]:
        raise BrokerUnavailable("away", retry_after_s=1)
        yield

    with pytest.raises(Temporary):
        DeadLetterDoer(opened)(settling(["x"]))
