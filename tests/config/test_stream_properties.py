"""What a cluster's settings file brings to librdkafka, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from broker.kafka_reading import _OURS
from broker.kafka_writing import ONCE
from config.settings import SettingsError
from config.stream_properties import properties_of
from config.streams import Cluster

SECRET = "Tr0ub4dor"
SCRAM = f"""
# what the cluster's people gave us
security.protocol = SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.username=fedyard
sasl.password={SECRET}=
"""


def cluster(tmp_path: Path, text: str | None) -> Cluster:
    file = tmp_path / "kafka.properties"
    if text is not None:
        file.write_text(text)
    return Cluster(bootstrap_servers="kafka:9093", settings_file=str(file))


def test_without_a_file_it_says_where_the_cluster_is() -> None:
    assert properties_of("cloud", Cluster(bootstrap_servers="kafka:9092")) == {
        "bootstrap.servers": "kafka:9092",
        "client.id": "fedyard",
    }


def test_settings_reach_librdkafka(tmp_path: Path) -> None:
    said = properties_of("cloud", cluster(tmp_path, SCRAM))
    assert said["security.protocol"] == "SASL_SSL"
    assert said["sasl.password"] == f"{SECRET}="
    assert Producer(said)  # which refuses what it does not know


def test_a_mechanism_with_a_token_endpoint_reaches_it_as_well(tmp_path: Path) -> None:
    oauth = "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.method=oidc\n"
    oauth += "sasl.oauthbearer.client.id=a\nsasl.oauthbearer.client.secret=b\n"
    oauth += "sasl.oauthbearer.token.endpoint.url=https://127.0.0.1:1/\n"
    assert Producer(properties_of("cloud", cluster(tmp_path, oauth)))


def test_whatever_a_client_says_itself_is_refused_in_the_file_and_not_passed_over(tmp_path: Path) -> None:
    writing = {"linger.ms", "delivery.timeout.ms", "message.max.bytes"}
    for name in {*_OURS, *ONCE, *writing, "group.id"}:
        with pytest.raises(SettingsError, match=f"{name} is not yours to set here"):
            properties_of("cloud", cluster(tmp_path, f"{name}=1"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        ("sasl.password", "line 1: write name=value"),
        (f"\n={SECRET}", "line 2: write name=value"),
        ("bootstrap.servers=other:9092", "bootstrap.servers is not yours to set here"),
        ("acks=0", "acks is not yours to set here"),
        (f"sasl.password={SECRET}\nsasl.password={SECRET}", "line 2: sasl.password is set twice"),
    ],
)
def test_what_cannot_be_meant_stops_the_start_and_no_secret_is_told(
    tmp_path: Path, text: str | None, told: str
) -> None:
    with pytest.raises(SettingsError, match="cluster 'cloud'") as refused:
        properties_of("cloud", cluster(tmp_path, text))
    assert told in str(refused.value)
    assert SECRET not in str(refused.value)
