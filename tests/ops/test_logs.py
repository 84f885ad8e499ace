"""What goes into the log, and what does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import logging
from config.logs import info_each, set_up_logs, unit
set_up_logs("web", "INFO")
logging.getLogger("pika.adapters.base_connection").error("chatter")
logging.getLogger("dramatiq.worker").error("a consumer lost its connection")
logging.getLogger("dramatiq.worker").info("chatter")
logging.getLogger("broker.publisher").info("connected", extra=unit(node="one"))
info_each(logging.getLogger("actors.deciding"), lambda n: (f"decided {n}", {"count": n}), [1, 2])
info_each(logging.getLogger("actors.deciding"), lambda n: ("never", {}), [])
"""


def test_each_trouble_is_told_once_by_who_knows_what_it_means():
    ran = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    whats = ["a consumer lost its connection", "connected", "decided 1", "decided 2"]
    assert [line["what"] for line in lines] == whats
    assert [line.get("count") for line in lines[2:]] == [1, 2]
    assert (lines[1]["role"], lines[1]["node"]) == ("web", "one")


TERMINAL = """
import logging, os, sys
from config.logs import at_a_terminal, info_each, set_up_logs, unit
assert at_a_terminal()
set_up_logs("web", "INFO", os.environ["FORM"])
logging.getLogger("actors.deciding").warning("not \x1b[1m decided", extra=unit(command="c1", tries=2))
info_each(logging.getLogger("actors.deciding"), lambda n: (f"decided {n}", {"count": n}), [1, 2])
"""


FOR_PEOPLE = (
    r"\d\d:\d\d:\d\d warning: not \\x1b\[1m decided  command=c1  tries=2\n"
    r"\d\d:\d\d:\d\d decided 1  count=1\n\d\d:\d\d:\d\d decided 2  count=2\n"
)


@pytest.mark.parametrize(("form", "pattern"), [("auto", FOR_PEOPLE), ("json", r'(\{"at":.*\}\n){3}')])
def test_at_a_terminal_people_read_lines_of_their_own(form: str, pattern: str) -> None:
    ours, theirs = os.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", TERMINAL], cwd=ROOT, stderr=theirs, check=True, env={**os.environ, "FORM": form}
        )
        said = os.read(ours, 4096).decode().replace("\r\n", "\n")
    finally:
        os.close(ours)
        os.close(theirs)
    assert re.fullmatch(pattern, said), said


ODD = r"""
import logging, os
from config.logs import set_up_logs, unit
set_up_logs("web", "INFO")
log = logging.getLogger("web.problems")
class Unsayable:
    def __str__(self): raise RuntimeError("no text")
log.warning("a file", extra=unit(name=os.fsdecode(b"caf\xe9.csv")))
log.warning("an object", extra=unit(name=Unsayable()))
log.warning("a number of %d", "text")
log.warning("the next line", extra=unit(loss=float("nan")))
print("done", flush=True)
"""


def test_what_cannot_be_said_is_named_and_stops_nobody():
    ran = subprocess.run([sys.executable, "-c", ODD], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [line.get("what", "").strip("'") for line in lines] == [
        "a file",
        "an object",
        "a number of %d",
        "the next line",
    ]
    assert [line.get("unsaid") for line in lines] == ["UnicodeEncodeError", "RuntimeError", "TypeError", None]


def test_a_full_disk_behind_standard_output_and_error_stops_nobody():
    with Path("/dev/full").open("w") as full:
        for _ in range(2):
            ran = subprocess.run([sys.executable, "-c", ODD], cwd=ROOT, stdout=full, stderr=full, check=False)
            assert ran.returncode == 0
