"""`context.keep`: what a hook leaves there counts with its result, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fedyard.agent.keeping import Keeping
from fedyard.agent.state import Made, State
from fedyard.simulating.simulation import simulate
from fedyard.tasks import Result, Task, TaskError, Unusable
from fedyard.tasks.kept import MAX_DEPTH, MAX_KEPT_FILES, copy_to_work, is_as_copied, place, put_aside

PROJECT, RUN, OTHER = "p", "r", "o"


def content(folder: Path) -> dict[str, str]:
    return {str(one.relative_to(folder)): one.read_text() for one in sorted(folder.rglob("*")) if one.is_file()}


class Site:
    """A site's folder, in which one hook after the other works; a new one is a restart of the agent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = State(path / "state.sqlite")
        self.keeping = Keeping(path, self.state)

    def work(self, run_id: str) -> Path:
        return self.path / "runs" / run_id / "keep"

    def begins(self, entry_seq: int, run_id: str = RUN) -> dict[str, str]:
        """What a hook finds."""
        self.keeping.begin(PROJECT, "t", run_id, entry_seq, self.work(run_id))
        return content(self.work(run_id))

    def writes(self, text: str, run_id: str = RUN, name: str = "a") -> None:
        (self.work(run_id) / name).write_text(text)

    def aside(self, entry_seq: int, run_id: str = RUN, *, if_changed: bool = False):
        return self.keeping.put_aside(PROJECT, "t", run_id, entry_seq, self.work(run_id), if_changed=if_changed)

    def result(self, entry_seq: int, generation, run_id: str = RUN) -> None:
        self.state.results.keep_made(Made(entry_seq, run_id, b"", "", {}), None, generation)
        self.keeping.counts(generation)

    def folders(self) -> list[str]:
        folder = self.path / "kept" / PROJECT / "t"
        return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


def test_what_a_hook_keeps_is_found_by_the_next_one_in_another_run_and_after_a_restart(site) -> None:
    assert site.begins(1) == {}
    site.writes("1")
    site.result(1, site.aside(1))
    assert site.begins(2) == {"a": "1"}
    (site.work(RUN) / "deep").mkdir()
    site.writes("2", name="deep/b")
    site.result(2, site.aside(2))
    again = Site(site.path)
    assert again.begins(3, OTHER) == {"a": "1", "deep/b": "2"}
    assert len(site.folders()) == 2


def test_a_hook_that_failed_or_was_killed_has_kept_nothing(site) -> None:
    site.begins(1)
    site.writes("1")
    site.result(1, site.aside(1))
    site.begins(2)
    site.writes("half")  # and the process dies
    assert site.begins(2) == {"a": "1"}
    site.writes("2", name="more")
    assert Site(site.path).begins(2) == {"a": "1"}


def test_what_was_put_aside_counts_for_nothing_until_the_result_is_kept(site) -> None:
    site.begins(1)
    site.writes("1")
    site.result(1, site.aside(1))
    site.begins(2)
    site.writes("2")
    site.aside(2)  # and the agent dies before its transaction
    again = Site(site.path)
    assert again.begins(2) == {"a": "1"}
    assert again.folders() == ["1"]
    again.writes("3")
    again.result(2, again.aside(2))
    assert again.begins(3) == {"a": "3"}


def test_a_hook_that_is_called_again_finds_what_there_was_before(site) -> None:
    """One without a result, whose report was not yet on disk."""
    site.begins(1)
    site.writes("1")
    site.result(1, site.aside(1))
    for _ in range(2):
        assert site.begins(2) == {"a": "1"}
        site.writes("2")
        generation = site.aside(2, if_changed=True)
        site.state.kept.keep(generation)
        site.keeping.counts(generation)
    assert site.begins(3) == {"a": "2"}
    assert site.begins(2, OTHER) == {"a": "2"}  # another run's entry of that number, after a restore


def test_of_two_runs_at_a_time_the_last_one_counts_and_neither_sees_half_of_the_other(site) -> None:
    site.begins(1)
    site.begins(2, OTHER)
    site.writes("mine")
    first = site.aside(1)
    site.writes("other", OTHER)
    second = site.aside(2, OTHER)
    site.result(1, first)
    site.result(2, second, OTHER)
    assert site.begins(3) == {"a": "other"}


def test_what_was_not_touched_costs_nothing(site) -> None:
    site.begins(1)
    assert site.aside(1) is None
    site.begins(1)
    site.writes("1")
    site.result(1, site.aside(1))
    site.begins(2)
    assert site.aside(2, if_changed=True) is None
    site.begins(2)
    site.writes("1")  # the same, written anew
    assert site.aside(2, if_changed=True) is not None
    site.begins(3)
    (site.work(RUN) / "a").unlink()
    site.result(3, site.aside(3))
    assert site.begins(4) == {}


def test_a_copy_is_no_link_to_what_counts(site) -> None:
    site.begins(1)
    site.writes("1")
    site.result(1, site.aside(1))
    site.begins(2)
    with (site.work(RUN) / "a").open("r+") as file:
        file.write("X")
    assert site.begins(2) == {"a": "1"}


