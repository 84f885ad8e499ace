"""What a project's privacy budget is counted over: in the agent's memory, and in the process of a task's hooks."""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from fedyard.agent.state import Made, State
from fedyard.tasks import Content, Result, Task, TaskError, Unusable
from fedyard.tasks.arrays import pack, unpack
from fedyard.tasks.hooks import UNSAID, Hooks
from fedyard.tasks.jobs import Job, Submitted, packed
from fedyard.tasks.privacy import HIDDEN, Filter, Privacy, Released, Spent
from fedyard.wire.answers import Entry

PRIVACY = Privacy(clip=1.0, noise=4.0, epsilon=8.0)
SPENT = Spent(2.5, 1e-6)


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "state.sqlite")
    yield made
    made.close()


def entry(seq: int = 1, run_id: str = "r", project_id: str = "p", round_: int = 1) -> Entry:
    at = datetime.now(UTC)
    return Entry(
        seq=seq, kind="round_started", created_at=at, project_id=project_id, run_id=run_id, task_seq=1, round=round_
    )


def made(seq: int = 1, run_id: str = "r") -> Made:
    return Made(seq, run_id, b"noised", "", {})


def test_an_update_that_is_being_made_counts_for_all_others(state) -> None:
    assert state.releases.reserve(entry(1), PRIVACY, 1) == []
    assert state.releases.reserve(entry(2, "other"), PRIVACY, 2) == [Released(4.0, 1)]
    assert state.releases.reserve(entry(3, project_id="another"), PRIVACY, 3) == []
    assert state.releases.of("p") == [Released(4.0, 2)]


def test_a_hook_that_is_called_again_takes_the_same_place(state) -> None:
    state.releases.reserve(entry(1), PRIVACY, 1)
    assert state.releases.reserve(entry(1), PRIVACY, 2) == []
    state.results.keep_made(made(1), SPENT)
    assert state.releases.of("p") == [Released(4.0, 1)]


def test_where_nothing_was_made_the_place_is_given_back(state) -> None:
    state.releases.reserve(entry(1), PRIVACY, 1)
    state.releases.give_back(entry(1))
    state.releases.reserve(entry(2, "ended"), PRIVACY, 1)
    state.runs.forget_run("ended")
    assert state.releases.of("p") == []


def test_what_was_kept_stays_counted_over_restarts_and_whatever_ends(state, tmp_path) -> None:
    state.releases.reserve(entry(1), PRIVACY, 1)
    state.results.keep_made(made(1), SPENT)
    state.releases.give_back(entry(1))
    state.results.forget_made(1)
    state.runs.forget_run("r")
    again = State(tmp_path / "state.sqlite")
    assert again.releases.of("p") == [Released(4.0, 1)]
    found = again.releases.spent()
    assert [(one.project_id, one.updates, one.epsilon, one.delta) for one in found] == [("p", 1, 2.5, 1e-6)]
    again.close()


def test_an_update_made_anew_for_the_same_entry_is_a_second_one(state) -> None:
    for _ in range(2):  # a hub whose history went back
        state.releases.reserve(entry(1), PRIVACY, 1)
        state.results.keep_made(made(1), SPENT)
    assert state.releases.of("p") == [Released(4.0, 2)]


def test_noise_of_another_size_is_told_apart(state) -> None:
    for seq, noise in ((1, 4.0), (2, 2.0), (3, 4.0)):
        state.releases.reserve(entry(seq), Privacy(clip=1.0, noise=noise, epsilon=8.0), 1)
    assert state.releases.of("p") == [Released(2.0, 1), Released(4.0, 2)]


def test_an_update_without_a_place_is_not_kept(state) -> None:
    with pytest.raises(LookupError):
        state.results.keep_made(made(1), SPENT)
    assert state.results.made(1, "r") is None


# ---------------------------------------------------------------- an older memory in the place of this one


def released(state, seq: int, *, noise: float = 4.0, spent: Spent = SPENT) -> None:
    state.releases.reserve(entry(seq), Privacy(clip=1.0, noise=noise, epsilon=8.0), 1)
    state.results.keep_made(made(seq), spent)


