"""Who looks on takes no place from sites, and sites take none from who looks on."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from config.settings import Settings
from tests.databases import fresh_sqlite
from tests.web.network import network
from web.problems import Refused
from web.serving.app import release, web_of


def test_the_rooms_of_pages_and_of_sites_are_apart_and_close_together(tmp_path) -> None:
    net = network(fresh_sqlite(tmp_path / "store.sqlite"), tmp_path, waiting_polls=4, page_polls=2)
    try:
        web = web_of(net.app)
        with ExitStack() as stack:
            for room, places in ((web.waiters, 4), (web.watchers, 2)):
                for number in range(places):
                    stack.enter_context(room.place(("run", str(number)), kept_back=True))
                with pytest.raises(Refused):
                    stack.enter_context(room.place(("run", "more"), kept_back=True))
            text = web.metrics.text().decode()
            assert "fedyard_polls_waiting 4.0" in text
            assert "fedyard_page_polls_waiting 2.0" in text
            assert "fedyard_page_polls_refused_total 1.0" in text
        release(net.app)
        assert web.watchers.closing
    finally:
        net.close()


@pytest.mark.parametrize(
    ("threads", "waiting", "wanted", "pages"), [(896, 448, 64, 64), (160, 112, 64, 12), (64, 40, 64, 6), (12, 8, 64, 1)]
)
def test_pages_have_a_quarter_of_the_threads_that_sites_leave_at_most(
    threads: int, waiting: int, wanted: int, pages: int
) -> None:
    settings = Settings(web_threads=threads, waiting_polls=waiting, page_polls=wanted)
    assert settings.page_polls_at_once == pages
