"""The hub's processes, each made of production parts over this world's database, broker and clock."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

import web.serving.app
from actors.deciding import DECIDERS, Decider, DecidingThread
from actors.doing import DOERS, Doer
from actors.ledger import Ledger
from actors.relay import Relay
from actors.streams import StreamDoer
from actors.sweeper import Sweeper
from actors.ticker import Ticker
from actors.webhooks import WebhookDoer
from actors.workloads import WorkloadDoer
from broker.messages import Delivery
from config.secret_box import SecretBox
from config.settings import Settings
from domain.commands import CollectWorkload, DeliverWebhook, EndPlace, EndWorkload, EnsureWorkload
from domain.rules import Rules, StreamCluster, StreamRules
from domain.stream_commands import PrepareStream
from domain.streams.door import PATH as DOOR
from k8s.clusters import HubCluster
from storage.blobs.opening import open_blobs
from storage.due import Due
from storage.signals import Announcement
from storage.store import Store
from storage.wanted import WantedWorkloads
from tests.simulation.broker import SimulatedPublisher, WorkersBroker
from tests.simulation.clusters import KEY as CLUSTER_KEY
from tests.simulation.clusters import NAME
from tests.simulation.receivers import KEY
from tests.simulation.topics import SimulatedTopics
from tests.simulation.turns import Waiting
from tests.simulation.world import Broken, Killed, Process, World
from web.api.contents import OCTETS
from web.http.hub import Hub
from web.http.routing import routing_of
from web.live.heartbeats import HeartbeatBuffer

ROUTING = routing_of(web.serving.app.operations_of(Settings()))
RELAY_AFTER_S = 2.0
SWEEP_EVERY_S = 3.0
TICK_EVERY_S = 1.0
HEARTBEAT_EVERY_S = 3.0
KEEP_ARTIFACTS_S = 10.0
RETENTION_EVERY_S = 5
SILENT_AFTER_S = 3 * HEARTBEAT_EVERY_S
SITE_LOST_AFTER_S = 13.0
WRITES_PER_S = 5.0
"""Of one subject."""
RECOVERY_COUNTS_AS = 20
"""Writes: a site may make one every four seconds, as with the hub's own figures."""
RULES = Rules(
    message_ttl_s=600.0,
    project_quota_bytes=2_000,
    site_quota_bytes=1_000,
    unfinished_artifacts=5,
    unfinished_bytes=600,
    backlog_messages=12,
    tokens_per_owner=8,
    tokens_per_day=12,
    sessions_per_account=4,
    keep_artifacts_s=KEEP_ARTIFACTS_S,
    keep_uploads_s=15.0,
    silent_after_s=SILENT_AFTER_S,
    site_lost_after_s=SITE_LOST_AFTER_S,
    clusters=NAME,
)
_KAFKA = StreamCluster(
    "cloud", control_topics=("control",), model_topics=("models",), data_topics=("data",), where=NAME
)
RULES_OF_STREAMS = msgspec.structs.replace(
    RULES, streams=StreamRules(clusters=(_KAFKA,), images={"pytorch_training": "any"}, door_url="https://hub")
)
"""Where there is a cluster of Kafka."""
OF_WORKLOADS = (EnsureWorkload, CollectWorkload, EndWorkload, EndPlace)


class DecidingProcess(Process):
    """A worker process with its one deciding thread; there are two of them."""

    def start(self) -> None:
        database = self.open()
        store = Store(database, self.world.web.announced)
        rules = RULES_OF_STREAMS if self.world.kafka.on else RULES
        decider = Decider(store, SimulatedPublisher(self.world, self), self, rules)
        self.broker = WorkersBroker(self.world, self)
        worker: Any = _Worker(self.broker)
        self.thread = DecidingThread(worker, decider, self, at_most=self.world.chance.choice((1, 3, 20, 500)))

    def step(self) -> float:
        assert self.database is not None
        self.database.hold()
        taken = self.world.broker.take(self, self.world.chance.choice((1, 2, 5, 40)), DECIDERS)
        if not taken:
            return self.world.chance.uniform(0.02, 0.15)
        for message in taken:
            self.broker.work.put(Waiting(message))
        self.thread.running = True
        while not self.broker.work.empty():
            self.thread.process_message(self.broker.work.get_nowait().message)
        return self.world.chance.uniform(0.01, 0.1)

    def sleep(self, seconds: float) -> None:
        """The database is away: in one thread it cannot come back meanwhile, so the messages go back to the queue."""
        self.thread.running = False

    def die(self) -> None:
        self.world.broker.lost(self)


