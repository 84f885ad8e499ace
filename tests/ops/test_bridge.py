"""The bridge in a hub: with real RabbitMQ and two bridges, and embedded, killed in between."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from actors.running import run_bridge, run_decider
from broker.topology import declare_all
from config.settings import Settings
from devservers.kafka import PrivateNoida
from devservers.ports import free_port
from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from storage.database import Database, open_database
from storage.stream_states import lags
from tests.broker.test_bridge import make_topic, produce
from tests.databases import lent_postgres
from tests.domain.streams.test_announcements import DATA
from tests.ops.program import Program, call, create_account, fedyard
from tests.waiting import until


def streams_file(folder: Path, server: str, topic: str, *more: str) -> str:
    """A cluster with these properties of librdkafka."""
    properties = folder / "cloud.properties"
    properties.write_text("\n".join(("session.timeout.ms=6000", "fetch.wait.max.ms=20", *more)))
    path = folder / "streams.toml"
    path.write_text(
        f'[clusters.cloud]\nbootstrap_servers = "{server}"\ncontrol_topics = ["{topic}"]\ngroup = "group-{topic}"\n'
        f'settings_file = "{properties}"\n'
    )
    return str(path)


def announcement(number: int) -> bytes:
    return msgspec.json.encode(DATA | {"description": f"number {number}"})


def taken(database: Database) -> list[str]:
    with database.connection():
        return sorted(row[0] for row in database.all("SELECT description FROM data_sources"))


def numbers(count: int) -> list[str]:
    return sorted(f"number {number}" for number in range(count))


@contextmanager
def threads(*roles: partial[None]) -> Iterator[list[threading.Event]]:
    """Each role in a thread, until its event is set or the block ends."""
    stops = [threading.Event() for _ in roles]
    running = [threading.Thread(target=role, args=(stop,)) for role, stop in zip(roles, stops, strict=True)]
    for thread in running:
        thread.start()
    try:
        yield stops
    finally:
        for stop in stops:
            stop.set()
        for thread in running:
            thread.join()


def test_two_bridges_share_a_topic_and_one_takes_over(
    rabbitmq: PrivateRabbitmq, postgres: PrivatePostgres, noida: PrivateNoida, tmp_path: Path
) -> None:
    topic = "two-bridges"
    make_topic(noida, topic, 2)
    with lent_postgres(postgres) as url:
        file = streams_file(tmp_path, noida.bootstrap_servers, topic)
        settings = Settings(broker_url=rabbitmq.vhost(), database_url=url, streams=file)
        declare_all(settings.broker_url, "tests")
        database = open_database(url)
        roles = [partial(run_decider, settings), partial(run_bridge, settings), partial(run_bridge, settings)]
        with threads(*roles) as (_, first, _):
            for partition in range(2):
                produce(noida, topic, [announcement(number) for number in range(partition, 40, 2)], partition)
            until(lambda: taken(database) == numbers(40))
            first.set()
            for partition in range(2):
                produce(noida, topic, [announcement(number) for number in range(40 + partition, 80, 2)], partition)
            until(lambda: taken(database) == numbers(80))
            until(lambda: [(one.to_committed, one.to_decided) for one in lags(database)] == [(0, 0), (0, 0)])
        database.close()


def begun(folder: Path, file: str) -> Program:
    """An embedded hub, ready."""
    hub = Program(folder / "log", "embedded", "--data", folder / "hub", "--port", "0", FEDYARD_STREAMS=file)
    hub.ready()
    return hub


def test_an_embedded_hub_that_is_killed_takes_every_record_once(noida: PrivateNoida, tmp_path: Path) -> None:
    topic = "embedded-hub"
    make_topic(noida, topic)
    whom = "group.instance.id=one"  # noida-db never gives up a member that was killed, unless it is the same again
    file = streams_file(tmp_path, noida.bootstrap_servers, topic, whom)
    produce(noida, topic, [announcement(number) for number in range(100)])
    store = open_database(f"sqlite:///{tmp_path}/hub/store.sqlite")
    hub = begun(tmp_path, file)
    try:
        until(lambda: len(taken(store)) >= 30)
        hub.end(signal.SIGKILL)
        produce(noida, topic, [announcement(100), b"?"])
        hub = begun(tmp_path, file)
        until(lambda: taken(store) == numbers(101))
        until(lambda: "not decided 0" in fedyard("streams", "status", "--data", tmp_path / "hub").stdout)
        (line,) = fedyard("streams", "quarantine", "list", "--data", tmp_path / "hub").stdout.splitlines()
        assert line.endswith("not_json: its value is no JSON in UTF-8")
        record = line.split()[0]
        shown = fedyard("streams", "quarantine", "show", record, "--data", tmp_path / "hub").stdout
        assert "key        07" in shown
        assert "value      ?" in shown
        refused = fedyard("streams", "quarantine", "replay", record, "--data", tmp_path / "hub")
        assert refused.returncode == 2
        purged = fedyard("streams", "quarantine", "purge", "--all", "--data", tmp_path / "hub")
        assert purged.stdout == "1 record purged\n"
        assert hub.end() == 0, hub.output
    finally:
        hub.end(signal.SIGKILL)
        store.close()


def test_a_cluster_that_is_away_is_named_and_the_hub_serves(tmp_path: Path) -> None:
    file = streams_file(tmp_path, f"127.0.0.1:{free_port()}", "nowhere")
    hub = Program(tmp_path / "log", "embedded", "--data", tmp_path / "hub", "--port", "0", FEDYARD_STREAMS=file)
    try:
        api = hub.ready()
        token = create_account(tmp_path / "hub")
        until(lambda: call(api, "/readyz", token)[1]["parts"]["streams"] != "ok")
        status, ready = call(api, "/readyz", token)
        assert (status, ready["status"], ready["parts"]["bridge"]) == (200, "ready", "ok")
        assert ready["parts"]["streams"].startswith("cloud: ")
        said = fedyard("streams", "status", "--data", tmp_path / "hub")
        assert said.returncode == 1
    finally:
        assert hub.end() == 0, hub.output


@pytest.mark.parametrize("how", ["embedded", "up"])
@pytest.mark.parametrize(
    ("line", "properties", "fact"),
    [
        ('since = "March"', "", "cluster 'cloud': since is 'March'"),
        (
            'settings_file = "{properties}"',
            "acks=0",
            "cluster 'cloud': settings_file {properties}, line 1: acks is not",
        ),
    ],
)
def test_settings_that_cannot_be_stop_the_start(
    tmp_path: Path, how: str, line: str, properties: str, fact: str
) -> None:
    file, said_by = tmp_path / "streams.toml", tmp_path / "cloud.properties"
    file.write_text(f'[clusters.cloud]\nbootstrap_servers = "a:1"\n{line.format(properties=said_by)}\n')
    said_by.write_text(properties)
    nowhere = {
        "FEDYARD_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c",
        "FEDYARD_BROKER_URL": "amqp://a:b@127.0.0.1:1/c",
    }
    urls = {} if how == "embedded" else nowhere
    said = fedyard(how, "--data", tmp_path / "hub", FEDYARD_STREAMS=str(file), **urls)
    assert said.returncode == 2
    assert fact.format(properties=said_by) in said.stderr
