"""The hub's answers: what is told again, what is let go, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedyard.client.client import Client
from fedyard.clock import SystemClock
from fedyard.sidecar.journal import Journal
from fedyard.sidecar.reporter import Reporter
from fedyard.sidecar.rounds import Stage
from tests.fedyard.sidecar.answers import Answers, told
from tests.waiting import until

NOW = 1000
PROJECT = "0c1b7f5e-0000-4000-8000-000000000001"
TOKEN = "fyr_of-the-test"


class Hasty(SystemClock):
    """Waits a hundredth of what it is told to."""

    def wait(self, event, seconds):
        return event.wait(seconds / 100)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def journal(hub: Answers, said: list[str], tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path, said.append)
    client = Client(hub.url, TOKEN, give_up_s=0.0, clock=Hasty())
    reporter = Reporter(client, PROJECT, made, tmp_path / "fl_checkpoint", said.append, Hasty())
    reporter.start()
    yield made
    reporter.close()


def test_stages_are_told_in_their_order_with_the_token_and_a_key_of_their_own(hub: Answers, journal: Journal) -> None:
    journal.take(0, Stage.CONFIGURATION, NOW)
    journal.take(1, Stage.SELECTION, NOW)
    until(lambda: len(hub.asked) == 3)
    assert told(hub) == [(0, "CONFIGURATION"), (0, "COMPLETED"), (1, "SELECTION")]
    assert {one["path"] for one in hub.asked} == {f"/v1/projects/{PROJECT}/rounds"}
    assert {one["by"] for one in hub.asked} == {f"Bearer {TOKEN}"}
    assert {one["start"] for one in hub.asked} == {NOW}
    assert len({one["key"] for one in hub.asked}) == 3
    until(journal.is_told)


@pytest.mark.parametrize("status", [503, 429, 401])
def test_what_the_hub_cannot_take_now_is_told_again_before_anything_else(
    hub: Answers, journal: Journal, status: int
) -> None:
    hub.statuses = [status] * 3
    journal.take(0, Stage.CONFIGURATION, NOW)
    journal.take(0, Stage.REPORTING, NOW)
    until(journal.is_told)
    assert told(hub) == [(0, "CONFIGURATION")] * 4 + [(0, "REPORTING")]
    assert len({one["key"] for one in hub.asked}) == 2, "a repeat is the same request"


def test_what_the_hub_never_takes_is_let_go_with_a_word(hub: Answers, journal: Journal, said: list[str]) -> None:
    hub.statuses = [409]
    journal.take(0, Stage.CONFIGURATION, NOW)
    journal.take(0, Stage.REPORTING, NOW)
    until(journal.is_told)
    assert told(hub) == [(0, "CONFIGURATION"), (0, "REPORTING")]
    assert any("round_over" in one for one in said)
    assert not any(TOKEN in one for one in said)
