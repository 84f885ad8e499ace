"""What goes into the log, and what does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
