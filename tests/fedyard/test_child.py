from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import psutil
import pytest

from fedyard.tasks.arrays import pack, unpack
from fedyard.tasks.child import ROOT, Child, ChildDied, Children
from fedyard.tasks.jobs import MAX_LOG, Job, Packed, Submitted
from fedyard.tasks.privacy import Filter, Privacy
from fedyard.tasks.reasons import MAX_REASON
from fedyard.tasks.settings import Tasks
from tests import hooks
from tests.fedyard import tasks_of_tests
from tests.ops.program import gone
from tests.waiting import until

HERE = "tests.fedyard.tasks_of_tests"


def job(folder: Path, hook: str, name: str = "Gated", **parameters: object) -> Job:
    return Job(
        hook=hook,
        model_name=f"{HERE}:{name}",
        allowed=[f"{HERE}:{name}"],
        site_id="s",
        run_id="r",
        task="train",
        task_seq=1,
        round=1,
        rounds=2,
        parameters=parameters,
        data={},
        folder=str(folder / "runs" / "r"),
        limit_bytes=1_000_000,
    )


def never() -> bool:
    return False


@pytest.fixture
def child(tmp_path):
    """What starts it by itself is shown by the tests that make one of their own."""
    with hooks.prepared():
        made = Child(tmp_path, threads=1, stop_within_s=0.5)
        yield made
        made.end()


def calls(folder: Path) -> list[str]:
    log = folder / "calls.log"
    return log.read_text().splitlines() if log.exists() else []


def test_hooks_run_in_one_process_that_prepares_once(tmp_path, child) -> None:
    assert child.call(job(tmp_path, "prepare"), never).error == ""
    trained = child.call(job(tmp_path, "train"), never)
    assert float(unpack(trained.packed.where)["total"][0]) == 1.0
    assert trained.metrics == {"samples": 1.0, "started_from": 0.0}
    assert calls(tmp_path) == ["prepare 1", "train 1"]


def test_a_new_process_prepares_by_itself(tmp_path, child) -> None:
    child.call(job(tmp_path, "train"), never)
    assert calls(tmp_path) == ["prepare 1", "train 1"]


@pytest.mark.parametrize(("filter_", "prepared"), [(None, 1), (Filter(Privacy(clip=1, noise=8, epsilon=10)), 2)])
def test_a_first_model_of_a_site_that_adds_noise_is_made_in_a_process_without_data(
    tmp_path, child, filter_, prepared
) -> None:
    for hook in ("prepare", "initial", "prepare"):
        child.call(msgspec.structs.replace(job(tmp_path, hook), filter=filter_), never)
    assert calls(tmp_path).count("prepare 1") == prepared


def test_aggregates_without_data(tmp_path, child) -> None:
    updates = [
        Submitted(name, Packed(pack({"total": tasks_of_tests.np.array([value])})), {})
        for name, value in (("a", 1.0), ("b", 3.0))
    ]
    done = child.call(msgspec.structs.replace(job(tmp_path, "aggregate"), updates=updates), never)
    assert float(unpack(done.packed.where)["total"][0]) == 2.0
    assert calls(tmp_path) == ["aggregate 1", "aggregated a,b"]


@pytest.mark.parametrize("name", ["Gated", "Stubborn"])
def test_unwanted_work_is_given_up_and_the_next_job_works(tmp_path, child, name) -> None:
    (tmp_path / "hold-train").touch()
    assert child.call(job(tmp_path, "train", name), lambda: "train 1" in calls(tmp_path)) is None
    (tmp_path / "hold-train").unlink()
    assert child.call(job(tmp_path, "train", name), never).error == ""
    assert ("stopped train" in calls(tmp_path)) is (name == "Gated")


