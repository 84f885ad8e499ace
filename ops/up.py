"""`make up`: the hub as its users run it. RabbitMQ, PostgreSQL, migrations, then the Procfile's processes.

Ctrl-C or SIGTERM stops all of it in order: first the web, so that nothing new comes in, then the others, then the
servers. What was accepted lies in RabbitMQ or PostgreSQL and goes on at the next start.
"""

from __future__ import annotations

import http.client
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from broker.opening import prepare_broker
from broker.policies import apply_policies
from broker.routes import QUEUES
from config.clock import SystemClock
from config.settings import Settings, SettingsError, path_url
from config.stream_properties import check_properties
from config.streams import open_streams
from devservers.installing import install_missing
from devservers.kafka import PrivateNoida
from devservers.ports import free_port
from devservers.postgres import PrivatePostgres
from devservers.process import kept_secret
from devservers.rabbitmq import PrivateRabbitmq
from fedyard.wire.forgiving import forgive
from ops.place import CHECKOUT, DEFAULT, PASSED_THROUGH, Whereabouts, only_hub_in, remember
from ops.private_servers import LookedAfter
from ops.supervisor import Supervisor, processes_of
from storage.database import open_database
from storage.migrate import migrate

VHOST = "fedyard"
WEBSOCKET = ".venv/bin/python -m web.serving.websocket"
PRIVATE_STREAMS = "private"
"""What FEDYARD_STREAMS says to `make up` for brokers of its own."""
STREAMS = """\
# Written once; change it as you like. Ports of the private brokers stay the same.
events_cluster = "cloud"

[clusters.cloud]
bootstrap_servers = "{cloud}"
settings_file = "{settings}"
control_topics = ["KAFKA_ML_CONTROL_TOPIC"]
model_topics = ["FEDERATED_MODEL_CONTROL_TOPIC"]

[clusters.edge]
bootstrap_servers = "{edge}"
settings_file = "{settings}"
data_topics = ["FEDERATED_DATA_CONTROL_TOPIC"]
"""
ONE_BRIDGE = """\
# The private brokers never give up a member of a group that was killed, unless it is the same again: so there is one.
group.instance.id=bridge
"""
HUB_USER = "hub"
OPERATOR_USER = "operator"
ASK_EVERY_S = 0.5
COMPLAIN_AFTER_S = 20.0


class _Asked:
    """How often we were asked to stop. The second time nobody waits any more."""

    def __init__(self) -> None:
        self.times = 0
        self.supervisor: Supervisor | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._again)

    def _again(self, _signal: int, _frame: FrameType | None) -> None:
        self.times += 1
        if self.times > 1 and self.supervisor is not None:
            self.supervisor.hurried = True


def run_up(folder: Path, environment: Mapping[str, str]) -> int:
    """Run until SIGINT or SIGTERM; the exit code.

    Raises `InUse`, `Unusable`, `ServerError`, `ManagementError`, `SettingsError`, `DatabaseUnavailable`.
    """
    forgive()
    asked = _Asked()
    with ExitStack() as stack:
        stack.enter_context(only_hub_in(folder, PASSED_THROUGH))
        whereabouts, private = _servers(folder, environment, stack)
        settings = Settings.read(_ours(whereabouts.environment))
        if settings.embedded:
            raise SettingsError("FEDYARD_BROKER_URL names the embedded broker: run fedyard-hub embedded")
        streams = open_streams(settings)  # a contradiction in it shall stop the start, and not each process
        check_properties(streams)
        _bring_up_to_date(settings)
        remember(folder, whereabouts)
        processes = {**environment, **whereabouts.environment}
        commands = processes_of(CHECKOUT / "Procfile", streams=bool(settings.streams))
        commands |= {"websocket": WEBSOCKET} if streams.websocket_port else {}
        supervisor = Supervisor(commands, CHECKOUT, processes, SystemClock())
        asked.supervisor = supervisor
        stack.callback(supervisor.stop)
        if not asked.times:
            supervisor.start()
            _watch(supervisor, private, asked, lambda: _addresses(folder, whereabouts), whereabouts.api)
        supervisor.say("stopping: first the web, then the others, then the servers")
    return 0


