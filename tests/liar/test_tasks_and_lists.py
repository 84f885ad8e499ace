"""A hub that lies about what to aggregate, of which task and model: the coordinator's agent and the sites notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaos.liar import Liar, liar_before
from chaos.lies import Json, entries, entries_of, swallowed
from fedyard.agent.state import State
from fedyard.cli.main import main
from fedyard.wire.answers import Run
from tests.fedyard.world import Project, World, project_of
from tests.liar.agents import AgentThread
from tests.liar.bugs import LIST_BELIEVED, NO_DIGEST_CHECK, NO_RECEIPT_CHECK, Bug, planted
from tests.waiting import until

MANY = {"quorum": 0.6}
"""Two of three."""
ONE = {"quorum": 1, "quorum_of": "count"}


@dataclass
class Scene:
    """Three agents: north coordinates, east is the victim. liars: between north or east and the hub."""

    agents: dict[str, AgentThread]
    liars: dict[str, Liar] = field(default_factory=dict)

    def id(self, name: str) -> str:
        return self.agents[name].site.site_id

    def project(self, **options: Any) -> Project:
        return project_of([agent.site for agent in self.agents.values()], **options)

    def said(self, name: str, what: str) -> Json:
        """The first line of this kind in an agent's log."""
        return until(lambda: next(iter(self.agents[name].lines(what)), None))


@contextmanager
def scene(
    world: World,
    folder: Path,
    *,
    lied_to: Sequence[str],
    alone: bool = False,
    policies: Mapping[str, str] | None = None,
) -> Iterator[Scene]:
    """alone: the coordinator may make a model of a single update. policies: lines of a site's section for projects."""
    with ExitStack() as stack:
        liars = {name: stack.enter_context(liar_before(world.hub)) for name in lied_to}
        agents = {}
        for name in ("north", "south", "east"):
            (site,) = world.sites(folder, name, hub=liars[name].url if name in liars else None)
            if alone:
                site.may_be_alone()
            if policies and name in policies:
                said = site.path / "site.toml"
                said.write_text(said.read_text().replace('[project."*"]', f'[project."*"]\n{policies[name]}'))
            agents[name] = AgentThread(site)
        try:
            for agent in agents.values():
                agent.start()
            yield Scene(agents, liars)
        finally:
            for agent in agents.values():
                agent.stop()


def why(project: Project, run: Run) -> str:
    """Everything that the run's events give as a reason."""
    return " ".join(str(event.facts) for event in project.coordinator.events(run.id))


def listing(change: Callable[[list[Json]], list[Json]]) -> Callable[[Json], Json]:
    """The list of a call to aggregate goes through `change`; the hub asks for no more than one."""

    def changed(entry: Json) -> Json:
        facts = entry["facts"]
        return {**entry, "facts": {**facts, "submissions": change(facts["submissions"]), "quorum": 1}}

    return changed


def hidden(site_id: str) -> Callable[[Json], Json]:
    """A site's updates never come: neither as messages nor in the list."""
    shorten = listing(lambda listed: [one for one in listed if one["site_id"] != site_id])

    def changed(entry: Json) -> Json:
        message = entry["message"]
        if message is not None and message["kind"] == "update" and message["sender_site_id"] == site_id:
            return {**entry, "kind": "expired", "message": None}
        return shorten(entry) if entry["kind"] == "aggregate" else entry

    return changed


# what the hub tries; each asserts that it was noticed


def a_list_of_one(world: World, folder: Path) -> None:
    """Neither quorum nor min_updates stands in its way: only the updates that have arrived do."""
    with scene(world, folder, lied_to=["north"], alone=True) as there:
        victim = there.id("east")
        only = listing(lambda listed: [one for one in listed if one["site_id"] == victim])
        there.liars["north"].rules = [entries_of("aggregate", only)]
        project = there.project(rounds=1, contract=ONE)
        run = project.finished(project.start())
        assert (run.state, run.reason) == ("failed", "aggregation_failed")
        told = why(project, run)
        assert "list_shortened" in told
        assert all(there.id(name) in told for name in ("north", "south"))
        assert run.tasks[0].model_message_id is None
        assert there.said("north", "aggregation refused")["reason"] == "list_shortened"


def another_parameter(world: World, folder: Path) -> None:
    """East trains with what the hub made up; it is left out, told, and sees that the model is of another task."""
    with scene(world, folder, lied_to=["east"]) as there:

        def changed(entry: Json) -> Json:
            task = entry["facts"]["task"]
            return {**entry, "facts": {**entry["facts"], "task": {**task, "parameters": {"learning_rate": 0.0001}}}}

        there.liars["east"].rules = [entries_of("invited", changed)]
        project = there.project(rounds=1, contract=MANY, parameters={"learning_rate": 0.5})
        run = project.finished(project.start())
        assert run.state == "succeeded"
        left_out = {one.site_id: one.left_out for one in run.tasks[0].rounds[0].submissions}
        assert left_out == {there.id("north"): None, there.id("south"): None, there.id("east"): "task_differs"}
        assert there.said("east", "our update was not used")["reason"] == "task_differs"
        assert there.said("east", "not opened")["reason"] == "task_differs"


