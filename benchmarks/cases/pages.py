"""page_ms, page_kb, live_ms, watched: what people at the hub's page wait for, and what they cost the hub.

The store has 10,000 sites and 1,000 runs that ended; beside them one of fifty seats is live.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, async_playwright

from benchmarks import crew, scenes
from benchmarks.board import Board
from benchmarks.cases.growth import fill
from benchmarks.client import Connection, Pool, request
from benchmarks.crew import Crew, Run
from benchmarks.figures import percentile
from benchmarks.load import Pace, timed
from benchmarks.yard import Hub, Watch
from config.clock import draw_id, draw_secret
from domain import records as r
from domain.ids import sha256_hex
from domain.states import Report

CHROMIUM = "/usr/bin/chromium"
SIGN_IN = "/page/sign-in"
PAGES = {"now": "/page/now", "runs": "/page/runs", "run": "/page/runs/{run}", "sites": "/page/sites"}
LOOKS = 30
UPDATES = 20
WATCHERS = 20
REPORTS_PER_S = 20
AGAIN_AFTER_S = 1.0
"""As a page asks again behind an answer."""
_LIVE = re.compile(rb'data-live="([^"]+)"')
_FOLLOW = """() => {
    window.seen = new Promise(tell => new MutationObserver((_, observer) => {
        observer.disconnect()
        requestAnimationFrame(() => setTimeout(() => tell(performance.timeOrigin + performance.now())))
    }).observe(document.querySelector('main'), {childList: true, subtree: true}))
}"""
"""Notes when what has changed is on the screen: behind the next frame."""


def measure(board: Board) -> None:
    """On a hub of its own. The browser is on its processors, as all of the board is."""
    sizes = board.sizes
    board.hub.stop()
    with board.yard.hub().running() as hub:
        fill(hub, max(1, sizes.old_runs // 100), max(1, sizes.old_events // 100))
        scenes.sites(hub, sizes.sites)
        run = crew.runs(hub, 1, sizes.seats)[0]
        asyncio.run(_measure(board, hub, run))
    board.hub.start()


async def _measure(board: Board, hub: Hub, run: Run) -> None:
    looks, updates = (LOOKS, UPDATES) if board.sizes.seconds >= 1 else (1, 1)
    paths = {name: path.format(run=run.id) for name, path in PAGES.items()}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        page = await (await browser.new_context(base_url=hub.url)).new_page()
        cookie = await _sign_in(page, admin(hub))
        for name, path in paths.items():
            _add(board, "page_ms", f"{name} first byte", await _first_bytes(hub, path, cookie, 5 * looks))
            _add(board, "page_ms", f"{name} complete", [await _complete(page, path) for _ in range(looks)])
        board.add("page_kb", "heaviest", [max([await _kilobytes(browser, page, path) for path in paths.values()])])
        _add(board, "live_ms", "to pixel", await _lags(page, run, hub, updates))
        await browser.close()
    await _watched(board, hub, run, cookie)


def admin(hub: Hub) -> str:
    """The token of somebody who sees everything."""
    now, organisation, account, token = scenes.CLOCK.now(), draw_id(), draw_id(), draw_secret()
    scenes.write(
        hub,
        [
            r.Organisation(id=organisation, name="operators", created_at=now),
            r.Stream(id=organisation, kind="organisation", last_seq=0, last_hash=""),
            r.Account(id=account, organisation_id=organisation, name="admin", role="admin", created_at=now),
            r.Token(
                id=draw_id(),
                owner_kind="account",
                owner_id=account,
                sha256=sha256_hex(token.encode()),
                label="bench",
                scopes="read write",
                created_at=now,
            ),
        ],
    )
    return token


def _add(board: Board, name: str, case: str, spans_s: Sequence[float]) -> None:
    for share in (0.5, 0.99):
        board.add(name, f"{case} p{100 * share:.0f}", [1000 * percentile(spans_s, share)])


async def _sign_in(page: Page, token: str) -> str:
    """The session's cookie, as a header says it."""
    await page.goto(SIGN_IN)
    await page.locator("[name=token]").fill(token)
    await page.locator("main form:has([name=token]) button").click()
    await page.wait_for_url(lambda url: SIGN_IN not in url)
    return "; ".join(f"{one['name']}={one['value']}" for one in await page.context.cookies())


def _asking(path: str, cookie: str, *, live: bool = False) -> bytes:
    """live: for the part of a page that renews itself."""
    head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nCookie: {cookie}\r\n"
    return f"{head}{'HX-Request: true' if live else 'Accept: text/html'}\r\n\r\n".encode()


