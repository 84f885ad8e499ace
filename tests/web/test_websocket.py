"""The websocket of Kafka-ML's front end: whoever has inferences sees what they answer, and nobody else does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from broker.kafka_writing import KafkaTopics
from config.clock import SystemClock
from config.settings import Settings
from config.streams import Cluster, Streams
from devservers.kafka import PrivateNoida
from devservers.ports import free_port
from domain import stream_records as sr
from domain.ids import derive
from domain.stream_commands import NewRecord, NewTopic
from domain.stream_values import InferenceAsked
from storage.tables import COLUMNS
from tests.web.network import Network
from web.serving.websocket import AGAIN_LATER, ALLOWED_FOR_S, EACH, VIOLATES, open_server, shown

WITHIN_S = 20.0
ON_SQLITE = pytest.mark.parametrize("make_net", ["sqlite"], indirect=True)
"""What is asked of the database is asked of both by the first test."""


class Ahead(SystemClock):
    """May be told that more time has gone by."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class Shown:
    """A hub with a project that has an inference, and the websocket beside it."""

    def __init__(self, net: Network, kafka: PrivateNoida, name: str) -> None:
        self.net = net
        self.topics = KafkaTopics({"bootstrap.servers": kafka.bootstrap_servers})
        self.names = {name_of: f"{name}-{name_of}" for name_of in ("in", "out", "other")}
        self.topics.create([NewTopic(name=one) for one in self.names.values()])
        self.oslo = net.site("oslo")
        self.project = net.project(self.oslo)
        self.put_inference()
        streams = Streams(
            clusters={"cloud": Cluster(bootstrap_servers=kafka.bootstrap_servers)}, websocket_port=free_port()
        )
        self.port = streams.websocket_port
        self.clock = Ahead()
        self.server = open_server(Settings(), streams, net.database, self.clock)
        self.serving = threading.Thread(target=self.server.serve_forever)
        self.serving.start()

    def close(self) -> None:
        self.server.shutdown()
        self.serving.join(WITHIN_S)
        self.topics.close()

    def put_inference(self) -> None:
        asked = InferenceAsked(
            input_format="RAW", input_config="{}", input_topic=self.names["in"], output_topic=self.names["out"]
        )
        row = sr.Inference(
            id=derive(self.project, "inference"),
            number=1,
            project_id=self.project,
            result_id=derive("result"),
            result_number=1,
            framework="tf",
            distributed=0,
            cluster="cloud",
            input_topic=self.names["in"],
            group_id="inf1",
            asked_json=msgspec.json.encode(asked).decode(),
            location="hub",
            state="serving",
            state_at=0,
            created_by=self.oslo.id,
            created_at=0,
        )
        names = ", ".join(COLUMNS[sr.Inference])
        places = ", ".join(["%s"] * len(COLUMNS[sr.Inference]))
        with self.net.database.connection():
            self.net.database.execute(
                f"INSERT INTO inferences ({names}) VALUES ({places})", msgspec.structs.astuple(row)
            )

    def connect(self, token: str | None = "", **more: Any) -> ClientConnection:
        bearer = self.oslo.token if token == "" else token
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return connect(f"ws://127.0.0.1:{self.port}/ws/", additional_headers=headers, proxy=None, **more)

    def ask(self, socket: ClientConnection, topic: str, *, classification: bool = False) -> None:
        socket.send(json.dumps({"topic": self.names.get(topic, topic), "classification": classification}))

    def answers(self, socket: ClientConnection, topic: str, value: bytes) -> str:
        """What is shown of a record: it is written until it is, for nobody says when a socket begins to look."""
        for _ in range(int(WITHIN_S / 0.3)):
            self.topics.write([NewRecord(topic=self.names[topic], key=None, value=value)])
            try:
                return str(socket.recv(timeout=0.3))
            except TimeoutError:
                continue
        raise AssertionError("nothing was shown")

    def read_on(self, socket: ClientConnection) -> None:
        while True:
            socket.recv(timeout=WITHIN_S)

    def ended(self, socket: ClientConnection) -> int:
        with pytest.raises(ConnectionClosedError) as closed:
            self.read_on(socket)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code