def an_update_that_vanishes(world: World, folder: Path) -> None:
    """The coordinator never sees east's update, though the hub has accepted it; east says that it is missing."""
    with scene(world, folder, lied_to=["north"]) as there:
        east = there.id("east")
        there.liars["north"].rules = [entries(hidden(east))]
        project = there.project(rounds=1, contract=MANY)
        run = project.finished(project.start())
        assert run.state == "succeeded"
        until(lambda: any(line["outcome"] == "done" for line in there.agents["east"].lines("round_completed")))
        assert [line["reason"] for line in there.agents["east"].lines("our update is missing in the model")] == [
            "not_named"
        ]
        assert there.said("north", "a site misses its update")["about"] == east
        submissions = project.run(run.id).tasks[0].rounds[0].submissions
        assert {one.site_id: one.missing_receipt for one in submissions}[east] == "not_named"
        assert "receipt_missing" in [event.kind for event in project.coordinator.events(run.id)]


SCENARIOS = [a_list_of_one, another_parameter, an_update_that_vanishes]
BUGS = [
    (LIST_BELIEVED, a_list_of_one),
    (NO_DIGEST_CHECK, another_parameter),
    (NO_RECEIPT_CHECK, an_update_that_vanishes),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_it_is_noticed(world: World, tmp_path: Path, scenario: Callable[[World, Path], None]) -> None:
    scenario(world, tmp_path)


@pytest.mark.parametrize(("bug", "scenario"), BUGS, ids=[bug.name for bug, _ in BUGS])
def test_without_the_rule_it_is_not(
    world: World, tmp_path: Path, bug: Bug, scenario: Callable[[World, Path], None]
) -> None:
    with planted(bug), pytest.raises(AssertionError):
        scenario(world, tmp_path)


def test_a_list_with_doubles_is_refused(world: World, tmp_path: Path) -> None:
    with scene(world, tmp_path, lied_to=["north"]) as there:
        there.liars["north"].rules = [entries_of("aggregate", listing(lambda listed: listed + listed[:1]))]
        project = there.project(rounds=1)
        run = project.finished(project.start())
        assert (run.state, "list_doubled" in why(project, run)) == ("failed", True)


@pytest.mark.parametrize(("contract", "reason"), [(ONE, "below_min_updates"), ({"quorum": 1.0}, "below_quorum")])
def test_updates_that_never_arrive_do_not_make_a_model_of_one(
    world: World, tmp_path: Path, contract: dict[str, Any], reason: str
) -> None:
    with scene(world, tmp_path, lied_to=["north"]) as there:
        there.liars["north"].rules = [entries(hidden(there.id("south"))), entries(hidden(there.id("north")))]
        project = there.project(rounds=1, contract=contract)
        run = project.finished(project.start())
        assert (run.state, reason in why(project, run)) == ("failed", True)


def test_a_site_that_is_shown_no_model_says_so_and_its_next_update_is_left_out(world: World, tmp_path: Path) -> None:
    with scene(world, tmp_path, lied_to=["east"]) as there:

        def without_model(entry: Json) -> Json:
            return {**entry, "message": None} if entry["kind"] in ("round_completed", "invited") else entry

        there.liars["east"].rules = [entries(without_model)]
        project = there.project(rounds=2, contract=MANY)
        run = project.finished(project.start())
        assert there.said("east", "our update is missing in the model")["reason"] == "no_model"
        second = run.tasks[0].rounds[1].submissions
        assert {one.site_id: one.left_out for one in second}[there.id("east")] == "model_differs"


def completed_without_model(entry: Json) -> Json:
    return {**entry, "message": None}


def completed_with_another_round(entry: Json) -> Json:
    return {**entry, "round": 0}


def never_completed(entry: Json) -> Json:
    return {**entry, "kind": "message_expired", "message": None}


@pytest.mark.parametrize("shown", [completed_without_model, completed_with_another_round, never_completed])
def test_a_site_that_asks_for_more_sites_computes_nothing_behind_a_round_without_a_model(
    world: World, tmp_path: Path, shown: Callable[[Json], Json]
) -> None:
    with scene(world, tmp_path, lied_to=["east"], policies={"east": "min_sites = 2"}) as there:
        there.liars["east"].rules = [entries_of("round_completed", shown)]
        project = there.project(rounds=3, contract=MANY)
        run = project.finished(project.start())
        east = there.id("east")
        assert [[one.site_id for one in here.submissions].count(east) for here in run.tasks[0].rounds] == [1, 0, 0]
        assert there.said("east", "seat failed")["reason"].startswith("policy_")


def test_an_older_model_is_not_started_from(world: World, tmp_path: Path) -> None:
    with scene(world, tmp_path, lied_to=["east"]) as there:
        first: list[Json] = []

        def older(entry: Json) -> Json:
            if entry["kind"] == "invited" and entry["message"] is not None:
                first.append(entry["message"])
                return {**entry, "message": first[0]}
            return entry

        there.liars["east"].rules = [entries(older)]
        project = there.project(rounds=3, contract=MANY)
        run = project.finished(project.start())
        assert run.state == "succeeded", why(project, run)
        assert "seal_older_model" in why(project, run)


def test_a_round_has_one_model(world: World, tmp_path: Path) -> None:
    """The hub asks for another one, without one of the sites: the difference would show that site's update."""
    with scene(world, tmp_path, lied_to=["north"]) as there:
        asked: list[Json] = []

        def again(entry: Json) -> Json:
            if entry["kind"] == "aggregate":
                asked.append(entry)
            if (entry["kind"], entry["round"]) != ("invited", 3):
                return entry
            fewer = listing(lambda listed: [one for one in listed if one["site_id"] != there.id("east")])
            return {**fewer(asked[-1]), "seq": entry["seq"]}

        there.liars["north"].rules = [entries(again)]
        project = there.project(rounds=3, contract=MANY)
        run_id = project.start()
        assert there.said("north", "aggregation refused")["reason"] == "aggregated_before"
        project.coordinator.stop_run(run_id)


def test_tasks_that_its_people_did_not_give_are_not_coordinated(world: World, tmp_path: Path) -> None:
    with scene(world, tmp_path, lied_to=[]) as there:
        project = there.project(rounds=1, contract=MANY)
        north = there.agents["north"].site
        name = project.coordinator.project(project.id).name

        def tasks(*more: str) -> int:
            return main(["--folder", str(north.path), "project", "tasks", name, *more])

        assert tasks("--accept") == 0
        assert project.finished(project.start()).state == "succeeded"
        shown = msgspec.to_builtins(project.coordinator.project(project.id).tasks)
        project.coordinator.update_project(project.id, tasks=[{**task, "parameters": {"x": 1}} for task in shown])
        run = project.finished(project.start())
        assert (run.state, run.reason) == ("failed", "aggregation_failed")
        assert "seal_task_differs" in why(project, run)
        assert tasks("--accept") == 0
        assert project.finished(project.start()).state == "succeeded"
        east = there.agents["east"].site
        assert main(["--folder", str(east.path), "project", "tasks", name, "--accept"]) == 2


def test_a_hub_that_swallows_the_report_does_not_swallow_the_record(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with scene(world, tmp_path, lied_to=["north", "east"]) as there:
        there.liars["north"].rules = [entries(hidden(there.id("east")))]
        there.liars["east"].rules = [swallowed("PUT", ".*/missing-receipts/.*")]
        project = there.project(rounds=1, contract=MANY)
        run = project.finished(project.start())
        there.said("east", "our update is missing in the model")
        folder = there.agents["east"].site.path
        state = State(folder / "state.sqlite")
        kept = until(state.receipts.missing_receipts)
        state.close()
        assert [(one.run_id, one.round, one.reason, one.hub) for one in kept] == [(run.id, 1, "not_named", "")]
        assert main(["--folder", str(folder), "site", "receipts"]) == 1
        assert "not_named" in "".join(capfd.readouterr().out.split())
        there.liars["east"].rules = []
        until(lambda: "receipt_missing" in [event.kind for event in project.coordinator.events(run.id)])


def test_an_older_model_is_not_taken_for_what_a_task_before_has_made(world: World, tmp_path: Path) -> None:
    """East is shown the first round's model of `first` in place of its last one, when `second` begins."""
    with scene(world, tmp_path, lied_to=["east"]) as there:
        liar, project = there.liars["east"], there.project(rounds=2)
        coordinator = project.coordinator
        (first,) = coordinator.written_tasks(project.id)
        second = {**first, "name": "second", "rounds": 1, "contract": {**MANY, "train_within_s": 60}}
        coordinator.update_project(project.id, tasks=[first, second])
        run_id = project.start()

        def changed(entry: Json) -> Json:
            if not entry["facts"].get("results"):
                return entry
            old = coordinator.run(run_id).tasks[0].rounds[0].model_message_id
            shown = [{**one, "message_id": old} for one in entry["facts"]["results"]]
            return {**entry, "facts": {**entry["facts"], "results": shown}}

        liar.rules = [entries_of("invited", changed)]
        run = project.finished(run_id)
        assert run.state == "succeeded"
        east = next(seat for seat in run.tasks[1].seats if seat.site_id == there.id("east"))
        assert east.state == "failed"
        assert "seal_older_model" in why(project, run)
