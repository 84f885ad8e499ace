"""`fedyard site status` and `fedyard site unit`: what a machine's administrator looks at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from fedyard.actions.status import Status, status_of
from fedyard.actions.unit import Service, unit_of
from fedyard.agent.consents import Consent
from fedyard.agent.health import NAME, HealthFile, read
from fedyard.agent.site import Folder, Settings, SiteError
from fedyard.agent.state import Approval, Made, Report, State
from fedyard.cli.machine import refuse_elsewhere
from fedyard.cli.main import main
from fedyard.tasks.privacy import Privacy, Spent
from fedyard.wire import locks
from fedyard.wire.answers import Entry
from fedyard.wire.times import DAY_S, SECOND
from fedyard.wire.version import __version__
from tests.ops.program import ROOT

NOW = 1_800_000_000 * SECOND
FOLDER = Path("/var/lib/fedyard-site")
PROGRAM = ["/opt/fedyard-site/bin/fedyard"]


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> int:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Of a site that is enrolled and has a sealing key."""
    made = Folder(tmp_path / "north")
    made.create(Settings(hub="https://hub.example", name="north"), "fyd_token")
    (made.path / "site.id").write_text("10000000-0000-4000-8000-000000000000")
    ring = made.keyring()
    ring.published(ring.renew(NOW, valid_s=1e6, grace_s=1e5).key.epoch, NOW)
    return made


def agent(folder: Folder, clock: Clock, *, hub_version: str = __version__) -> HealthFile:
    """One that the hub has answered just now."""
    file = HealthFile(folder.path, clock)
    file.beaten("", hub_version)
    file.write()
    return file


def test_a_site_at_work_needs_nobody(folder: Folder, clock: Clock) -> None:
    agent(folder, clock)
    found = status_of(folder, NOW + SECOND, least_free_bytes=0)
    assert (found.agent, found.hub_version, found.last_contact_s, found.key_epoch, found.key_age_s, found.why) == (
        "running", __version__, 1.0, 1, 1.0, [],
    )  # fmt: skip
    assert found.last_contact_at == "2027-01-15T08:00:00.000000Z"


def why(folder: Folder, now: int, **limits: float) -> str:
    return "; ".join(status_of(folder, now, **{"least_free_bytes": 0, **limits}).why)  # type: ignore[arg-type]


def test_what_needs_somebody_is_said(folder: Folder, clock: Clock) -> None:
    assert why(folder, NOW) == "no agent has run here yet: `fedyard site run`"
    file = agent(folder, clock, hub_version="99.0.0")
    assert why(folder, NOW).startswith("versions: the hub runs Fedyard 99.0.0")
    file.beaten("clock: far off", __version__)
    clock.at += 5 * SECOND
    file.write()
    assert why(folder, clock.at) == "clock: far off"
    file.beaten("", __version__)
    file.missed("no answer from https://hub.example")
    clock.at += 301 * SECOND
    file.write()
    assert why(folder, clock.at) == "the hub has not answered for 301 s: no answer from https://hub.example"
    assert why(folder, clock.at, silent_after_s=302) == ""
    assert why(folder, clock.at + 60 * SECOND) == (
        f"the agent has said nothing since 2027-01-15T08:05:06.000000Z, and process {os.getpid()} is there: it hangs, "
        "or cannot write into its folder (a full disk?)"
    )
    health = read(folder.path)
    assert health is not None
    (folder.path / NAME).write_bytes(msgspec.json.encode(msgspec.structs.replace(health, pid=2**22)))  # none has it
    assert why(folder, clock.at + 60 * SECOND).endswith(": it was killed")
    file.write(ended=True)
    assert why(folder, clock.at) == "the agent has ended 2027-01-15T08:05:06.000000Z"
    file.write(ended=True, why="the certificate of hub.example is not believed")
    assert why(folder, clock.at).endswith("06.000000Z: the certificate of hub.example is not believed")


def test_an_agent_that_never_reached_its_hub_is_told_of(folder: Folder, clock: Clock) -> None:
    file = HealthFile(folder.path, clock)
    file.missed("no connection")
    for _ in range(62):
        clock.at += 5 * SECOND
        file.write()
    assert why(folder, clock.at) == "the hub has not answered since the agent was started: no connection"


