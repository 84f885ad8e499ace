"""What a workload's program is given of its seat, and what the agent beside it is told, without a hub."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedyard import TaskError
from fedyard.agent.seat import Seat, Work, WorkQueue
from fedyard.agent.site import Folder, SiteError
from fedyard.clock import SystemClock
from fedyard.cluster.conventions import ENROLMENT_TOKEN, HUB_URL, PROJECT_ID
from fedyard.tasks import jobs
from fedyard.tasks.arrays import pack, unpack

PROJECT = "10000000-0000-4000-8000-000000000000"


class Clock(SystemClock):
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def job(folder: Path, hook: jobs.Hook = "train", number: int = 1, model: bytes | None = None) -> jobs.Job:
    return jobs.Job(
        hook=hook,
        model_name="whatever",
        allowed=[],
        site_id="s",
        run_id="r",
        task="t",
        task_seq=1,
        round=number,
        rounds=2,
        parameters={"rate": 0.5},
        data={},
        folder=str(folder / "run"),
        model=None if model is None else jobs.Packed(model),
    )


class Office:
    """A queue, and an agent that puts work into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.works = WorkQueue(self.clock)
        self.said: list[str] = []
        self.unwanted = False
        self.pool = ThreadPoolExecutor(1)

    def lays(self, works: WorkQueue | None = None, **fields: Any) -> Future[jobs.Finished | None]:
        return self.pool.submit((works or self.works).call, job(self.folder, **fields), lambda: self.unwanted, self.log)

    def log(self, text: str) -> None:
        self.said.append(text)

    def taken(self) -> Work:
        work = self.works.take()
        assert work is not None
        return work


@pytest.fixture
def office(tmp_path: Path) -> Any:
    made = Office(tmp_path)
    yield made
    made.unwanted = True
    made.pool.shutdown()


def outcome(laid: Future[jobs.Finished | None]) -> jobs.Finished:
    finished = laid.result(10)
    assert finished is not None
    return finished


def test_work_is_handed_in_and_the_first_word_counts(office: Office) -> None:
    laid = office.lays(model=bytes_of(np.array([1.0, 2.0])), number=2)
    work = office.taken()
    assert (work.round, work.rounds, work.task, work.parameters) == (2, 2, "t", {"rate": 0.5})
    assert isinstance(work.model, dict)
    assert work.model["w"].tolist() == [1.0, 2.0]
    office.clock.now = 3.0
    work.submit({"w": np.array([3.0])}, {"rows": 7, "odd": float("nan")})
    work.fail("too late")
    finished = outcome(laid)
    assert (finished.error, finished.seconds, finished.metrics) == ("", 3.0, {"rows": 7.0})
    assert finished.packed is not None
    content = unpack(finished.packed.where)
    assert isinstance(content, dict)
    assert content["w"].tolist() == [3.0]


def bytes_of(array: Any) -> bytes:
    packed = pack({"w": array})
    assert isinstance(packed, bytes)
    return packed


def test_without_a_model_there_is_none_and_bytes_are_content(office: Office) -> None:
    laid = office.lays()
    work = office.taken()
    assert work.model is None
    with pytest.raises(TaskError):
        work.submit("text")  # type: ignore[arg-type]
    work.submit(b"weights")
    finished = outcome(laid)
    assert finished.packed is not None
    assert unpack(finished.packed.where) == b"weights"


def test_why_there_is_none_is_told(office: Office) -> None:
    laid = office.lays()
    office.taken().fail("the data are of another year")
    assert outcome(laid).error == "train: the data are of another year"


def test_what_is_not_wanted_any_more_is_not_waited_for(office: Office) -> None:
    laid = office.lays()
    work = office.taken()
    assert not work.stopping()
    office.unwanted = True
    assert laid.result(10) is None
    assert work.stopping()
    work.submit(b"late")
    work.log("late")
    assert office.said == []


def test_progress_is_said_once_a_second_and_at_the_end(office: Office) -> None:
    office.lays()
    work = office.taken()
    for number in range(1, 31):
        work.progress(number, 30)
        office.clock.now += 0.125
    assert office.said == [f"progress: {number} of 30" for number in (1, 9, 17, 25, 30)]
    work.fail("enough")


def test_it_trains_and_does_nothing_else(office: Office) -> None:
    assert outcome(office.lays(hook="prepare")).error == ""
    assert "trains" in outcome(office.lays(hook="aggregate")).error


def seat_of(tmp_path: Path) -> Seat:
    told = {HUB_URL: "https://hub.example", PROJECT_ID: PROJECT, ENROLMENT_TOKEN: "fyd_once", "HOME": str(tmp_path)}
    return Seat(environment=told, coordinator="unknown")


def test_it_serves_the_project_of_its_environment_under_the_coordinator_that_is_named(tmp_path: Path) -> None:
    seat_of(tmp_path)
    settings = Folder(tmp_path / "site").settings()
    assert (settings.hub, settings.cluster, settings.tasks.allow) == ("https://hub.example", None, [])
    assert [(join.project, join.coordinator) for join in settings.join] == [(PROJECT, "unknown")]
    seat_of(tmp_path)  # the same folder again, as after a crash


@pytest.mark.parametrize("name", [HUB_URL, PROJECT_ID, ENROLMENT_TOKEN])
def test_a_program_without_a_seat_is_told_what_is_missing(tmp_path: Path, name: str) -> None:
    told = {HUB_URL: "https://hub.example", PROJECT_ID: PROJECT, ENROLMENT_TOKEN: "fyd_once", "HOME": str(tmp_path)}
    del told[name]
    with pytest.raises(SiteError, match=name):
        Seat(environment=told)


def rounds(seat: Seat, office: Office, does: Callable[[Work], None]) -> list[jobs.Finished]:
    """What the agent hears of two rounds, after which the task ends."""

    def agent() -> list[jobs.Finished]:
        told = []
        for number in (1, 2):
            finished = seat._works.call(job(office.folder, number=number), lambda: False, office.log)
            assert finished is not None
            told.append(finished)
        seat._works.end("r", 1)
        return told

    told = office.pool.submit(agent)
    for work in seat:
        does(work)
    return told.result(10)


def test_rounds_follow_each_other_until_the_task_ends(office: Office, tmp_path: Path) -> None:
    told = rounds(seat_of(tmp_path), office, lambda work: work.submit(b"%d" % work.round))
    assert [unpack(one.packed.where) for one in told if one.packed is not None] == [b"1", b"2"]


def test_who_goes_on_without_a_result_has_none(office: Office, tmp_path: Path) -> None:
    told = rounds(seat_of(tmp_path), office, lambda work: work.submit(b"2") if work.round == 2 else None)
    assert [one.error for one in told] == ["train: the program went on without a result", ""]


def test_what_the_program_raises_fails_the_seat_and_says_nothing_of_its_data(office: Office, tmp_path: Path) -> None:
    seat = seat_of(tmp_path)
    seat._thread = threading.Thread(target=lambda: None)
    laid = office.lays(seat._works)

    def runs() -> None:
        with seat:
            for _ in seat:
                raise KeyError("patient 4711")

    with pytest.raises(KeyError):
        runs()
    finished = outcome(laid)
    assert finished.error.startswith("train: ")
    assert "4711" not in finished.error
