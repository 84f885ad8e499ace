"""One site's odd file costs that site its seat, with line, column and remedy, and nobody else his run."""

from __future__ import annotations

from pathlib import Path

from tests.fedyard.world import Project, SiteProcess, World

ROWS = [(61, 24.5, 1), (47, 31.0, 0), (55, 28.2, 1), (39, 22.8, 0)]


def table(names: str = "age,bmi,label", *rows: str) -> bytes:
    lines = rows or [f"{age},{bmi},{label}" for age, bmi, label in ROWS]
    return "\n".join([names, *lines, ""]).encode()


def made(world: World, folder: Path, files: dict[str, bytes]) -> tuple[Project, list[SiteProcess]]:
    """A project of logistic regression, whose sites have these files."""
    sites = []
    for name, content in files.items():
        (folder / f"{name}.csv").write_bytes(content)
        sites += world.sites(folder, name, data={"train": str(folder / f"{name}.csv")})
    for site in sites:
        site.start()
    contract = {"quorum": 2, "quorum_of": "count", "select_within_s": 60, "train_within_s": 60}
    task = {"name": "train", "model": "logistic_regression", "rounds": 2, "contract": contract}
    project = sites[0].client.create_project(f"tables of {sites[0].name}", [task], joining="open")
    for site in sites:
        site.join(project)
    return Project(sites, project), sites


def test_a_site_whose_file_cannot_be_meant_is_left_out_and_named(world: World, tmp_path) -> None:
    files = {
        "north": table(),
        "east": b"\xef\xbb\xbf" + table("label,bmi,age", "1,24.5,61", "0,31.0,47"),
        "south": table("age,bmi,smoker,label", "61,24.5,1,1", "47,31.0,0,0"),
        "west": table("age,bmi,label", "#61,24.5,1", "47,31.0,0"),
    }
    project, sites = made(world, tmp_path, files)
    try:
        run = project.finished(project.start())
        assert run.state == "succeeded", run
        first, second = run.tasks[0].rounds
        names = {site.site_id: site.path.name for site in sites}
        left_out = {names[s.site_id]: s.left_out for s in first.submissions}
        assert left_out == {"north": None, "east": None, "south": "task_unusable"}
        assert sorted(names[s.site_id] for s in second.submissions) == ["east", "north"]
        log = (sites[3].path / "agent.log").read_text()
        failed = [line for line in log.splitlines() if '"seat failed"' in line]
        assert len(failed) == 1
        assert "line 2" in failed[0], "the site itself is told why"
        events = project.coordinator.events(run.id)
        told = [str(e) for e in events if e.kind in ("seat_failed", "seat_left_out")]
        why = {names[s.site_id]: "".join(t for t in told if s.site_id in t) for s in run.tasks[0].seats}
        assert "line 2, column `age`: no number: it begins with `#`" in why["west"]
        assert "its features are others than those of most sites (more: smoker)" in why["south"]
        assert all(site.runs() for site in sites)
    finally:
        for site in sites:
            site.kill()


def test_below_the_quorum_the_run_says_whose_file_it_was(world: World, tmp_path) -> None:
    files = {"north": table(), "east": table("age,label", "61,1", "47,0")}
    project, sites = made(world, tmp_path, files)
    try:
        run = project.finished(project.start())
        assert (run.state, run.reason) == ("failed", "quorum_not_met"), run
        told = {e.kind: str(e) for e in project.coordinator.events(run.id)}
        assert sites[1].site_id in told["round_failed"]
        assert "its features are others than those of most sites (not: bmi)" in told["seat_left_out"]
    finally:
        for site in sites:
            site.kill()
