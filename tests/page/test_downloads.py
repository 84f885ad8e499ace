"""Files that people take along: how many at once."""

from __future__ import annotations

import pytest

from tests.page.callers import signed_in
from tests.page.scenes import Scene
from web.serving.app import DOWNLOADS_PER_CALLER, web_of


@pytest.mark.parametrize("path", ["/page/audit/export?since=2020-01-01T00:00", "/page/runs/{run}/metrics.csv"])
def test_one_caller_has_a_few_at_once_and_one_that_nobody_reads_gives_its_place_back(scene: Scene, path: str) -> None:
    browser, where = signed_in(scene.net.app, scene.tokens["admin"]), path.format(run=scene.names["run"])
    unread = [browser.client.get(where, buffered=False) for _ in range(DOWNLOADS_PER_CALLER)]
    assert [one.status_code for one in unread] == [200] * DOWNLOADS_PER_CALLER
    refused = browser.client.get(where)
    assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)
    assert signed_in(scene.net.app, scene.tokens["auditor"]).get(where).status_code == 200
    assert not web_of(scene.net.app).transfers.under_way["out"]  # sites have all of theirs
    for one in unread:
        one.close()
    assert browser.get(where).get_data()
    assert not web_of(scene.net.app).downloads.under_way["out"]
