"""A prepared program is like one that was started: its words, streams, environment, exit code, signals, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.ops.program import environment
from tests.prepared import HUB, ROOT, SITE, Prepared
from tests.waiting import until


@pytest.mark.parametrize(
    "arguments", [["--version"], ["no", "such"], ["--folder", "/none", "site", "fingerprint"], ["site", "--help"]]
)
def test_it_says_and_ends_as_the_program_itself(arguments: list[str]) -> None:
    own = subprocess.run(
        [str(ROOT / "bin" / "fedyard"), *arguments], env=environment(), capture_output=True, text=True, check=False
    )
    ours = SITE.run(*arguments, environment=environment())
    assert (ours.returncode, ours.stdout, ours.stderr) == (own.returncode, own.stdout, own.stderr)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A program that shows how it was started."""
    folder: Path = tmp_path_factory.mktemp("program")
    (folder / "shows.py").write_text(
        "import os, sys, time\n"
        "def main():\n"
        "    print(sys.argv[1:], os.getcwd(), sorted(os.environ), os.environ['PYTHONPATH'], sys.stdin.read())\n"
        "    print(sorted(os.listdir('/proc/self/fd')), file=sys.stderr, flush=True)\n"
        "    if 'stay' in sys.argv: time.sleep(100)\n"
        "    return 7\n"
    )
    return Prepared(str(folder), ("shows",))


def test_it_has_what_it_was_given_and_nothing_else(shown: Prepared) -> None:
    first = shown.run("a b", "c", environment={"ONE": "1", "PYTHONPATH": ":/x:"})
    again = shown.run("a b", "c", environment={"ONE": "1", "PYTHONPATH": ":/x:"})
    said = f"['a b', 'c'] {Path.cwd()} ['ONE', 'PYTHONPATH'] {shown.path}:/x \n"
    assert (first.returncode, first.stdout) == (again.returncode, again.stdout) == (7, said)
    assert first.stderr == again.stderr  # no descriptor of an earlier one


def test_it_is_killed_and_seen_to_be(shown: Prepared, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        ones = [shown.start("stay", output=out, error=err, environment={}) for _ in range(2)]
    until(lambda: (tmp_path / "err").read_text().count("\n") == 2)
    assert [one.poll() for one in ones] == [None, None]
    ones[0].send_signal(signal.SIGKILL)
    assert ones[0].wait() == -signal.SIGKILL
    assert ones[1].poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        ones[1].wait(0.01)
    os.kill(ones[1].pid, signal.SIGTERM)
    until(lambda: ones[1].poll() == -signal.SIGTERM)
    ones[1].send_signal(signal.SIGTERM)  # nobody is there


def test_the_hub_is_prepared_too() -> None:
    assert HUB.run("--version", environment=environment()).stdout.startswith("fedyard-hub ")