def test_a_polite_hook_keeps_its_process(tmp_path, child) -> None:
    (tmp_path / "hold-train").touch()
    child.call(job(tmp_path, "train"), lambda: "train 1" in calls(tmp_path))
    (tmp_path / "hold-train").unlink()
    child.call(job(tmp_path, "train"), never)
    assert calls(tmp_path).count("prepare 1") == 1


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("prepare", "train: the data of this site are too few"),
        ("raise", "train: the task has a fault (ValueError), in line "),
        ("zip", "train: a file is no zip archive, or is damaged (BadZipFile), in line "),
        ("masked", "train: array 'w' is masked"),
        ("exit", "train: its process ended by itself, with code 1"),
        ("large", "train: 10000000 bytes are too many"),
    ],
)
def test_a_failure_tells_a_fact_and_no_data(tmp_path, child, how, reason) -> None:
    try:
        error = child.call(
            job(tmp_path, "train", "Odd" if how in tasks_of_tests.ODD else "Failing", how=how), never
        ).error
    except ChildDied as died:
        error = str(died)
    assert error.startswith(reason)
    assert "Smith" not in error


def test_what_a_hook_says_comes_while_it_works(tmp_path, child) -> None:
    said: list[str] = []
    (tmp_path / "hold-train").touch()

    def unwanted() -> bool:
        if "loss" in "".join(said):
            (tmp_path / "hold-train").unlink(missing_ok=True)
        return False

    finished = child.call(job(tmp_path, "train"), unwanted, said.append)
    assert finished.error == ""
    assert said == ["training begins", "loss is fine"]


def test_a_hook_that_never_stops_talking_can_be_stopped(tmp_path, child) -> None:
    said: list[str] = []
    assert child.call(job(tmp_path, "train", "Failing", how="talk"), lambda: len(said) > 20, said.append) is None


def test_a_large_result_comes_as_a_file(tmp_path, child) -> None:
    asked = msgspec.structs.replace(job(tmp_path, "train", "Failing", how="large"), limit_bytes=20_000_000)
    finished = child.call(asked, never)
    assert finished.packed == Packed(file=str(tmp_path / "runs" / "r" / "train-1.packed"))
    assert unpack(finished.packed.where) == bytes(10_000_000)
    again = msgspec.structs.replace(asked, hook="train", model=finished.packed)
    assert child.call(again, never).packed == finished.packed


def test_a_model_that_is_not_allowed_is_not_imported(tmp_path, child) -> None:
    asked = msgspec.structs.replace(job(tmp_path, "prepare"), allowed=[f"{HERE}:Failing"])
    assert "does not know the model" in child.call(asked, never).error


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_package\n", "there is no module 'no_such_package': put its file into the site's folder, or"),
        ("from fedyard import Task\n", "but odd_task has no Odd"),
        ("from fedyard import Task\n\n\nclass Odd(Task):\n    pass\n", "has no train, which each task needs"),
        ("\nclass Odd(:\n", "the task's file is no valid Python (SyntaxError), in line 2 of the task's odd_task.py"),
        ("\n\nimport math\nmath.no\n", "the task has a fault (AttributeError), in line 4 of the task's odd_task.py"),
        ("from math import no\n", "another version of it is there (ImportError), in line 1 of the task's odd_task.py"),
    ],
)
def test_a_file_that_cannot_be_imported_says_what_is_the_matter(tmp_path, child, code: str, said: str) -> None:
    (tmp_path / "odd_task.py").write_text(code)
    model = "odd_task:Odd"
    asked = msgspec.structs.replace(job(tmp_path, "prepare"), model_name=model, allowed=[model])
    assert said in child.call(asked, never).error


@pytest.mark.parametrize("error", [sqlite3.OperationalError("locked"), OSError("no such disk")])
def test_a_question_that_fails_leaves_no_job_behind(tmp_path, child, error) -> None:
    """The next job would be answered with the outcome of the one that was left."""
    (tmp_path / "hold-train").touch()

    def fails() -> bool:
        if "train 1" in calls(tmp_path):
            raise error
        return False

    with pytest.raises(type(error), match=str(error)):
        child.call(job(tmp_path, "train"), fails)
    (tmp_path / "hold-train").unlink()
    assert child.call(job(tmp_path, "prepare"), never).packed is None


@pytest.mark.parametrize("model", ["os:system", "no.such.module:Task", "tests.fedyard.rude:RudeHub"])
def test_an_allowed_model_must_be_a_task(tmp_path, child, model) -> None:
    asked = msgspec.structs.replace(job(tmp_path, "prepare"), model_name=model, allowed=[model])
    assert "the model" in child.call(asked, never).error