@pytest.fixture
def hub(make_net: Callable[..., Network], noida: PrivateNoida, request: pytest.FixtureRequest) -> Iterator[Shown]:
    made = Shown(make_net(), noida, f"ws-{derive('test', request.node.name)[:8]}")
    yield made
    made.close()


def test_a_member_sees_what_an_inference_answers(hub: Shown) -> None:
    with hub.connect() as socket:
        hub.ask(socket, "out")
        assert hub.answers(socket, "out", b'{"values":[0.1,0.9]}') == '{"values":[0.1,0.9]}'


@ON_SQLITE
def test_a_second_message_takes_the_place_of_the_first(hub: Shown) -> None:
    with hub.connect() as socket:
        hub.ask(socket, "out")
        hub.answers(socket, "out", b"first")
        hub.ask(socket, "in", classification=True)
        while (said := hub.answers(socket, "in", b'{"values":[1, 7, 3]}')) == "first":
            pass
        assert said == "1"


@ON_SQLITE
def test_nobody_sees_another_topic(hub: Shown) -> None:
    far = hub.net.site("far")
    for token, topic in (("", "other"), ("", "no-such-topic"), (far.token, "out"), (hub.net.admin.token, "out")):
        with hub.connect(token) as socket:
            hub.ask(socket, topic)
            assert hub.ended(socket) == VIOLATES


@ON_SQLITE
def test_who_may_look_on_no_more_is_closed(hub: Shown) -> None:
    with hub.connect() as socket:
        hub.ask(socket, "out")
        hub.answers(socket, "out", b"x")
        with hub.net.database.connection():
            hub.net.database.execute("UPDATE inferences SET deleted_at = 1")
        hub.clock.ahead_s = ALLOWED_FOR_S
        assert hub.ended(socket) == VIOLATES


@ON_SQLITE
def test_who_says_nothing_of_sense_is_closed(hub: Shown) -> None:
    for said in ("{", '{"classification": true}', "[]", b"\xff", '{"topic": "t", "x": ' + "[" * 3000):
        with hub.connect() as socket:
            socket.send(said)
            assert hub.ended(socket) == VIOLATES


@ON_SQLITE
def test_without_a_token_or_from_another_page_nobody_is_let_in(hub: Shown) -> None:
    for more, status in (
        ({"token": None}, 401),
        ({"token": "fyd_nobody"}, 401),
        ({"origin": "https://elsewhere.example.org"}, 403),
    ):
        with pytest.raises(InvalidStatus) as refused:
            hub.connect(**more)
        assert refused.value.response.status_code == status
    with hub.connect(origin=f"http://127.0.0.1:{hub.port}") as socket:
        hub.ask(socket, "other")
        assert hub.ended(socket) == VIOLATES


@ON_SQLITE
def test_one_caller_has_so_many_sockets(hub: Shown) -> None:
    with ExitStack() as stack:
        open_ones = [stack.enter_context(hub.connect()) for _ in range(EACH)]
        for socket in open_ones:
            hub.ask(socket, "out")
        hub.answers(open_ones[-1], "out", b"x")
        one_more = stack.enter_context(hub.connect())
        assert hub.ended(one_more) == AGAIN_LATER


@pytest.mark.parametrize(
    ("value", "classification", "text"),
    [
        (b'{"values": [0.2, 0.5, 0.3]}', True, "1"),
        (b'{"values": [0.5, 0.5]}', True, "0"),
        (b'{"values": [0.2]}', False, '{"values": [0.2]}'),
        (b'{"values": []}', True, '{"values": []}'),
        (b"no JSON", True, "no JSON"),
        (b'{"a": ' + b"[" * 3000, True, '{"a": ' + "[" * 3000),
        (b"\xff\x00", False, "\ufffd\x00"),
    ],
)
def test_how_an_answer_is_shown(value: bytes, classification: bool, text: str) -> None:
    assert shown(value, classification=classification) == text