def recovered(state) -> list[tuple[str, dict]]:
    lines: list[tuple[str, dict]] = []
    state.releases.recover(lambda event, **facts: lines.append((event, facts)))
    return lines


def put_back(path, older: str) -> State:
    """The older copy in the place of state.sqlite, as docs/sites.md says."""
    for name in ("state.sqlite-wal", "state.sqlite-shm"):
        (path / name).unlink(missing_ok=True)
    shutil.copy(path / older, path / "state.sqlite")
    return State(path / "state.sqlite")


def test_an_older_memory_that_is_put_back_gives_no_budget_back_and_the_log_says_so(state, tmp_path) -> None:
    released(state, 1)
    state.copy_to(tmp_path / "older.sqlite")
    released(state, 2, noise=2.0)
    released(state, 3, spent=Spent(4.5, 1e-6))
    released(state, 4, spent=Spent(5.5, 1e-6))
    before = state.releases.of("p"), state.releases.spent()[0].updates, state.releases.spent()[0].epsilon
    state.close()

    again = put_back(tmp_path, "older.sqlite")
    assert again.releases.of("p") == [Released(4.0, 1)]
    lines = recovered(again)
    assert {(event, facts["noise"], facts["missing"]) for event, facts in lines} == {
        ("privacy budget went back", 2.0, 1),
        ("privacy budget went back", 4.0, 2),
    }
    assert (again.releases.of("p"), again.releases.spent()[0].updates, again.releases.spent()[0].epsilon) == before
    assert recovered(again) == []
    again.close()


def test_what_leaves_after_an_older_memory_was_put_back_is_counted_beside_what_was_lost(state, tmp_path) -> None:
    state.copy_to(tmp_path / "older.sqlite")
    released(state, 1)
    state.close()
    again = put_back(tmp_path, "older.sqlite")
    released(again, 1)  # not even told at a start
    assert [facts["missing"] for _, facts in recovered(again)] == [1]
    released(again, 2)
    again.close()
    third = put_back(tmp_path, "older.sqlite")
    recovered(third)
    assert third.releases.of("p") == [Released(4.0, 3)]
    third.close()


@pytest.mark.parametrize("content", [None, b"{", b'[{"project_id": "p", "noise": 4.0}]'])
def test_without_a_record_that_can_be_read_the_memory_counts_and_the_log_says_so(state, tmp_path, content) -> None:
    released(state, 1)
    record = tmp_path / "privacy.json"
    record.unlink()
    if content is not None:
        record.write_bytes(content)
    [(event, facts)] = recovered(state)
    assert event == "privacy record"
    assert ("cannot be read" if content else "there is no privacy.json") in facts["why"]
    assert (tmp_path / "privacy.json.damaged").exists() == (content is not None)
    assert state.releases.of("p") == [Released(4.0, 1)]
    assert recovered(state) == []
    assert record.stat().st_mode & 0o077 == 0


def test_an_update_that_cannot_be_recorded_is_not_kept(state, tmp_path) -> None:
    (tmp_path / "privacy.json.damaged" / "full").mkdir(parents=True)
    (tmp_path / "privacy.json" / "full").mkdir(parents=True)
    with pytest.raises(OSError, match=r"privacy\.json"):
        released(state, 1)
    assert state.results.made(1, "r") is None
    assert state.releases.spent() == []


def test_a_site_that_adds_no_noise_has_no_record_and_nothing_to_say(state, tmp_path) -> None:
    assert recovered(state) == []
    assert not (tmp_path / "privacy.json").exists()


# ---------------------------------------------------------------- in the process of the hooks


class Exact(Task):
    """Hands over what its parameters say, and metrics."""

    def prepare(self, context) -> None:
        if context.parameters.get("unprepared"):
            raise TaskError("the oldest patient is 104")

    def train(self, context, model) -> Result:
        if context.parameters.get("fails"):
            raise TaskError("the oldest patient is 104")
        if context.parameters.get("bytes"):
            return Result(b"all rows")
        return Result({"w": np.full(100_000, 50.0)}, {"samples": 104.0})

    def validate(self, parameters) -> None:
        if parameters.get("wrong"):
            raise TaskError("parameters are wrong")