class DoingProcess(Process):
    """A worker process that carries out what is done outside. It may die between that and its report."""

    def start(self) -> None:
        deliver = WebhookDoer(KEY, self.world.receivers.post_of(self), self)
        clusters = {NAME: HubCluster(NAME, self.world.cluster.of(self))}
        wanted = WantedWorkloads(self.open(), CLUSTER_KEY)
        look_after = WorkloadDoer(clusters, wanted, self, CLUSTER_KEY, "https://hub", SecretBox(CLUSTER_KEY))
        prepare = StreamDoer({_KAFKA.name: lambda: SimulatedTopics(self.world, self)}, self)
        doing = {DeliverWebhook: deliver, PrepareStream: prepare, **dict.fromkeys(OF_WORKLOADS, look_after)}
        self.doer = Doer(doing, SimulatedPublisher(self.world, self), self)
        self.broker = WorkersBroker(self.world, self)

    def step(self) -> float:
        assert self.database is not None
        self.database.hold()
        for message in self.world.broker.take(self, self.world.chance.choice((1, 2)), DOERS):
            self._carry_out(message)
        return self.world.chance.uniform(0.02, 0.15)

    def _carry_out(self, message: Delivery) -> None:
        """As Dramatiq's worker does it, but for a death in the midst of it, which nobody catches."""
        error: Exception | None = None
        try:
            self.doer.do(message.args[0])
        except Exception as raised:  # noqa: BLE001 - what an actor raises
            error = raised
        self.broker.emit_after("process_message", message, exception=error)
        self.broker.post_process_message(message)

    def die(self) -> None:
        self.world.broker.lost(self)


class _Worker:
    """What a deciding thread wants to know of its worker."""

    worker_timeout = 100

    def __init__(self, broker: WorkersBroker) -> None:
        self.broker = self.consumers = broker
        self.work_queue = broker.work


class RelayProcess(Process):
    """With the sweeper, as in the hub."""

    def start(self) -> None:
        database = self.open()
        self.relay = Relay(Store(database), SimulatedPublisher(self.world, self), self, RELAY_AFTER_S)
        self.sweeper = Sweeper(self.world.web.blobs, database, self, SWEEP_EVERY_S)
        self.ledger = Ledger(self.world.web.blobs, database, SimulatedPublisher(self.world, self), self)

    def step(self) -> float:
        assert self.database is not None
        self.database.hold()
        self.relay.sweep()
        self.ledger.turn()
        self.sweeper.turn()
        return RELAY_AFTER_S


class TickerProcess(Process):
    """There are two, and both lead: leading is only there to save work. The clock of the second may be far off."""

    def astray(self) -> int:
        return self.world.astray if self.name == "ticker 2" and not self.world.calm else 0

    def start(self) -> None:
        self.ticker = Ticker(
            Due(self.open()),
            SimulatedPublisher(self.world, self),
            self,
            silent_after_s=SILENT_AFTER_S,
            site_lost_after_s=SITE_LOST_AFTER_S,
            keep_artifacts_s=KEEP_ARTIFACTS_S,
        )

    def step(self) -> float:
        self.ticker.tick()
        return TICK_EVERY_S


class StillHeartbeats(HeartbeatBuffer):
    """Heartbeats are flushed in the web's turns, not by a thread."""

    def start(self) -> None:
        pass


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