_LAST_THREAD = """
import ctypes, os, pathlib, threading, time
from fedyard.tasks import reaper

hooks = os.fork()
if not hooks:
    threading.Thread(target=lambda: (time.sleep(0.3), os._exit(9))).start()
    ctypes.CDLL(None).pthread_exit(None)
while pathlib.Path(f"/proc/{hooks}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z":
    time.sleep(0.001)
print(os.waitstatus_to_exitcode(reaper._end_all(hooks, None)))
"""


def test_how_a_process_ended_is_known_when_its_last_thread_has_ended() -> None:
    """Before that it looks ended, and cannot be waited for: numpy's threads take a moment longer than the first."""
    said = subprocess.run([sys.executable, "-c", _LAST_THREAD], cwd=ROOT, check=True, capture_output=True, text=True)
    assert said.stdout == "9\n"


def test_a_process_that_dies_is_told_and_replaced(tmp_path, child) -> None:
    with pytest.raises(ChildDied, match="code 9"):
        child.call(job(tmp_path, "train", "Failing", how="die"), never)
    assert child.call(job(tmp_path, "train"), never).error == ""


@pytest.mark.parametrize(
    ("how", "metrics", "said"),
    [
        (
            "nan",
            {"auc": 0.5},
            [
                "the metric 'loss' is left out: it is no finite number",
                "the metric 'best' is left out: it is no finite number",
                "the metric 'p' is left out: it is no finite number",
                "the metric '' is left out: a name has 1 to 64 printable characters",
                "the metric of type int is left out: a name has 1 to 64 printable characters",
            ],
        ),
        (
            "many",
            {f"m{number}": float(number) for number in range(64)},
            [
                *(f"the metric 'm{n}' is left out: the hub takes 64" for n in range(64, 69)),
                "31 more metrics are left out",
            ],
        ),
        ("no_metrics", {}, []),
        (
            "surrogates",
            {},
            ["caf\\udce9.csv", "the metric '\\udce9' is left out: a name has 1 to 64 printable characters"],
        ),
    ],
)
def test_what_only_observes_costs_no_work(tmp_path, child, how, metrics, said) -> None:
    heard: list[str] = []
    finished = child.call(job(tmp_path, "train", "Odd", how=how), never, heard.append)
    assert (finished.error, finished.metrics) == ("", metrics)
    assert unpack(finished.packed.where) == b"fine"
    assert heard == said


def test_a_full_disk_behind_a_tasks_prints_costs_no_work(tmp_path) -> None:
    program = f"""
from pathlib import Path
from fedyard.tasks.child import Child
from tests.fedyard.test_child import job
child = Child(Path({str(tmp_path)!r}), 1, 1.0)
finished = child.call(job(Path({str(tmp_path)!r}), "train", "Odd", how="print"), lambda: False)
child.end()
raise SystemExit(0 if finished.error == "" else 3)
"""
    with Path("/dev/full").open("w") as full:
        assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, stderr=full, check=False).returncode == 0


def test_an_update_of_a_deep_network_goes(tmp_path, child) -> None:
    finished = child.call(job(tmp_path, "train", "Odd", how="arrays"), never)
    assert len(unpack(finished.packed.where)) == 320


def test_what_no_frame_can_hold_is_told_and_harms_nobody(tmp_path, child) -> None:
    for odd in (2**70, -(2**64), "\ud800", {"\ud800": 1}):
        finished = child.call(job(tmp_path, "train", x=[odd]), never)
        assert finished.error.startswith("train: the parameters hold a value that no task can be handed")
    assert child.call(job(tmp_path, "train"), never).error == ""


def test_one_seed_is_the_same_at_all_sites_and_the_other_is_each_sites_own(tmp_path, child) -> None:
    """Both are the same again in another process, and others in another round or run."""
    asked = job(tmp_path, "train", "Odd", how="seeds")

    def seeds(**changes: object) -> tuple[int, int]:
        done = child.call(msgspec.structs.replace(asked, **changes), never)
        return int(done.metrics["seed"]), int(done.metrics["site_seed"])

    here, there = seeds(), seeds(site_id="t")
    assert here[0] == there[0]
    assert len({*here, *there}) == 3
    child.end()
    assert seeds() == here
    assert len({here, seeds(round=2), seeds(run_id="another"), seeds(task_seq=2)}) == 4


