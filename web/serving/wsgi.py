"""The web as its own process: one granian worker with many blocking threads over the hub's services.

`python -m web.serving.wsgi` serves until SIGTERM or SIGINT; then every poll is released, running requests end, the last
heartbeats go out.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from granian.constants import HTTPModes, Interfaces, RuntimeModes
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from config.clock import wait_for
from config.logs import set_up_logs
from config.processes import END_WITHIN_S, end_within
from config.settings import Settings, SettingsError
from fedyard.wire.stopping import called_apart, on_stop_signal
from storage.migrate import await_schema
from web.live.connections import make_room

if TYPE_CHECKING:
    from flask import Flask

log = logging.getLogger(__name__)

BACKLOG = 4096
"""Connections that may wait to be accepted."""
BUFFER_BYTES = 131_072
"""What granian reads ahead of one connection. Its own default, 408 KiB, is a third of the memory of many uploads."""
IDLE_S = 30.0
"""Between two requests of a connection, at least. Where sites beat rarely it lives as long as they may be silent: who
beats every 30 s shall not find it closed just then."""
STOP_WITHIN_S = 20
AGAIN_EVERY_S = 0.5
"""How often who shall end is told so, and how often the worker looks whether its main process is gone."""
_NEVER = threading.Event()


def serve(settings: Settings) -> None:
    """Serve until told to stop. Raises `SettingsError` for the embedded mode, which is one process of its own."""
    if settings.embedded:
        raise SettingsError("FEDYARD_BROKER_URL is embedded: that hub is one process, fedyard-hub embedded starts it")
    stop = threading.Event()
    on_stop_signal(stop.set)  # the first process of a container is deaf to signals that nobody asked for
    await_schema(settings.database_url, "fedyard web", stop, log)
    if stop.is_set():
        return
    for number in (signal.SIGTERM, signal.SIGINT):  # granian's own are set a moment later
        signal.signal(number, signal.SIG_DFL)
    listen(settings, lambda: _load(settings))


def listen(settings: Settings, load: Callable[[], Flask]) -> None:
    """One worker process that serves the app which `load` makes in it."""
    logging.getLogger("_granian").addFilter(_not_about_threads)
    _Server(
        "web.serving.wsgi",
        address=settings.web_host,
        port=settings.web_port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=settings.web_threads,
        blocking_threads_idle_timeout=60,
        runtime_mode=RuntimeModes.st,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(1000 * max(IDLE_S, settings.silent_after_s)), max_buffer_size=BUFFER_BYTES
        ),
        websockets=False,
        backlog=BACKLOG,
        backpressure=make_room(settings.connections),
        log_level=LogLevels.warning,
        log_access=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_WITHIN_S,
    ).serve(target_loader=partial(_begin, os.getpid(), load), wrap_loader=False)


class _Server(MPServer):
    """granian's main process, with a way to stop that nothing gets lost on.

    Its own waits for ever if several signals come at once (see `called_apart`), and its worker misses one that comes
    while it is being set up. So they are told again until they have ended.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._asked = called_apart(self._end)

    def signal_handler_interrupt(self, *_: object) -> None:
        self._asked()

    def _end(self) -> None:
        end_within(END_WITHIN_S)
        self.interrupt_signal = True
        while True:
            self.main_loop_interrupt.set()
            wait_for(_NEVER, AGAIN_EVERY_S)
            workers: list[Any] = [*self.wrks]
            for worker in workers:
                worker.terminate()


def _begin(main: int, load: Callable[[], Flask]) -> Flask:
    """In granian's worker, on its main thread. main: the process that it ends with."""
    # What is inherited nobody follows here, and granian sets its own when the app is there: before, a signal ends it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(main,), name="fedyard-leash", daemon=True).start()
    return load()


def _end_with(main: int) -> None:
    while os.getppid() == main:
        wait_for(_NEVER, AGAIN_EVERY_S)
    end_within(END_WITHIN_S)
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(_NEVER, AGAIN_EVERY_S)


def _not_about_threads(record: logging.LogRecord) -> bool:
    """granian warns at every start of more threads than cores. Ours wait (docs/adr/0005-waiting.md)."""
    return "Python threads" not in record.getMessage()


def _load(settings: Settings) -> Flask:
    """In granian's worker, on its main thread. The master never serves: what only the worker needs it does not load."""
    from web.serving.worker import load  # noqa: PLC0415 - it brings Flask and all of the app

    return load(settings)


def main() -> int:
    """Check what can be checked before serving; the exit code."""
    try:
        settings = Settings.read()
        set_up_logs("web", settings.log_level, settings.log_format)
        serve(settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