async def _first_bytes(hub: Hub, path: str, cookie: str, times: int) -> list[float]:
    """Seconds from each request to its answer, which comes in one piece; one at a time."""
    spans: list[float] = []
    async with Pool(hub.url, 1) as (connection,):
        for _ in range(times):
            await timed(spans, connection.need(_asking(path, cookie), 200))
    return spans


async def _complete(page: Page, path: str) -> float:
    """Seconds until a browser that has been here before has loaded and laid out everything."""
    await page.goto(path, wait_until="load")
    took: float = await page.evaluate("performance.getEntriesByType('navigation')[0].loadEventStart")
    return took / 1000


async def _kilobytes(browser: Browser, page: Page, path: str) -> float:
    """What a page brings over the wire, headers included, to who has signed in but has seen none of it."""
    state = await page.context.storage_state()
    context = await browser.new_context(base_url=page.url, storage_state=state)
    fresh = await context.new_page()
    await fresh.goto(path, wait_until="load")
    sizes = "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
    taken: float = await fresh.evaluate(f"{sizes}.map(one => one.transferSize).reduce((all, one) => all + one, 0)")
    await context.close()
    return taken / 1000


async def _lags(page: Page, run: Run, hub: Hub, times: int) -> list[float]:
    """Seconds from a site's report to when who watches the run sees what it changed."""
    spans = []
    await page.goto(f"/page/runs/{run.id}", wait_until="load")
    async with Pool(hub.url, 1) as (connection,):
        for site in run.sites[:times]:
            await asyncio.sleep(1.5 * AGAIN_AFTER_S)  # the page waits by then
            await page.evaluate(_FOLLOW)
            begun = time.time()
            await _ready(connection, run, site.id, site.token)
            spans.append(await page.evaluate("window.seen") / 1000 - begun)
    return spans


async def _ready(connection: Connection, run: Run, site: str, token: str) -> None:
    body = json.dumps({"event": Report.ACCEPT.value, "seq": 1, "round": 1}).encode()
    await connection.need(request("PUT", f"/v1/runs/{run.id}/tasks/1/seats/{site}", token, body, wait=True), 200)


async def _watched(board: Board, hub: Hub, seen: Run, cookie: str) -> None:
    """Percent of a processor that all processes of the hub use while sites report at a steady pace, watched by nobody
    and by twenty."""
    run = crew.runs(hub, 1, len(seen.sites))[0]
    pace = Pace(REPORTS_PER_S)
    async with Pool(hub.url, len(run.sites)) as connections:
        crowd = Crew([run], connections)
        await crowd.drive(0.1)
        nobody, twenty, renewed = [], [], []
        for _ in range(board.sizes.runs):
            nobody.append(await _busy(hub, crowd, pace, board.sizes.seconds))
            async with _watchers(hub, f"/page/runs/{run.id}", cookie) as answers:
                twenty.append(await _busy(hub, crowd, pace, board.sizes.seconds))
                renewed.append(float(len(answers)))
    board.add("watched", "by nobody", nobody)
    board.add("watched", f"by {WATCHERS}", twenty)
    board.add("watched", "renewed", renewed, unit="parts")


async def _busy(hub: Hub, crowd: Crew, pace: Pace, seconds: float) -> float:
    watch = Watch(hub)
    with watch.on():
        await crowd.drive(seconds, pace)
    return 100 * sum(watch.shares[name] for name in hub.processes)


@asynccontextmanager
async def _watchers(hub: Hub, path: str, cookie: str) -> AsyncIterator[list[int]]:
    """People who have the run's page open, for the block: they ask for its live part as the page does.

    The sizes of what they were answered.
    """
    answers: list[int] = []

    async def watch(connection: Connection) -> None:
        shown = (await connection.need(_asking(path, cookie), 200)).body
        while (found := _LIVE.search(shown)) is not None:
            answer = await connection.need(_asking(html.unescape(found[1].decode()), cookie, live=True), 200, 204)
            if answer.body:
                shown = answer.body
                answers.append(len(shown))
            await asyncio.sleep(AGAIN_AFTER_S)

    async with Pool(hub.url, WATCHERS) as connections:
        tasks = [asyncio.create_task(watch(connection)) for connection in connections]
        try:
            await asyncio.sleep(AGAIN_AFTER_S)
            yield answers
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended
