"""The one query for what most commands need finds the same rows as the queries one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from devservers.postgres import PrivatePostgres
from domain import records as r
from domain.ids import Id, derive
from domain.needs import Needs
from domain.states import Report
from domain.values import Subject
from storage.database import open_database
from storage.loading import _is_common, _load_at_once, _load_one_by_one
from tests.databases import fresh_postgres
from tests.hub import Hub

Needed = Callable[[list[Subject], Id, Id], Needs]


@pytest.fixture
def hub(postgres: PrivatePostgres) -> Iterator[Hub]:
    database = open_database(fresh_postgres(postgres))
    yield Hub(database)
    database.close()


NOWHERE = derive("nobody", "made", "this")


@pytest.mark.parametrize(
    "needed",
    [
        lambda sites, project, run: Needs(),
        lambda sites, project, run: Needs(sites={sites[2].id}),
        lambda sites, project, run: Needs(runs={run}, sites={sites[1].id}),
        lambda sites, project, run: Needs(runs={run, NOWHERE}),
        lambda sites, project, run: Needs(members_of={project}, sites={sites[0].id}, mentioned_runs={run}),
        lambda sites, project, run: Needs(projects={project}),
        lambda sites, project, run: Needs(keys={(sites[0].id, 1), (sites[1].id, 2), (NOWHERE, 1)}),
        lambda sites, project, run: Needs(runs={run}, keys={(sites[0].id, 1)}, keys_in={run}),
        lambda sites, project, run: Needs(runs={run}, keys_in={run, NOWHERE}),
        lambda sites, project, run: Needs(runs={NOWHERE}, members_of={NOWHERE}, projects={NOWHERE}, sites={NOWHERE}),
    ],
)
def test_the_same_rows(hub: Hub, needed: Needed) -> None:
    sites = hub.sites(3)
    strangers = [hub.site("a stranger"), hub.site("another")]
    project = hub.project(sites)
    other = hub.start(hub.project(strangers), strangers[0])
    run = hub.start(project, sites[0])
    hub.whole_round(run, sites, 1)
    hub.report(run, sites[1], Report.ACCEPT, metrics={'a "quoted" name': 0.5})
    for site, epoch in ((sites[0], 1), (sites[0], 2), (sites[1], 1), (strangers[0], 1)):
        hub.ok(hub.key(site, epoch), site)
    needs = needed(sites, project, run)
    assert _is_common(needs)
    with hub.database.connection():
        expected = _load_one_by_one(hub.database, needs)
        for _ in range(7):  # PostgreSQL changes the plan of a prepared statement after five times
            found = _load_at_once(hub.database, needs)
            assert set(found.records) == set(expected.records)
    assert not any(isinstance(one, r.Run) and one.id == other for one in found.records)


def test_what_else_is_needed_is_not_left_out() -> None:
    assert not _is_common(Needs(tokens={NOWHERE}))
    assert not _is_common(Needs(runs={NOWHERE}, restarting={NOWHERE}))
