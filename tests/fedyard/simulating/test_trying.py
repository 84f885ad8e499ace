"""What `fedyard task try` shows is what would leave the site, and nothing is sent or left behind."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest

from fedyard.agent.policy import HELD_BACK
from fedyard.agent.site import Folder, Settings
from fedyard.cli.main import main
from fedyard.simulating.trying import Word, tried
from fedyard.tasks import TaskError
from fedyard.tasks.privacy import HIDDEN, Privacy, Released, Spent
from fedyard.tasks.privacy.accounting import epsilon_of
from tests.fedyard.simulating.tasks import Keeping, Sum


@pytest.fixture
def data(tmp_path) -> dict[str, str]:
    path = tmp_path / "train.csv"
    path.write_text("7")
    return {"train": str(path)}


def test_arrays_metrics_and_lines_are_shown_round_by_round(data) -> None:
    found = tried(Sum, data)
    assert [(step.hook, step.round) for step in found.steps] == [
        ("prepare", 1),
        ("train", 1),
        ("aggregate", 1),
        ("train", 2),
        ("aggregate", 2),
    ]
    (array,) = found.steps[1].leaves
    assert (array.name, array.dtype, array.shape, array.size_bytes, array.first) == ("total", "float64", (1,), 8, "7")
    assert found.steps[3].metrics == {"samples": 1.0, "started": 7.0}
    assert list(found.steps[3].log) == ["round 2"]
    assert found.steps[1].size_bytes > 8
    assert found.steps[1].norm == 7.0


def test_a_model_may_be_given(data) -> None:
    found = tried(Sum, data, rounds=1, model={"total": np.array([3.0])})
    assert found.steps[1].metrics["started"] == 3.0


def test_a_failure_is_what_the_coordinator_would_be_told(data) -> None:
    found = tried(Sum, data, parameters={"fails": ["this-site", 1]})
    assert found.reason.startswith("train: a calculation has no result")
    assert found.steps[-1].hook == "train"
    with pytest.raises(TaskError, match="no file"):
        tried("none.py:X", data)


def test_nothing_is_kept(data, tmp_path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert [tried(Keeping, data).steps[1].metrics["count"] for _ in range(2)] == [1.0, 1.0]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def site(tmp_path) -> Folder:
    folder = Folder(tmp_path / "north")
    folder.create(Settings(hub="http://hub.example", name="north", data={"train": "own.csv"}), "one-time")
    (folder.path / "own.csv").write_text("5")
    (folder.path / "other.csv").write_text("9")
    toml = folder.path / "site.toml"
    toml.write_text(toml.read_text() + '\n[project.doses]\ndata = { train = "other.csv" }\n')
    return folder


def said(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


TASK = f"{Sum.__module__}:Sum"


def test_the_site_and_its_project_say_which_data(site, capsys) -> None:
    at = ("--folder", str(site.path), "task", "try", TASK, "--json")
    firsts = []
    for more in ((), ("--project", "doses")):
        code, out, err = said(capsys, *at, *more)
        assert code == 0, err
        firsts.append(json.loads(out)["steps"][1]["leaves"][0]["first"])
    assert firsts == ["5", "9"]
    code, _, err = said(capsys, *at, "--project", "other")
    assert (code, "no project 'other'" in err) == (2, True)


def test_the_sites_word_on_reading_and_on_small_counts_holds(site, capsys) -> None:
    (site.path / "own.csv").write_text("dose|sex\n" + "1,5|f\n" * 8 + "?|m\n" * 8)
    toml = site.path / "site.toml"
    said_of_all = toml.read_text().replace("[tasks]\n", "[tasks]\nmin_count = 9\n")
    told = 'data = { train = "own.csv" }\nmin_count = 7\n'
    toml.write_text(
        said_of_all.replace('data = { train = "other.csv" }\n', told)
        + '[reading.train]\nseparator = "|"\ndecimal = ","\nmissing = ["?"]\n'
    )
    at = (
        "--folder",
        str(site.path),
        "task",
        "try",
        "table_one",
        "--set",
        'columns=["dose"]',
        "--rounds",
        "1",
        "--json",
    )
    code, out, _ = said(capsys, *at, "--set", "by=sex")
    assert "no group of this site has enough rows" in json.loads(out)["steps"][-1]["reason"]
    assert code == 1
    code, out, err = said(capsys, *at, "--set", "by=sex", "--project", "doses")
    assert code == 0, err + out
    (train,) = (step for step in json.loads(out)["steps"] if step["hook"] == "train")
    firsts = {one["name"]: one["first"] for one in train["leaves"]}
    assert (firsts["moments.count"], firsts["moments.mean"]) == ("8", "1.5")


def test_people_read_what_would_leave_and_what_would_not(data, capsys) -> None:
    code, out, _ = said(capsys, "task", "try", TASK, "--data", f"train={data['train']}")
    assert code == 0
    assert "Would leave this site" in out
    assert "log: round 1" in out
    code, out, _ = said(capsys, "task", "try", TASK, "--data", data["train"], "--set", 'fails=["this-site", 1]')
    assert code == 1
    assert "FAILED. The coordinator would be told: train: a calculation has no result" in out
    assert "Would leave" not in out


WRITTEN = {
    "one.json": f'[{{"name": "one", "model": "{TASK}", "parameters": {{"b": 1}}}}]',
    "two.json": f'[{{"name": "one", "model": "{TASK}"}}, {{"name": "two", "model": "{TASK}"}}]',
    "odd.json": f'[{{"name": "one", "model": "{TASK}", "round": 2}}]',
    "oddly.json": f'[{{"name": "one", "model": "{TASK}", "contract": {{"quorm": 2}}}}]',
    "syntax.py": "x = 1\nclass A(:\n",
    "lacking.py": "import nowhere_\n",
    "none.py": "x = 1\n",
    "mine.py": "from fedyard import Task\n\nclass Mine(Task):\n    pass\n",
}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["task", "try", TASK, "--data", "train=x", "--set", "a"], "say NAME=VALUE"),
        (["task", "try", TASK, "--data", "train=x"], "there is no data file x"),
        (["task", "try", TASK], "is no site's folder: name data with --data"),
        (["simulate", TASK, "--data", "x", "--set", "a={1"], "its value begins as JSON, and is none"),
        (["simulate", "two.json", "--data", "x", "--set", "a=1"], "begins with no task of this project; its tasks: "),
        (
            ["simulate", "one.json", "--data", "x", "--set", "a=1"],
            "task 'one' has had no parameter 'a' so far; it has b",
        ),
        (["simulate", "odd.json", "--data", "x"], "task of 'one' has a field 'round'"),
        (["simulate", "oddly.json", "--data", "x"], "contract of 'one' has a field 'quorm'"),
        (["simulate", "syntax.py", "--data", "x"], "syntax.py cannot be imported: syntax.py, line 2: "),
        (
            ["simulate", "lacking.py", "--data", "x"],
            "lacking.py, line 1: there is no module 'nowhere_': install",
        ),
        (["simulate", "none.py", "--data", "x"], "none.py has no task"),
        (["simulate", "mine.py:Your", "--data", "x"], "mine.py has no task 'Your': it has Mine"),
        (["simulate", TASK, "--data", "none.csv"], "there is no data file"),
        (["simulate", TASK, "--data", "none.csv", "--split", "odd"], "'odd' is not one of"),
    ],
)
def test_what_is_typed_wrongly_is_said(capsys, tmp_path, arguments, sentence) -> None:
    for name, text in WRITTEN.items():
        (tmp_path / name).write_text(text)
    with contextlib.chdir(tmp_path):
        code, _, err = said(capsys, *arguments)
    assert code in (1, 2)
    assert sentence in err


# ---------------------------------------------------------------- a site that adds noise

NOISY = Privacy(clip=2.0, noise=8.0, epsilon=4.0, metrics=["samples"])


def test_what_would_leave_is_shown_clipped_and_with_noise_and_what_it_would_cost(data) -> None:
    before = [Released(8.0, 3)]
    found = tried(Sum, data, word=Word(NOISY, before))
    first, second = (step for step in found.steps if step.hook == "train")
    assert (first.unclipped, first.metrics, first.stay) == (7.0, {"samples": 1.0}, ["started"])
    assert first.leaves[0].first != "7"
    costs = [step.spent for step in (first, second) if step.spent is not None]
    assert costs == [Spent(epsilon_of([Released(8.0, number)], 1e-6), 1e-6) for number in (4, 5)]
    assert before == [Released(8.0, 3)]


def test_a_budget_that_would_be_passed_is_said_before_anything_runs(data) -> None:
    found = tried(Sum, data, word=Word(NOISY, [Released(8.0, 100)]))
    assert [step.hook for step in found.steps] == ["prepare"]
    assert "privacy budget for the project is spent" in found.reason


def test_what_the_coordinator_would_be_told_is_what_the_agent_would_tell_him(data) -> None:
    fails = {"fails": ["this-site", 1]}
    assert tried(Sum, data, parameters=fails, word=Word(NOISY)).reason == f"train: {HIDDEN}"
    assert tried(Sum, data, parameters=fails, word=Word(held_back=HELD_BACK)).reason == f"train: {HELD_BACK}"


def test_people_see_a_projects_noise_and_nothing_of_it_is_spent(site, capsys) -> None:
    toml = site.path / "site.toml"
    privacy = 'clip = 2.0\nnoise = 8.0\nepsilon = 4.0\nmetrics = ["samples"]'
    toml.write_text(toml.read_text() + f"\n[project.doses.privacy]\n{privacy}\n")
    before = sorted(site.path.rglob("*"))
    code, out, err = said(capsys, "--folder", str(site.path), "task", "try", TASK, "--project", "doses")
    assert code == 0, err
    assert "its norm was 9 before it was clipped and had noise (stays)" in out
    assert "log (stays): round 1" in out
    assert "metrics: samples 1\n  metrics that stay: started" in out
    assert f"cost epsilon {epsilon_of([Released(8.0, 2)], 1e-6):.4g} in all, delta 1e-06, with 0 that" in out
    assert "4 is allowed, which is\n11 updates more" in out
    assert sorted(site.path.rglob("*")) == before
