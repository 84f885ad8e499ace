"""Private servers: they keep what they were given, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pika
import psutil
import psycopg2
import pytest

from devservers.ports import PORTS, free_port, listens
from devservers.postgres import PrivatePostgres
from devservers.process import ServerError, cause_of, last_words
from devservers.rabbitmq import PrivateRabbitmq
from ops.place import PASSED_THROUGH, InUse, only_hub_in
from tests.ops.program import ROOT, all_gone, environment, gone


@pytest.fixture(scope="module")
def own_postgres(servers_folder: Path) -> Iterator[PrivatePostgres]:
    """One that tests may stop; the last of them does."""
    server = PrivatePostgres(servers_folder / "own", durable=False)
    server.start()
    yield server
    server.stop()


def rows_of(url: str) -> list[tuple[int, ...]]:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT number FROM kept")
        found = cursor.fetchall()
    connection.close()
    return found


def test_postgres_keeps_what_was_committed_through_a_kill(own_postgres: PrivatePostgres) -> None:
    url = own_postgres.database()
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (number int); INSERT INTO kept VALUES (7)")
    own_postgres.kill()
    assert own_postgres.pids == []
    own_postgres.start()
    assert rows_of(url) == [(7,)]
    own_postgres.restart()
    assert rows_of(url) == [(7,)]


def test_postgres_wants_a_password(own_postgres: PrivatePostgres) -> None:
    url = own_postgres.database()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(url.replace(own_postgres.password, "wrong"))


def test_a_database_of_a_name_is_made_once(own_postgres: PrivatePostgres) -> None:
    assert own_postgres.database("ours") == own_postgres.database("ours")
    assert own_postgres.database() != own_postgres.database()
    with pytest.raises(ServerError, match="cannot be called"):
        own_postgres.database('x"; DROP DATABASE ours; --')


def test_a_stopped_postgres_leaves_no_process(own_postgres: PrivatePostgres) -> None:
    family = [psutil.Process(pid) for pid in own_postgres.pids]
    family += [child for process in family for child in process.children(recursive=True)]
    assert len(family) > 1
    own_postgres.stop()
    all_gone(family)
    assert not listens(own_postgres.port)


def test_servers_end_when_their_owner_is_killed(servers_folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from devservers.postgres import PrivatePostgres\n"
        "server = PrivatePostgres(Path(sys.argv[1]), durable=False); server.start()\n"
        "print(*server.pids, flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(servers_folder / "orphan")],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdin
    assert owner.stdout
    server = psutil.Process(int(owner.stdout.readline()))
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    all_gone([server])
    owner.stdin.close()
    owner.stdout.close()


def test_rabbitmq_keeps_durable_messages_through_a_kill(rabbitmq: PrivateRabbitmq) -> None:
    url = rabbitmq.vhost()
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("kept", durable=True)
    channel.basic_publish("", "kept", b"7", pika.BasicProperties(delivery_mode=2), mandatory=True)
    time.sleep(6)  # RabbitMQ 3.10 needs a moment until a queue that is new to it survives a kill; docs/limits.md
    nodes = [psutil.Process(pid) for pid in rabbitmq.pids]
    rabbitmq.kill()
    assert gone(nodes)
    assert rabbitmq.pids == []
    rabbitmq.start()
    again = pika.BlockingConnection(pika.URLParameters(url))
    assert again.channel().basic_get("kept", auto_ack=True)[2] == b"7"
    again.close()


def test_rabbitmq_has_no_guest(rabbitmq: PrivateRabbitmq) -> None:
    assert "guest" not in rabbitmq.ctl("list_users")
    guest = rabbitmq.vhost().replace(f"{rabbitmq.user}:{rabbitmq.password}", "guest:guest")
    with pytest.raises(pika.exceptions.AMQPError):
        pika.BlockingConnection(pika.URLParameters(guest))


def test_an_error_of_rabbitmqctl_is_told(rabbitmq: PrivateRabbitmq) -> None:
    with pytest.raises(ServerError, match="rabbitmqctl"):
        rabbitmq.ctl("no_such_command")


def test_ports_are_free_and_below_those_of_outgoing_connections() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = free_port(taken.getsockname()[1])
    assert port in PORTS
    assert free_port(port) == port


def test_postgres_finds_a_place_where_its_account_cannot_enter(tmp_path: Path) -> None:
    """As root, PostgreSQL runs as another account, which may not enter a folder of ours; its data go elsewhere then."""
    folder = tmp_path / "postgres"
    server = PrivatePostgres(folder, durable=False)
    server.start()
    server.database("kept")
    server.stop()
    again = PrivatePostgres(folder, durable=False)
    again.start()
    assert "kept" in again.sql("postgres", "SELECT datname FROM pg_database")
    again.stop()
    shutil.rmtree(folder)
    emptied = PrivatePostgres(folder, durable=False)
    emptied.start()
    assert "kept" not in emptied.sql("postgres", "SELECT datname FROM pg_database")
    emptied.stop()
    shutil.rmtree(emptied.folder)


def test_a_database_that_its_account_cannot_reach_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "PG_VERSION").write_text("15")
    if os.geteuid() != 0:
        assert PrivatePostgres(folder).folder == folder
        return
    with pytest.raises(ServerError, match="let it pass"):
        PrivatePostgres(folder)
    assert not (folder / "moved").exists()


def test_a_folder_that_a_hub_has_keeps_its_mode(tmp_path: Path) -> None:
    with only_hub_in(tmp_path, PASSED_THROUGH):
        with pytest.raises(InUse), only_hub_in(tmp_path):
            pass
        assert stat.S_IMODE(tmp_path.stat().st_mode) == PASSED_THROUGH


def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path) -> None:
    said = 'creating files ... initdb: error: could not write "x": No space left on device\ninitdb: removing'
    told = cause_of(said, tmp_path)
    assert told == f"the disk that {tmp_path} lies on is full: make room there, then do this again"
    log = tmp_path / "postgres.log"
    log.write_text(said)
    assert last_words(log) == f"{told}; its last words:\n{said}"
    log.write_text("FATAL:  could not create any TCP/IP sockets\n")
    assert last_words(log) == "its last words:\nFATAL:  could not create any TCP/IP sockets"