def test_what_a_task_starts_ends_when_it_is_asked_to(tmp_path, child) -> None:
    finished = child.call(job(tmp_path, "train", "Odd", how="signal"), never)
    assert float(unpack(finished.packed.where)["ended"][0]) == signal.SIGTERM


def sleepers(folder: Path) -> list[psutil.Process]:
    """What the task has started, and what that has started, as far as it still runs."""
    text = until(lambda: (folder / "pids").exists() and (folder / "pids").read_text())
    found = []
    for pid in map(int, text.split()):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("crash", "train: its process was ended by SIGSEGV .it crashed"),
        ("cut", "train: its process was ended by SIGKILL"),
    ],
)
def test_a_death_is_seen_though_forks_hold_the_connection(tmp_path, child, how, told) -> None:
    asked = job(tmp_path, "train", "Odd", how=how)
    with pytest.raises(ChildDied, match=told):
        child.call(asked, never)
    until(lambda: gone(sleepers(tmp_path)))
    assert child.call(job(tmp_path, "train"), never).error == ""


def test_everything_that_a_task_started_ends_with_it(tmp_path, child) -> None:
    assert child.call(job(tmp_path, "train", "Odd", how="sleepers"), never).error == ""
    running = until(lambda: len(found := sleepers(tmp_path)) == 5 and found)
    assert all(process.is_running() for process in running)
    child.end()
    assert gone(running)


def test_everything_that_a_task_started_ends_with_an_agent_that_is_killed(tmp_path) -> None:
    program = f"""
from pathlib import Path
from fedyard.tasks.child import Child
from tests.fedyard.test_child import job
child = Child(Path({str(tmp_path)!r}), 1, 1.0)
child.call(job(Path({str(tmp_path)!r}), "train", "Odd", how="sleepers"), lambda: False)
child.call(job(Path({str(tmp_path)!r}), "train", "Stubborn"), lambda: False)
"""
    (tmp_path / "hold-train").touch()
    agent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    running = sleepers(tmp_path)
    agent.kill()
    agent.wait()
    until(lambda: gone(running))


def test_a_reaper_that_hangs_is_ended_with_its_session(tmp_path) -> None:
    child = Child(tmp_path, threads=1, stop_within_s=0.1)
    child.call(job(tmp_path, "train"), never)
    assert child._process is not None
    reaper = psutil.Process(child._process.pid)
    hooks = reaper.children()
    reaper.suspend()
    child.end()
    until(lambda: gone([reaper, *hooks]))


def test_updates_that_cannot_be_combined_are_left_out_and_named(tmp_path, child) -> None:
    updates = [
        Submitted(name, Packed(pack({"total": tasks_of_tests.np.array([value])})), {})
        for name, value in (("a", 1.0), ("b", 3.0), ("c", 5.0))
    ]
    said: list[str] = []
    line = tasks_of_tests.Picky.evaluate.__code__.co_firstlineno + 1
    asked = msgspec.structs.replace(job(tmp_path, "aggregate", "Picky", without=["b"]), updates=updates)
    done = child.call(asked, never, said.append)
    assert done.left_out == {"b": "its total is of another kind"}
    assert float(unpack(done.packed.where)["total"][0]) == 3.0
    place = f"line {line} of the task's tasks_of_tests.py, in evaluate"
    assert said == [
        "the update of site b is left out: its total is of another kind",
        f"evaluate: a file is not there (FileNotFoundError), in {place}",
    ]
    broken = [*updates[:2], msgspec.structs.replace(updates[2], packed=Packed(b"FYa1 and no more"))]
    done = child.call(msgspec.structs.replace(asked, updates=broken), never)
    assert done.left_out == {
        "b": "its total is of another kind",
        "c": "the arrays cannot be read: they are damaged, or were packed by another program",
    }
    none = msgspec.structs.replace(job(tmp_path, "aggregate", "Picky", without=["a", "b", "c"]), updates=updates)
    done = child.call(none, never)
    assert done.error == "aggregate: no update can be used; that of site a: its total is of another kind"
    assert set(done.left_out) == {"a", "b", "c"}


