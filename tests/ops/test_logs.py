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
