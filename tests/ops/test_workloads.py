"""Workloads on the embedded hub: real processes, from the call to what they left, over a kill of the hub."""

from __future__ import annotations

import base64
import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.ops.program import ROOT, Program, call, create_account, environment
from tests.prepared import AGENT, SITE, Running
from tests.seals import enrolling
from tests.waiting import until

LIVE = {"wanted", "starting", "running"}
TASKS = [{"name": "t", "model": "m"}]


CANARY = "correct horse battery staple"
"""A secret of the project."""


def ok(answer: tuple[int, Any]) -> Any:
    status, body = answer
    assert status < 300, body
    return body


def test_a_job_and_a_service_run_as_processes_of_the_hub_and_outlive_a_kill_of_it(tmp_path: Path) -> None:
    programs: list[Program] = []

    def start() -> str:
        log = tmp_path / f"log{len(programs)}"
        programs.append(
            Program(log, "embedded", "--data", tmp_path / "hub", "--port", "0", FEDYARD_PROCESS_IMAGES="local=")
        )
        return programs[-1].ready()

    try:
        api = start()
        admin = create_account(tmp_path / "hub")
        house = ok(call(api, "/v1/organisations", admin, {"name": "Theirs"}, wait=20))["id"]
        token = ok(call(api, "/v1/enrolments", admin, {"organisation_id": house}, wait=20))["token"]
        site = ok(call(api, "/v1/sites", token, enrolling(token, "lead"), wait=20))
        project = ok(
            call(api, "/v1/projects", site["token"], {"name": "p", "tasks": TASKS, "sealed": "optional"}, wait=20)
        )["id"]

        def begin(script: str, **spec: Any) -> str:
            spec = {"kind": "job", "image": "local", "command": ["sh", "-c", script], **spec}
            body = {"name": "w", "where": "hub", "spec": spec}
            return ok(call(api, f"/v1/projects/{project}/workloads", site["token"], body, wait=20))["id"]

        def state(ident: str) -> str:
            return str(ok(call(api, f"/v1/workloads/{ident}", site["token"]))["state"])

        ok(call(api, f"/v1/projects/{project}/secrets/db", site["token"], {"value": CANARY}, wait=20, method="PUT"))
        gets = begin('[ "$(printf %s "$PASSWORD" | wc -c)" = 28 ] && echo got it', secrets={"PASSWORD": "db"})
        fails, lives = begin("echo $WHO was here; exit 3", environment={"WHO": "kari"}), begin("echo alive; sleep 600")
        until(lambda: state(fails) == "failed" and state(lives) == "running")
        about = ok(call(api, f"/v1/workloads/{fails}", site["token"]))
        assert (about["reason"], about["exit_code"]) == ("exit_code", 3)
        left = ok(call(api, f"/v1/workloads/{fails}/log", site["token"]))
        assert base64.b64decode(left["log"]) == b"kari was here\n"
        assert ok(call(api, f"/v1/workloads/{fails}/log", admin))["log"] is None

        followed = ok(call(api, f"/v1/workloads/{lives}/log?after=0&wait=20", site["token"]))
        assert (base64.b64decode(followed["log"]), followed["next"], followed["over"]) == (b"alive\n", 6, False)
        _hands_files_on(api, site, project, begin, state)

        until(lambda: state(gets) == "succeeded")
        found = ok(call(api, f"/v1/workloads/{gets}/log", site["token"]))
        assert base64.b64decode(found["log"]) == b"got it\n"
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not [path for path in files if CANARY.encode() in path.read_bytes()]

        programs[-1].end(signal.SIGKILL)
        api = start()
        assert state(lives) == "running"
        ok(call(api, f"/v1/workloads/{lives}/stop", site["token"], {}, wait=20))
        until(lambda: state(lives) == "stopped")
        attempts = ok(call(api, f"/v1/workloads/{lives}/attempts", site["token"]))["items"]
        assert [(one["attempt"], one["gone_at"] is not None) for one in attempts] == [(1, True)]
        assert programs[-1].end(signal.SIGTERM) == 0, programs[-1].output
    finally:
        for program in programs:
            program.end(signal.SIGKILL)


