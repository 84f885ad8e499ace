"""What people get of either command line when things are not as they should be: one sentence, and no line of Python."""

from __future__ import annotations

import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.management import Management, ManagementError
from fedyard.agent.site import Folder, Settings
from fedyard.cli.common import unexpected
from fedyard.cli.main import main
from fedyard.tasks import TaskError
from fedyard.tasks.reasons import reason_of
from tests.fedyard.tasks_of_tests import Unsayable
from tests.fedyard.world import World, project_of
from tests.ops.program import ROOT, environment
from tests.waiting import until


def site(folder: Path) -> None:
    """A site that is enrolled, as far as its folder says."""
    Folder(folder).create(Settings(hub="http://127.0.0.1:1", name="north"), "one-time")
    (folder / "site.id").write_text("0b6f6f0e-3a0f-4e39-9d0e-3b0f3a1f6f0e")


def odd(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def a_folder(name: str) -> Callable[[Path], object]:
    return lambda folder: ((folder / name).unlink(missing_ok=True), (folder / name).mkdir())


ODD: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "memory": (odd("state.sqlite", b"no database, " * 1000), ["site", "inbox"]),
    "settings are a folder": (a_folder("site.toml"), ["site", "whoami"]),
    "settings are latin-1": (odd("site.toml", b"name = 'gr\xf6\xdfe'"), ["site", "whoami"]),
    "no host": (odd("site.toml", b"hub = 'http:///x'\nname = 'n'"), ["site", "whoami"]),
    "pins": (odd("pins.json", b"{"), ["site", "fingerprint"]),
    "identity": (odd("identity.key", b"bm8ga2V5"), ["site", "fingerprint"]),
    "identity is latin-1": (odd("identity.key", b"\xf6"), ["site", "fingerprint"]),
    "token": (a_folder("token"), ["site", "whoami"]),
    "tasks": (a_folder("x.json"), ["project", "create", "p", "--tasks", "x.json"]),
    "no token": (lambda folder: None, ["site", "init", "--hub", "http://h", "--name", "n", "--token-file", "none"]),
    "lock": (a_folder("agent.lock"), ["site", "run"]),
}


@pytest.mark.parametrize("which", ODD)
def test_a_folder_that_is_not_as_it_should_be(tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str) -> None:
    change, command = ODD[which]
    folder = tmp_path / "north"
    site(folder)
    change(folder)
    code = main(["--folder", str(folder), *command])
    said = capsys.readouterr().err
    assert code in (1, 2)
    assert said.startswith("fedyard: ")
    assert not any(word in said for word in ("Traceback", ".py:", "Error("))


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (OSError(28, "No space left on device", "/srv/x"), 2, "No space left on device: /srv/x"),
        (UnicodeDecodeError("utf-8", b"\xf6", 0, 1, "bad"), 2, "UTF-8"),
        (MemoryError(), 2, "memory"),
        (KeyError("secret"), 70, "a fault of Fedyard's, please report it: KeyError"),
    ],
)
def test_what_nobody_turned_into_a_sentence_becomes_one(error: Exception, code: int, sentence: str) -> None:
    got, said = unexpected(error)
    assert got == code
    assert sentence in said
    assert "secret" not in said


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_behind_what_a_command_says_is_no_traceback(tmp_path: Path, stream: str) -> None:
    site(tmp_path / "north")
    command = [str(ROOT / "bin" / "fedyard"), "--folder", str(tmp_path / "north"), "site", "fingerprint"]
    if stream == "stderr":
        command[2] = str(tmp_path / "none")
    with Path("/dev/full").open("w") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        done = subprocess.run(command, env=environment(), text=True, check=False, **streams)  # type: ignore[call-overload]
    assert done.returncode == 2
    if stream == "stdout":
        assert done.stderr == "fedyard: No space left on device\n"


def test_an_agent_whose_log_is_a_full_disk_works_all_the_same(world: World, tmp_path: Path) -> None:
    north, east = world.sites(tmp_path, "north", "east")
    east.start()
    with Path("/dev/full").open("w") as full:
        agent = subprocess.Popen(
            [str(ROOT / "bin" / "fedyard"), "--folder", str(north.path), "site", "run"],
            env=environment(PYTHONPATH=str(ROOT)),
            stdout=full,
            stderr=full,
        )
        try:
            project = project_of([north, east], rounds=1)
            run = project.finished(project.start())
            assert run.state == "succeeded", [str(e) for e in project.coordinator.events(run.id)]
            until(lambda: (i := north.client.inbox()).acknowledged_seq == i.last_seq > 0)
        finally:
            agent.terminate()
            east.kill()
        assert agent.wait() == 0


PYTHON = re.compile(r"\[Errno|Traceback|\.py:\d|(?<!\()\b[A-Z]\w*(Error|Exception|Interrupt)\b")
"""What tells a programmer of Python's something, and nobody else. In parentheses, behind the words, it may stand."""


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("patient Smith"),
        FileNotFoundError(2, "No such file", "/srv/smith.csv"),
        KeyError("smith"),
        zipfile.BadZipFile("smith"),
        type("SmithsError", (Exception,), {})("smith"),
        TaskError("the data of this site are too few"),
        TaskError(Unsayable()),
    ],
)
def test_the_reason_of_a_failed_hook_is_a_sentence(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        raise error
    reason = reason_of(caught.value, "train")
    assert reason.startswith("train: ")
    assert not PYTHON.search(reason)
    assert "smith" not in reason.lower()


def test_a_file_of_tasks_that_is_not_there_is_named_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site(tmp_path / "north")
    (tmp_path / "north" / "token").write_text("fyd_x")
    assert main(["--folder", str(tmp_path / "north"), "project", "create", "p", "--tasks", "absent.json"]) == 2
    said = capsys.readouterr().err
    assert said == "fedyard: --tasks absent.json: No such file or directory\n"


@pytest.mark.parametrize(
    ("address", "said"),
    [("http://127.0.0.1:1", "Connection refused"), ("http://nowhere.invalid", "")],
)
def test_a_management_api_that_is_away_is_a_sentence(address: str, said: str) -> None:
    with pytest.raises(ManagementError) as caught:
        Management.of(address.replace("//", "//u:p@")).call("GET", "/vhosts")
    assert said in str(caught.value)
    assert "urlopen" not in str(caught.value)
    assert not PYTHON.search(str(caught.value))


def test_no_sentence_is_made_of_the_name_of_an_exception() -> None:
    """It stands in the agent's own log (`error=`), in the request to report a fault of ours, in a file beside what has
    broken, in what a program says that ends as Kafka-ML's do (`file=`), and in the terminal that a portal runs in."""
    sources = [path for part in ("fedyard", "ops", "demo") for path in (ROOT / part).rglob("*.py")]
    names = re.compile(r"\{type\(error\)\.__name__|\{error!r|repr\(error\)|format_exc|print_exc")
    lines = [line.strip() for path in sources for line in path.read_text("utf-8").splitlines() if names.search(line)]
    assert all(
        any(place in line for place in ("please report it", "self._logged(", "file=", "self._log(")) for line in lines
    ), lines
