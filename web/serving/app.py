"""The Flask app: every operation of the table, routed, and the parts that live as long as it."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask, Request, Response, g, request
from flask.globals import request_ctx

from config.clock import Micros
from config.key_files import webhook_key, workload_key
from config.logs import unit
from config.secret_box import secret_box
from config.settings import Settings
from config.streams import door_url, open_streams, workers_of
from domain.streams.door import PATH
from fedyard.wire.structs import prepare_structs
from storage import clocks, presence
from storage.database import DatabaseUnavailable
from storage.signals import Announcement
from storage.views import messages as views
from storage.views import people
from web.api.table import operations
from web.http.answers import problem_for
from web.http.calls import Web
from web.http.endpoints import endpoint
from web.http.fast_path import FastPathApp
from web.http.hub import Hub
from web.http.openapi import document
from web.http.operations import Operation
from web.http.routing import Routing, routing_of
from web.live.coalescing import CoalescedReads
from web.live.dead_letters import SeenDeadLetters
from web.live.heartbeats import HeartbeatBuffer
from web.live.inbox_tips import InboxTips
from web.live.metrics import Counts, Metrics
from web.live.probe_cache import LastFound, ProbeCache
from web.live.response_cache import ResponseCache
from web.live.shares import Shares, Tarpit
from web.live.signer import open_signer
from web.live.tokens import Tokens
from web.live.transfers import Transfers
from web.live.undecided import Undecided
from web.live.waiters import Waiters
from web.page import rendering
from web.page.table import page_operations
from web.problems import Problems

log = logging.getLogger(__name__)
DOWNLOADS, DOWNLOADS_PER_CALLER = 16, 4
"""Files that people take along from pages, at once. Each holds a thread, of those that are left for others."""
WITHOUT_SECRET = re.compile(f"^({PATH}/)[^/]+")
"""Of a path that the log has: the way in of an attempt is its secret."""


def create_app(hub: Hub, routing: Routing | None = None) -> Flask:
    """The app over a hub's parts. Call `release` when the server begins to stop and `close` when it has stopped.

    routing: that of `operations()`, made before, or of other operations.
    """
    prepare_structs()
    routing = routing or routing_of(operations_of(hub.settings))
    web = _assemble(hub, routing.operations)
    limit_bytes = hub.settings.request_limit_bytes + 1  # a body of unknown length is cut off here
    failed = functools.partial(problem_for, web.problems)
    app = FastPathApp("fedyard", limit_bytes, failed)
    app.config["MAX_CONTENT_LENGTH"] = limit_bytes
    app.extensions["fedyard"] = web
    app.url_map = routing.url_map
    views = [(operation, endpoint(web, operation)) for operation in routing.operations]
    app.view_functions.update({operation.name: _view(view) for operation, view in views})
    app.register_error_handler(Exception, _answer_to(web, failed))
    if log.isEnabledFor(logging.DEBUG):
        _log_requests(app, hub)
    else:
        app.go_directly([one for one in views if one[0].hot])
    return app


def operations_of(settings: Settings) -> list[Operation]:
    """What a hub with these settings answers."""
    paged = page_operations(settings)
    return [*operations(kafka_ml=settings.kafka_ml_paths == "on", root=not paged), *paged]


def release(app: Flask) -> None:
    """Every open poll answers at once, and no new one waits: the server can stop quickly."""
    web_of(app).waiters.release()
    web_of(app).watchers.release()
    web_of(app).shares.tarpit.release()


def close(app: Flask) -> None:
    """Send the last heartbeats. The hub's own parts belong to who made them."""
    release(app)
    web_of(app).heartbeats.close()


def web_of(app: Flask) -> Web:
    web: Web = app.extensions["fedyard"]
    return web


