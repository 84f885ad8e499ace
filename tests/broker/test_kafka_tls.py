"""TLS to a cluster, with and without a certificate of our own, as the settings file of the cluster says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.kafka_following import KafkaFollower
from broker.kafka_log import KafkaLog
from broker.kafka_reading import KafkaReader
from broker.kafka_writing import KafkaTopics
from broker.reading import Place
from broker.streams import NotAccepted, Unreachable
from config.stream_properties import properties_of
from config.streams import Cluster
from devservers.kafka import PrivateTansu
from devservers.ports import free_port
from domain.stream_commands import NewRecord, NewTopic
from tests.broker.tls import PASSWORD, Certificates, TlsRelay, certificates

AWAY_WITHIN_S = 0.7


class Secured:
    """A broker that is reached by TLS alone."""

    def __init__(self, folder: Path, *, mutual: bool) -> None:
        self.files = certificates(folder)
        self.port = free_port()
        self.broker = PrivateTansu(folder / "tansu", advertised=f"127.0.0.1:{self.port}")
        self.broker.start()
        self.relay = TlsRelay(self.port, self.broker.port, self.files, mutual=mutual)
        self.folder = folder

    def close(self) -> None:
        self.relay.close()
        self.broker.stop()

    def properties(self, *lines: str) -> dict[str, str]:
        """Of a cluster whose settings file says this."""
        file = self.folder / "kafka.properties"
        file.write_text("\n".join(lines))
        return properties_of("cloud", Cluster(bootstrap_servers=f"127.0.0.1:{self.port}", settings_file=str(file)))


def trusting(files: Certificates) -> list[str]:
    return ["security.protocol=SSL", f"ssl.ca.location={files.authority}"]


def showing(files: Certificates) -> list[str]:
    return [
        f"ssl.certificate.location={files.client}",
        f"ssl.key.location={files.client_key}",
        f"ssl.key.password={PASSWORD}",
    ]


@pytest.fixture(scope="module")
def one_sided(servers_folder: Path) -> Iterator[Secured]:
    folder = servers_folder / "tls"
    folder.mkdir()
    secured = Secured(folder, mutual=False)
    yield secured
    secured.close()


@pytest.fixture(scope="module")
def mutual(servers_folder: Path) -> Iterator[Secured]:
    folder = servers_folder / "mtls"
    folder.mkdir()
    secured = Secured(folder, mutual=True)
    yield secured
    secured.close()


def use(properties: dict[str, str], name: str) -> None:
    """Everything that the hub does there."""
    topics = KafkaTopics(properties)
    topics.create([NewTopic(name=name)])
    follower = KafkaFollower(properties, name)
    topics.write([NewRecord(topic=name, key=b"k", value=b"v")])
    assert follower.poll(20) == b"v"
    follower.close()
    topics.close()
    reader = KafkaReader(properties, f"reads {name}")
    assert reader.ends([Place(name, 0)]) == {Place(name, 0): (0, 1)}
    reader.close()
    log = KafkaLog(properties, f"{name}.events", {"content-type": "text/plain"})
    assert log.append([(b"k", b"1"), (b"k", b"2")], lambda: True) == (2, "")
    log.close()


def test_a_cluster_whose_certificate_is_trusted(one_sided: Secured) -> None:
    use(one_sided.properties(*trusting(one_sided.files)), "trusted")


def test_a_cluster_that_asks_for_ours(mutual: Secured) -> None:
    use(mutual.properties(*trusting(mutual.files), *showing(mutual.files)), "mutual")


def test_without_a_certificate_of_ours_it_is_not_reached(mutual: Secured) -> None:
    before = mutual.relay.refused
    topics = KafkaTopics(mutual.properties(*trusting(mutual.files)), AWAY_WITHIN_S)
    with pytest.raises(Unreachable):
        topics.ends(["any"])
    topics.close()
    assert mutual.relay.refused > before


def test_a_certificate_that_nobody_signed_is_not_trusted(one_sided: Secured, tmp_path: Path) -> None:
    others = certificates(tmp_path)
    for lines in (trusting(others), ["security.protocol=PLAINTEXT"]):
        topics = KafkaTopics(one_sided.properties(*lines), AWAY_WITHIN_S)
        with pytest.raises(Unreachable):
            topics.write([NewRecord(topic="trusted", key=None, value=b"secret")])
        topics.close()


def test_a_wrong_password_is_told_and_not_shown(mutual: Secured) -> None:
    lines = [*trusting(mutual.files), *showing(mutual.files)[:2], "ssl.key.password=wr0ngpassword"]
    with pytest.raises(NotAccepted, match="the settings are refused") as refused:
        KafkaTopics(mutual.properties(*lines)).ends(["any"])
    assert "wr0ngpassword" not in refused.value.fact


def test_a_value_that_is_none_is_told_and_not_shown(one_sided: Secured) -> None:
    for name in ("security.protocol", "socket.timeout.ms"):
        with pytest.raises(NotAccepted, match=name) as refused:
            KafkaTopics(one_sided.properties(f"{name}=pr0tocol")).ends(["any"])
        assert "pr0tocol" not in refused.value.fact
