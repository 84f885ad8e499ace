"""Which clusters of Kafka there are: from a file, from the variables of Kafka-ML, and what contradicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import Settings, SettingsError
from config.streams import OLD_VARIABLES, Cluster, Streams, door_url, open_streams
from domain.rules import StreamCluster, StreamRules

ROOT = Path(__file__).resolve().parent.parent.parent
OLD = {
    "BOOTSTRAP_SERVERS": "kafka-cluster:9094",
    "CONTROL_TOPIC": "KAFKA_ML_CONTROL_TOPIC",
    "FEDERATED_BOOTSTRAP_SERVERS": "edge:9092",
    "PYTORCH_TRAINING_MODEL_IMAGE": "kafka-ml/pytorch",
    "BACKEND_URL": "http://backend:8000",
}


def opened(tmp_path: Path, text: str | None, environment: dict[str, str] | None = None) -> Streams:
    """text: of the file; None: there is none."""
    path = tmp_path / "streams.toml"
    if text is not None:
        path.write_text(text)
    return open_streams(Settings(streams="environment" if text is None else str(path)), environment or {})


def test_without_the_setting_there_are_none_whatever_the_environment_says() -> None:
    assert open_streams(Settings(), OLD) == Streams()


def test_a_file(tmp_path: Path) -> None:
    streams = opened(
        tmp_path,
        'door_url = "http://hub:8080"\n[images]\npytorch_training = "a"\n'
        '[clusters.cloud]\nbootstrap_servers = "k:9092"\n'
        'control_topics = ["C"]\nmodel_topics = ["M"]\nsince = "2026-03-01T00:00:00Z"'
        '\n[clusters.lab]\nbootstrap_servers = "l:9092"\nworkload_bootstrap_servers = "l:9093"\ndata_topics = ["D"]\n',
    )
    assert streams.clusters["cloud"].topics == {"C": "control", "M": "model"}
    assert streams.clusters["cloud"].since_ms == 1_772_323_200_000
    assert streams.rules() == StreamRules(
        clusters=(
            StreamCluster("cloud", "k:9092", control_topics=("C",), model_topics=("M",)),
            StreamCluster("lab", "l:9093", data_topics=("D",)),
        ),
        images={"pytorch_training": "a"},
        door_url="http://hub:8080",
    )


def test_the_old_variables_alone(tmp_path: Path) -> None:
    assert opened(tmp_path, None, OLD) == Streams(
        clusters={
            "cloud": Cluster(
                "kafka-cluster:9094",
                control_topics=["KAFKA_ML_CONTROL_TOPIC"],
                model_topics=["FEDERATED_MODEL_CONTROL_TOPIC"],
            ),
            "edge": Cluster("edge:9092", data_topics=["FEDERATED_DATA_CONTROL_TOPIC"]),
        },
        images={"pytorch_training": "kafka-ml/pytorch"},
        door_url="http://backend:8000",
    )


def test_both_systems_may_say_the_same_twice(tmp_path: Path) -> None:
    both = OLD | {
        "KML_CLOUD_BOOTSTRAP_SERVERS": "kafka-cluster:9094",
        "MODEL_CONTROL_TOPIC": "M",
        "MODEL_LOGGER_TOPIC": "M",
    }
    assert opened(tmp_path, None, both).clusters["cloud"].model_topics == ["M"]


def test_a_file_adds_to_the_variables(tmp_path: Path) -> None:
    streams = opened(tmp_path, '[clusters.cloud]\ngroup = "mine"\nsettings_file = "/etc/kafka"\n', OLD)
    assert (streams.clusters["cloud"].group, streams.clusters["cloud"].bootstrap_servers) == (
        "mine",
        "kafka-cluster:9094",
    )


@pytest.mark.parametrize(
    ("text", "environment", "says"),
    [
        (
            None,
            {"BOOTSTRAP_SERVERS": "a:1", "KML_CLOUD_BOOTSTRAP_SERVERS": "b:1"},
            "KML_CLOUD_BOOTSTRAP_SERVERS is 'b:1'",
        ),
        (None, OLD | {"MODEL_LOGGER_TOPIC": "A", "MODEL_CONTROL_TOPIC": "B"}, "MODEL_CONTROL_TOPIC is 'B'"),
        ('[clusters.cloud]\nbootstrap_servers = "k:1"', OLD, "BOOTSTRAP_SERVERS is 'kafka-cluster:9094'"),
        ("[clusters", {}, "no TOML"),
        ('clusters = "k:1"', OLD, "no table"),
        ("[clusters.cloud]\n", {}, "missing required field `bootstrap_servers`"),
        ('[clusters.cloud]\nbootstrap_servers = ""', {}, "bootstrap_servers is empty"),
        ('[clusters.cloud]\nbootstrap = "k:1"', {}, "unknown field `bootstrap`"),
        ('[clusters.Cloud]\nbootstrap_servers = "k:1"', {}, "small letters"),
        ('cloud = "c"\n[clusters.cloud]\nbootstrap_servers = "k:1"', {}, "cloud is 'c'"),
        ('events_cluster = "c"\n', {}, "events_cluster is 'c'"),
        ('door_url = "http://results.example.org"', {}, "`results`"),
        ('[images]\npytorch = "a"', {}, "images.pytorch is none of"),
        ('[clusters.c]\nbootstrap_servers = "k:1"\ncontrol_topics = ["a b"]', {}, "'a b' is no name"),
        ('[clusters.c]\nbootstrap_servers = "k:1"\ncontrol_topics = [""]', {}, "'' is no name"),
        (
            f'[clusters.c]\nbootstrap_servers = "k:1"\ncontrol_topics = ["{"a" * 191}"]',
            {},
            "191 characters: 190 at most",
        ),
        ('[clusters.c]\nbootstrap_servers = "k:1"\ncontrol_topics = ["a"]\ndata_topics = ["a"]', {}, "named twice"),
        ('[clusters.c]\nbootstrap_servers = "k:1"\ncontrol_topics = ["a"]\ndead_letter_topic = "a"', {}, "never end"),
        ('[clusters.c]\nbootstrap_servers = "k:1"\nsince = "2026-03-01T00:00:00"', {}, "without a time zone"),
        ('[clusters.c]\nbootstrap_servers = "k:1"\nsince = "March"', {}, "write a time"),
        ('[clusters.c]\nbootstrap_servers = "k:1"\nmax_record_bytes = 2', {}, "max_record_bytes"),
        ('[clusters.c]\nbootstrap_servers = "k:1"\nmodels_project = "p"', {}, "id of a project"),
    ],
)
def test_what_contradicts_or_cannot_be_stops_the_start(
    tmp_path: Path, text: str | None, environment: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        opened(tmp_path, text, environment)


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        open_streams(Settings(streams=str(tmp_path / "streams.toml")), {})


@pytest.mark.parametrize(("variable", "place"), OLD_VARIABLES.items())
def test_every_old_variable_is_in_the_table_of_the_docs(variable: str, place: tuple[str, ...]) -> None:
    page = (ROOT / "docs" / "streams.md").read_text()
    assert f"| `{variable}` | `{'.'.join(place)}` |" in page


@pytest.mark.parametrize(
    ("said", "hub", "door"),
    [
        ('door_url = "http://door:1"', "http://results:2", "http://door:1"),
        ("", "http://hub:2", "http://hub:2"),
        ("", "http://results:2", None),
    ],
)
def test_where_trainers_come_in(tmp_path: Path, said: str, hub: str, door: str | None) -> None:
    (tmp_path / "streams.toml").write_text(said)
    settings = Settings(streams=str(tmp_path / "streams.toml"), workload_hub_url=hub)
    if door is not None:
        assert door_url(settings) == door
        return
    with pytest.raises(SettingsError, match="`results`"):
        door_url(settings)


@pytest.mark.parametrize("where", ["hub", "site:2f1e9f9c-31d5-4a8e-9c0e-0d2b4a2f8a11"])
def test_workers_run_where_the_hub_can_start_them(tmp_path: Path, where: str) -> None:
    text = f'[clusters.lab]\nbootstrap_servers = "l:1"\ndata_topics = ["D"]\nwhere = "{where}"\n'
    assert opened(tmp_path, text).clusters["lab"].where == where


@pytest.mark.parametrize("where", ["edge", "site:", "site:clinic", "Hub"])
def test_a_place_that_nobody_knows_stops_the_start(tmp_path: Path, where: str) -> None:
    text = f'[clusters.lab]\nbootstrap_servers = "l:1"\ndata_topics = ["D"]\nwhere = "{where}"\n'
    with pytest.raises(SettingsError, match=f"'lab': workers for its data shall run at '{where}'.*names none"):
        opened(tmp_path, text)


def test_without_data_of_a_cluster_nothing_runs_for_them(tmp_path: Path) -> None:
    text = '[clusters.lab]\nbootstrap_servers = "l:1"\ncontrol_topics = ["C"]\nwhere = "elsewhere"\n'
    assert opened(tmp_path, text).clusters["lab"].where == "elsewhere"


def test_where_clusters_have_other_names_the_hub_is_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "streams.toml"
    path.write_text('[clusters.lab]\nbootstrap_servers = "l:1"\ndata_topics = ["D"]\n')
    settings = Settings(streams=str(path), clusters="factory=processes:////tmp/factory")
    with pytest.raises(SettingsError, match="at 'hub', and FEDYARD_CLUSTERS names factory"):
        open_streams(settings, {})
