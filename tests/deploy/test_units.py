"""ops/systemd: the units of the hub's processes and of a site's agent, read as systemd reads them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from config.processes import END_WITHIN_S
from config.settings import IN_FILES, options
from tests.deploy.checkout import UNITS, processes

COMMON = UNITS / "fedyard-hub-.service.d" / "10-hub.conf"
HUB = sorted(UNITS.glob("fedyard-hub-*.service"))
EVERY = [*HUB, UNITS / "fedyard-site.service"]
SANDBOX = {
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "LockPersonality": "true",
    "NoNewPrivileges": "true",
    "PrivateTmp": "true",
    "ProtectClock": "true",
    "ProtectControlGroups": "true",
    "ProtectHostname": "true",
    "ProtectKernelLogs": "true",
    "ProtectKernelModules": "true",
    "ProtectKernelTunables": "true",
    "ProtectSystem": "strict",
    "RemoveIPC": "true",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "true",
    "RestrictRealtime": "true",
    "RestrictSUIDSGID": "true",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
    "UMask": "0077",
}
OF_THE_HUB = SANDBOX | {
    "PrivateDevices": "true",
    "PrivateUsers": "true",
    "ProtectHome": "true",
    "ProtectProc": "invisible",
}
KEPT_APART = {
    "fedyard-hub-web": {"head.key", "webhook.key", "workload.key"},
    "fedyard-hub-doer": {"webhook.key", "workload.key"},
    "fedyard-hub-reconciler": {"workload.key"},
}
URLS = {"broker-url", "database-url"}

Unit = dict[str, list[str]]


def read(*paths: Path) -> Unit:
    """`Section.Key` and its values; a later file goes on where an earlier one ended, as a drop-in does."""
    found: Unit = {}
    for path in paths:
        section = ""
        for line in path.read_text().splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif line and not line.startswith("#"):
                key, sign, value = line.partition("=")
                assert sign, line
                found.setdefault(f"{section}.{key}", []).append(value)
    return found


def unit(path: Path) -> Unit:
    return read(path, COMMON) if path in HUB else read(path)


def last(said: Unit, key: str) -> str:
    return said[key][-1]


def test_every_process_has_a_unit_that_runs_what_the_procfile_says() -> None:
    assert {path.stem.removeprefix("fedyard-hub-") for path in HUB} == processes().keys() | {"migrate"}
    for name, process in processes().items():
        said = unit(UNITS / f"fedyard-hub-{name}.service")
        program, *arguments = shlex.split(last(said, "Service.ExecStart"))
        assert (program, arguments) == ("/opt/fedyard/.venv/bin/python", process.arguments)
        given = dict(word.split("=", 1) for row in said["Service.Environment"] for word in row.split())
        assert process.environment.items() <= given.items()
        assert said["Install.WantedBy"] == ["fedyard-hub.target"]


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_a_unit_may_do_no_more_than_it_needs(path: Path) -> None:
    said = unit(path)
    wanted = OF_THE_HUB if path in HUB else SANDBOX
    assert {key: said[f"Service.{key}"] for key in wanted} == {key: [value] for key, value in wanted.items()}
    confining = "" if path in HUB else " landlock_create_ruleset landlock_add_rule landlock_restrict_self"
    assert said["Service.SystemCallFilter"] == [f"@system-service{confining}", "~@privileged"]
    assert last(said, "Service.User") == ("fedyard" if path in HUB else "fedyard-site")


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_it_is_started_again_for_ever_and_may_end_by_itself(path: Path) -> None:
    said = unit(path)
    assert int(last(said, "Service.TimeoutStopSec")) > END_WITHIN_S
    if path.stem == "fedyard-hub-migrate":
        assert last(said, "Service.Type") == "oneshot"
        assert "Service.Restart" not in said
        return
    assert said["Service.Type"] == ["exec"]
    assert said["Service.Restart"] == ["always"]
    assert said["Unit.StartLimitIntervalSec"] == ["0"]
    assert 1 <= int(last(said, "Service.RestartSec")) < int(last(said, "Service.RestartMaxDelaySec"))


@pytest.mark.parametrize("path", HUB, ids=lambda path: path.stem)
def test_secrets_are_credentials_of_those_that_use_them(path: Path) -> None:
    said = unit(path)
    rows = [row.partition(":") for row in said["Service.LoadCredential"]]
    assert all(source == f"/etc/fedyard/secrets/{name}" for name, _, source in rows)
    assert {name for name, _, _ in rows} == URLS | KEPT_APART.get(path.stem, set())
    given = dict(word.split("=", 1) for row in said["Service.Environment"] for word in row.split())
    assert {value for value in given.values() if value.startswith("%d/")} == {f"%d/{name}" for name, _, _ in rows}
    assert {name for name in given if name.startswith("FEDYARD_")} <= {*options(), *IN_FILES}


def test_what_a_drop_in_says_no_unit_says_otherwise() -> None:
    """It is read last, and would win without a word."""
    lists = {"Service.Environment", "Service.LoadCredential"}
    for path in HUB:
        assert not (read(path).keys() & read(COMMON).keys()) - lists, path.name
    assert not any(key.startswith("Install.") for key in read(COMMON)), "systemd passes over [Install] in a drop-in"


if ANALYZE := shutil.which("systemd-analyze"):

    def test_systemd_finds_nothing_wrong_with_them() -> None:
        """Of this machine, which has neither their programs nor, where it is older than 254, what makes pauses grow."""
        names = [*(path.name for path in EVERY), "fedyard-hub.target"]
        done = subprocess.run(
            [ANALYZE, "verify", "--man=no", *(f"./{name}" for name in names)],
            cwd=UNITS,
            capture_output=True,
            text=True,
            check=False,
        )
        known = re.compile(
            r"is not executable: No such file|Unknown key '(name )?'?Restart(Steps|MaxDelaySec)'|"
            r"Unknown key name 'Restart(Steps|MaxDelaySec)'"
        )
        ours = [row for row in done.stderr.splitlines() if "fedyard" in row and not known.search(row)]
        assert not ours
        assert "fedyard-hub-web.service: Command /opt/fedyard" in done.stderr  # it did look
