"""Settings: from the environment, or a sentence that names the variable, what it must be, and what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("variable", "value", "field", "read"),
    [
        ("FEDYARD_WEB_PORT", "0", "web_port", 0),
        ("FEDYARD_WEB_PORT", "65535", "web_port", 65535),
        ("FEDYARD_TICK_EVERY_S", "0.05", "tick_every_s", 0.05),
        ("FEDYARD_TICK_EVERY_S", "60", "tick_every_s", 60.0),
        ("FEDYARD_WEB_HOST", "0", "web_host", "0"),
        ("FEDYARD_LOG_LEVEL", "ERROR", "log_level", "ERROR"),
        ("FEDYARD_DATABASE_URL", "sqlite:///a/b.sqlite", "database_url", "sqlite:///a/b.sqlite"),
    ],
)
def test_a_variable_sets_its_field(variable: str, value: str, field: str, read: object) -> None:
    settings = Settings.read({variable: value, "PATH": "/bin"})
    assert getattr(settings, field) == read
    assert type(getattr(settings, field)) is type(read)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("FEDYARD_WEB_PORT", "http", "a whole number between 0 and 65535: port that the web listens on"),
        ("FEDYARD_WEB_PORT", "65536", "a whole number between 0 and 65535: port that the web listens on"),
        ("FEDYARD_WEB_PORT", "80.5", "a whole number between 0 and 65535: port that the web listens on"),
        ("FEDYARD_WEB_PORT", "", "a whole number between 0 and 65535: port that the web listens on"),
        ("FEDYARD_TICK_EVERY_S", "soon", "a number between 0.05 and 60: how often the ticker looks"),
        ("FEDYARD_TICK_EVERY_S", "0.04", "a number between 0.05 and 60: how often the ticker looks"),
        ("FEDYARD_TICK_EVERY_S", "nan", "a number between 0.05 and 60: how often the ticker looks"),
        ("FEDYARD_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING or ERROR"),
    ],
)
def test_an_odd_value_is_told_with_its_remedy(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.read({variable: value})
    assert str(error.value).startswith(f"{variable} is {value!r}; it must be {sentence}")


@pytest.mark.parametrize(
    ("url", "fact", "remedy"),
    [
        ("file:///srv/x", "a path below whatever folder a process is started in", "file:////srv/x"),
        ("file:/srv/x", "a path below whatever folder a process is started in", "file:////srv/x"),
        ("file:x", "a path below whatever folder a process is started in", "file:////x"),
        ("file:///a%20b", "a path below whatever folder a process is started in", "file:////a%20b"),
        ("file://srv/x", "names a machine, 'srv'", "file:////srv/x"),
    ],
)
def test_a_folder_of_artifacts_that_each_process_would_find_elsewhere_is_refused(
    url: str, fact: str, remedy: str
) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.read({"FEDYARD_ARTIFACTS_URL": url})
    assert f"FEDYARD_ARTIFACTS_URL is {url}, " in str(error.value)
    assert fact in str(error.value)
    assert str(error.value).endswith(f": {remedy}")


@pytest.mark.parametrize("url", ["file:////srv/x", "file:///var/fedyard/artifacts", "s3://bucket/prefix"])
def test_a_store_of_artifacts_that_all_find_is_taken(url: str) -> None:
    assert Settings.read({"FEDYARD_ARTIFACTS_URL": url}).artifacts_url == url


def test_an_unknown_variable_is_told_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match=r"^unknown variable FEDYARD_WEB_PROT; .*FEDYARD_WEB_PORT"):
        Settings.read({"FEDYARD_WEB_PROT": "80"})


def test_what_is_wrong_with_a_url_does_not_show_its_password() -> None:
    with pytest.raises(SettingsError, match=r"FEDYARD_BROKER_URL.* is no URL") as error:
        Settings.read({"FEDYARD_BROKER_URL": "amqp://hub:s3cret[@rabbit/vhost"})
    assert "s3cret" not in str(error.value)


def test_a_url_with_a_password_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "database-url"
    file.write_text("postgresql://hub:s3cret@db/fedyard\n")
    settings = Settings.read({"FEDYARD_DATABASE_URL_FILE": str(file)})
    assert settings.database_url == "postgresql://hub:s3cret@db/fedyard"
    assert settings.broker_url == Settings().broker_url


@pytest.mark.parametrize(
    ("content", "more", "sentence"),
    [
        (None, {}, "FEDYARD_BROKER_URL_FILE is '{file}', which cannot be read (No such file or directory): "),
        (b"s3cret\xff", {}, "FEDYARD_BROKER_URL_FILE is '{file}', which cannot be read (it is no text): "),
        (
            b"amqp://s3cret@a/b",
            {"FEDYARD_BROKER_URL": "amqp://s3cret@c/d"},
            "FEDYARD_BROKER_URL_FILE and FEDYARD_BROKER_URL are both set",
        ),
        (b"amqp://hub:s3cret[@rabbit/vhost", {}, "one of FEDYARD_BROKER_URL, "),
    ],
)
def test_what_is_wrong_with_such_a_file_is_told_without_what_is_in_it(
    tmp_path: Path, content: bytes | None, more: dict[str, str], sentence: str
) -> None:
    file = tmp_path / "broker-url"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as error:
        Settings.read({"FEDYARD_BROKER_URL_FILE": str(file), **more})
    assert str(error.value).startswith(sentence.format(file=file))
    assert "s3cret" not in str(error.value)