def _assemble(hub: Hub, operations: Sequence[Operation]) -> Web:
    clock = hub.clock
    heartbeats = HeartbeatBuffer(hub.publisher, clock)
    tarpit = Tarpit(hub.settings.refusals_held, clock, hub.occupied)
    waiters = Waiters(hub.settings.waiting_polls, clock, hub.occupied, hub.settings.polls_per_caller, tarpit)
    pages = hub.settings.page_polls_at_once
    watchers = Waiters(pages, clock, hub.occupied, hub.settings.polls_per_caller, tarpit)
    metrics = Metrics()
    transfers = Transfers(hub.settings.transfers, hub.occupied, hub.settings.transfers_per_caller)
    shares = Shares(
        reads_per_s=hub.settings.reads_per_s,
        writes_per_s=hub.settings.writes_per_s,
        writes_each=hub.settings.writes_per_caller,
        bodies=hub.settings.bodies_at_once,
        clock=clock,
        tarpit=tarpit,
    )
    metrics.registry.register(
        Counts(hub.database, clock, waiters, watchers, heartbeats, transfers, shares, hub.connections)
    )
    web = Web(
        hub=hub,
        tokens=Tokens(CoalescedReads(functools.partial(people.bearers, hub.database)).read, clock),
        problems=Problems(clock),
        heartbeats=heartbeats,
        waiters=waiters,
        watchers=watchers,
        shares=shares,
        tips=InboxTips(clock),
        undecided=Undecided(clock),
        metrics=metrics,
        responses=ResponseCache(),
        inboxes=CoalescedReads(functools.partial(views.inboxes, hub.database)),
        transfers=transfers,
        downloads=Transfers(DOWNLOADS, hub.occupied, DOWNLOADS_PER_CALLER),
        store_of_artifacts=ProbeCache(hub.blobs.ready, clock),
        readiness=LastFound(),
        description=functools.cache(lambda: msgspec.json.encode(document(operations))),
        signer=open_signer(Path(hub.settings.head_key_file), clock),
        webhook_key=webhook_key(Path(hub.settings.webhook_key_file)),
        workload_key=workload_key(Path(hub.settings.workload_key_file)),
        secret_box=secret_box(hub.settings),
        streams=open_streams(hub.settings),
        door_url=door_url(hub.settings),
        dead_letters=SeenDeadLetters(hub.dead_letters, clock),
        clocks=ProbeCache(functools.partial(_trouble_of_clocks, hub), clock),
        silent=ProbeCache(functools.partial(_silent, hub, clock.now()), clock),
    )
    hub.signals.subscribe(functools.partial(_heard, web), functools.partial(_lost, web))
    heartbeats.start()
    return web


def _trouble_of_clocks(hub: Hub) -> str | None:
    """While the database is away nobody knows; that it is away another part says."""
    try:
        return clocks.trouble(clocks.reports(hub.database, hub.clock.now()))
    except DatabaseUnavailable:
        return None


def _silent(hub: Hub, begun_at: Micros) -> Mapping[str, str]:
    """Processes that do not report, by part."""
    if not hub.database.postgres:
        return {}
    try:
        return presence.silent(presence.heard(hub.database), hub.clock.now(), begun_at, workers_of(hub.settings))
    except DatabaseUnavailable:
        return {}


def _heard(web: Web, announcement: Announcement) -> None:
    """What is remembered first, then who waits."""
    if announcement.history:
        _lost(web)
    if announcement.tokens:
        web.tokens.void()
    web.tips.heard(announcement)
    web.undecided.heard(announcement)
    web.waiters.heard(announcement)
    web.watchers.heard(announcement)


def _lost(web: Web) -> None:
    web.tokens.void()
    web.tips.void()
    web.waiters.wake_all()
    web.watchers.wake_all()


def _answer_to(web: Web, failed: Callable[[Exception], Response]) -> Callable[[Exception], Response]:
    """What Flask answers to what no operation answered; where the page would be, people read it."""

    def answer_to(error: Exception) -> Response:
        if web.hub.settings.page == "on" and rendering.is_below(request.path):
            return rendering.PAGE.finish(rendering.problem_page(web, request, web.problems.refusal_of(error)))
        return failed(error)

    return answer_to


def _view(answer: Callable[[Request, Mapping[str, Any]], Response]) -> Callable[..., Response]:
    """As Flask calls it; with the request itself, not Flask's stand-in for it, which a stream would outlive."""
    return lambda **path: answer(request_ctx.request, path)


def _log_requests(app: Flask, hub: Hub) -> None:
    """One line for each request, without query, headers and bodies."""

    @app.before_request
    def begin() -> None:
        g.began = hub.clock.monotonic()

    @app.after_request
    def end(response: Response) -> Response:
        ms = round((hub.clock.monotonic() - g.began) * 1000, 1)
        path = WITHOUT_SECRET.sub(r"\1...", request.path)
        log.debug("request", extra=unit(method=request.method, path=path, status=response.status_code, ms=ms))
        return response
