"""The web's worker process: the app over the hub's services, and how they are let go when it stops."""

from __future__ import annotations

import functools
import signal
import socket
import threading

from flask import Flask

from broker.opening import dead_letters_in, open_publisher
from config.logs import set_up_logs
from config.memory import keep_giving_back
from config.settings import Settings
from storage.blobs.opening import open_blobs
from storage.clocks import open_clock
from storage.database import open_database
from storage.signals import PostgresSignals
from web.http.hub import Hub
from web.live.connections import Connections, limits_of, make_room
from web.serving.app import close, create_app, release
from web.serving.nudges import Nudges


def load(settings: Settings) -> Flask:
    """The app; to be called on the main thread."""
    set_up_logs("web", settings.log_level, settings.log_format)
    database = open_database(settings.database_url, pool=settings.database_pool + 1, name="fedyard web")
    stopping = threading.Event()
    clock = open_clock(database, "web", stopping)
    nudges = Nudges(settings.web_host, settings.web_port)
    nudges.start()
    connections = Connections(limits_of(settings, make_room(settings.connections)), clock)
    connections.watch(settings.web_port)
    hub = Hub(
        settings=settings,
        database=database,
        publisher=open_publisher(settings, "web"),
        signals=PostgresSignals(settings.database_url),
        clock=clock,
        blobs=open_blobs(settings.artifacts_url, clock),
        occupied=nudges.soon,
        connections=connections,
        dead_letters=functools.partial(dead_letters_in, settings),
    )
    app = create_app(hub)
    _when_told_to_stop(app, hub, nudges, connections, stopping)
    return app


def _when_told_to_stop(
    app: Flask, hub: Hub, nudges: Nudges, connections: Connections, stopping: threading.Event
) -> None:
    """Release the polls as soon as a signal comes, and let go of everything after the server has ended.

    granian sets its own signal handlers; the wake-up descriptor hears of a signal beside them.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    keep_giving_back(stopping)

    def stop() -> None:
        with heard, told:  # open to the end: the signal comes again and again, and what is closed may be another's next
            while heard.recv(1)[0] not in (signal.SIGTERM, signal.SIGINT):
                pass
            stopping.set()
            release(app)
            threading.main_thread().join()
            nudges.close()
            connections.close()
            close(app)
            hub.publisher.close()
            hub.signals.close()
            hub.database.close()

    threading.Thread(target=stop, name="fedyard-stop").start()
