"""The websocket of Kafka-ML's front end: people look on at what their inferences answer. A small process of its own.

The client says `{"topic": ..., "classification": true|false}`; each record that comes from then on is sent as text: its
value, or, of a classification, the place of the largest of its `values`. A second such message takes the place of the
first. Only topics of inferences in projects of the caller's are shown, and only as long as that is so.

`python -m web.serving.websocket` serves until SIGTERM, if FEDYARD_STREAMS names a port.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection
from websockets.sync.server import serve as listen

from broker.kafka_following import KafkaFollower
from broker.streams import Follower, NotAccepted, Unreachable
from config.clock import Clock, SystemClock
from config.logs import set_up_logs, unit
from config.settings import Settings, SettingsError
from config.stream_properties import properties_of
from config.streams import Streams, open_streams
from domain.ids import Id
from fedyard.wire.stopping import on_stop_signal
from storage.database import Database, DatabaseUnavailable, open_database
from storage.migrate import await_schema
from storage.views import people
from storage.views.people import Bearer
from storage.views.streams.shown_topics import cluster_of
from web.live.tokens import Tokens
from web.problems import Refused

MAX_OPEN = 100
EACH = 10
"""Of one caller."""
MAX_MESSAGE_BYTES = 4096
SAY_WITHIN_S = 30.0
"""How long a client may take until it says what it wants to see."""
LOOK_EVERY_S = 0.2
"""How often a socket that shows looks for a message of its client."""
ALLOWED_FOR_S = 15.0
"""How long it is believed that a caller may look on."""
VIOLATES = 1008
AGAIN_LATER = 1013
_log = logging.getLogger(__name__)

Follow = Callable[[str, str], Follower]
"""Cluster, topic -> what comes there. Raises `Unreachable`, `NotAccepted`."""


class Wanted(msgspec.Struct, frozen=True):
    """What a client says."""

    topic: str
    classification: bool = False


class _Values(msgspec.Struct):
    values: list[float]


class Ended(Exception):
    """The socket is closed. code: of RFC 6455. reason: at most 120 characters."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason[:120]


_wanted = msgspec.json.Decoder(Wanted)
_values = msgspec.json.Decoder(_Values)


def shown(value: bytes, *, classification: bool) -> str:
    """As the front end takes it. What is no answer with values is shown as it is, whatever was asked for."""
    if classification:
        try:
            values = _values.decode(value).values
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            values = []
        if values:
            return str(max(range(len(values)), key=values.__getitem__))
    return value.decode(errors="replace")


