"""The whole hub in one process: the web and the workers as threads over SQLite and the embedded broker.

For trying out, for tests, and for a small network on one machine. A kill -9 loses nothing that was answered.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from waitress import wasyncore
from waitress.server import create_server

from actors.running import ROLES, run_decider, run_reconciler
from broker.opening import dead_letters_in, open_embedded
from config.clock import Clock, SystemClock
from config.logs import at_a_terminal, set_up_logs, unit
from config.processes import STREAM_WORKERS
from config.settings import Settings, SettingsError, path_url
from config.stream_properties import check_properties
from config.streams import open_streams
from fedyard.wire.forgiving import forgive
from fedyard.wire.stopping import on_stop_signal
from ops.channels import Channel
from ops.place import Unusable, Whereabouts, only_hub_in, remember
from storage.blobs.opening import open_blobs
from storage.clocks import report_together
from storage.database import Database, open_database
from storage.migrate import migrate
from storage.signals import DirectSignals
from web.http.hub import Hub
from web.live.connections import Connections, limits_of, make_room
from web.serving.app import close, create_app, release
from web.serving.websocket import open_server

if TYPE_CHECKING:
    from flask import Flask

ANSWERS_WITHIN_S = 5.0
BODY_LIMIT_BYTES = 33_554_432
"""What waitress takes in at most before it hangs up; below, the app itself answers 413 with a problem."""

BODY_IN_MEMORY_BYTES = 65_536
"""Of each body that is on its way, which anybody may begin; the rest waits in a file."""
UNREAD_BYTES = 1_048_576
"""Of an answer that the client does not take; the rest is not made until it does."""

EMBEDDED_DEFAULTS = {
    "FEDYARD_WEB_THREADS": "160",
    "FEDYARD_WAITING_POLLS": "112",
    "FEDYARD_WRITES_PER_CALLER": "16",
    "FEDYARD_TRANSFERS": "8",
    "FEDYARD_TRANSFERS_PER_CALLER": "4",
    "FEDYARD_CONNECTIONS": "2048",
}
"""One process with all parts in it waits for fewer clients than a web process of its own."""

RECEIVED_BYTES = 65_536
"""At a time, of a body: with Waitress's 8,192 an upload of some megabytes is mostly its loop's turns."""
KEPT = 8
"""Connections to the store that the web keeps open: as many as read at once, as a rule. More are made and closed."""

_log = logging.getLogger(__name__)


def run_embedded(folder: Path, port: int | None, environment: Mapping[str, str]) -> int:
    """Run until SIGINT or SIGTERM; the exit code. Raises `InUse`, `Unusable`, `SettingsError`."""
    forgive()
    settings = _settings(folder, port, environment)
    check_properties(open_streams(settings))  # a contradiction stops the start
    set_up_logs("embedded", settings.log_level, settings.log_format)
    stop = threading.Event()
    failed = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(only_hub_in(folder))
        clock = SystemClock()
        database = open_database(settings.database_url, kept=KEPT)
        stack.callback(database.close)
        migrate(database)
        broker = open_embedded(settings)
        stack.callback(broker.close)
        signals = DirectSignals()
        stack.callback(signals.close)
        room = make_room(settings.connections)
        blobs = open_blobs(settings.artifacts_url, clock)
        connections = Connections(limits_of(settings, room), clock)
        app = create_app(
            Hub(
                settings,
                database,
                broker,
                signals,
                clock,
                blobs,
                connections=connections,
                dead_letters=partial(dead_letters_in, settings),
            )
        )
        server = _server(app, settings, room)
        settings = msgspec.structs.replace(settings, web_port=int(server.effective_port))  # workloads call back there
        roles = ROLES | {
            "decider": partial(run_decider, announce=signals.announce),
            "reconciler": partial(run_reconciler, signals=signals),
        }
        # Last in, first out: the web stops before them, and of them the decider last.
        there = {name: role for name, role in roles.items() if name not in STREAM_WORKERS or settings.streams}
        report_together(database, ["web", *there], clock, stop)
        for name, role in there.items():
            stack.enter_context(_running(name, partial(role, settings), stop, failed))
        stack.callback(close, app)
        _show_inferences(settings, database, clock, stack)
        connections.watch(int(server.effective_port))
        stack.callback(connections.close)
        stack.callback(server.task_dispatcher.shutdown)
        on_stop_signal(partial(_stop, stop, server))
        api = f"http://{settings.web_host}:{server.effective_port}"
        remember(folder, Whereabouts(_variables(settings, server.effective_port), api))
        if settings.page == "on":
            print(f"page  {api}/  (fedyard-hub sign-in NAME makes a link that signs in once)")
        print(f"ready {api}", flush=True)
        _serve(server, app, stop, clock)
    return 1 if failed.is_set() else 0


def _show_inferences(settings: Settings, database: Database, clock: Clock, stack: ExitStack) -> None:
    """The websocket of Kafka-ML's front end, if there shall be one. Raises `SettingsError`."""
    streams = open_streams(settings)
    if streams.websocket_port:
        sockets = open_server(settings, streams, database, clock)
        threading.Thread(target=sockets.serve_forever, name="websocket", daemon=True).start()
        stack.callback(sockets.shutdown)


