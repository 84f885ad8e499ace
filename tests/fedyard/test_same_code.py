"""Sites whose code differs, at a real hub: all see it, and a task that names a digest goes on without the other one."""

from __future__ import annotations

import re

from fedyard.tasks.code import code_of
from tests.fedyard.test_own_modules import TASK
from tests.fedyard.world import World, project_of
from tests.prepared import SITE
from tests.waiting import until

OWN = TASK.replace("from web import answer", "def answer():\n    return 1")
QUORUM = {"quorum": 0.6}


def test_other_code_is_seen_by_all_and_refused_where_the_task_says_so(world: World, tmp_path) -> None:
    sites = world.sites(tmp_path, "north", "east", "south")
    north, east, south = sites
    for site in sites:
        (site.path / "mine.py").write_text(OWN + ("# another one\n" if site is south else ""))
        toml = site.path / "site.toml"
        toml.write_text(re.sub(r"allow = .*", 'allow = ["mine:Mine"]', toml.read_text()))
        site.start(SITE)
    ours, theirs = (code_of("mine", site.path).digest for site in (north, south))
    assert ours != theirs
    try:
        project = project_of(sites, rounds=1, model="mine:Mine", contract=QUORUM)
        run = project.finished(project.start())
        assert run.state == "succeeded", [str(event) for event in project.coordinator.events(run.id)]
        (task,) = run.tasks
        wanted = {north.site_id: ours, east.site_id: ours, south.site_id: theirs}
        assert {seat.site_id: seat.code for seat in task.seats} == wanted
        assert {one.site_id: one.code for one in task.rounds[0].submissions} == wanted
        (shown,) = east.client.run(run.id).tasks  # a participant knows how many, and not who
        counts = sorted([(ours, 2), (theirs, 1)])
        assert [seat.site_id for seat in shown.seats] == [east.site_id]
        for codes in (task.codes, shown.codes, task.rounds[0].codes, shown.rounds[0].codes):
            assert [(one.code, one.count) for one in codes] == counts

        (written,) = project.coordinator.written_tasks(project.id)
        project.coordinator.update_project(project.id, tasks=[{**written, "code": ours}])
        run = project.finished(project.start())
        assert run.state == "succeeded", [str(event) for event in project.coordinator.events(run.id)]
        (task,) = run.tasks
        states = {seat.site_id: (seat.state, seat.reason) for seat in task.seats}
        assert states == {
            north.site_id: ("done", "completed"),
            east.site_id: ("done", "completed"),
            south.site_id: ("failed", "code_differs"),
        }
        (failed,) = [event for event in project.coordinator.events(run.id) if event.kind == "seat_failed"]
        assert ours in failed.facts["detail"]
        assert theirs in failed.facts["detail"]
        until(lambda: "our update was not used" in (south.path / "agent.log").read_text())
    finally:
        for site in sites:
            site.kill()