def test_disk_and_keys(folder: Folder, clock: Clock) -> None:
    agent(folder, clock)
    full = status_of(folder, NOW, least_free_bytes=1 << 62).why
    assert len(full) == 1
    assert full[0].startswith(f"the disk of {folder.path} has ")
    clock.at = NOW + int(31.5 * DAY_S * SECOND)
    agent(folder, clock)
    assert why(folder, clock.at).startswith("the newest sealing key is 32 days old")
    shutil.rmtree(folder.path / "keys")
    assert why(folder, clock.at).startswith("there is no sealing key that the hub knows")


def test_what_is_owed_is_counted(folder: Folder, clock: Clock) -> None:
    agent(folder, clock)
    state = State(folder.path / "state.sqlite")
    state.seats.keep_report(Report(1, "fail", "r", 1, 1, 0, "key-1", b"{}"), NOW)
    state.seats.keep_report(Report(2, "fail", "s", 1, 1, 0, "key-2", b"{}"), NOW)
    state.seats.answered(state.seats.reports(2)[0], "ok")
    state.close()
    assert status_of(folder, NOW).owed_reports == 1


def test_who_waits_for_a_person_and_a_budget_that_is_spent_need_somebody(folder: Folder, clock: Clock) -> None:
    with (folder.path / "site.toml").open("a") as file:
        file.write("[project.hearts.privacy]\nclip = 1\nnoise = 2\nepsilon = 5\n")
    consents = folder.consents()
    consents.give(Consent(project_id="p", name="hearts", coordinator="c", identity=b"", at=0, by="people"))
    agent(folder, clock)
    state = State(folder.path / "state.sqlite")
    asked = Approval(
        project_id="p",
        run_id="r",
        task_seq=1,
        name="t",
        digest="d",
        code="",
        task_json=b"{}",
        number=1,
        attempt=1,
        asked_at=NOW,
        until=NOW,
        state="waiting",
    )  # type: ignore[arg-type]
    state.approvals.ask(asked)
    assert why(folder, NOW) == (
        "run r of hearts waits for a person here, until 2027-01-15T08:00:00.000000Z: `fedyard site policy` shows it, "
        "`fedyard site approve r` lets it go on"
    )
    assert status_of(folder, NOW).waiting_approvals == 1
    state.approvals.over("r", None, NOW)
    assert why(folder, NOW) == ""
    entry = Entry(seq=1, kind="round_started", created_at=datetime.now(UTC), project_id="p", run_id="r", task_seq=1)
    state.releases.reserve(entry, Privacy(clip=1.0, noise=2.0, epsilon=5.0), NOW)
    state.results.keep_made(Made(1, "r", b"noised", "", {}), Spent(4.89, 1e-6))
    state.close()
    assert why(folder, NOW).startswith("the privacy budget of hearts is spent (epsilon 4.89 of 5): no further update")
    consents.withdraw(consents.of("p"), NOW)
    assert why(folder, NOW) == ""


