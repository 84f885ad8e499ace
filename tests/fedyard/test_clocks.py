"""A site whose clock is far from the hub's: the reason says so, with both times."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedyard.client.client import Client
from fedyard.wire.times import moment
from tests.fedyard.rude import Answer, rude_hub
from tests.fedyard.world import World, project_of
from tests.ops.program import ROOT, environment
from tests.waiting import until

ME = {"kind": "site", "id": "0b6f6f0e-3a0f-4e39-9d0e-3b0f3a1f6f0e", "name": "north"}
AHEAD = """
import sys, time
real = time.time_ns
time.time_ns = lambda: real() + 60 * 86_400 * 10**9
from fedyard.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("date", "off"), [("Tue, 01 Sep 2020 10:00:00 GMT", True), ("yesterday", False), ("", False), (None, False)]
)
def test_clocks_are_compared_by_the_hubs_answers(date: str | None, off: bool) -> None:
    with rude_hub(Answer(body=ME, headers={} if date is None else {"Date": date})) as hub:
        client = Client(hub.url, "t")
        client.me()
        said = client.clock_off()
    assert (said is not None) is off
    if said:
        assert "2020-09-01T10:00:00+00:00" in said
        assert len(re.findall(r"\d{4}-\d\d-\d\dT", said)) == 2


@pytest.mark.parametrize(
    ("micros", "shown"), [(0, "1970-01-01T00:00:00+00:00"), (2**63 - 1, str(2**63 - 1)), (-(2**63), str(-(2**63)))]
)
def test_times_of_seals_are_shown_as_people_read_them(micros: int, shown: str) -> None:
    assert moment(micros) == shown


def test_a_site_sixty_days_ahead_says_clock_with_both_times(world: World, tmp_path: Path) -> None:
    north, east, south = world.sites(tmp_path, "north", "east", "south")
    for site in (north, south):
        site.start()
    with (east.path / "agent.log").open("w") as log:
        ahead = subprocess.Popen(
            [sys.executable, "-c", AHEAD, "--folder", str(east.path), "site", "run"],
            env=environment(PYTHONPATH=str(ROOT)),
            cwd=ROOT,
            stderr=log,
        )
    try:
        until(lambda: '"what": "clock"' in (east.path / "agent.log").read_text())
        project = project_of([north, east, south], rounds=1, contract={"quorum": 0.6})
        run = project.finished(project.start())
        events = [str(e) for e in project.coordinator.events(run.id) if e.kind in ("seat_failed", "seat_left_out")]
        (told,) = [event for event in events if east.site_id in event]
        assert "clock: this site's said" in told
        assert run.state == "succeeded", run
    finally:
        ahead.terminate()
        ahead.wait()
        for site in (north, south):
            site.kill()
