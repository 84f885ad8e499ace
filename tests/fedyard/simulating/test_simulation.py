"""Rounds without a hub: who is in them, what is enough, what ends them, and that all of it comes out the same again."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest

import fedyard
from fedyard.cli.main import main
from fedyard.simulating.network import Network
from fedyard.simulating.simulation import simulate
from fedyard.tasks import Result, Task, TaskError
from fedyard.wire.sampling import drawn
from tests.fedyard.simulating import tasks
from tests.fedyard.simulating.tasks import Beginning, Drawn, Keeping, Sum


@pytest.fixture
def sites(tmp_path) -> list[Path]:
    """Three sites, whose numbers are 1, 10 and 100."""
    paths = []
    for name, value in (("a", 1), ("b", 10), ("c", 100)):
        path = tmp_path / f"{name}.csv"
        path.write_text(str(value))
        paths.append(path)
    return paths


TWO = {"quorum": 2, "quorum_of": "count"}


def line_of(file: str, text: str) -> int:
    lines = Path(file).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def outcomes(run) -> list[str]:
    return [" ".join(site.outcome for site in one.sites) for one in run.rounds]


def test_models_go_from_round_to_round(sites) -> None:
    told = []
    run = simulate(Sum, sites, rounds=2, test=sites[1], told=told.append)
    assert (run.state, float(run.model["total"][0])) == ("succeeded", 3 * 111 + 111)
    assert run.metrics == {"sites": 3.0, "test": 10.0}
    assert [site.metrics["started"] for site in run.rounds[1].sites] == [111.0] * 3
    assert list(run.rounds[0].sites[0].log) == ["round 1"]
    assert told == list(run.rounds)


def test_who_drops_out_or_comes_late_is_back_in_the_next_round(sites) -> None:
    run = simulate(Sum, sites, rounds=3, contract=TWO, drop_outs={1: ["a"]}, stragglers={2: ["c"]})
    assert outcomes(run) == ["dropped submitted submitted", "submitted submitted late", "submitted submitted submitted"]
    assert float(run.model["total"][0]) == 3 * (2 * 110 + 11) + 111
    out = simulate(Sum, sites, rounds=3, contract={**TWO, "late": "drop"}, drop_outs={1: ["a"]})
    assert outcomes(out)[1:] == ["out submitted submitted"] * 2
    waits = simulate(Sum, sites, rounds=1, contract={"too_few": "wait"}, stragglers={1: ["a"]})
    assert outcomes(waits) == ["submitted submitted submitted"]


def test_below_the_quorum_the_run_fails_and_names_the_first_cause(sites) -> None:
    run = simulate(Sum, sites, rounds=3, contract=TWO, drop_outs={2: ["a"]}, stragglers={2: ["b"]})
    assert (run.state, len(run.rounds)) == ("failed", 2)
    assert run.reason == "quorum_not_met: 1 of 3 sites, and 2 are needed; a: gone for this round"
    assert float(run.model["total"][0]) == 111


def test_a_hook_that_fails_takes_its_site_out_and_shows_its_traceback(sites) -> None:
    run = simulate(Sum, sites, rounds=2, contract=TWO, parameters={"fails": ["b", 1]})
    assert outcomes(run) == ["submitted failed submitted", "submitted out submitted"]
    failed = run.rounds[0].sites[1]
    assert failed.reason.startswith("train: a calculation has no result (ZeroDivisionError), in line")
    assert "own numbers" not in failed.reason
    unready = simulate(Sum, sites, contract=TWO, parameters={"unready": "a"})
    line = line_of(tasks.__file__, "no data here")
    assert (
        unready.rounds[0].sites[0].reason == f"prepare: no data here (line {line} of the task's tasks.py, in prepare)"
    )
    assert "ZeroDivisionError: of this site's own numbers" in failed.trace
    assert unready.state == "succeeded"


def test_an_update_that_cannot_be_used_leaves_its_site_out(sites) -> None:
    run = simulate(Sum, sites, rounds=2, contract=TWO, parameters={"odd": "c"})
    assert outcomes(run) == ["submitted submitted left_out", "submitted submitted out"]
    assert float(run.model["total"][0]) == 2 * 11 + 11
    assert simulate(Sum, sites, parameters={"odd": "c"}).reason.startswith("quorum_not_met: 2 of 3")


def test_no_model_is_made_of_one_update_unless_that_is_said(sites) -> None:
    assert "no model is made of fewer than 2" in simulate(Sum, sites[:1]).reason
    assert simulate(Sum, sites[:1], min_updates=1).state == "succeeded"


def test_tasks_run_in_their_order_with_what_those_before_have_made(sites, tmp_path) -> None:
    model = f"{tasks.__name__}:"
    specs = [
        {"name": "product", "model": f"{model}Product", "after": ["sum"]},
        {"name": "sum", "model": f"{model}Sum", "rounds": 2, "after": []},
        {"name": "last", "model": f"{model}Sum", "after": ["product"]},
    ]
    run = simulate(specs, sites, parameters={"sum": {"fails": ["nobody", 1]}})
    assert float(run.task("product").model["total"][0]) == 3 * 444
    assert float(run.task("last").model["total"][0]) == 3 * (3 * 444) + 111  # it begins with the product
    failed = simulate(specs, sites, parameters={"sum": {"fails": ["a", 2]}})
    assert [task.state for task in failed.tasks] == ["skipped", "failed", "skipped"]
    with pytest.raises(TaskError, match="there is no task 'other'"):
        simulate(specs, sites, parameters={"other": {}})
    with pytest.raises(TaskError, match="comes after itself"):
        simulate([{**specs[0], "after": ["product"]}], sites)


def test_a_first_model_is_the_coordinators_or_is_given(sites) -> None:
    specs = [{"name": "sum", "model": f"{tasks.__name__}:Beginning", "initial": True}]
    run = simulate(specs, sites)
    assert [one.number for one in run.rounds] == [0, 1]
    assert float(run.model["total"][0]) == 411
    given = simulate(Beginning, sites, first_model={"total": np.array([1000.0])})
    assert float(given.model["total"][0]) == 3111


def test_a_task_begins_with_the_model_of_the_one_before_it_that_ended_last_as_at_a_hub(sites) -> None:
    model = f"{tasks.__name__}:"
    specs = [
        {"name": "one", "model": f"{model}Sum", "after": []},
        {"name": "two", "model": f"{model}Sum", "after": [], "rounds": 2},
        {"name": "reports", "model": f"{model}Sum", "after": ["one", "two"], "aggregate": False},
        {"name": "goes-on", "model": f"{model}Sum", "after": ["reports"]},
        {"name": "anew", "model": f"{model}Beginning", "after": ["one"], "initial": True},
    ]
    run = simulate(specs, sites, parameters={"one": {}, "two": {}}, first_model={"total": np.array([1000.0])})
    started = {one.name: one.rounds[-1].sites[0].metrics["started"] for one in run.tasks}
    assert started == {"one": 1000.0, "two": 3111.0, "reports": 9444.0, "goes-on": 9444.0, "anew": 100.0}


def test_a_round_draws_the_sites_that_a_hub_would_and_others_rest(tmp_path) -> None:
    paths = []
    for number in range(6):
        paths.append(tmp_path / f"s{number}.csv")
        paths[-1].write_text("1")
    run = simulate(Sum, paths, rounds=4, contract={"sample": 0.5})
    network = Network(0)
    names = [f"s{number}" for number in range(6)]
    for one in run.rounds:
        taking = {site.site for site in one.sites if site.outcome == "submitted"}
        assert taking == set(drawn(network.run_id, 0, one.number, names, 3))
        assert {site.outcome for site in one.sites if site.site not in taking} == {"resting"}
    assert len(set(outcomes(run))) > 1
    few = simulate(Sum, paths, contract={"sample": 2, "sample_of": "count"}, drop_outs={1: names})
    assert few.reason.startswith("quorum_not_met: 0 of 2 sites, and 2 are needed")


def test_who_has_failed_is_not_drawn_any_more(tmp_path) -> None:
    paths = [tmp_path / f"s{number}.csv" for number in range(6)]
    for path in paths:
        path.write_text("1")
    names, run_id = [path.stem for path in paths], Network(0).run_id
    failed = drawn(run_id, 0, 1, names, 3)[0]
    contract = {"sample": 0.5, "quorum": 2, "quorum_of": "count"}
    run = simulate(Sum, paths, rounds=6, contract=contract, parameters={"fails": [failed, 1]})
    left = [name for name in names if name != failed]
    assert any(failed in drawn(run_id, 0, number, names, 3) for number in range(2, 7))
    for one in run.rounds[1:]:
        taking = {site.site for site in one.sites if site.outcome == "submitted"}
        assert taking == set(drawn(run_id, 0, one.number, left, 3))


SCORED = f"{tasks.__name__}:Scored"


def test_models_are_scored_at_the_sites_and_the_best_round_is_named(sites) -> None:
    spec = {"name": "sum", "model": SCORED, "rounds": 5, "score_every": 2, "best": {"metric": "score.good"}}
    run = simulate([spec], sites)
    assert [one.score for one in run.rounds] == [
        {},
        {"good": pytest.approx(2.0), "samples": 111.0},
        {},
        {"good": pytest.approx(4.0), "samples": 111.0},
        {"good": pytest.approx(1.0), "samples": 111.0},
    ]
    assert run.rounds[1].sites[0].score == {"good": 2.0, "samples": 1.0}
    task = run.task("sum")
    assert task.best == 4
    assert float(task.best_model["total"][0]) < float(task.model["total"][0])
    assert {"score.good"} <= set(run.rows()[4])


def test_who_cannot_score_is_not_in_the_mean_and_stays(sites) -> None:
    spec = {"name": "sum", "model": SCORED, "rounds": 2, "score_every": 1, "parameters": {"scoreless": "c"}}
    run = simulate([spec], sites)
    assert [one.score["samples"] for one in run.rounds] == [11.0, 11.0]
    assert run.rounds[0].sites[2].score_reason.startswith("score: no score here (line ")
    assert outcomes(run) == ["submitted submitted submitted"] * 2


def test_a_task_that_gets_no_better_stops_early(sites) -> None:
    stop = {"metric": "score.good", "patience": 1}
    run = simulate([{"name": "sum", "model": SCORED, "rounds": 9, "score_every": 1, "stop_early": stop}], sites)
    assert len(run.rounds) == 5
    assert (run.state, run.tasks[0].reason) == ("succeeded", "stopped_early: 1 round without a better 'score.good'")
    run = simulate([{"name": "sum", "model": SCORED, "rounds": 5, "score_every": 1, "stop_early": stop}], sites)
    assert run.tasks[0].reason == ""  # it was the last round anyway
    stop |= {"patience": 2, "min_delta": 1.5}  # better by 1 in each round
    run = simulate([{"name": "sum", "model": SCORED, "rounds": 9, "score_every": 1, "stop_early": stop}], sites)
    assert len(run.rounds) == 5
    assert run.tasks[0].reason.startswith("stopped_early: 2 rounds")


def test_what_is_kept_outlives_a_run_where_a_folder_is_named(sites, tmp_path) -> None:
    counts = [simulate(Keeping, sites, rounds=2, folder=tmp_path / "kept").metrics for _ in range(2)]
    assert len(counts) == 2
    again = simulate(Keeping, sites, rounds=1, folder=tmp_path / "kept")
    assert int(again.model["count"][0]) == 3 * 5
    assert int(simulate(Keeping, sites, rounds=1).model["count"][0]) == 3


def test_the_same_seed_draws_the_same_everywhere_and_leaves_the_callers_generators_alone(sites) -> None:
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    first, again, other = (simulate(Drawn, sites, rounds=2, seed=seed) for seed in (5, 5, 6))
    assert (random.random(), np.random.random()) == expected
    assert all(np.array_equal(first.model[name], again.model[name]) for name in "abc")
    assert not any(np.array_equal(first.model[name], other.model[name]) for name in "abc")
    assert first.model["a"][3] == first.model["b"][3]  # the seed that all sites of a round have
    assert first.model["a"][2] != first.model["b"][2]


def test_sites_as_processes_make_the_same_model(tmp_path) -> None:
    file = tmp_path / "rows.csv"
    rows = "".join(f"{x},{x % 7},{int(x > 20)}\n" for x in range(40))
    file.write_text(f"a,b,label\n{rows}")
    runs = [simulate("logistic_regression", file, sites=2, rounds=2, processes=apart) for apart in (False, True)]
    assert [run.state for run in runs] == ["succeeded"] * 2
    assert all(np.array_equal(runs[0].model[name], runs[1].model[name]) for name in runs[0].model)


def test_a_class_of_a_function_and_a_file_are_tasks_too(sites, tmp_path) -> None:
    class Here(Sum):
        pass

    assert simulate(Here, sites).state == "succeeded"
    file = tmp_path / "mine.py"
    text = "from beside import VALUE\nfrom fedyard import Result, Task\n\nclass One(Task):\n"
    text += "    def train(self, context, model):\n        return Result(b'x', {'value': VALUE})\n"
    text += "    def aggregate(self, context, updates):\n        return Result(b'y', {'value': VALUE})\n"
    file.write_text(text)
    for value in (1, 22):  # a module that was changed is read again
        (tmp_path / "beside.py").write_text(f"VALUE = {value}\n")
        assert simulate(str(file), sites).metrics == {"value": value}
    assert not {"mine", "beside", "fedyard_simulated"} & set(sys.modules)


class NoTask:
    """Has no hooks."""


class Half(Task):
    """Has no train."""


@pytest.mark.parametrize(
    ("task", "more", "said"),
    [
        (NoTask, {}, "is no fedyard.Task"),
        (Sum(), {}, "an object of Sum is no task to simulate: give its class"),
        (Sum, {"drop_outs": {1: ["z"]}}, "drop_outs has a site 'z', and there is none: a, b, c"),
        ("mean", {}, "'mean' is no task"),
        ("none.py:Task", {}, "there is no file none.py"),
        ("none.json", {}, "there is no file none.json"),
        ([{"name": "a"}], {}, "model"),
        (Sum, {"parameters": {"x": object()}}, "what JSON can hold"),
        (Sum, {"contract": {"quorm": 1}}, "a contract has no 'quorm'"),
        (Sum, {"contract": {"late": "never"}}, "late of a contract is drop or next_round"),
        (Sum, {"rounds": 0}, "rounds"),
        (Sum, {"drop_outs": 1.5}, "a probability is between 0 and 1"),
        (Sum, {"processes": True}, "put the class into a file"),
    ],
)
def test_what_was_asked_wrongly_is_said(sites, task, more, said) -> None:
    with pytest.raises(TaskError, match=said):
        simulate(task, sites, **more)


def test_a_frame_is_by_round_or_by_site(sites) -> None:
    with pytest.raises(ValueError, match="by 'round' or by 'site', not by 'sites'"):
        simulate(Sum, sites).frame(by="sites")  # type: ignore[arg-type]


def test_a_parameter_that_a_ready_task_does_not_have_is_told_with_those_that_it_has(sites) -> None:
    said = simulate("kaplan_meier", sites, parameters={"tiem": "days"}).reason
    assert "unknown field `tiem`; there are time, event, positive, group, interval" in said


def test_what_is_wrong_with_the_task_itself_is_the_sites_reason(sites) -> None:
    assert "has no train" in simulate(Half, sites).reason
    missing = simulate("nowhere_to_be_found:Task", sites)
    assert "there is no module" in missing.reason


class Poor(Sum):
    """Is right, and measures nothing."""

    def train(self, context, model) -> Result:
        return Result(super().train(context, model).content, {"auc": "high"})

    def evaluate(self, context, model):
        raise KeyError(context.site_id)

    def score(self, context, model):
        return {"auc": 1 / 0}


def test_what_could_not_be_measured_is_shown(sites, tmp_path, capsys) -> None:
    project = [{"name": "t", "model": f"{__name__}:Poor", "score_every": 1, "best": {"metric": "auc", "mode": "max"}}]
    (tmp_path / "tasks.json").write_text(json.dumps(project))
    assert main(["simulate", str(tmp_path / "tasks.json"), "--data", *map(str, sites)]) == 0
    out, _ = capsys.readouterr()
    assert "  the model has no metrics of its own: evaluate: something that the task looks up by name" in out
    assert "  a: the metric 'auc' is left out: it is no finite number" in out
    assert "  c: no score: score: a calculation has no result" in out
    assert "t: no round had the metric 'auc', so none is the best one" in out


class Leaver(Sum):
    """Ends its process at one site."""

    def prepare(self, context) -> None:
        if context.site_id == "b":
            raise SystemExit(3)


def test_a_task_that_ends_its_process_fails_there_and_is_the_cause_that_is_told(sites) -> None:
    run = simulate(Leaver, sites)
    assert run.reason.startswith("quorum_not_met: 2 of 3 sites, and 3 are needed; b: prepare: the task ended its own")


class Wild(Task):
    """Hands over what does not travel."""

    def train(self, context, model) -> Result:
        content = {"x": np.array([object()])} if context.round == 1 else "text"
        return Result(content, {"nan": float("nan")})


class Unnamed(Task):
    """Numbers its arrays, and has one metric without a name."""

    def train(self, context, model) -> Result:
        return Result({1: np.zeros(1)} if context.parameters else {"x": np.zeros(1)}, 0.9)


def test_the_checks_are_those_of_a_site(sites) -> None:
    assert "numbers and text only" in simulate(Wild, sites).reason
    assert "arrays are called by text, and one is called by a value of type int" in (
        simulate(Unnamed, sites, parameters={"odd": 1}).reason
    )
    (said, *_) = simulate(Unnamed, sites).rounds[0].sites[0].log
    assert said == "the metrics are left out: they are a float, not a dict of names and numbers"


@pytest.mark.parametrize("processes", [False, True])
def test_thousands_of_odd_arrays_arrive_as_they_left(sites, processes: bool) -> None:
    run = simulate(f"{tasks.__name__}:Layers", sites[:2], rounds=2, processes=processes)
    assert [one.metrics["same"] for one in run.rounds] == [1.0, 1.0]
    assert [site.metrics["as_before"] for one in run.rounds for site in one.sites] == [1.0] * 4
    assert tasks.same(run.model, tasks.layers())


def test_it_is_what_fedyard_exports_and_its_models_are_saved(sites, tmp_path) -> None:
    assert fedyard.simulate is simulate
    run = fedyard.simulate(Sum, sites)
    (path,) = run.save(tmp_path / "models")
    assert np.load(path)["total"].tolist() == [111.0]
    assert [(row["site"], row["outcome"]) for row in run.rows()][:2] == [("", "completed"), ("a", "submitted")]