class Choosy(Exact):
    """Uses no update of the site `old`, and none at all if its parameters say so."""

    def aggregate(self, context, updates) -> Result:
        odd = {one.site_id: "104 is too old" for one in updates if context.parameters or one.site_id == "old"}
        if odd:
            raise Unusable(odd)
        return Result(updates[0].content)


class InPlace(Task):
    """Trains the arrays that it was handed, as many do."""

    def train(self, context, model) -> Result:
        model["w"] += 50.0
        return Result(model)


def run(
    tmp_path,
    hook: str = "train",
    released: int = 0,
    name: str = "Exact",
    start: Content | None = None,
    sites: Sequence[str] = (),
    **parameters,
):
    model = f"{__name__}:{name}"
    job = Job(
        hook=hook,
        model_name=model,
        allowed=[model],
        site_id="s",
        run_id="r",
        task="t",
        task_seq=1,
        round=1,
        rounds=1,
        parameters=parameters,
        data={},
        folder=str(tmp_path / "runs"),
        model=None if start is None else packed(pack(start)),
        updates=[Submitted(site_id, packed(pack({"w": np.zeros(2)})), {}) for site_id in sites],
        filter=Filter(PRIVACY, [Released(4.0, released)] if released else []),
    )
    return Hooks(threading.Event()).run(job)


def test_what_is_packed_is_clipped_and_has_noise(tmp_path) -> None:
    finished = run(tmp_path)
    left = unpack(finished.packed.where)["w"]
    assert abs(left.std() / 4.0 - 1) < 0.05
    assert abs(left.mean()) < 0.1
    assert finished.norm == pytest.approx(np.linalg.norm(left))
    assert finished.unclipped == pytest.approx(50.0 * math.sqrt(100_000))
    assert finished.spent.epsilon == pytest.approx(2.2540846, abs=1e-6)  # by the closed form with 50 digits


def test_an_update_is_measured_from_the_model_that_came_and_not_from_what_a_task_made_of_it(tmp_path) -> None:
    finished = run(tmp_path, name="InPlace", start={"w": np.full(100_000, 7.0)})
    left = unpack(finished.packed.where)["w"]
    assert abs(left.mean() - 7.0) < 0.1  # and not 57
    assert finished.unclipped == pytest.approx(50.0 * math.sqrt(100_000))


@pytest.mark.parametrize("hook", ["prepare", "train"])
def test_nothing_is_computed_once_the_budget_is_spent(tmp_path, hook) -> None:
    finished = run(tmp_path, hook, released=1000, fails=True, unprepared=True)
    assert "budget" in finished.error
    assert finished.packed is None


@pytest.mark.parametrize(("hook", "how"), [("prepare", "unprepared"), ("train", "fails")])
def test_no_sentence_on_data_leaves(tmp_path, hook, how) -> None:
    finished = run(tmp_path, hook, **{how: True})
    assert finished.error == f"{hook}: {HIDDEN}"
    assert "the oldest patient is 104" in finished.trace  # which stays


def test_what_is_wrong_with_the_parameters_is_told(tmp_path) -> None:
    assert run(tmp_path, wrong=True).error.startswith("train: parameters are wrong (line ")


@pytest.mark.parametrize("nothing", [{}, {"none": True}])
def test_why_an_update_is_left_out_is_for_its_coordinators_own_people(tmp_path, nothing) -> None:
    finished = run(tmp_path, "aggregate", name="Choosy", sites=("new", "old"), **nothing)
    assert finished.error == (f"aggregate: {HIDDEN}" if nothing else "")
    assert {*finished.left_out.values()} == {UNSAID}
    assert "old" in finished.left_out


def test_bytes_do_not_leave(tmp_path) -> None:
    finished = run(tmp_path, bytes=True)
    assert (finished.error, finished.packed, finished.spent) == (f"train: {HIDDEN}", None, None)
