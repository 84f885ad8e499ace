"""What docs/workloads.md tells a newcomer to type for a first job."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.ops.program import ROOT, Program, call, create_account, environment
from tests.ops.test_workloads import ok


def test_a_first_job_goes_as_the_docs_tell_it(tmp_path: Path) -> None:
    """Its second block, word for word; the first starts the hub and makes the site."""
    page = (ROOT / "docs" / "workloads.md").read_text()
    section = page.split("## A first job\n")[1].split("\n## ")[0]
    (_, script) = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    program = str(ROOT / "bin" / "fedyard")
    (tmp_path / "var").mkdir()
    images = f"local/python={sys.executable}"
    hub = Program(
        tmp_path / "log", "embedded", "--data", tmp_path / "hub", "--port", "0", FEDYARD_PROCESS_IMAGES=images
    )
    try:
        api = hub.ready()
        admin = create_account(tmp_path / "hub")
        house = ok(call(api, "/v1/organisations", admin, {"name": "Lab"}, wait=20))["id"]
        token = ok(call(api, "/v1/enrolments", admin, {"organisation_id": house}, wait=20))["token"]
        told = environment() | {"SITE_ENROLMENT_TOKEN": token}
        made = [program, "--folder", "var/lab", "site", "init", "--hub", api, "--name", "lab"]
        subprocess.run(made, cwd=tmp_path, env=told, capture_output=True, check=True)
        typed = ["bash", "-euo", "pipefail", "-c", script.replace("bin/fedyard", program)]
        done = subprocess.run(typed, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "8 4" in done.stdout.splitlines()
        assert (tmp_path / "var" / "left" / "model").read_text() == "ONE,TWO\n"
    finally:
        hub.end(signal.SIGTERM)