class Lost(Exception):
    """No answer. Whether the request was carried out, its sender cannot know."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    token: str
    body: Any = None
    key: str | None = None
    content_type: str = ""
    cookie: str = ""

    @property
    def waits(self) -> bool:
        """Is it answered once it is decided?"""
        return self.method == "POST" and self.path.startswith((f"{DOOR}/", "/page/"))


class Web(Process):
    """The Flask app, its memory, and the network before it. Its turns flush heartbeats and hear announcements."""

    def __init__(self, world: World, settings: Settings) -> None:
        super().__init__(world, "web")
        self._settings = settings
        self.blobs = open_blobs(settings.artifacts_url, self)
        self._announcements: deque[tuple[int, Announcement]] = deque()
        self._hear: list[Callable[[Announcement], None]] = []
        self._forget: list[Callable[[], None]] = []
        self._late: list[tuple[int, Request]] = []
        self.under_way = 0
        self.slowest = 0
        """Microseconds that a request or an announcement has taken at most: it may have stood still on its way."""

    def start(self) -> None:
        self._announcements.clear()
        self._hear, self._forget = [], []
        publisher = SimulatedPublisher(self.world, self)
        self.app = web.serving.app.create_app(
            Hub(self._settings, self.open(), publisher, self, self, self.blobs), ROUTING
        )

    def step(self) -> float:
        """The connection that announcements come over may break: then some are lost, and the web is told."""
        if self.world.befalls("lost announcements"):
            self._announcements.clear()
            for forget in self._forget:
                forget()
        while self._announcements:
            told_at, announcement = self._announcements.popleft()
            self.slowest = max(self.slowest, self.world.micros - told_at)
            for hear in self._hear:
                hear(announcement)
        web.serving.app.web_of(self.app).heartbeats.flush()
        waited_for = self.world.waited_for
        for late in [one for one in self._late if one[0] <= self.world.micros and not (waited_for and one[1].waits)]:
            self._late.remove(late)
            self.answer(late[1])
        return self.world.chance.uniform(0.05, 0.4)

    def has_its_database_to_itself(self) -> bool:
        """Requests have connections of their own; here they share one, which must not be cut below another's feet."""
        return not self.under_way

    # signals

    def subscribe(self, heard: Callable[[Announcement], None], reset: Callable[[], None]) -> None:
        self._hear.append(heard)
        self._forget.append(reset)

    def announced(self, announcement: Announcement) -> None:
        """By a decider, after its commit; to be heard in a later turn."""
        if not self.world.befalls("unheard announcement"):
            self._announcements.append((self.world.micros, announcement))

    def ready(self) -> str | None:
        return None

    def close(self) -> None:
        pass

    # the network

    def ask(self, request: Request) -> Answer:
        """What a client gets. Raises `Lost`."""
        if not self.alive or self.world.befalls("lost request"):
            raise Lost
        if self.world.befalls("late request"):
            self.late(request, self.world.chance.uniform(0.5, 10))
            raise Lost
        fuse, cutting = self.fuse, self.cutting
        self.world.light_fuse(self)
        try:
            answer = self.answer(request)
        except Killed as killed:
            if killed.process is not self:
                raise
            raise Lost from None
        self.fuse, self.cutting = fuse, cutting
        if not self.alive or self.world.befalls("lost answer"):
            raise Lost
        return answer

    def late(self, request: Request, after_s: float) -> None:
        """It arrives when nobody waits for it."""
        self._late.append((self.world.micros + int(after_s * 1_000_000), request))

    def answer(self, request: Request) -> Answer:
        """Carry a request out."""
        assert self.database is not None
        self.database.hold()
        life = self.life
        raw = isinstance(request.body, bytes)
        content = request.body if raw else b"" if request.body is None else msgspec.json.encode(request.body)
        url = urlsplit(request.path)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "SERVER_NAME": "hub",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": request.content_type or (OCTETS if raw else "application/json" if content else ""),
            "CONTENT_LENGTH": str(len(content)),
            "HTTP_AUTHORIZATION": f"Bearer {request.token}",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(content),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if request.key is not None:
            environ["HTTP_IDEMPOTENCY_KEY"] = request.key
        if request.cookie:
            environ["HTTP_COOKIE"] = request.cookie
        began: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None, /) -> Callable[[bytes], object]:
            began.update(status=int(status[:3]), headers=dict(headers))
            return io.BytesIO().write

        began_at = self.world.micros
        self.under_way += 1
        try:
            parts = self.app.wsgi_app(environ, start_response)
            said = b"".join(parts)
            getattr(parts, "close", lambda: None)()
        finally:
            self.under_way -= 1
        if life != self.life or not self.alive:
            raise Killed(self)
        if not request.waits:
            self.slowest = max(self.slowest, self.world.micros - began_at)
        plain = said and "json" not in began["headers"]["Content-Type"]
        told = (
            said
            if plain or began["headers"].get("Content-Type") == OCTETS
            else msgspec.json.decode(said)
            if said
            else None
        )
        answer = Answer(began["status"], began["headers"], told)
        if answer.status == 500:
            raise Broken(f"{request.method} {request.path} was answered with 500")
        command = answer.headers.get("Fedyard-Command")
        if command is not None:
            self.world.checker.promised[command] = f"{request.method} {request.path}"
        return answer
