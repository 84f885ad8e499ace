"""The roles as processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.running import rules_of
from config.settings import Settings, path_url
from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from domain.rules import Rules
from storage.database import open_database
from storage.migrate import migrate
from tests.databases import fresh_postgres
from tests.ops.program import ROOT, environment
from tests.signals import to_another_thread
from tests.waiting import until


def test_decisions_take_the_same_for_granted_as_the_settings() -> None:
    assert rules_of(Settings()) == Rules()


@pytest.mark.parametrize(("role", "says"), [("decider", "decides"), ("doer", "does")])
def test_a_worker_stops_whichever_thread_is_told(
    rabbitmq: PrivateRabbitmq, postgres: PrivatePostgres, tmp_path: Path, role: str, says: str
) -> None:
    """After a freeze (SIGSTOP, SIGCONT) the kernel gives SIGTERM to any thread; the main one must notice."""
    urls = {"FEDYARD_BROKER_URL": rabbitmq.vhost(), "FEDYARD_DATABASE_URL": fresh_postgres(postgres)}
    migrate(open_database(urls["FEDYARD_DATABASE_URL"]))
    worker, log = [sys.executable, "-m", "actors.running", role], tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(worker, cwd=ROOT, env=environment(**urls), stdout=output, stderr=output)
    until(lambda: f'"{says}"' in log.read_text())
    to_another_thread(process.pid, signal.SIGTERM)
    try:
        assert process.wait(30) == 0
    finally:
        process.kill()


def test_a_worker_that_does_not_stop_ends_nevertheless(tmp_path: Path) -> None:
    urls = {name: path_url(kind, tmp_path / kind) for name, kind in (("BROKER", "embedded"), ("DATABASE", "sqlite"))}
    migrate(open_database(urls["DATABASE"]))
    program = (
        "import threading; from actors.running import main\n"
        "def stuck(settings, stop):\n    print('stuck', flush=True); stop.wait(); threading.Event().wait()\n"
        "main('doer', stuck, end_within_s=0.1)"
    )
    environ = environment(**{f"FEDYARD_{name}_URL": url for name, url in urls.items()})
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"stuck\n"
            process.terminate()
            assert process.wait(20) == 1
        finally:
            process.kill()
