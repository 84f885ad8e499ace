"""compose.yaml: the hub on one machine, in containers."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from config.processes import END_WITHIN_S
from config.settings import IN_FILES, Settings, options
from tests.deploy.checkout import ROOT, USER, documents, processes

PATH = ROOT / "compose.yaml"
SAID = {name: value for name, value in documents(PATH)[0].items() if not name.startswith("x-")}
SERVICES = SAID["services"]
OURS = {name: one for name, one in SERVICES.items() if "FEDYARD_IMAGE" in one["image"]}
SERVERS = {"rabbitmq", "postgres"}
ONCE = {"migrate", "policies"}
KNOWN = {
    "cap_drop", "command", "configs", "depends_on", "environment", "healthcheck", "hostname", "image", "init",
    "mem_limit", "networks", "pids_limit", "ports", "profiles", "read_only", "restart", "security_opt", "shm_size",
    "stop_grace_period", "tmpfs", "ulimits", "user", "volumes",
}  # fmt: skip
"""Of what the Compose Specification has for a service, what is used here: a misspelt one is none of them."""


def seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)s", text)
    assert found
    return int(found[1])


def test_its_parts_are_known_and_each_is_used() -> None:
    assert set(SAID) == {"name", "services", "networks", "volumes", "configs"}
    used: dict[str, set[str]] = {"networks": set(), "volumes": set(), "configs": set()}
    for name, one in SERVICES.items():
        assert one.keys() <= KNOWN, name
        used["networks"] |= set(one["networks"])
        used["volumes"] |= named_volumes(one)
        used["configs"] |= {config["source"] for config in one.get("configs", [])}
        for other, condition in one.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert condition == {"condition": wanted}
            assert other in SERVICES
    for part, names in used.items():
        assert names == set(SAID[part])


def test_every_process_is_a_service_that_runs_what_the_procfile_says() -> None:
    assert set(OURS) == processes().keys() | ONCE
    assert set(SERVICES) == OURS.keys() | SERVERS
    for name, process in processes().items():
        assert OURS[name]["command"] == process.arguments
        assert process.environment.items() <= OURS[name]["environment"].items()


@pytest.mark.parametrize("name", OURS)
def test_a_service_has_no_more_than_it_needs(name: str) -> None:
    one = OURS[name]
    assert one["user"] == f"{USER}:{USER}"
    assert one["read_only"] is (not one.get("configs"))
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert seconds(one["stop_grace_period"]) > END_WITHIN_S
    assert one["mem_limit"]
    assert one["restart"] == ("on-failure" if name in ONCE else "unless-stopped")


def test_who_has_a_port_is_asked_how_it_is_and_nobody_else() -> None:
    asked = {name for name, one in SERVICES.items() if "test" in one["healthcheck"]}
    assert asked == {"web", *SERVERS}
    assert "/healthz" in SERVICES["web"]["healthcheck"]["test"][-1]
    assert [name for name, one in SERVICES.items() if one.get("ports")] == ["web"]
    assert SERVICES["web"]["ports"][0].startswith("127.0.0.1:")
    assert SAID["networks"]["servers"] == {"internal": True}


def test_every_variable_is_one_of_the_hubs() -> None:
    known = {*options(), *IN_FILES}
    for one in OURS.values():
        assert {name for name in one["environment"] if name.startswith("FEDYARD_")} <= known


def named_volumes(service: dict[str, Any]) -> set[str]:
    """Those that Compose keeps; the others are folders of the machine's."""
    return {volume.split(":")[0] for volume in service.get("volumes", []) if not volume.startswith("./")}


def test_who_touches_clusters_reads_their_folder_and_writes_nothing_there() -> None:
    folder = "./clusters:/etc/fedyard/clusters:ro"
    assert {name for name, one in SERVICES.items() if folder in one.get("volumes", [])} == {"doer", "reconciler"}
    folders = [volume for one in SERVICES.values() for volume in one.get("volumes", []) if volume.startswith(".")]
    assert set(folders) == {folder}


def test_the_docs_lines_on_workloads_are_settings_that_the_services_are_given() -> None:
    block = re.search(
        r"^FEDYARD_CLUSTERS=hub=.*?(?=^```)", (ROOT / "docs" / "deploying.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert block
    said = dict(line.split("=", 1) for line in block[0].splitlines())
    assert list(Settings.read(said).cluster_places()) == ["hub"]
    for name in processes():
        assert said.keys() <= OURS[name]["environment"].keys()


def test_who_writes_artifacts_and_keys_has_them() -> None:
    for name in processes():
        volumes = named_volumes(OURS[name])
        wanted = {
            "web": {"artifacts", "keys"},
            "doer": {"artifacts", "keys"},
            "reconciler": {"keys"},
            "relay": {"artifacts"},
        }
        assert volumes == wanted.get(name, set())


def test_no_password_has_a_default_and_the_docs_make_them_all(tmp_path: Path) -> None:
    """The line in docs/deploying.md, run; then each service's settings are settings."""
    line = re.search(r"^\(umask 077; printf .*> \.env\)$", (ROOT / "docs" / "deploying.md").read_text(), re.MULTILINE)
    assert line
    subprocess.run(["sh", "-ec", line[0]], cwd=tmp_path, check=True, env={"PATH": os.environ["PATH"]})
    file = tmp_path / ".env"
    made = dict(row.split("=", 1) for row in file.read_text().splitlines())
    assert file.stat().st_mode & 0o777 == 0o600
    assert all(len(value) == 48 for value in made.values())
    assert len(set(made.values())) == len(made)
    secret = set(re.findall(r"\$\{(\w+):\?", PATH.read_text()))
    assert secret == set(made)
    with_default = set(re.findall(r"\$\{(\w+):-", PATH.read_text()))
    assert not {name for name in with_default if "PASS" in name}
    assert set(re.findall(r"\$\{(\w+)", PATH.read_text())) == secret | with_default
    for one in OURS.values():
        filled = {
            name: re.sub(r"\$\{(\w+):[?-][^}]*\}", lambda found: made.get(found[1], ""), value)
            for name, value in one["environment"].items()
        }
        settings = Settings.read(filled)
        assert settings.broker_url == f"amqp://hub:{made['RABBITMQ_PASSWORD']}@rabbitmq:5672/fedyard"
        assert settings.database_url == f"postgresql://hub:{made['POSTGRES_PASSWORD']}@postgres:5432/fedyard"