def _ours(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("FEDYARD_")}


def _servers(folder: Path, environment: Mapping[str, str], stack: ExitStack) -> tuple[Whereabouts, list[LookedAfter]]:
    """The servers that the environment names, or private ones, which stop with the stack and want looking after."""
    ours, management = _ours(environment), None
    private: list[LookedAfter] = []
    wanted = {"FEDYARD_BROKER_URL", "FEDYARD_DATABASE_URL"} - set(ours)
    if wanted:
        install_missing()
    if "FEDYARD_DATABASE_URL" in wanted:
        print(f"starting a private PostgreSQL in {folder / 'postgres'}", flush=True)
        postgres = PrivatePostgres(folder / "postgres")
        postgres.start()
        stack.callback(postgres.stop)
        private.append(LookedAfter("PostgreSQL", postgres, SystemClock()))
        ours["FEDYARD_DATABASE_URL"] = postgres.database("fedyard")
    if "FEDYARD_BROKER_URL" in wanted:
        print(f"starting a private RabbitMQ in {folder / 'rabbitmq'} (about ten seconds)", flush=True)
        rabbitmq = PrivateRabbitmq(folder / "rabbitmq", management_port=15672)
        rabbitmq.start()
        stack.callback(rabbitmq.stop)
        private.append(LookedAfter("RabbitMQ", rabbitmq, SystemClock()))
        ours["FEDYARD_BROKER_URL"], management = _users(rabbitmq)
    if ours.get("FEDYARD_STREAMS") == PRIVATE_STREAMS:
        ours["FEDYARD_STREAMS"] = str(_kafka(folder, stack, private))
    ours.setdefault("FEDYARD_ARTIFACTS_URL", path_url("file", folder.resolve() / "artifacts"))
    ours.setdefault("FEDYARD_HEAD_KEY_FILE", str(folder.resolve() / "head.key"))
    ours.setdefault("FEDYARD_WEBHOOK_KEY_FILE", str(folder.resolve() / "webhook.key"))
    ours.setdefault("FEDYARD_WORKLOAD_KEY_FILE", str(folder.resolve() / "workload.key"))
    if "FEDYARD_WEB_PORT" not in ours:
        ours["FEDYARD_WEB_PORT"] = str(free_port(8080))
    host = ours.get("FEDYARD_WEB_HOST", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - asked on loopback
    return Whereabouts(ours, f"http://{host}:{ours['FEDYARD_WEB_PORT']}", management), private


def _kafka(folder: Path, stack: ExitStack, private: list[LookedAfter]) -> Path:
    """Two private brokers, cloud and edge, and a file of streams that names them, unless there is one already."""
    servers = {name: PrivateNoida(folder / f"kafka-{name}") for name in ("cloud", "edge")}
    for name, server in servers.items():
        server.start()
        print(f"started a private Kafka ({name}) in {server.folder}: {server.bootstrap_servers}", flush=True)
        stack.callback(server.stop)
        private.append(LookedAfter(f"Kafka ({name})", server, SystemClock()))
    file = folder.resolve() / "streams.toml"
    if not file.exists():
        settings = file.with_name("kafka.properties")
        settings.write_text(ONE_BRIDGE, encoding="utf-8")
        where = {name: server.bootstrap_servers for name, server in servers.items()}
        file.write_text(STREAMS.format(settings=settings, **where), encoding="utf-8")
    return file


def _users(rabbitmq: PrivateRabbitmq) -> tuple[str, str]:
    """The hub's own AMQP URL and the administrator's management URL. Also a login that may only look."""
    rabbitmq.vhost(VHOST)
    for user, tags in ((HUB_USER, ""), (OPERATOR_USER, "monitoring")):
        rabbitmq.management.put_user(user, kept_secret(rabbitmq.folder / f"password-{user}"), tags)
    rabbitmq.management.put_permission(VHOST, HUB_USER)
    rabbitmq.management.put_permission(VHOST, OPERATOR_USER, names="^$")
    apply_policies(rabbitmq.management.call, VHOST)
    address = rabbitmq.management_url.removeprefix("http://")
    password = kept_secret(rabbitmq.folder / f"password-{HUB_USER}")
    return (
        f"amqp://{HUB_USER}:{password}@127.0.0.1:{rabbitmq.port}/{VHOST}",
        f"http://{rabbitmq.user}:{rabbitmq.password}@{address}",
    )


def _bring_up_to_date(settings: Settings) -> None:
    database = open_database(settings.database_url, pool=1, name="fedyard migrate")
    for name in migrate(database):
        print(f"applied migration {name}", flush=True)
    database.close()
    prepare_broker(settings, "up")


def _watch(
    supervisor: Supervisor, private: Sequence[LookedAfter], asked: _Asked, addresses: Callable[[], str], api: str
) -> None:
    """Keep them running until asked to stop; say when the hub is ready, and what is wrong if it isn't soon."""
    clock = SystemClock()
    ready, complain_at = False, clock.monotonic() + COMPLAIN_AFTER_S
    while not asked.times:
        supervisor.turn(ASK_EVERY_S)
        for server in private:
            server.turn(supervisor.say)
        if ready:
            continue
        trouble = _trouble(api)
        if trouble is None:
            ready = True
            print(addresses(), flush=True)
            print(f"ready {api}", flush=True)
        elif clock.monotonic() > complain_at:
            supervisor.say(f"not ready yet: {trouble}")
            complain_at = clock.monotonic() + COMPLAIN_AFTER_S


def _trouble(api: str) -> str | None:
    """None if the hub is ready, else what it says is missing."""
    try:
        with urllib.request.urlopen(f"{api}/readyz", timeout=1):  # noqa: S310 - our own web's address
            return None
    except urllib.error.HTTPError as error:
        return _parts(error.read())
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        said = why.strerror if isinstance(why, OSError) else None
        return f"the web does not answer ({said or 'the connection broke, or was too slow'})"


def _parts(answer: bytes) -> str:
    try:
        parts = json.loads(answer)["parts"]
    except (ValueError, KeyError):
        return "the web answers, but not as ours"
    return "; ".join(f"{name}: {state}" for name, state in parts.items() if state != "ok")


def _addresses(folder: Path, whereabouts: Whereabouts) -> str:
    data = "" if folder.resolve() == DEFAULT else f" --data {folder}"
    lines = [
        "",
        "Fedyard is up.",
        f"  API          {whereabouts.api}   (described by /openapi.json; /readyz, /metrics)",
    ]
    if whereabouts.environment.get("FEDYARD_PAGE") != "off":
        lines.append(
            f"  Page         {whereabouts.api}/   fedyard-hub sign-in{data} NAME makes a link that signs in once"
        )
    if whereabouts.management:
        ui = whereabouts.management.rpartition("@")[2]
        password = folder / "rabbitmq" / f"password-{OPERATOR_USER}"
        lines.append(f"  RabbitMQ     http://{ui}   log in as {OPERATOR_USER}, password in {password}")
    lines += ["", "  What RabbitMQ's queues mean:"]
    lines += [f"    {queue.name:<15} {queue.meaning}" for queue in QUEUES]
    lines += [
        "    <queue>.DQ      waits before another try",
        f"    <queue>.XQ      dead letters: fedyard-hub dead-letters list{data}",
        "",
        "  The first account (its token goes into a file of yours):",
        f'    fedyard-hub account create{data} --organisation "Our hospital" --name ada --role admin \\',
        "        --token-file ada.token",
        "",
    ]
    return "\n".join(lines)