def test_only_so_many_compute_at_once(tmp_path) -> None:
    children = Children(tmp_path, Tasks(at_once=1, stop_within_s=0.5))
    (tmp_path / "hold-train").touch()
    first = threading.Thread(target=children.call, args=(job(tmp_path, "train"), never))
    first.start()
    until(lambda: "train 1" in calls(tmp_path))
    asked: list[int] = []
    other = msgspec.structs.replace(job(tmp_path, "train"), run_id="other")
    assert children.call(other, lambda: asked.append(1) is None and len(asked) > 2) is None
    assert calls(tmp_path).count("train 1") == 1
    (tmp_path / "hold-train").unlink()
    first.join()
    assert children.call(other, never) is not None
    children.end_all()


def test_children_end_with_an_agent_that_is_killed(tmp_path) -> None:
    program = f"""
from pathlib import Path
from fedyard.tasks.child import Child
from tests.fedyard.test_child import job
child = Child(Path({str(tmp_path)!r}), 1, 1.0)
child.call(job(Path({str(tmp_path)!r}), "train", "Stubborn"), lambda: False)
"""
    (tmp_path / "hold-train").touch()
    agent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    until(lambda: "train 1" in calls(tmp_path))
    children = psutil.Process(agent.pid).children()
    assert len(children) == 1
    children += children[0].children()
    assert len(children) == 2
    agent.kill()
    agent.wait()
    until(lambda: gone(children))


def test_only_so_many_processes_live_and_the_one_idle_longest_is_prepared_anew(tmp_path) -> None:
    children = Children(tmp_path, Tasks(at_once=1, children=2, stop_within_s=0.5))
    before = {child.pid for child in psutil.Process().children()}

    def alive() -> int:
        return len({child.pid for child in psutil.Process().children()} - before)

    try:
        for task_seq in (1, 2, 1, 3, 4):
            one = msgspec.structs.replace(job(tmp_path, "prepare"), task_seq=task_seq)
            finished = children.call(one, never)
            assert finished is not None
            assert finished.error == ""
            assert alive() == children.count() <= 2
        assert [children.known("r", task_seq) for task_seq in (1, 2, 3, 4)] == [False, False, True, True]
        finished = children.call(job(tmp_path, "train"), never)
        assert finished is not None
        assert finished.error == ""
        assert calls(tmp_path)[-2:] == ["prepare 1", "train 1"]
    finally:
        children.end_all()
    assert alive() == 0


def test_who_may_compute_has_a_place_however_few_processes_may_live(tmp_path) -> None:
    """Fewer than may compute at once would have them wait for each other."""
    children = Children(tmp_path, Tasks(at_once=2, children=1, stop_within_s=0.5))
    outcomes: list[object] = []

    def called(task_seq: int) -> None:
        outcomes.append(children.call(msgspec.structs.replace(job(tmp_path, "train"), task_seq=task_seq), never))

    threads = [threading.Thread(target=called, args=(task_seq,)) for task_seq in range(1, 7)]
    with hooks.prepared():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(outcomes) == 6
    assert None not in outcomes
    assert children.count() <= 2
    children.end_all()


def test_a_hook_that_floods_costs_neither_the_update_nor_the_agent(tmp_path, child) -> None:
    said: list[str] = []
    asked: list[int] = []

    def unwanted() -> bool:
        asked.append(len(said))
        return False

    done = child.call(job(tmp_path, "train", "Odd", how="flood"), unwanted, said.append)
    assert (done.error, done.metrics) == ("", {"loss": 0.5})
    assert said[99_999] == "line 99999"
    assert max(map(len, said)) == MAX_LOG
    assert "the metric 'huge' is left out: it is no finite number" in said
    assert len(asked) < 10_000, "whether it is still wanted is asked by the clock, not for each line"


def test_a_reason_without_an_end_has_one(tmp_path, child) -> None:
    done = child.call(job(tmp_path, "train", "Odd", how="long_reason"), never)
    assert done.error.startswith("train: \\x1b\\x00\\x1b")
    assert len(done.error) <= MAX_REASON
    assert done.error.isprintable()
