"""What the newest first means in lists, and what pages read of a run beside what the API answers; on both databases."""

from __future__ import annotations

from base64 import b64encode

import pytest

from domain.values import Subject
from storage.views import events, models, projects, runs, sites, workloads
from storage.views.sight import Paging
from tests.web.network import Caller, Network

ADMIN = Subject(kind="account", id="0" * 36, role="admin")
UPDATE = b64encode(b"update").decode()


@pytest.fixture
def scene(net: Network) -> tuple[Network, Caller, Caller, str, str]:
    """Two sites that have trained the first of two rounds; and a run that was stopped before."""
    north, east = net.site("north"), net.site("east")
    project = net.project(north, east)
    first = net.run(north, project)
    north.ok("POST", f"/v1/runs/{first}/stop", {})
    run = net.run(north, project)
    for site in (north, east):
        net.report(site, run, "ready", 1)
    for site in (north, east):
        assert net.report(site, run, "submit", 2, metrics={"loss": 0.5}, update=UPDATE).status_code == 200
    body = {"model": UPDATE, "metrics": {"loss": 0.25}}
    north.ok("POST", f"/v1/runs/{run}/tasks/1/rounds/1/aggregated", body)
    return net, north, east, first, run


def test_lists_can_be_turned(scene: tuple[Network, Caller, Caller, str, str]) -> None:
    _, north, east, first, run = scene
    newest = north.ok("GET", "/v1/runs?order=newest&limit=1")
    assert [one["id"] for one in newest["items"]] == [run]
    more = north.ok("GET", f"/v1/runs?order=newest&limit=1&after={newest['next']}")
    assert ([one["id"] for one in more["items"]], more["next"]) == ([first], None)
    told = north.ok("GET", f"/v1/runs/{run}/events?order=newest&limit=3")["items"]
    assert told == north.ok("GET", f"/v1/runs/{run}/events?limit=200")["items"][:-4:-1]
    assert {one["site_id"] for one in east.ok("GET", f"/v1/runs/{run}/events?order=newest")["items"]} == {None, east.id}


def test_of_a_run_so_many_rounds_are_read_and_the_updates_of_some_sites(
    scene: tuple[Network, Caller, Caller, str, str],
) -> None:
    net, north, _, _, run = scene

    def seen(window: runs.Window) -> list[tuple[int, set[str]]]:
        found = runs.run(net.database, ADMIN, run, past=False, window=window)
        assert found is not None
        return [(one.number, {each.site_id for each in one.submissions}) for one in found.tasks[0].rounds]

    both = {each["site_id"] for each in north.ok("GET", f"/v1/runs/{run}")["tasks"][0]["seats"]}
    assert seen(runs.ALL) == [(1, both), (2, set())]
    assert seen(runs.Window(1)) == [(2, set())]
    assert seen(runs.Window(5, last=1)) == [(1, both)]
    assert seen(runs.Window(sites=[north.id])) == [(1, {north.id}), (2, set())]
    assert seen(runs.Window(sites=())) == [(1, set()), (2, set())]
    assert runs.seats_and_rounds(net.database, run) == (2, 2)


def test_what_a_page_asks_besides(scene: tuple[Network, Caller, Caller, str, str]) -> None:
    net, north, east, first, run = scene
    database = net.database
    assert runs.live_counts(database, ADMIN) == {"running": 1}
    live = runs.runs(database, ADMIN, Paging(9), state=None, project=None, live=True)
    assert [one.id for one in live.items] == [run]
    project = live.items[0].project_id
    assert list(projects.names_of(database, ADMIN, [project, first])) == [project]
    assert set(sites.sites_named(database, ADMIN, [north.id, east.id, first])) == {north.id, east.id}
    assert workloads.not_begun(database, [north.id]) == {}
    assert [one.version for one in models.newest(database, ADMIN, project, 5)] == [1]
    outs = events.newest_of_run(database, ADMIN, first, limit=5, past=False, outs=True)
    assert [one.kind for one in outs] == []
