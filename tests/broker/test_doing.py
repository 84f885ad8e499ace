"""Doing actors on both brokers: at least once, the report before the acknowledgement, no error that quotes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from actors.doing import Doer, doing_workers
from actors.registry import register_doing
from broker.port import BrokerUnavailable, Temporary
from config.clock import SystemClock
from domain import commands as c
from domain.codec import encode
from domain.commands import AnyCommand, Envelope
from domain.ids import derive
from tests.broker.worlds import RUNS, World, envelope
from tests.waiting import until

DONE = "messages.v1"
SECRET = "https://user:hunter2@hooks.example/T0KEN"
RUN = derive("a run")


class Reports:
    """A publisher that keeps what goes through it, and fails so many times before."""

    def __init__(self, world: World, failing: int = 0) -> None:
        self.world, self.failing = world, failing
        self.sent: list[Envelope] = []

    def send(self, envelopes: Sequence[Envelope]) -> None:
        if self.failing:
            self.failing -= 1
            raise BrokerUnavailable("not now")
        self.world.publisher.send(envelopes)
        self.sent += envelopes


class Outside:
    """The other side: what was done there, by id of the command."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.failing: Callable[[int], BaseException | None] = lambda _: None

    def __call__(self, envelope: Envelope) -> list[AnyCommand]:
        self.did.append(envelope.id)
        error = self.failing(len(self.did))
        if error is not None:
            raise error
        return [c.BeginRun(project_id=RUN), c.StopRun(run_id=RUN)]


def to_do() -> Envelope:
    return envelope(c.ForgetHistory())


def doing(world: World, outside: Outside, reports: Reports) -> None:
    """A doing worker for a command that in the hub is decided."""
    broker = world.worker_broker()
    doer = Doer({c.ForgetHistory: outside}, reports, SystemClock())  # type: ignore[arg-type]
    register_doing(broker, doer)
    for worker in doing_workers(broker, doer, 2):
        worker.start()
        world.workers.append(worker)


def test_it_is_done_reported_and_over(world: World) -> None:
    outside, reports, command = Outside(), Reports(world), to_do()
    world.publisher.send([command])
    doing(world, outside, reports)
    until(lambda: len(reports.sent) == 2)
    world.rest()
    assert outside.did == [command.id]
    assert [each.id for each in reports.sent] == [derive(command.id, "report", 0), derive(command.id, "report", 1)]
    assert [each.command for each in reports.sent] == [c.BeginRun(project_id=RUN), c.StopRun(run_id=RUN)]
    assert (world.left(DONE), world.left(RUNS)) == (0, 2)


def test_a_system_that_is_slow_holds_up_no_other(world: World) -> None:
    slow, quick, reports, go_on = Outside(), Outside(), Reports(world), threading.Event()

    def waiting(envelope: Envelope) -> list[AnyCommand]:
        slow(envelope)
        assert go_on.wait(30)
        return []

    broker = world.worker_broker()
    doer = Doer({c.ForgetHistory: waiting, c.CreateOrganisation: quick}, reports, SystemClock())
    register_doing(broker, doer)
    for worker in doing_workers(broker, doer, 1):
        worker.start()
        world.workers.append(worker)
    world.publisher.send([to_do(), to_do()])
    until(lambda: slow.did)
    world.publisher.send([envelope(c.CreateOrganisation(name="Theirs"))])
    until(lambda: quick.did)
    assert len(slow.did) == 1
    go_on.set()
    until(lambda: len(slow.did) == 2)
    world.rest()


def test_a_report_that_the_broker_does_not_take_is_sent_again_without_doing_it_again(world: World) -> None:
    outside, reports, command = Outside(), Reports(world, failing=2), to_do()
    world.publisher.send([command])
    doing(world, outside, reports)
    until(lambda: reports.sent)
    world.rest()
    assert outside.did == [command.id]
    assert world.left(DONE) == 0


