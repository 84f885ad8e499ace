"""fedyard-hub up, killed like a machine that crashes, and with its servers killed under it."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from tests.ops.program import all_gone, call, create_account, gone
from tests.ops.test_up import answers, starting
from tests.waiting import until


@pytest.mark.timeout(400)
def test_it_survives_its_own_kill_and_that_of_its_servers(servers_folder: Path, tmp_path: Path) -> None:
    """Started again on the same folder."""
    with starting(servers_folder, tmp_path) as start:
        hub = start()
        api = hub.ready()
        token = create_account(servers_folder / "hub")
        accepted = [call(api, "/v1/organisations", token, {"name": f"Number {n}"}) for n in range(10)]
        assert {status for status, _ in accepted} == {202}
        family = hub.family()
        hub.end(signal.SIGKILL)
        all_gone(family)

        again = start()
        api = again.ready()
        for _, body in accepted:
            assert call(api, f"{body['command']['href']}?wait=30", token)[1]["state"] == "accepted"
        for name, pid_file in (("PostgreSQL", "postgres/data/postmaster.pid"), ("RabbitMQ", "rabbitmq/pid")):
            victim = psutil.Process(int((servers_folder / "hub" / pid_file).read_text().split()[0]))
            victim.send_signal(signal.SIGKILL)
            until(lambda name=name: f"{name} runs again" in again.output)
            assert f"{name} ended unasked; why stands in {servers_folder / 'hub'}" in again.output
            until(lambda api=api: answers(api))
            status, made = call(api, "/v1/organisations", token, {"name": f"After {name}"}, wait=30)
            assert status == 201, made
        family = again.family()
        assert again.end(signal.SIGINT) == 0, again.output
        assert gone(family)