def _settings(folder: Path, port: int | None, environment: Mapping[str, str]) -> Settings:
    here = folder.resolve()
    chosen = {name: value for name, value in environment.items() if name.startswith("FEDYARD_")}
    chosen.setdefault("FEDYARD_BROKER_URL", path_url("embedded", here / "journal.sqlite"))
    chosen.setdefault("FEDYARD_DATABASE_URL", path_url("sqlite", here / "store.sqlite"))
    chosen.setdefault("FEDYARD_ARTIFACTS_URL", path_url("file", here / "artifacts"))
    chosen.setdefault("FEDYARD_HEAD_KEY_FILE", str(here / "head.key"))
    chosen.setdefault("FEDYARD_WEBHOOK_KEY_FILE", str(here / "webhook.key"))
    chosen.setdefault("FEDYARD_WORKLOAD_KEY_FILE", str(here / "workload.key"))
    chosen.setdefault("FEDYARD_CLUSTERS", f"hub={path_url('processes', here / 'workloads')}")
    for name, value in EMBEDDED_DEFAULTS.items():
        chosen.setdefault(name, value)
    if at_a_terminal():
        chosen.setdefault("FEDYARD_LOG_LEVEL", "WARNING")  # whoever tries it out there has other lines to read
    if port is not None:
        chosen["FEDYARD_WEB_PORT"] = str(port)
    settings = Settings.read(chosen)
    if not settings.embedded:
        raise SettingsError("FEDYARD_BROKER_URL names RabbitMQ: run fedyard-hub up, or unset it to run embedded")
    return settings


def _variables(settings: Settings, port: int) -> dict[str, str]:
    return {
        "FEDYARD_BROKER_URL": settings.broker_url,
        "FEDYARD_DATABASE_URL": settings.database_url,
        "FEDYARD_ARTIFACTS_URL": settings.artifacts_url,
        "FEDYARD_HEAD_KEY_FILE": settings.head_key_file,
        "FEDYARD_WEBHOOK_KEY_FILE": settings.webhook_key_file,
        "FEDYARD_WORKLOAD_KEY_FILE": settings.workload_key_file,
        "FEDYARD_CLUSTERS": settings.clusters,
        "FEDYARD_STREAMS": settings.streams,
        "FEDYARD_WEB_PORT": str(port),
    }


@contextmanager
def _running(
    name: str, role: Callable[[threading.Event], None], stop: threading.Event, failed: threading.Event
) -> Iterator[None]:
    """A thread that runs the role for the block. If it ends by itself, the whole process stops with exit code 1."""
    ended = threading.Event()

    def run() -> None:
        try:
            role(ended)
        except Exception:  # noqa: BLE001 - whatever it is, the hub must not go on without this part
            _log.exception("a part failed; the hub stops", extra=unit(part=name))
        if not ended.is_set():
            failed.set()
            stop.set()

    thread = threading.Thread(target=run, name=f"fedyard-{name}")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _server(app: Flask, settings: Settings, room: int) -> Any:
    try:
        return _listening(app, settings, room)
    except OSError as error:
        address = f"{settings.web_host}:{settings.web_port}"
        raise Unusable(f"cannot listen on {address} ({error.strerror}): choose another port with --port") from None


def _listening(app: Flask, settings: Settings, room: int) -> Any:
    server = create_server(
        app,
        host=settings.web_host,
        port=settings.web_port,
        threads=settings.web_threads,
        connection_limit=room,
        backlog=1024,
        asyncore_use_poll=True,
        asyncore_loop_timeout=1,
        channel_timeout=120,
        channel_request_lookahead=1,
        recv_bytes=RECEIVED_BYTES,
        max_request_body_size=BODY_LIMIT_BYTES,
        inbuf_overflow=BODY_IN_MEMORY_BYTES,
        outbuf_high_watermark=UNREAD_BYTES,
        ident="fedyard",
    )
    server.channel_class = Channel
    return server


def _stop(stop: threading.Event, server: Any) -> None:
    stop.set()
    server.pull_trigger()


def _serve(server: Any, app: Flask, stop: threading.Event, clock: Clock) -> None:
    """Serve until `stop`; then let open requests end."""
    while not stop.is_set():
        _turn(server, 1.0)
    release(app)
    end = clock.monotonic() + ANSWERS_WITHIN_S
    while server.task_dispatcher.active_count and clock.monotonic() < end:
        _turn(server, 0.05)


def _turn(server: Any, seconds: float) -> None:
    wasyncore.loop(timeout=seconds, use_poll=True, map=server._map, count=1)  # noqa: SLF001 - waitress has no other way