def test_a_monitor_reads_an_exit_code_and_json(folder: Folder, clock: Clock, capsys) -> None:
    command = ["--folder", str(folder.path), "site", "status", "--least-free", "0"]
    assert main([*command, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert set(said) == set(Status.__struct_fields__)
    assert said["agent"] == "never ran"
    assert main(command) == 1
    assert "LOOK: no agent has run here yet" in capsys.readouterr().out
    (folder.path / "site.id").unlink()
    assert main(command) == 2


# other systems

ELSEWHERE = """
import importlib, pkgutil, sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name in {"fcntl", "grp", "pwd", "resource", "syslog", "termios"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Gone())
for name in ("fcntl", "grp", "pwd", "resource", "syslog", "termios"):
    sys.modules.pop(name, None)
import asyncio, concurrent.futures, multiprocessing, os, select, shutil, signal, subprocess, tempfile
import numpy
for module, names in {
    os: "fork getpgid getuid geteuid killpg register_at_fork setsid O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_PATH",
    select: "poll",
    signal: "SIGALRM SIGBUS SIGCHLD SIGHUP SIGKILL SIGSTOP SIGUSR1 SIGXCPU pthread_sigmask",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
import fedyard
for module in pkgutil.walk_packages(fedyard.__path__, "fedyard."):
    try:
        importlib.import_module(module.name)
    except (AttributeError, ImportError) as error:
        print(module.name, error)
"""
LINUX_ALONE = (
    "fedyard.cluster.archives.unpacking",
    "fedyard.cluster.fetching",
    "fedyard.cluster.files",
    "fedyard.cluster.local.",
    "fedyard.cluster.processes",
)
"""What runs workloads as processes of this machine, and their files."""


def test_nothing_is_loaded_that_other_systems_lack() -> None:
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=ROOT, capture_output=True, text=True, check=False)
    lost = [row for row in done.stdout.splitlines() if not row.startswith(LINUX_ALONE)]
    assert (done.returncode, lost) == (0, []), done.stderr
    assert "fedyard.cluster.processes fcntl" in done.stdout


def test_an_agent_says_where_it_works() -> None:
    with pytest.raises(SiteError, match="WSL 2"):
        refuse_elsewhere("win32")
    for platform in ("linux", "darwin"):
        refuse_elsewhere(platform)


def test_who_locks_a_file_has_it_until_it_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        locks.lock(first)
        with pytest.raises(BlockingIOError):
            locks.lock_now(second)
        first.close()
        locks.lock_now(second)


# the unit


def test_the_unit_in_ops_is_what_it_writes() -> None:
    file = ROOT / "ops" / "systemd" / "fedyard-site.service"
    assert file.read_text() == unit_of(Service(PROGRAM, FOLDER, "fedyard-site", outlived=True))


def test_a_user_that_systemd_draws_has_its_folder_where_systemd_makes_it() -> None:
    made = unit_of(Service(PROGRAM, Path("/var/lib/private/fedyard-site"), groups=("records", "images")))
    assert "DynamicUser=true\nSupplementaryGroups=records images\n" in made
    assert "StateDirectory=fedyard-site\n" in made
    assert "--folder /var/lib/fedyard-site site run" in made
    with pytest.raises(SiteError, match="name a user that owns it with --user"):
        unit_of(Service(PROGRAM, Path("/srv/site")))
    assert "ReadWritePaths=/srv/site\n" in unit_of(Service(PROGRAM, Path("/srv/site"), "north"))


def test_names_with_signs_of_systemds_own_are_words_of_it() -> None:
    made = unit_of(Service(["/opt/a b/fedyard"], Path("/srv/100% $HOME"), "north"))
    assert 'ExecStart="/opt/a b/fedyard" --folder "/srv/100%% $$HOME" site run\n' in made


def test_workloads_of_this_machine_outlive_the_agent_where_there_are_any(folder: Folder, capsys) -> None:
    command = ["--folder", str(folder.path), "site", "unit", "--user", "north"]
    assert main(command) == 0
    assert "KillMode=mixed\n" in capsys.readouterr().out
    with (folder.path / "site.toml").open("a") as toml:
        toml.write('\n[cluster]\nkind = "processes"\n')
    assert main(command) == 0
    assert "KillMode=process\n" in capsys.readouterr().out


if ANALYZE := shutil.which("systemd-analyze"):

    @pytest.mark.parametrize("user", [None, "root"])
    def test_systemd_takes_it_and_finds_little_exposed(tmp_path: Path, user: str | None) -> None:
        path = tmp_path / "north.service"
        path.write_text(unit_of(Service(["/bin/true"], FOLDER, user)))
        done = subprocess.run([ANALYZE, "verify", "--man=no", str(path)], capture_output=True, text=True, check=False)
        ours = [row for row in done.stderr.splitlines() if "north" in row and "Restart" not in row]
        assert (done.returncode, ours) == (0, [])
        security = [ANALYZE, "security", "--offline=true", "--no-pager", "--threshold=40", str(path)]
        done = subprocess.run(security, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout.splitlines()[-1]