class Sockets:
    """Handles connections, each on a thread of its own."""

    def __init__(self, database: Database, follow: Follow, clock: Clock) -> None:
        self._database = database
        self._follow = follow
        self._clock = clock
        self._tokens = Tokens(lambda sha256: people.bearers(database, [sha256])[0], clock)
        self._lock = threading.Lock()
        self._open: Counter[Id] = Counter()

    def let_in(self, connection: ServerConnection, request: Request) -> Response | None:
        """The answer of who is not let in: without a token, from another origin's page, or one too many."""
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        if origin is not None and urlsplit(origin).netloc != host:
            return connection.respond(HTTPStatus.FORBIDDEN, "pages of other origins may not look on\n")
        try:
            self._caller(request)
        except Refused as error:
            return connection.respond(HTTPStatus.UNAUTHORIZED, f"{error.detail}\n")
        except DatabaseUnavailable:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "the database is away\n")
        return None

    def _caller(self, request: Request | None) -> Bearer:
        """Raises `Refused`."""
        assert request is not None
        return self._tokens.caller(request.headers.get("Authorization"))

    def handle(self, connection: ServerConnection) -> None:
        """One connection, to its end."""
        try:
            with self._place(self._caller(connection.request).subject.id):
                self._serve(connection)
        except ConnectionClosed:
            pass
        except Refused:
            connection.close(VIOLATES, "the token is not valid any more")
        except DatabaseUnavailable:
            connection.close(AGAIN_LATER, "the database is away")
        except Ended as ended:
            connection.close(ended.code, ended.reason)

    @contextmanager
    def _place(self, caller: Id) -> Iterator[None]:
        with self._lock:
            if self._open.total() >= MAX_OPEN or self._open[caller] >= EACH:
                raise Ended(AGAIN_LATER, "too many sockets are open")
            self._open[caller] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[caller] -= 1
                self._open += Counter()  # forgets who has none

    def _serve(self, connection: ServerConnection) -> None:
        try:
            said = connection.recv(timeout=SAY_WITHIN_S)
        except TimeoutError:
            raise Ended(VIOLATES, "say what to show") from None
        while True:
            said = self._show(connection, _read(said))

    def _show(self, connection: ServerConnection, wanted: Wanted) -> str | bytes:
        """Show a topic until the client says something else: that."""
        cluster = self._allowed(connection, wanted.topic)
        try:
            follower = self._follow(cluster, wanted.topic)
        except (Unreachable, NotAccepted) as error:
            _log.warning("cannot be shown", extra=unit(cluster=cluster, error=error.fact))
            raise Ended(AGAIN_LATER, "the topic cannot be read now") from None
        allowed_until = self._clock.monotonic() + ALLOWED_FOR_S
        try:
            while True:
                if self._clock.monotonic() >= allowed_until:
                    self._allowed(connection, wanted.topic)
                    allowed_until = self._clock.monotonic() + ALLOWED_FOR_S
                try:
                    return connection.recv(timeout=0)
                except TimeoutError:
                    pass
                value = follower.poll(LOOK_EVERY_S)
                if value is not None:
                    connection.send(shown(value, classification=wanted.classification))
        except (Unreachable, NotAccepted) as error:
            _log.warning("cannot be shown any more", extra=unit(cluster=cluster, error=error.fact))
            raise Ended(AGAIN_LATER, "the topic cannot be read any more") from None
        finally:
            follower.close()

    def _allowed(self, connection: ServerConnection, topic: str) -> str:
        """The topic's cluster. Raises `Ended` where it is none of the caller's, which looks as if there were none."""
        bearer = self._caller(connection.request)
        cluster = None
        if "read" in bearer.scopes and bearer.project_id is None:
            cluster = cluster_of(self._database, bearer.subject, topic)
        if cluster is None:
            raise Ended(VIOLATES, "this is no topic of an inference of yours")
        return cluster


def _read(said: str | bytes) -> Wanted:
    try:
        return _wanted.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Ended(VIOLATES, 'say {"topic": ..., "classification": true or false}') from None


def open_server(settings: Settings, streams: Streams, database: Database, clock: Clock) -> Server:
    """Listens on the port that the streams' settings name. Raises `OSError` if it is taken, `SettingsError`."""
    properties = {name: properties_of(name, cluster) for name, cluster in streams.clusters.items()}
    sockets = Sockets(database, functools.partial(_follower, properties), clock)
    return listen(
        sockets.handle,
        settings.web_host,
        streams.websocket_port,
        process_request=sockets.let_in,
        compression=None,
        max_size=MAX_MESSAGE_BYTES,
        max_queue=4,
        server_header=None,
        logger=logging.getLogger("web.websocket"),
    )


def _follower(properties: Mapping[str, Mapping[str, str]], cluster: str, topic: str) -> Follower:
    if cluster not in properties:
        raise NotAccepted(f"the settings know no cluster {cluster!r}")
    return KafkaFollower(properties[cluster], topic)


def main() -> None:
    """The process. Raises `SettingsError` where no port is set."""
    settings = Settings.read()
    streams = open_streams(settings)
    if not streams.websocket_port:
        raise SettingsError("websocket_port is not set in the file of FEDYARD_STREAMS: there is nothing to serve")
    set_up_logs("websocket", settings.log_level, settings.log_format)
    stop = threading.Event()
    on_stop_signal(stop.set)
    await_schema(settings.database_url, "fedyard websocket", stop, _log)
    if stop.is_set():
        return
    database = open_database(settings.database_url, pool=4, name="fedyard websocket")
    server = open_server(settings, streams, database, SystemClock())
    serving = threading.Thread(target=server.serve_forever, name="websocket", daemon=True)
    serving.start()
    _log.info("shows what inferences answer", extra=unit(port=streams.websocket_port))
    stop.wait()
    server.shutdown()
    database.close()


if __name__ == "__main__":
    main()