@pytest.mark.parametrize("how", ["link", "folder", "hard", "pipe", "deep", "many"])
def test_what_is_no_plain_file_or_too_much_is_not_kept(tmp_path, how: str) -> None:
    secret, work, kept = tmp_path / "identity.key", tmp_path / "work", tmp_path / "kept" / "1"
    secret.write_text("secret")
    work.mkdir()
    (work / "fine").write_text("1")
    match how:
        case "link":
            (work / "x").symlink_to(secret)
        case "folder":
            (work / "x").symlink_to(tmp_path)
        case "hard":
            os.link(secret, work / "x")
        case "pipe":
            os.mkfifo(work / "x")
        case "deep":
            work.joinpath(*["d"] * (MAX_DEPTH + 2)).mkdir(parents=True)
        case "many":
            for number in range(MAX_KEPT_FILES):
                (work / f"{number}").touch()
    with pytest.raises(TaskError, match=r"context\.keep"):
        put_aside(work, kept)
    assert not kept.exists()
    assert secret.read_text() == "secret"
    copy_to_work(None, work)
    assert is_as_copied(None, work)


@pytest.mark.parametrize("what", ["keys", "token"])
def test_a_link_in_the_place_of_what_is_kept_leads_nowhere(site, what: str) -> None:
    """What the agent's user may read and write, and a confined hook may not."""
    target = site.path / what
    if what == "keys":
        target.mkdir()
        (target / "1.key").write_text("secret")
    else:
        target.write_text("secret")
    before = target.stat()
    for entry in (1, 2):
        assert site.begins(entry) == {}
        site.work(RUN).rmdir()
        site.work(RUN).symlink_to(target)
        for if_changed in (True, False):
            if site.work(RUN).is_symlink():
                with pytest.raises(TaskError, match=r"in the place of context\.keep"):
                    site.aside(entry, if_changed=if_changed)
        site.work(RUN).symlink_to(target)  # and once more, before the next hook
    assert site.begins(3) == {}
    site.writes("1")
    site.result(3, site.aside(3))
    assert not site.work(RUN).exists()
    site.work(RUN).symlink_to(target)
    assert site.begins(4) == {"a": "1"}
    assert not site.work(RUN).is_symlink()
    assert (target.stat().st_ino, content(target) if what == "keys" else target.read_text()) == (
        before.st_ino,
        {"1.key": "secret"} if what == "keys" else "secret",
    )


def test_a_copy_that_cannot_take_its_place_is_not_made_elsewhere(tmp_path) -> None:
    """Whatever a hook's process puts there between two steps of the agent."""
    target, own = tmp_path / "site", tmp_path / "runs" / "1"
    target.mkdir()
    own.mkdir(parents=True)
    place(None, own / "keep", tmp_path / "runs" / "next")
    (own / "keep").rmdir()
    (own / "keep").symlink_to(target)
    staged = tmp_path / "runs" / "staged"
    copy_to_work(None, staged)
    with pytest.raises(OSError):
        staged.rename(own / "keep")
    assert list(target.iterdir()) == []


class Counting(Task):
    """Counts its calls in what it keeps; fails, or is unusable, after that."""

    def train(self, context, model) -> Result:
        file = context.keep / "count"
        count = int(file.read_text()) + 1 if file.exists() else 1
        file.write_text(str(count))
        if context.parameters.get("fails") == [context.site_id, context.round]:
            raise TaskError("after it has written")
        return Result({"count": np.array([count])})

    def aggregate(self, context, updates) -> Result:
        file = context.keep / "models"
        before = file.read_text() if file.exists() else ""
        file.write_text(f"{before}{len(updates)} ")
        if len(updates) == 3 and context.parameters.get("picky"):
            raise Unusable({"c": "not today"})
        counts = [int(update.content["count"][0]) for update in updates]
        return Result({"count": np.array([sum(counts)])}, {"seen": len(file.read_text().split())})


def counted(tmp_path, **parameters: object):
    data = {name: {"x": np.ones(1)} for name in "abc"}
    two = {"quorum": 2, "quorum_of": "count"}
    return simulate(Counting, data, rounds=2, parameters=parameters, contract=two, folder=tmp_path / "kept")


def test_in_a_simulation_a_hook_that_fails_has_kept_nothing(tmp_path) -> None:
    assert counted(tmp_path, fails=["a", 1]).state == "succeeded"
    kept = {site: (tmp_path / "kept" / site / "counting") for site in ("a", "b", "coordinator")}
    assert [content(kept["a"]) if kept["a"].exists() else {}, content(kept["b"])] == [{}, {"count": "2"}]
    assert content(kept["coordinator"]) == {"models": "2 2 "}
    run = counted(tmp_path)
    assert run.metrics["seen"] == 4.0
    assert int(run.model["count"][0]) == 2 + 4 + 4


def test_an_aggregation_that_is_asked_again_begins_with_what_there_was(tmp_path) -> None:
    run = counted(tmp_path, picky=True)
    assert run.state == "succeeded"
    assert content(tmp_path / "kept" / "coordinator" / "counting") == {"models": "2 2 "}


def test_too_much_fails_the_hook_and_says_what_to_do(tmp_path) -> None:
    class Hoarding(Counting):
        def train(self, context, model) -> Result:
            (context.keep / "link").symlink_to("/etc/passwd")
            return Result({"count": np.array([1])})

    run = simulate(Hoarding, {"a": {"x": np.ones(1)}, "b": {"x": np.ones(1)}}, folder=tmp_path / "kept")
    assert run.rounds[0].sites[0].reason.startswith("train: it keeps a link")
    assert not (tmp_path / "kept" / "a" / "hoarding").exists()
