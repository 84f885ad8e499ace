"""fedyard-hub dead-letters, on a journal and on RabbitMQ."""

from __future__ import annotations

from pathlib import Path

import pika
import pytest

from broker.journal import Journal, entry_of
from broker.messages import DramatiqMessage, message_of, wire_of
from broker.opening import dead_letters_of, open_embedded
from broker.topology import declarations, declare_all
from config.clock import SystemClock
from config.settings import Settings
from devservers.rabbitmq import PrivateRabbitmq
from domain import codec
from domain.commands import CreateOrganisation
from domain.ids import derive
from ops.place import Whereabouts, recall, remember
from tests.ops.program import fedyard

ID = derive("test", "dead letter")
HUSH = "a name that nobody shall read"


def dead_command() -> DramatiqMessage:
    command = CreateOrganisation(name=HUSH)
    return message_of(codec.envelope_of(command, id=ID, by=codec.THE_HUB, at=SystemClock().now()))


def bury_in_journal(path: Path) -> None:
    journal = Journal(path, SystemClock())
    entry = entry_of(dead_command())
    row = journal.add([entry], lambda _: None).result()[0]
    journal.bury(row, entry, 9, "ValueError")
    journal.close()


def bury_in_rabbitmq(url: str) -> None:
    message = dead_command()
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    for declared in declarations(message.queue_name):
        channel.queue_declare(declared.name, durable=True, arguments=declared.arguments)
    dead = declarations(message.queue_name)[0].name
    channel.basic_publish("", dead, wire_of(message), pika.BasicProperties(delivery_mode=2), mandatory=True)
    connection.close()


@pytest.fixture(params=["embedded", "rabbitmq"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A hub's folder; one dead letter lies in its broker."""
    if request.param == "embedded":
        bury_in_journal(tmp_path / "journal")
        urls = {"FEDYARD_BROKER_URL": f"embedded:///{tmp_path}/journal", "FEDYARD_DATABASE_URL": "sqlite:///unused"}
    else:
        rabbitmq: PrivateRabbitmq = request.getfixturevalue("rabbitmq")
        urls = {"FEDYARD_BROKER_URL": rabbitmq.vhost(), "FEDYARD_DATABASE_URL": "postgresql://unused/unused"}
        bury_in_rabbitmq(urls["FEDYARD_BROKER_URL"])
    remember(tmp_path, Whereabouts(urls, "http://127.0.0.1:1"))
    return tmp_path


def dead_letters(folder: Path, *arguments: str) -> str:
    done = fedyard("dead-letters", *arguments, "--data", folder)
    assert done.returncode == 0, done.stderr
    assert HUSH not in done.stdout
    return done.stdout


def test_they_are_listed_shown_and_thrown_away(folder: Path) -> None:
    assert dead_letters(folder, "list").split()[:3] == [ID, "sites.v1", "create_organisation"]
    assert dead_letters(folder, "list", "--queue", "runs.v1") == "there are no dead letters\n"
    shown = dead_letters(folder, "show", ID)
    assert "command   create_organisation" in shown
    assert "sha256" in shown
    assert dead_letters(folder, "purge", ID) == "1 thrown away\n"
    assert dead_letters(folder, "list") == "there are no dead letters\n"
    again = fedyard("dead-letters", "purge", ID, "--data", folder)
    assert (again.returncode, "there is no dead letter" in again.stderr) == (2, True)


def test_they_are_given_back(folder: Path) -> None:
    assert dead_letters(folder, "replay", "--queue", "sites.v1") == "1 given back to their queues\n"
    assert dead_letters(folder, "list") == "there are no dead letters\n"


def test_nobody_purges_everything_by_accident(folder: Path) -> None:
    done = fedyard("dead-letters", "purge", "--data", folder)
    assert done.returncode == 2
    assert ID in dead_letters(folder, "list")


def test_a_journal_in_use_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", SystemClock())
    urls = {"FEDYARD_BROKER_URL": f"embedded:///{tmp_path}/journal", "FEDYARD_DATABASE_URL": "sqlite:///unused"}
    done = fedyard("dead-letters", "list", "--data", tmp_path, **urls)
    journal.close()
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_rabbitmq_that_is_down_is_told(tmp_path: Path) -> None:
    urls = {"FEDYARD_BROKER_URL": "amqp://a:hush@127.0.0.1:1/x", "FEDYARD_DATABASE_URL": "postgresql://unused/unused"}
    done = fedyard("dead-letters", "list", "--data", tmp_path, **urls)
    assert done.returncode == 2
    assert "Is RabbitMQ running" in done.stderr
    assert "hush" not in done.stderr


def test_policies_are_applied(folder: Path, request: pytest.FixtureRequest) -> None:
    rabbitmq: PrivateRabbitmq = request.getfixturevalue("rabbitmq")
    vhost = rabbitmq.vhost().rpartition("/")[2]
    address = rabbitmq.management_url.removeprefix("http://")
    url = f"http://{rabbitmq.user}:{rabbitmq.password}@{address}"
    file = folder / "management.url"
    file.write_text(url)
    done = fedyard("policies", "apply", "--data", folder, "--management-file", file, "--vhost", vhost)
    assert done.returncode == 0, done.stderr
    assert "fedyard-commands" in rabbitmq.ctl("list_policies", "-p", vhost)


def test_the_ticker_reads_them_without_their_content_and_leaves_them(folder: Path) -> None:
    whereabouts = recall(folder)
    assert whereabouts is not None
    urls = whereabouts.environment
    if urls["FEDYARD_BROKER_URL"].startswith("amqp"):
        declare_all(urls["FEDYARD_BROKER_URL"], "tests")
    settings = Settings.read(urls)
    for _ in range(2):
        found = dead_letters_of(settings, 100)
        assert [(one.id, one.kind, one.queue) for one in found] == [(ID, "create_organisation", "sites.v1")]
        assert HUSH not in repr(found)
    if settings.embedded:
        open_embedded(settings).close()