def _hands_files_on(
    api: str, site: dict[str, Any], project: str, begin: Callable[..., str], state: Callable[[str], str]
) -> None:
    """What one job leaves another one finds; one that leaves nothing has failed."""

    def about(ident: str) -> Any:
        return ok(call(api, f"/v1/workloads/{ident}", site["token"]))

    first = begin('printf weights > "$FEDYARD_OUTPUTS/model"', outputs={"model": {}, "notes": {"required": False}})
    assert until(lambda: state(first) if state(first) not in LIVE else "") == "succeeded", about(first)["detail"]
    left = about(first)["outputs"]
    assert (list(left), left["model"]["attempt"]) == (["model"], 1)
    artifact = ok(call(api, f"/v1/artifacts/{left['model']['artifact_id']}/about", site["token"]))
    assert (artifact["state"], artifact["kind"], artifact["owner_site_id"]) == ("stored", "result", site["id"])
    second = begin('cat "$FEDYARD_INPUTS/start"; exit 4', inputs={"start": {"artifact_id": artifact["id"]}})
    third = begin("exit 0", outputs={"model": {}})
    until(lambda: not {state(second), state(third)} & LIVE)
    assert about(second)["inputs"]["start"]["digest"] == artifact["digest"]
    log = ok(call(api, f"/v1/workloads/{second}/log", site["token"]))["log"]
    assert base64.b64decode(log) == b"weights"
    assert (about(third)["reason"], about(third)["outputs"]) == ("outputs_missing", {})


def ended(run: dict[str, Any]) -> dict[str, Any] | None:
    return run if run["ended_at"] else None


TAKES_PART = """
set -e
{fedyard} site init --hub "$FEDYARD_HUB_URL" --name any --join "$FEDYARD_PROJECT_ID" --coordinator unknown \\
  --data train={data} --folder "$PWD/site"
exec {fedyard} --folder "$PWD/site" site run
"""
"""All that an image has to do."""


def test_processes_hold_seats_of_a_sealed_run_with_the_agent_that_sites_have(tmp_path: Path) -> None:
    program = str(ROOT / "bin" / "fedyard")
    data, lead = tmp_path / "train.csv", tmp_path / "lead"
    data.write_text("x,y\n" + "".join(f"{number % 7 - 3},{int(number % 7 > 3)}\n" for number in range(70)))

    def fedyard(*arguments: object) -> None:
        done = SITE.run("--folder", lead, *arguments, environment=environment())
        assert done.returncode == 0, done.stdout + done.stderr

    hub = Program(
        tmp_path / "log", "embedded", "--data", tmp_path / "hub", "--port", "0", FEDYARD_PROCESS_IMAGES="local="
    )
    agent: Running | None = None
    try:
        api = hub.ready()
        admin = create_account(tmp_path / "hub")
        house = ok(call(api, "/v1/organisations", admin, {"name": "Theirs"}, wait=20))["id"]
        token = ok(call(api, "/v1/enrolments", admin, {"organisation_id": house}, wait=20))["token"]
        (tmp_path / "token").write_text(token)
        fedyard(
            "site",
            "init",
            "--hub",
            api,
            "--name",
            "lead",
            "--token-file",
            tmp_path / "token",
            "--data",
            f"train={data}",
        )
        command = ["sh", "-c", TAKES_PART.format(fedyard=program, data=data)]
        holder = {"name": "worker", "count": 2, "spec": {"kind": "job", "image": "local", "command": command}}
        parameters = {"label": "y", "features": ["x"]}
        task = {"name": "t", "model": "logistic_regression", "rounds": 2, "parameters": parameters}
        task["workloads"] = [holder]
        (tmp_path / "tasks.json").write_text(json.dumps([task]))
        fedyard("project", "create", "p", "--tasks", tmp_path / "tasks.json")
        with (tmp_path / "agent").open("wb") as log:
            agent = AGENT.start("--folder", lead, "site", "run", output=log, error=log, environment=environment())
        fedyard("run", "start", "p")
        (run,) = ok(call(api, "/v1/runs", admin))["items"]
        run = until(lambda: ended(ok(call(api, f"/v1/runs/{run['id']}", admin))))
        assert run["state"] == "succeeded", run["detail"]
        seats = run["tasks"][0]["seats"]
        assert [seat["state"] for seat in seats] == ["done"] * 3
        workloads = f"/v1/projects/{run['project_id']}/workloads"
        until(lambda: {one["state"] for one in ok(call(api, workloads, admin))["items"]} == {"stopped"})
    finally:
        if agent is not None:
            agent.send_signal(signal.SIGTERM)
            agent.wait()
        hub.end(signal.SIGTERM)


