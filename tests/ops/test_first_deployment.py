"""A first deployment, word for word as the docs tell it: from a broker to a federated pair."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from demo.kafkaml.network import unpacked
from devservers.kafka import PrivateNoida
from devservers.ports import free_port
from tests.ops.program import ROOT, Program, call, create_account, environment
from tests.ops.test_workloads import ok


def test_a_first_deployment_goes_as_the_docs_tell_it(noida: PrivateNoida, tmp_path: Path) -> None:
    """All blocks but the first, word for word; that one has the settings, and starts what the fixtures start here."""
    section = (ROOT / "docs" / "streams.md").read_text().split("## A first deployment\n")[1].split("\n## ")[0]
    setting, *scripts = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    servers, port = noida.bootstrap_servers, free_port()
    python = f"/usr/bin/env PYTHONPATH={ROOT} OPENBLAS_NUM_THREADS=1 {sys.executable}"
    programs = {".venv/bin/python": python, "bin/fedyard": str(ROOT / "bin" / "fedyard"), "127.0.0.1:9092": servers}

    def here(text: str) -> str:
        for word, meant in programs.items():
            text = re.sub(rf"(?<![/\w]){re.escape(word)}(?=\s|\")", lambda _, meant=meant: meant, text)
        return text

    (tmp_path / "var" / "lab-models").mkdir(parents=True)
    toml = here(setting.split("<<'END'\n")[1].split("END\n")[0]).replace("8080", str(port))
    (tmp_path / "var" / "streams.toml").write_text(toml)
    images = re.findall(r"(demo/[a-z-]+)=\$RUNS(\.[a-z]+(?: [a-z]+)?)", setting)
    hub = Program(
        tmp_path / "log", "embedded", "--data", tmp_path / "hub", "--port", str(port),
        FEDYARD_STREAMS=str(tmp_path / "var" / "streams.toml"),
        FEDYARD_PROCESS_IMAGES=",".join(f"{image}={python} -m demo.kafkaml{words}" for image, words in images),
    )  # fmt: skip
    try:
        api = hub.ready()
        admin = create_account(tmp_path / "hub")
        house = ok(call(api, "/v1/organisations", admin, {"name": "Lab"}, wait=20))["id"]
        token = ok(call(api, "/v1/enrolments", admin, {"organisation_id": house}, wait=20))["token"]
        made = [str(ROOT / "bin" / "fedyard"), "--folder", "var/lab", "site", "init", "--hub", api, "--name", "lab"]
        told = environment() | {"SITE_ENROLMENT_TOKEN": token}
        subprocess.run(made, cwd=tmp_path, env=told, capture_output=True, check=True)
        typed = ["bash", "-euo", "pipefail", "-c", here("".join(scripts))]
        done = subprocess.run(typed, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert unpacked((tmp_path / "var" / "lab-models" / "net.pth").read_bytes())
        assert done.stdout.count("it says") == 10
        assert "deployment 1 is deleted, with 1 result\n" in done.stdout
        assert "result 3, validation: " in done.stdout
    finally:
        hub.end(signal.SIGTERM)
