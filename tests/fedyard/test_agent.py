"""Agents as processes against a real hub: the straight path, and death at every step of it."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections import Counter

import pytest

from fedyard.agent.agent import Agent
from fedyard.agent.patience import KEY_WITHIN_S
from fedyard.agent.state import State
from fedyard.clock import SystemClock
from fedyard.tasks.arrays import unpack
from fedyard.wire.answers import Run
from tests.fedyard.test_child import sleepers
from tests.fedyard.world import TASKS, Project, SiteProcess, World, joining, project_of, wire_to
from tests.ops.program import Program, create_account, gone
from tests.signals import to_another_thread
from tests.waiting import until


def model_of(project: Project, run: Run) -> float:
    message_id = run.tasks[0].model_message_id
    assert message_id is not None
    content = unpack(project.sites[0].opened(message_id))
    assert not isinstance(content, bytes)
    return float(content["total"][0])


def trained(project: Project, run_id: str, rounds: int = 2) -> None:
    """The run succeeds, every round with one update of each site, and the model is what it must be."""
    run = project.finished(run_id)
    assert (run.state, run.reason) == ("succeeded", "completed"), [s for t in run.tasks for s in t.seats]
    ids = sorted(site.site_id for site in project.sites)
    assert [sorted(s.site_id for s in r.submissions) for r in run.tasks[0].rounds] == [ids] * rounds
    if run.tasks[0].spec.model not in (f"{TASKS}:Large", f"{TASKS}:Swapping"):
        assert model_of(project, run) == float(rounds)
    assert {seat.state for seat in run.tasks[0].seats} == {"done"}


def test_three_agents_make_a_run(sites) -> None:
    project = project_of(sites, rounds=3)
    run_id = project.start()
    trained(project, run_id, rounds=3)
    for site in sites:
        assert [call for call in site.calls() if "train" in call] == ["train 1", "train 2", "train 3"]
        updates = State(site.path / "state.sqlite").egress.latest(99, kind="update")
        assert [(one.round, one.recipients, one.outcome, one.norm is None) for one in updates] == [
            (number, (sites[0].site_id,), "ok", False) for number in (3, 2, 1)
        ]
    aggregated = [call for call in sites[0].calls() if call.startswith("aggregated")]
    assert aggregated == [f"aggregated {','.join(sorted(site.site_id for site in sites))}"] * 3


def test_the_global_model_lies_at_every_site_and_the_rest_is_cleared_away(sites) -> None:
    project = project_of(sites)
    run_id = project.start()
    trained(project, run_id)
    for site in sites:
        until(lambda s=site: len(list((s.path / "models").glob("run-1.1-train-*.npz"))) == 1)
        until(lambda s=site: not list((s.path / "runs").iterdir()))
        until(lambda s=site: not s.children())


class WatchedClock(SystemClock):
    """Says who waited, and how long he would have at most."""

    def __init__(self) -> None:
        self.waits: list[tuple[str, float]] = []

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append((threading.current_thread().name, seconds))
        return super().wait(event, seconds)


def test_an_agent_that_has_read_an_empty_inbox_waits_at_the_hub_without_a_pause(world: World, tmp_path) -> None:
    asked: list[str] = []
    clock = WatchedClock()
    with wire_to(world.hub) as wire:
        (north,) = world.sites(tmp_path, "north", hub=wire.url)
        wire.fault = lambda _method, path, _body: asked.append(path) or "" if path.startswith("/v1/inbox?") else ""
        agent = Agent(north.folder, log=None, clock=clock)
        running = threading.Thread(target=agent.run)
        running.start()
        try:
            until(lambda: any("wait=" in path for path in asked))
        finally:
            agent.stop()
            running.join()
    assert len(asked) == 2
    assert [seconds for name, seconds in clock.waits if name == "inbox"] == [KEY_WITHIN_S]


def test_everything_is_acknowledged_in_the_end(sites) -> None:
    project = project_of(sites)
    trained(project, project.start())
    for site in sites:
        until(lambda s=site: (i := s.client.inbox()).acknowledged_seq == i.last_seq > 0)


@pytest.mark.parametrize("state", ["invited", "preparing", "ready", "training", "submitted"])
def test_an_agent_killed_in_any_state_comes_back(sites, state: str) -> None:
    """The killed one is held in that state by itself, or by the others, who are not as far yet."""
    project = project_of(sites)
    _, east, south = sites
    held = {"preparing": (east, "prepare"), "ready": (south, "prepare"), "training": (east, "train")}
    site, hook = held.get(state, (south, "train"))
    if state == "invited":
        east.kill()
    else:
        site.hold(hook)
    run_id = project.start()
    project.stands(run_id, east, f"{state} 1")
    if state in ("preparing", "training"):
        until(lambda: f"{hook} 1" in east.calls())
    east.kill()
    if state != "invited":
        site.release(hook)
    east.start()
    trained(project, run_id)
    assert Counter(east.calls())["train 2"] == 1


@pytest.mark.parametrize(
    ("held", "seat"),
    [
        ((b'"accept"', b'"round":1'), "invited 1"),
        ((b'"ready"', b'"round":1'), "preparing 1"),
        ((b'"trained"', b'"round":1'), "training 1"),
        ((b'"submit"', b'"round":1'), "uploading 1"),
        ((b'"ready"', b'"round":2'), "invited 2"),
        ((b'"submit"', b'"round":2'), "uploading 2"),
    ],
)
def test_an_agent_killed_before_its_report_went_out_repeats_it(world: World, tmp_path, held, seat) -> None:
    """The wire holds a report back; after the kill, the very same goes under the same key and nothing is done twice."""
    with wire_to(world.hub) as wire:
        sites = [*world.sites(tmp_path, "north"), *world.sites(tmp_path, "east", hub=wire.url)]
        for site in sites:
            site.start()
        try:
            wire.hold = lambda path, body: "/seats/" in path and all(part in body for part in held)
            project = project_of(sites)
            run_id = project.start()
            wire.held.wait()
            project.stands(run_id, sites[1], seat)
            sites[1].kill()
            wire.hold = lambda _path, _body: False
            sites[1].start()
            trained(project, run_id)
            assert Counter(call for call in sites[1].calls() if "train" in call) == {"train 1": 1, "train 2": 1}
        finally:
            for site in sites:
                site.kill()


def test_a_coordinator_killed_while_aggregating_comes_back(sites) -> None:
    project = project_of(sites)
    north = sites[0]
    north.hold("aggregate")
    run_id = project.start()
    until(lambda: "aggregate 1" in north.calls())
    north.kill()
    assert project.task(run_id).rounds[0].state == "aggregating"
    north.release("aggregate")
    north.start()
    trained(project, run_id)


def test_a_strategy_goes_on_where_it_was_after_its_coordinator_was_killed(sites) -> None:
    project = project_of(sites, rounds=4, who="participants", model=f"{TASKS}:Stepping")
    north, east, _ = sites
    north.hold("aggregate")
    run_id = project.start()
    until(lambda: "aggregate 1" in north.calls())
    for number in (2, 3):
        east.hold("train")
        north.release("aggregate")
        until(lambda number=number: f"train {number}" in east.calls())
        north.hold("aggregate")
        east.release("train")
        until(lambda number=number: f"aggregate {number}" in north.calls())
    north.kill()
    north.release("aggregate")
    north.start()
    run = project.finished(run_id)
    x, m, v = 1.0, 0.0, 1e-6  # round 1 has no model to step from; then every site goes one further
    for _ in range(3):
        m, v = 0.9 * m + 0.1, 0.99 * v + 0.01
        x += 0.5 * m / (v**0.5 + 1e-3)
    assert run.state == "succeeded"
    assert north.calls().count("aggregate 3") == 2
    assert model_of(project, run) == pytest.approx(x, rel=1e-12)


def test_a_coordinator_that_was_away_finds_every_update(sites) -> None:
    """It dies before the updates come, so that they wait for it at the hub."""
    project = project_of(sites)
    north, east, south = sites
    for site in sites:
        site.hold("train")
    run_id = project.start()
    for site in sites:
        project.stands(run_id, site, "training 1")
    north.kill()
    for site in sites:
        site.release("train")
    project.stands(run_id, east, "submitted 1")
    project.stands(run_id, south, "submitted 1")
    north.start()
    trained(project, run_id)


@pytest.mark.parametrize("seed", [1, 2])
def test_agents_killed_again_and_again_finish_their_run(sites, seed: int) -> None:
    """Whoever it hits, coordinator included, a few steps of the run after the last kill."""
    chance = random.Random(seed)
    project = project_of(sites, rounds=4)
    run_id = project.start()
    for _ in range(8):
        version = project.run(run_id).version + chance.randint(1, 6)
        run = until(lambda v=version: ((r := project.run(run_id)).finished and r) or (r.version >= v and r))
        if run.finished:
            break
        site = chance.choice(sites)
        site.kill()
        site.start()
    trained(project, run_id, rounds=4)


@pytest.mark.parametrize("answers_too", [False, True])
def test_lost_requests_and_lost_answers_change_nothing(world: World, tmp_path, answers_too: bool) -> None:
    """Each write is cut once, before or after it reached the hub; long polls now and then."""
    seen: set[tuple[str, str, bytes]] = set()

    def fault(method: str, path: str, body: bytes) -> str:
        place = (method, path.partition("?")[0] if method == "GET" else path, body)
        if place in seen:
            return ""
        seen.add(place)
        return "after" if answers_too else "before"

    with wire_to(world.hub) as wire:
        sites = world.sites(tmp_path, "north", "east", hub=wire.url)
        wire.fault = fault
        try:
            for site in sites:
                site.start()
            project = project_of(sites)
            run_id = project.start()
            trained(project, run_id)
            for site in sites:
                assert Counter(site.calls())["train 1"] == 1
                project_seat = next(s for s in project.task(run_id).seats if s.site_id == site.site_id)
                assert project_seat.report_seq == 7  # accept, then ready, trained, submit in each of two rounds
            by_key = {(key, body) for _, path, key, body in wire.passed if "/seats/" in path}
            assert len(by_key) == len({key for key, _ in by_key}) == 14
        finally:
            for site in sites:
                site.kill()


@pytest.mark.parametrize("model", ["Gated", "Stubborn"])
def test_stop_interrupts_training(sites, model: str) -> None:
    project = project_of(sites, model=model)
    for site in sites:
        site.hold("train")
    run_id = project.start()
    for site in sites:
        until(lambda s=site: "train 1" in s.calls())
    children = [child for site in sites for child in site.children()]
    assert len(children) == 3
    project.coordinator.stop_run(run_id, "enough")
    assert project.finished(run_id).state == "cancelled"
    until(lambda: gone(children))
    for site in sites:
        assert site.runs()
        assert ("stopped train" in site.calls()) is (model == "Gated")


def test_who_joined_after_the_model_was_made_says_what_it_can_take_part_in(world: World, sites, tmp_path) -> None:
    north, east, south = sites
    project = project_of(sites, contract={"quorum": 0.5})
    first = project.start()
    until(lambda: project.task(first).round == 2)
    project.coordinator.stop_run(first)
    (late,) = world.sites(tmp_path, "late")
    try:
        late.start()
        late.join(project.id)
        run = project.finished(project.coordinator.restart_run(first, "reached").id)
    finally:
        late.kill()
    assert run.state == "succeeded", run
    assert {s.site_id for s in run.tasks[0].rounds[0].submissions} == {north.site_id, east.site_id, south.site_id}
    reasons = [str(e.facts["reason"]) for e in project.coordinator.events(run.id) if e.kind == "seat_failed"]
    assert [("seal_not_recipient" in text, "run restart --from start" in text) for text in reasons] == [(True, True)]


def test_a_restarted_run_starts_from_the_model_that_was_reached(sites) -> None:
    project = project_of(sites, rounds=3)
    trainers = sites[1:]
    first = project.start()
    until(lambda: len(project.task(first).rounds) > 1)
    for site in trainers:
        site.hold("train")
    project.coordinator.stop_run(first)
    reached = project.finished(first)
    for site in trainers:
        site.release("train")
    second = project.coordinator.restart_run(first, "reached").id
    run = project.finished(second)
    assert (run.state, run.attempt, run.number) == ("succeeded", 2, reached.number)
    completed = sum(r.state == "completed" for r in reached.tasks[0].rounds)
    assert completed >= 1
    assert run.tasks[0].first_round == completed + 1
    assert model_of(project, run) == 3.0


def test_a_dropped_seat_rejoins_with_the_next_round(sites) -> None:
    project = project_of(sites, contract={"quorum": 2, "quorum_of": "count", "train_within_s": 6})
    north, east, _ = sites
    east.hold("train")
    north.hold("aggregate")  # so that the second round has not begun when east comes back
    run_id = project.start()
    until(lambda: any(e.kind == "seat_dropped" for e in east.entries()))
    project.stands(run_id, east, "invited 2")
    assert "stopped train" in east.calls()
    east.release("train")
    north.release("aggregate")
    run = project.finished(run_id)
    assert run.state == "succeeded"
    first, second = run.tasks[0].rounds
    assert east.site_id not in {s.site_id for s in first.submissions}
    assert east.site_id in {s.site_id for s in second.submissions}


def test_a_site_that_does_not_want_to_rejoin_stays_out(world: World, tmp_path) -> None:
    north, east = world.sites(tmp_path, "north", "east", rejoin=False)
    text = (east.path / "site.toml").read_text()
    (east.path / "site.toml").write_text(text.replace("rejoin = true", "rejoin = false"))
    try:
        north.may_be_alone()
        project = project_of(
            [north.start(), east.start()], contract={"quorum": 1, "quorum_of": "count", "train_within_s": 6}
        )
        east.hold("train")
        run_id = project.start()
        assert project.finished(run_id).state == "succeeded"
        assert project.seat(run_id, east).startswith("dropped")
    finally:
        north.kill()
        east.kill()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("prepare", "the data of this site are too few"),
        ("raise", "the task has a fault (ValueError), in line "),
        ("die", "its process ended by itself, with code 9"),
        ("large", "bytes are too many"),
    ],
)
def test_a_failing_hook_fails_its_seat_and_says_why(sites, how: str, told: str) -> None:
    project = project_of(sites, model="Failing", parameters={"how": how})
    run_id = project.start()
    run = project.finished(run_id)
    assert run.state == "failed"
    reasons = [str(e.facts.get("reason")) for e in project.coordinator.events(run_id) if e.kind == "seat_failed"]
    assert reasons
    assert all(told in reason and "Smith" not in reason for reason in reasons)
    assert all(site.runs() for site in sites)
    (stays, *_) = [file.read_text() for site in sites for file in (site.path / "failures").glob(f"{run_id}.1.txt")]
    assert told in stays
    assert how != "raise" or "patient Smith" in stays

    def lines(key: str) -> list[str]:
        logs = [(site.path / "agent.log").read_text().splitlines() for site in sites]
        return [str(said[key]) for log in logs for said in map(json.loads, log) if key in said]

    until(lambda: [told in one for one in lines("outcome") if one.startswith("failed: ")])
    assert "hook failed" in lines("what")
    assert how != "raise" or any("patient Smith" in one for one in lines("traceback"))


def test_a_failing_aggregation_fails_the_run_at_once(sites) -> None:
    project = project_of(sites, model="Failing", parameters={"how": "aggregate"})
    run = project.finished(project.start())
    assert (run.state, run.reason) == ("failed", "aggregation_failed")
    events = project.coordinator.events(run.id)
    details = [str(e.facts.get("detail")) for e in events if e.kind == "round_failed"]
    assert len(details) == 1
    assert "a calculation has no result (ZeroDivisionError), in line " in details[0]
    assert "Smith" not in details[0]


def test_a_site_that_submits_nonsense_is_left_out_and_the_run_goes_on(world: World, tmp_path) -> None:
    sites = world.sites(tmp_path, "north", "east", "south", "west")
    (sites[1].path / "nonsense").write_text("nan")
    (sites[2].path / "nonsense").write_text("names")
    for site in sites:
        site.start()
    try:
        project = project_of(sites, model="Nonsense", contract={"quorum": 0.5})
        run = project.finished(project.start())
        assert (run.state, run.reason) == ("succeeded", "completed")
        assert model_of(project, run) == 2.0
        seats = {seat.site_id: (seat.state, seat.reason) for seat in run.tasks[0].seats}
        assert [seats[site.site_id][0] for site in sites] == ["done", "failed", "failed", "done"]
        events = [e.facts for e in project.coordinator.events(run.id) if e.kind == "seat_left_out"]
        assert sorted((str(facts["reason"]), str(facts["detail"])) for facts in events) == [
            ("task_unusable", "it has no array 'total', and others do"),
            ("task_unusable", "its array 'total' holds numbers that are not finite"),
        ]
        until(lambda: "our update was not used" in (sites[1].path / "agent.log").read_text())
    finally:
        for site in sites:
            site.kill()


def test_what_hooks_keep_counts_with_their_results_and_outlives_runs_and_kills(sites) -> None:
    """The coordinator trains, too: of each round its hooks count two calls, the others one."""
    project = project_of(sites, model="Counted")
    north, east, south = sites
    for site in sites[:2]:
        site.hold("train")
    run_id = project.start()
    for site in (east, north):
        until(lambda site=site: "train 1" in site.calls())
        site.kill()  # after it has written, and before its result is kept
        site.release("train")
    north.hold("aggregate")
    for site in (east, north):
        site.start()
    until(lambda: "aggregate 1" in north.calls())
    north.kill()
    north.release("aggregate")
    north.start()
    runs = [project.finished(run_id), project.finished(project.start())]
    assert [run.state for run in runs] == ["succeeded"] * 2
    rounds = [one for run in runs for one in run.tasks[0].rounds]
    kept = [{s.site_id: s.metrics["kept"] for s in one.submissions} for one in rounds]
    assert kept == [
        {north.site_id: 2.0 * number - 1, east.site_id: float(number), south.site_id: float(number)}
        for number in range(1, 5)
    ]
    assert [one.metrics["kept"] for one in rounds] == [2.0, 4.0, 6.0, 8.0]


@pytest.mark.parametrize(("what", "reason"), [(b'"submit"', "quorum_not_met"), (b'"model"', "aggregation_failed")])
def test_what_the_hub_finds_too_large_fails_at_once(world: World, tmp_path, what: bytes, reason: str) -> None:
    with wire_to(world.hub) as wire:
        wire.fault = lambda _method, _path, body: "refuse" if what in body else ""
        (north,) = world.sites(tmp_path, "north", hub=wire.url)
        try:
            project = project_of([north.may_be_alone().start()])
            run = project.finished(project.start())
            assert (run.state, run.reason) == ("failed", reason)
            told = [str(e.facts) for e in project.coordinator.events(run.id)]
            assert any("too_large" in facts for facts in told)
        finally:
            north.kill()


def test_a_coordinator_that_does_not_train_aggregates(sites) -> None:
    project = project_of(sites, who="participants")
    run = project.finished(project.start())
    assert (run.state, model_of(project, run)) == ("succeeded", 2.0)
    assert not [call for call in sites[0].calls() if call.startswith(("train", "prepare"))]


def test_a_coordinator_gets_the_model_that_its_round_began_with_when_it_asks(sites) -> None:
    project = project_of(sites, who="participants", rounds=3, model=f"{TASKS}:Doubling")
    first = project.start()
    until(lambda: len(project.task(first).rounds) > 1)
    sites[1].hold("train")
    project.coordinator.stop_run(first)
    reached = project.finished(first)
    sites[1].release("train")
    run = project.finished(project.coordinator.restart_run(first, "reached").id)
    assert (reached.state, run.state, model_of(project, run)) == ("cancelled", "succeeded", 6.0)


def test_a_model_that_a_site_does_not_allow_is_not_run_there(world: World, tmp_path) -> None:
    (north,) = world.sites(tmp_path, "north")
    text = (north.path / "site.toml").read_text()
    (north.path / "site.toml").write_text("\n".join(x for x in text.splitlines() if not x.startswith("allow")))
    try:
        project = project_of([north.start()])
        run = project.finished(project.start())
        assert (run.state, north.calls()) == ("failed", [])
    finally:
        north.kill()


def test_an_agent_stops_whichever_of_its_threads_is_told(sites) -> None:
    """After a freeze the kernel may give SIGTERM to any of them."""
    east = sites[1]
    until(lambda: '"started"' in (east.path / "agent.log").read_text())
    to_another_thread(east.pid, signal.SIGTERM)
    until(lambda: not east.runs())
    assert east.end() == 0


def test_sigterm_finishes_the_report_and_a_second_start_goes_on(sites) -> None:
    project = project_of(sites)
    _, east, _ = sites
    east.hold("train")
    run_id = project.start()
    until(lambda: "train 1" in east.calls())
    children = east.children()
    assert len(children) == 1
    east.release("train")
    assert east.end(signal.SIGTERM) == 0
    assert gone(children)
    last = [json.loads(line) for line in (east.path / "agent.log").read_text().splitlines()][-1]
    assert last["what"] == "stopped"
    east.start()
    trained(project, run_id)
    assert Counter(east.calls())["train 1"] == 1


def test_one_folder_has_one_agent(sites) -> None:
    north = sites[0]
    until(lambda: (north.path / "agent.lock").exists() and "started" in (north.path / "agent.log").read_text())
    second = SiteProcess.__new__(SiteProcess)
    second.path, second._process = north.path, None
    second.start()
    until(lambda: not second.runs())
    assert second.end() == 2
    assert "another agent works" in (north.path / "agent.log").read_text()


def test_agents_join_by_approval_what_their_configuration_names(world: World, tmp_path) -> None:
    (north,) = world.sites(tmp_path, "north")
    name = f"open to those asked, {tmp_path.name}"
    (east,) = world.sites(tmp_path, "east", join=joining(name))
    try:
        north.start()
        east.start()
        made = north.client.create_project(name, [{"name": "train", "model": "x"}])
        asked = until(lambda: [m for m in north.client.members(made) if m.state == "requested"])
        assert (asked[0].site_id, asked[0].notes) == (east.site_id, "let me in")
        assert north.client.put_member(made, east.site_id).state == "active"
    finally:
        north.kill()
        east.kill()


def test_an_agent_whose_site_was_retired_ends_and_says_so(world: World, tmp_path) -> None:
    (north,) = world.sites(tmp_path, "north")
    try:
        north.start()
        until(lambda: "started" in (north.path / "agent.log").read_text())
        world.admin.write("DELETE", f"/v1/sites/{north.site_id}", None, dict, key=None)
        until(lambda: not north.runs())
        assert north.end() == 1
        assert "the hub does not take this site" in (north.path / "agent.log").read_text()
    finally:
        north.kill()


def test_a_hub_that_is_killed_and_comes_back_finds_its_sites_at_work(tmp_path) -> None:
    first = Program(tmp_path / "hub.log", "embedded", "--data", tmp_path / "hub", "--port", "0")
    hub = first.ready()
    world = World(hub, create_account(tmp_path / "hub"))
    sites = world.sites(tmp_path, "north", "east")
    second = None
    try:
        for site in sites:
            site.hold("train")
            site.start()
        project = project_of(sites)
        run_id = project.start()
        for site in sites:
            until(lambda s=site: "train 1" in s.calls())
        first.end(signal.SIGKILL)
        for site in sites:
            site.release("train")
        until(lambda: all("hub unavailable" in (site.path / "agent.log").read_text() for site in sites))
        port = hub.rpartition(":")[2]
        second = Program(tmp_path / "again.log", "embedded", "--data", tmp_path / "hub", "--port", port)
        second.ready()
        trained(project, run_id)
        assert all(Counter(site.calls())["train 1"] == 1 for site in sites)
    finally:
        for site in sites:
            site.kill()
        first.end(signal.SIGKILL)
        if second is not None:
            second.end()


@pytest.mark.parametrize("end", ["stopped run", "SIGKILL", "SIGTERM"])
def test_what_a_task_started_ends_with_its_run_and_with_its_agent(sites, end: str) -> None:
    project = project_of(sites, model="Odd", parameters={"how": "busy_sleepers"})
    east = sites[1]
    run_id = project.start()
    running = sleepers(east.path)
    if end == "stopped run":
        project.coordinator.stop_run(run_id)
    else:
        east.end(signal.Signals[end])
    until(lambda: gone(running))