def test_while_the_broker_takes_no_report_the_command_is_not_acknowledged(world: World) -> None:
    outside, reports, command = Outside(), Reports(world, failing=5), to_do()
    world.publisher.send([command])
    doing(world, outside, reports)
    until(lambda: reports.sent)
    world.rest()
    assert outside.did == [command.id] * 2
    assert [each.id for each in reports.sent] == [derive(command.id, "report", 0), derive(command.id, "report", 1)]
    assert world.left(DONE) == 0


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({"status": 204}, {"outcome": "delivered", "status": 204}),
        ({"status": 302}, {"outcome": "refused", "status": 302}),
        ({"status": 500}, {"outcome": "refused", "status": 500}),
        ({"failure": "timeout"}, {"outcome": "failed", "failure": "timeout"}),
        ({"failure": "busy"}, {"outcome": "busy", "failure": "busy"}),
    ],
)
def test_the_log_says_what_came_of_it(
    embedded: World, caplog: pytest.LogCaptureFixture, report: dict[str, Any], said: dict[str, object]
) -> None:
    made = c.ReportDelivery(delivery_id=RUN, attempt=3, **report)
    with caplog.at_level(logging.INFO):
        Doer({c.ForgetHistory: lambda _: [made]}, Reports(embedded), SystemClock()).do(encode(to_do()))  # type: ignore[arg-type]
    line = next(record for record in caplog.records if record.getMessage() == said["outcome"])
    assert line.__dict__["unit"]["reports"] == [{"report": "report_delivery", "attempt": 3, **said}]


class Dead(BaseException):
    """The process ends here."""


def test_who_dies_between_doing_and_reporting_does_it_again_and_reports_the_same(embedded: World) -> None:
    outside, command = Outside(), to_do()

    class Deadly(Reports):
        def send(self, envelopes: Sequence[Envelope]) -> None:
            self.sent += envelopes
            raise Dead

    dying, alive = Deadly(embedded), Reports(embedded)
    with pytest.raises(Dead):
        Doer({c.ForgetHistory: outside}, dying, SystemClock()).do(encode(command))  # type: ignore[arg-type]
    Doer({c.ForgetHistory: outside}, alive, SystemClock()).do(encode(command))  # type: ignore[arg-type]
    assert outside.did == [command.id] * 2
    assert [each.id for each in dying.sent] == [each.id for each in alive.sent]


def test_while_the_other_side_is_away_it_is_tried_for_longer_than_a_bug_would_be(world: World) -> None:
    outside, reports = Outside(), Reports(world)
    outside.failing = lambda tries: Temporary("nobody answers there") if tries <= 5 else None
    world.publisher.send([to_do()])
    doing(world, outside, reports)
    until(lambda: reports.sent)
    world.rest()
    assert len(outside.did) == 6
    assert world.dead_letters().list() == []


def test_not_for_ever(world: World) -> None:
    outside, command = Outside(), to_do()
    outside.failing = lambda _: Temporary("nobody answers there")
    world.publisher.send([command])
    doing(world, outside, Reports(world))
    until(lambda: world.dead_letters().show(command.id))
    world.rest()
    assert len(outside.did) == 6
    letter = world.dead_letters().show(command.id)
    assert letter is not None
    assert letter.reason == "Temporary: nobody answers there"


def test_tries_of_the_one_kind_do_not_use_up_those_of_the_other(world: World) -> None:
    outside, reports = Outside(), Reports(world)
    outside.failing = lambda tries: Temporary("away") if tries <= 4 else ValueError() if tries <= 6 else None
    world.publisher.send([to_do()])
    doing(world, outside, reports)
    until(lambda: reports.sent)
    world.rest()
    assert len(outside.did) == 7


def test_a_bug_is_a_dead_letter_soon_and_neither_it_nor_the_log_quotes_the_error(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    outside, command = Outside(), to_do()
    outside.failing = lambda _: ValueError(SECRET)
    world.publisher.send([command])
    with caplog.at_level(logging.DEBUG):
        doing(world, outside, Reports(world))
        until(lambda: world.dead_letters().show(command.id))
        world.rest()
    assert len(outside.did) == 3
    letter = world.dead_letters().show(command.id)
    assert letter is not None
    assert letter.reason.startswith("Failed: ValueError at ")
    said = "\n".join(logging.Formatter("%(message)s %(unit)s", defaults={"unit": ""}).format(r) for r in caplog.records)
    assert "not done" in said
    assert "hunter2" not in said
    assert "hunter2" not in letter.reason