AVERAGE = """
import numpy as np
from fedyard import Result, Task


class Average(Task):
    def train(self, context, model):
        return Result({"mean": np.zeros(2)}, {"rows": 0})

    def aggregate(self, context, updates):
        rows = [update.metrics["rows"] for update in updates]
        means = [update.content["mean"] * count for update, count in zip(updates, rows)]
        return Result({"mean": sum(means) / sum(rows)}, {"rows": sum(rows)})
"""


def documented() -> str:
    """The whole program that docs/workloads.md shows."""
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "workloads.md").read_text(), re.DOTALL)
    assert len([line for line in program.splitlines() if line.strip()]) <= 15
    return str(program)


def test_the_program_in_the_docs_holds_a_seat_of_a_sealed_run(tmp_path: Path) -> None:
    lead = tmp_path / "lead"
    (tmp_path / "rows.csv").write_text("1,2\n3,6\n")
    (tmp_path / "train.py").write_text(documented())

    def fedyard(*arguments: object) -> str:
        done = SITE.run("--folder", lead, *arguments, environment=environment())
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    hub = Program(
        tmp_path / "log", "embedded", "--data", tmp_path / "hub", "--port", "0", FEDYARD_PROCESS_IMAGES="local="
    )
    agent: Running | None = None
    try:
        api = hub.ready()
        admin = create_account(tmp_path / "hub")
        house = ok(call(api, "/v1/organisations", admin, {"name": "Theirs"}, wait=20))["id"]
        token = ok(call(api, "/v1/enrolments", admin, {"organisation_id": house}, wait=20))["token"]
        (tmp_path / "token").write_text(token)
        named = ["--hub", api, "--name", "lead", "--token-file", tmp_path / "token"]
        fedyard("site", "init", *named)
        settings = lead / "site.toml"
        settings.write_text(settings.read_text().replace("allow = []", 'allow = ["average:Average"]'))
        (lead / "average.py").write_text(AVERAGE)
        spec = {
            "kind": "job",
            "image": "local",
            "command": [sys.executable, str(tmp_path / "train.py")],
            "environment": {"DATA": str(tmp_path / "rows.csv"), "PYTHONPATH": str(ROOT)},
        }
        task = {"name": "t", "model": "average:Average", "rounds": 2, "workloads": [{"name": "worker", "spec": spec}]}
        (tmp_path / "tasks.json").write_text(json.dumps([task]))
        fedyard("project", "create", "p", "--tasks", tmp_path / "tasks.json")
        with (tmp_path / "agent").open("wb") as log:
            agent = AGENT.start("--folder", lead, "site", "run", output=log, error=log, environment=environment())
        fedyard("run", "start", "p")
        (run,) = ok(call(api, "/v1/runs", admin))["items"]
        run = until(lambda: ended(ok(call(api, f"/v1/runs/{run['id']}", admin))))
        assert run["state"] == "succeeded", run["detail"]
        (one,) = ok(call(api, f"/v1/projects/{run['project_id']}/workloads", admin))["items"]
        until(lambda: ok(call(api, f"/v1/workloads/{one['id']}", admin))["state"] not in LIVE)
        said = fedyard("logs", f"p/{run['number']}")
        assert "progress: 3 of 3" in said
        assert "round 1 of 2, from None" in said
        assert "round 2 of 2, from {'mean': array([2., 4.])}" in said
    finally:
        if agent is not None:
            agent.send_signal(signal.SIGTERM)
            agent.wait()
        hub.end(signal.SIGTERM)
